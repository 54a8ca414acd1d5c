//! The specification from file to rules: what is accepted, what is refused and in which words.

mod ablation;
mod book;
mod context;
mod files;
mod hostile;
mod load;
mod page_cache;
mod refused;
mod substituted;
mod trust;

use super::{LoadOptions, Loaded, SpecErrors, load, render};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A small specification that is right.
pub(super) const BASE: &str = "\
apiVersion: qa/v1
name: base
models:
  tiny: { embedded: tiny-coder }
workloads:
  decode: { prompt_tokens: 8, generate_tokens: 16 }
arms:
  cached: { backend: reference, model: tiny }
  uncached: { backend: reference, model: tiny, kv_cache: false }
sampling: { blocks: 6, iterations: 5 }
acceptance:
  - id: FAST
    title: The cache pays
    require: { metric: decode_rate, of: cached, over: uncached, at_least: 2 }
";

/// Every specification of the repository.
pub(super) fn every_spec() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = Vec::new();
    for folder in ["specs", "specs/selftest", "backends/examples"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|file| file.unwrap().path());
        all.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")));
    }
    all.sort();
    assert!(all.len() > 10, "the specifications of the repository are missing: {all:?}");
    all
}

/// A folder of files, the first being the specification, gone when dropped.
struct Files {
    folder: TempDir,
    first: String,
}

impl Files {
    fn of(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { folder, first: files[0].0.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.first)
    }

    fn load(&self, sets: &[&str], env: &[(&str, &str)]) -> Result<Loaded, SpecErrors> {
        let lookup = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        load(&self.path(), &LoadOptions { sets, env: &lookup })
    }

    /// What a terminal of 100 columns shows of the errors, without this machine's folder.
    fn errors(&self, sets: &[&str], env: &[(&str, &str)]) -> (Vec<String>, String) {
        let errors = self.load(sets, env).expect_err("the specification must be refused").errors;
        let here = format!("{}/", self.folder.path().display());
        let shown = render(&errors, 100, false).replace(&here, "");
        (errors.into_iter().map(|error| error.message.replace(&here, "")).collect(), shown)
    }
}

/// What is said of a text with one place of it changed: messages, and what a terminal shows of them.
fn changed(base: &str, from: &str, to: &str) -> (Vec<String>, String) {
    assert_eq!(base.matches(from).count(), 1, "`{from}` must stand once in the base");
    Files::of(&[("spec.yaml", &base.replacen(from, to, 1))]).errors(&[], &[])
}

/// Each change is refused in words of which these are a part.
fn refuses(base: &str, rows: &[(&str, &str, &str)]) {
    for (from, to, expected) in rows {
        let (messages, shown) = changed(base, from, to);
        let said = messages.iter().any(|message| message.contains(expected));
        assert!(said, "{expected:?} is not in {messages:?}\n{shown}");
    }
}

fn loaded(text: &str) -> Loaded {
    Files::of(&[("spec.yaml", text)]).load(&[], &[]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Compare with the committed text of a name, whatever the crate is called.
fn snapshot(name: &str, shown: &str) {
    let folder = Path::new("snapshots");
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => folder, omit_expression => true }, {
        insta::assert_snapshot!(name, shown);
    });
}

/// What a terminal shows of many specifications, for one snapshot.
#[derive(Default)]
struct Shown(String);

impl Shown {
    fn add(&mut self, what: &str, shown: &str) {
        self.0.extend(["-------- ", what, "\n", shown, "\n"]);
    }

    fn snapshot(&self, name: &str) {
        snapshot(name, &self.0);
    }
}

#[test]
fn the_base_is_right() {
    let base = loaded(BASE);
    assert!(base.warnings.is_empty(), "{:?}", base.warnings);
    assert_eq!(base.spec.arms["uncached"].options["kv_cache"], serde_json::json!(false));
    let (file, line, column) = base.place_of("FAST").unwrap();
    assert!(file.ends_with("spec.yaml"));
    assert_eq!((line, column), (12, 9));
}
