//! Model files that lie about.

use super::{Finding, Topic};
use qa_model::Gguf;
use qa_model::inspect::Inspection;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The variable that specifications of this project take a model from.
pub const VARIABLE: &str = "QA_MODEL";

/// How deep below a folder models are looked for: Hugging Face keeps them at `models--*/snapshots/*/`.
const DEPTH: usize = 4;

/// A model file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    modified: SystemTime,
}

/// Model files: the one that `QA_MODEL` names first, then those of this folder and of `models/` in it, then those that
/// llama.cpp and Hugging Face downloaded; the newest of each place first.
pub fn search(folder: &Path) -> Vec<Found> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = variable(VARIABLE).map(|path| folder.join(path));
    let home = variable("HOME");
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
    let hub = variable("HF_HOME").or_else(|| Some(cache.as_ref()?.join("huggingface"))).map(|hf| hf.join("hub"));
    let llama = variable("LLAMA_CACHE").or_else(|| Some(cache.as_ref()?.join("llama.cpp")));
    let places = [(Some(folder.to_owned()), 1), (Some(folder.join("models")), 1), (llama, 1), (hub, DEPTH)];
    search_in(named.as_deref(), &places)
}

fn search_in(named: Option<&Path>, places: &[(Option<PathBuf>, usize)]) -> Vec<Found> {
    let mut all: Vec<Found> = named.and_then(found).into_iter().collect();
    for (place, depth) in places {
        let Some(place) = place else { continue };
        let mut here = Vec::new();
        below(place, *depth, &mut here);
        here.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.path.cmp(&b.path)));
        for model in here {
            if all.iter().all(|other| other.path != model.path) {
                all.push(model);
            }
        }
    }
    all
}

/// Model files in a folder and `depth - 1` levels below.
fn below(folder: &Path, depth: usize, all: &mut Vec<Found>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            if depth > 1 {
                below(&path, depth - 1, all);
            }
        } else if path.extension().is_some_and(|extension| extension == "gguf") && !is_later_part(&path) {
            all.extend(found(&path));
        }
    }
}

/// Whether it is the second or a later file of a model that was split: `...-00002-of-00003.gguf`.
fn is_later_part(path: &Path) -> bool {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((before, _)) = stem.rsplit_once("-of-") else { return false };
    let number: String = before.chars().rev().take_while(char::is_ascii_digit).collect();
    number.chars().rev().collect::<String>().parse::<u32>().is_ok_and(|part| part > 1)
}

fn found(path: &Path) -> Option<Found> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    metadata.is_file().then(|| Found { path: path.to_owned(), bytes: metadata.len(), modified })
}

pub(super) fn examine(folder: &Path) -> Finding {
    judge(&search(folder), std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(|path| folder.join(path)))
}

fn judge(models: &[Found], named: Option<PathBuf>) -> Finding {
    if let Some(named) = named.filter(|named| !named.is_file()) {
        return Finding::missing(
            Topic::Models,
            format!("{VARIABLE} names {}, which is no file", named.display()),
            format!("export {VARIABLE}=FILE.gguf   (or unset it: a synthetic twin is made then)"),
        );
    }
    let Some(first) = models.first() else {
        return Finding::missing(
            Topic::Models,
            "no GGUF file here, in models/, or downloaded by llama.cpp or Hugging Face",
            "huggingface-cli download Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF qwen2.5-coder-0.5b-instruct-q4_k_m.gguf --local-dir .",
        );
    };
    let more = if models.len() > 1 { format!(", and {} more", models.len() - 1) } else { String::new() };
    match Gguf::open(&first.path) {
        Ok(gguf) => Finding::ok(Topic::Models, format!("{}{more}", describe(&first.path, &gguf))),
        Err(problem) => Finding::warning(
            Topic::Models,
            format!("{} cannot be read: {problem}{more}", first.path.display()),
            "download it again: part of the file is probably missing",
        ),
    }
}

/// The file with its architecture and format.
fn describe(path: &Path, gguf: &Gguf) -> String {
    let inspection = Inspection::of(gguf, String::new());
    let architecture = inspection.architecture.as_deref().unwrap_or("unknown architecture");
    let format = inspection.types.first().map(|t| t.dtype.to_string()).unwrap_or_default();
    format!("{} ({}, {format}, {} MB)", path.display(), architecture, inspection.file_bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn models_are_found_where_they_are_put_the_named_one_first() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["here", "hub/models--x/snapshots/1"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in [
            "here/a.gguf",
            "here/notes.txt",
            "hub/models--x/snapshots/1/b.gguf",
            "named.gguf",
            "here/c-00002-of-00002.gguf",
        ] {
            fs::write(at(file), "x").unwrap();
        }
        let places = [(Some(at("here")), 1), (Some(at("hub")), DEPTH), (Some(at("nowhere")), 1), (None, 1)];
        let paths: Vec<PathBuf> = search_in(Some(&at("named.gguf")), &places).into_iter().map(|f| f.path).collect();
        assert_eq!(paths, [at("named.gguf"), at("here/a.gguf"), at("hub/models--x/snapshots/1/b.gguf")]);
        let twice: Vec<Found> = search_in(Some(&at("here/a.gguf")), &places[..1]);
        assert_eq!(twice.len(), 1, "once, though it is named and lies about: {twice:?}");
    }

    #[test]
    fn a_model_that_is_named_and_not_there_or_broken_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let broken = dir.path().join("broken.gguf");
        fs::write(&broken, "GGUF").unwrap();
        assert_eq!(judge(&[], None).state, State::Missing);
        let finding = judge(&[], Some(dir.path().join("nowhere.gguf")));
        assert!(finding.state == State::Missing && finding.found.contains("which is no file"), "{finding:?}");
        let finding = judge(&[found(&broken).unwrap()], None);
        assert!(finding.state == State::Warning && finding.found.contains("broken.gguf"), "{finding:?}");
    }
}
