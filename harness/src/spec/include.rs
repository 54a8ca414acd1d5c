//! Files read, and what they include merged in: definitions and entries of included files come first.

use super::interpolate::{Env, Scope};
use super::matrix::{LISTED, NAMED};
use super::node::{Field, Kind, Node};
use super::parse::{self, Limits};
use super::problem::Problem;
use super::source::{Sources, Span};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The most files of one specification.
const MOST_FILES: usize = 64;

/// Fields that say something about their own file alone: those of an included file are not taken over.
const OWN: [&str; 4] = ["apiVersion", "name", "title", "description"];
/// Lists of prose, which add up.
const PROSE: [&str; 2] = ["risks", "remaining"];

/// Read a file and everything that it includes, as one tree.
///
/// # Errors
/// Everything that keeps files from being read or merged.
pub fn read(path: &Path, sources: &mut Sources, env: Env<'_>) -> Result<Node, Vec<Problem>> {
    let mut reader = Reader { sources, env, open: Vec::new(), done: HashSet::new(), problems: Vec::new() };
    let root = reader.file(path, Path::new(""), None);
    match root {
        Some(root) if reader.problems.is_empty() => Ok(root),
        _ => Err(reader.problems),
    }
}

struct Reader<'a> {
    sources: &'a mut Sources,
    env: Env<'a>,
    /// Files that are being read, each included by the one before.
    open: Vec<PathBuf>,
    /// Files that were read: one that is included along two ways is merged once.
    done: HashSet<PathBuf>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// The merged tree of a file; `None` when there is none, or it was merged before. `folder` is the file's, relative to
    /// the root file's; `asked` is where it is included.
    fn file(&mut self, path: &Path, folder: &Path, asked: Option<Span>) -> Option<Node> {
        let text = match text_of(path, asked.is_some()) {
            Ok(text) => text,
            Err(why) => {
                let message = format!("cannot read `{}`: {why}", path.display());
                let span = asked.unwrap_or_else(|| {
                    let source = self.sources.add_argument("", "");
                    Span { source, start: 0, end: 0 }
                });
                let help = Some(match asked {
                    Some(_) => "an included path is relative to the file that includes it".to_owned(),
                    None => "`qa list specs` lists those that are here, and `qa init` writes a first one".to_owned(),
                });
                self.problems.push(Problem::new(span, message, "included here").help_if(help));
                return None;
            }
        };
        let identity = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let (Some(span), true) = (asked, self.open.contains(&identity)) {
            let ring: Vec<String> = self.open.iter().map(|file| file_name(file)).collect();
            let message = format!("`{}` includes itself", file_name(&identity));
            let problem = Problem::new(span, message, "this include closes a ring");
            self.problems.push(problem.help(format!("the ring: {} -> {}", ring.join(" -> "), file_name(&identity))));
            return None;
        }
        if !self.done.insert(identity.clone()) {
            return None;
        }
        if self.done.len() > MOST_FILES {
            let message = format!("more than {MOST_FILES} files are included");
            self.problems.push(Problem::new(asked.unwrap_or_default(), message, "one too many"));
            return None;
        }
        let source = self.sources.add_file(path, folder.to_owned(), text.clone());
        let mut own = match parse::parse(&text, source, Limits::WRITTEN) {
            Ok(tree) => tree,
            Err(problem) => {
                self.problems.push(problem);
                return None;
            }
        };
        if !matches!(own.kind, Kind::Map(_)) {
            let problem = Problem::new(own.span, format!("a specification is a map, not {}", own.kind.words()), "here");
            self.problems.push(problem.help("it begins with `apiVersion: qa/v1`"));
            return None;
        }
        let mut merged = Node::empty_map(own.span);
        if let Some(include) = own.remove("include") {
            self.open.push(identity);
            let parent = path.parent().unwrap_or(Path::new("")).to_owned();
            for (target, span) in self.targets(include) {
                if let Some(tree) = self.file(&parent.join(&target), &folder.join(parent_of(&target)), Some(span)) {
                    self.merge(&mut merged, tree, false);
                }
            }
            self.open.pop();
        }
        self.merge(&mut merged, own, true);
        Some(merged)
    }

    fn targets(&mut self, include: Field) -> Vec<(PathBuf, Span)> {
        let mut include = include.value;
        if let Err(problem) = Scope::of_env(self.env, self.sources).apply(&mut include) {
            self.problems.push(problem);
            return Vec::new();
        }
        let Kind::List(items) = include.kind else {
            let label = format!("expected a list, found {}", include.kind.words());
            let problem = Problem::new(include.span, "`include` is a list of files", label);
            self.problems.push(problem.help("write `include: [other.yaml]`"));
            return Vec::new();
        };
        let mut targets = Vec::new();
        for item in items {
            if let Some(path) = item.as_text() {
                targets.push((PathBuf::from(path), item.span));
            } else {
                let label = format!("expected a path, found {}", item.kind.words());
                self.problems.push(Problem::new(item.span, "`include` is a list of files", label));
            }
        }
        targets
    }

    /// Put the fields of `from` behind what `into` has. `own`: it is the including file.
    fn merge(&mut self, into: &mut Node, from: Node, own: bool) {
        let Kind::Map(fields) = from.kind else { return };
        for field in fields {
            let name = field.name.as_str();
            if OWN.contains(&name) && !own {
                continue;
            }
            match into.get_mut(name) {
                None => into.fields_mut().into_iter().for_each(|fields| fields.push(field.clone())),
                Some(before) => match (&mut before.kind, field.value.kind) {
                    (Kind::Map(before), Kind::Map(after)) if NAMED.contains(&name) => {
                        self.problems.extend(append(before, after, name, self.sources));
                    }
                    (Kind::List(before), Kind::List(after)) if LISTED.contains(&name) || PROSE.contains(&name) => {
                        before.extend(after);
                    }
                    (_, Kind::Null) if NAMED.contains(&name) || LISTED.contains(&name) => {}
                    _ => {
                        let first = self.sources.get(before.span.source).map_or("", |source| source.named.name());
                        let message = format!("`{name}` is already given by an included file");
                        self.problems.push(
                            Problem::new(field.name_span, message, "again here")
                                .help(format!("it is given in {first}; only one file may give it")),
                        );
                    }
                },
            }
        }
    }
}

/// Definitions that two files give are refused: which of them holds must not depend on the order of files.
fn append(before: &mut Vec<Field>, after: Vec<Field>, section: &str, sources: &Sources) -> Vec<Problem> {
    let mut problems = Vec::new();
    for field in after {
        if let Some(first) = before.iter().find(|known| known.name == field.name) {
            let file = sources.get(first.name_span.source).map_or("", |source| source.named.name());
            let (line, _) = sources.line_column(first.name_span);
            let message = format!("`{}` is given twice in `{section}`", field.name);
            let problem = Problem::new(field.name_span, message, "again here");
            problems.push(problem.help(format!("it is first given in {file}, line {line}; rename one of the two")));
        } else {
            before.push(field);
        }
    }
    problems
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// A file's text, of which no more is read than a specification may have. `included`: by another file, which may name
/// anything; what the user names may be a pipe.
fn text_of(path: &Path, included: bool) -> Result<String, String> {
    if included && !path.metadata().map_err(|error| error.to_string())?.is_file() {
        return Err("it is not a plain file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(Limits::WRITTEN.bytes as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())
}
