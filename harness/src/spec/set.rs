//! `--set path=value`: a value from the command line in the place of one in the file, or in one that the file leaves out.

use super::matrix::{LISTED, NAMED};
use super::node::{Field, Kind, Node};
use super::parse::{self, Limits};
use super::problem::{Problem, suggest};
use super::source::{Sources, Span};

/// Apply one argument, such as `sampling.iterations=3`, `arms.llama.cpp.gpu_layers=0` or `acceptance.POINT-41.required=false`.
///
/// A name that the file chooses (of a model, workload or arm, or an entry's id) must exist; a field may be new, and is
/// then judged like any other.
///
/// # Errors
/// When it has no `=`, names what does not exist, or its value is no YAML.
pub fn apply(root: &mut Node, argument: &str, sources: &mut Sources) -> Result<(), Problem> {
    let source = sources.add_argument("--set", argument);
    let whole = Span { source, start: 0, end: argument.len() as u32 };
    let Some((path, value)) = argument.split_once('=') else {
        let problem = Problem::new(whole, "`--set` needs a path and a value", "there is no `=`");
        return Err(problem.help("write `--set sampling.iterations=3`"));
    };
    let path_span = Span { end: path.len() as u32, ..whole };
    let mut value = if value.trim().is_empty() {
        Node::text(value.trim(), whole)
    } else {
        parse::parse(value, source, Limits::WRITTEN)?
    };
    let offset = path.len() as u32 + 1;
    value.walk_mut(&mut |node| {
        node.span = Span { source, start: node.span.start + offset, end: node.span.end + offset };
        if let Kind::Text(text) = &mut node.kind {
            text.from_outside = true;
        }
    });
    place(root, path, path_span, 0, value)
}

fn place(here: &mut Node, path: &str, span: Span, depth: usize, value: Node) -> Result<(), Problem> {
    if path.is_empty() {
        let problem = Problem::new(span, "`--set` has an empty name in its path", "in this path");
        return Err(problem.help("write `--set sampling.iterations=3`"));
    }
    let must_exist = depth == 1;
    match &mut here.kind {
        Kind::List(_) if depth != 1 => {
            let problem = Problem::new(span, "`--set` cannot change one item of a list", "in this path");
            Err(problem.help("set the whole list: `--set arms.best.optimizations=[graph]`"))
        }
        Kind::List(entries) => {
            let id = |entry: &Node| entry.get("id").and_then(Node::as_text).map(str::to_owned);
            let ids: Vec<String> = entries.iter().filter_map(id).collect();
            let Some((name, rest)) = known_prefix(path, ids.iter().map(String::as_str)) else {
                return Err(unknown(path, span, ids.iter().map(String::as_str)));
            };
            let found = entries.iter_mut().find(|entry| id(entry).as_deref() == Some(name));
            match (found, rest) {
                (Some(entry), Some(rest)) => place(entry, rest, span, depth + 1, value),
                (Some(entry), None) => {
                    *entry = value;
                    Ok(())
                }
                (None, _) => Err(unknown(path, span, ids.iter().map(String::as_str))),
            }
        }
        Kind::Map(fields) => {
            let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
            let (name, rest) = match known_prefix(path, names.iter().map(String::as_str)) {
                Some(found) => found,
                None if must_exist => return Err(unknown(path, span, names.iter().map(String::as_str))),
                None => path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest))),
            };
            let index = fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
                fields.push(Field { name: name.to_owned(), name_span: span, value: Node::empty_map(span) });
                fields.len() - 1
            });
            // Only the entries of a section of definitions are names that the file chose.
            let chosen = depth == 0 && (NAMED.contains(&name) || LISTED.contains(&name));
            let field = &mut fields[index];
            if let Some(rest) = rest {
                return place(&mut field.value, rest, span, if chosen { 1 } else { depth + 2 }, value);
            }
            field.name_span = span;
            field.value = value;
            Ok(())
        }
        other => {
            let message = format!("`--set` leads into {}", other.words());
            let problem = Problem::new(span, message, format!("`{path}` is not within it"));
            Err(problem.help("set the whole value, or check the path"))
        }
    }
}

/// The longest of `names` with which a path begins, and what follows: names may hold dots, as `llama.cpp` does.
fn known_prefix<'a>(path: &'a str, names: impl Iterator<Item = &'a str>) -> Option<(&'a str, Option<&'a str>)> {
    names
        .filter_map(|name| match path.strip_prefix(name)? {
            "" => Some((name, None)),
            rest => Some((name, Some(rest.strip_prefix('.')?))),
        })
        .max_by_key(|(name, _)| name.len())
}

fn unknown<'a>(path: &str, span: Span, names: impl Iterator<Item = &'a str> + Clone) -> Problem {
    let wrong = path.split_once('.').map_or(path, |(first, _)| first);
    let problem = Problem::new(span, format!("there is no `{wrong}` to set"), "in this path");
    problem.help(suggest(wrong, names, "there are"))
}
