//! The documentation: links lead somewhere, pages are in the book, examples are right.

use crate::support::{expect_exit, qa, root, trial};
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every trial of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        trial("docs::every_link_leads_somewhere", links),
        trial("docs::every_page_is_in_the_book", summary),
        trial("docs::every_specification_in_them_is_right", specifications),
        trial("docs::specifications_for_work_can_be_planned", work),
    ]
}

/// Pages of the repository, with their text.
fn pages() -> Result<Vec<(PathBuf, String)>, Failed> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["docs", "specs", "reports", "backends", "kernels"].map(|name| root().join(name)).into();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "THIRD_PARTY.md"] {
        found.push(root().join(name));
    }
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder)?.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.into_iter().map(|path| Ok((path.clone(), fs::read_to_string(path)?))).collect()
}

/// Targets of `[words](target)` outside of code.
fn targets(text: &str) -> Vec<String> {
    let mut code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code || line.starts_with("    ") {
            continue;
        }
        let plain: String =
            line.split('`').enumerate().filter(|(index, _)| index % 2 == 0).map(|(_, part)| part).collect();
        found.extend(plain.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
    }
    found
}

/// Anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    headings
        .map(|heading| heading.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-"))
        .collect()
}

fn links() -> Result<(), Failed> {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (path, text) in pages()? {
        for target in targets(&text) {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (file, anchor) =
                target.split_once('#').map_or((target.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap_or(Path::new("/")).join(file) };
            let there = file.exists()
                && anchor
                    .is_none_or(|anchor| fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(anchor)));
            if !there {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    if seen < 40 {
        return Err(format!("only {seen} links were seen").into());
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("these lead nowhere:\n{}", broken.join("\n")).into()) }
}

fn summary() -> Result<(), Failed> {
    let source = root().join("docs/src");
    let summary = fs::read_to_string(source.join("SUMMARY.md"))?;
    let listed: BTreeSet<PathBuf> = targets(&summary).into_iter().map(|target| source.join(target)).collect();
    let of_the_book =
        |path: &PathBuf| path.starts_with(&source) && path.file_name().is_some_and(|name| name != "SUMMARY.md");
    let missing: Vec<PathBuf> =
        pages()?.into_iter().map(|(path, _)| path).filter(|p| of_the_book(p) && !listed.contains(p)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not in SUMMARY.md: {missing:?}").into()) }
}

/// What is fenced as YAML and names the language is a whole specification.
fn specifications() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("example.yaml");
    let mut seen = 0;
    for (path, text) in pages()?.into_iter().filter(|(path, _)| path.starts_with(root().join("docs"))) {
        for fenced in text.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("\n```")?.0)) {
            if !fenced.contains("apiVersion: qa/") {
                continue;
            }
            seen += 1;
            fs::write(&file, format!("{fenced}\n"))?;
            expect_exit(&qa().arg("check").arg(&file).output()?, 0)
                .map_err(|e| format!("{}: {e:?}", path.display()))?;
        }
    }
    if seen >= 3 { Ok(()) } else { Err(format!("only {seen} specifications were found").into()) }
}

/// Each is right, can be planned anywhere, and says what it needs.
fn work() -> Result<(), Failed> {
    let mut seen = 0;
    for path in fs::read_dir(root().join("specs/work"))?.flatten().map(|entry| entry.path()) {
        let planned = expect_exit(&qa().arg("plan").arg(&path).output()?, 0)?;
        let page = root().join("docs/src/specs").join(path.file_stem().unwrap_or_default()).with_extension("md");
        let page = fs::read_to_string(&page).map_err(|e| format!("{}: {e}", page.display()))?;
        let (blocked, said) = (planned.contains("BLOCKED here: native"), page.contains("Needs an NVIDIA card"));
        let driver = Path::new("/dev/nvidiactl").exists();
        if blocked != said && !driver {
            return Err(
                format!("{}: blocked without a card: {blocked}, its page says so: {said}", path.display()).into()
            );
        }
        seen += 1;
    }
    if seen == 7 { Ok(()) } else { Err(format!("{seen} specifications").into()) }
}
