//! Pages of the book that are made from the code: commands, fields of the language, exit codes, metrics.
//!
//! `just docs` writes them; a test holds what is committed to what the code says.

mod commands;
mod fields;
mod tables;

use crate::exit;
use std::fs;
use std::path::{Path, PathBuf};

/// Write the pages of the book that are made from the code.
#[derive(Clone, Debug, clap::Args)]
pub struct ReferenceArgs {
    /// The folder to write to.
    #[arg(default_value = "docs/src/reference")]
    folder: PathBuf,
}

/// Name and content of every page.
fn pages() -> [(&'static str, String); 4] {
    [
        ("commands.md", commands::page()),
        ("fields.md", fields::page(&crate::spec::schema::json_schema())),
        ("exit-codes.md", tables::exit_codes()),
        ("metrics.md", tables::metrics()),
    ]
}

/// Write.
pub fn run(args: &ReferenceArgs) -> u8 {
    match write(&args.folder) {
        Ok(()) => exit::OK,
        Err(e) => {
            eprintln!("qa: cannot write to {}: {e}", args.folder.display());
            exit::IO
        }
    }
}

fn write(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    pages().into_iter().try_for_each(|(name, page)| fs::write(folder.join(name), page))
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    // Between backticks text is what it is; elsewhere a bracket would begin a tag.
    let parts = line.split('`').enumerate();
    let parts = parts.map(|(index, part)| if index % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    #[test]
    fn the_book_says_what_the_code_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/reference");
        if std::env::var_os("QA_UPDATE_DOCS").is_some() {
            write(&folder).unwrap();
        }
        for (name, page) in pages() {
            let found = fs::read_to_string(folder.join(name)).unwrap_or_default();
            assert!(found == page, "docs/src/reference/{name} is not what the code says: `just docs` writes it anew");
        }
    }

    /// Commands that the documentation tells people to type are commands that there are.
    #[test]
    fn every_command_of_the_documentation_can_be_typed() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut pages = vec![root.join("README.md"), root.join("specs/README.md"), root.join("reports/README.md")];
        let mut folders = vec![root.join("docs/src")];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
                if path.is_dir() { folders.push(path) } else { pages.push(path) }
            }
        }
        let mut seen = 0;
        for page in pages {
            let text = fs::read_to_string(&page).unwrap();
            for line in text.lines().map(str::trim) {
                let words = words(line);
                // Variables may stand before it.
                let begin = words.iter().position(|word| !word.contains('=')).unwrap_or_default();
                let shown = page.file_name().is_some_and(|name| name == "commands.md");
                if words.get(begin).map(String::as_str) != Some("qa") || shown || line.starts_with("qa run SPEC") {
                    continue;
                }
                seen += 1;
                if let Err(e) = Cli::try_parse_from(&words[begin..]) {
                    panic!("{}: `{line}`: {e}", page.display());
                }
            }
        }
        assert!(seen > 15, "only {seen} commands were found");
    }

    /// A line as a shell cuts it, up to a comment: quotes hold words together, nothing else means anything.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match (c, quote) {
                ('#', None) if word.is_empty() => break,
                (c, Some(open)) if c == open => quote = None,
                ('\'' | '"', None) => quote = Some(c),
                (' ', None) => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
                (c, _) => word.push(c),
            }
        }
        words.extend((!word.is_empty()).then_some(word));
        words
    }

    #[test]
    fn a_cell_stays_in_its_row() {
        assert_eq!(cell("a |\n  b <c> `<d>`"), "a \\| b &lt;c> `<d>`");
    }
}
