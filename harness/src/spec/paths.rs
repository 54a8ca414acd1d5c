//! Paths in a specification: relative to the file that says them, or to the working directory when they come from the
//! environment or the command line. Afterwards every relative one is relative to the root file's folder.

use super::matrix::LISTED;
use super::node::{Kind, Node};
use super::source::Sources;
use crate::fetch::is_name;
use std::path::{Path, PathBuf, absolute};

/// A text that is no path: the embedded one.
pub const HELDOUT: &str = "heldout";

/// Rewrite every path of a tree.
pub fn rebase(root: &mut Node, sources: &Sources) {
    for (section, field) in [("models", "path"), ("workloads", "text")] {
        for entry in root.get_mut(section).and_then(Node::fields_mut).into_iter().flatten() {
            if let Some(node) = entry.value.get_mut(field) {
                rebase_one(node, sources);
            }
        }
    }
    for arm in root.get_mut("arms").and_then(Node::fields_mut).into_iter().flatten() {
        if let Some(node) = arm.value.get_mut("programs") {
            rebase_one(node, sources);
        }
        // A program of another name is found through `PATH`.
        let Some(Kind::List(words)) = arm.value.get_mut("command").map(|node| &mut node.kind) else { continue };
        for word in words
            .iter_mut()
            .filter(|word| word.as_text().is_some_and(|text| text.starts_with("./") || text.starts_with("../")))
        {
            rebase_one(word, sources);
        }
    }
    for section in LISTED {
        let Some(Kind::List(entries)) = root.get_mut(section).map(|node| &mut node.kind) else { continue };
        for entry in entries {
            let text = entry.get_mut("correct").and_then(|check| check.get_mut("text"));
            if let Some(node) = text {
                rebase_one(node, sources);
            }
        }
    }
}

fn rebase_one(node: &mut Node, sources: &Sources) {
    let folder = sources.get(node.span.source).and_then(|source| source.folder.clone());
    let Kind::Text(text) = &mut node.kind else { return };
    if text.value.is_empty() || text.value == HELDOUT || is_name(&text.value) || Path::new(&text.value).is_absolute() {
        return;
    }
    let moved: PathBuf = match folder.filter(|_| !text.from_outside) {
        Some(folder) => folder.join(&text.value),
        None => absolute(&text.value).unwrap_or_else(|_| PathBuf::from(&text.value)),
    };
    if let Ok(moved) = moved.into_os_string().into_string() {
        text.value = moved;
    }
}
