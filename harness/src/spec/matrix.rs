//! Matrices: one entry for each combination of values. Also the place where references are replaced, since an entry's own
//! are only known here.

use super::interpolate::{Env, Scope};
use super::node::{Field, Kind, Node};
use super::problem::Problem;
use super::source::{Sources, Span};
use std::collections::HashMap;

/// The most combinations of one matrix.
const MOST_COMBINATIONS: usize = 10_000;
/// The most entries after expansion.
const MOST_ENTRIES: usize = 50_000;

/// Sections whose entries are named by their key.
pub const NAMED: [&str; 3] = ["models", "workloads", "arms"];
/// Sections whose entries are named by their `id`.
pub const LISTED: [&str; 2] = ["checkpoints", "acceptance"];

/// Replace every reference, and every entry that has a matrix by its combinations.
///
/// # Errors
/// Every reference that stands for nothing, every matrix that cannot be expanded.
pub fn expand(root: &mut Node, env: Env<'_>, sources: &Sources) -> Result<(), Vec<Problem>> {
    let mut expansion = Expansion { env, sources, problems: Vec::new(), entries: 0 };
    for field in root.fields_mut().into_iter().flatten() {
        match &mut field.value.kind {
            Kind::Map(entries) if NAMED.contains(&field.name.as_str()) => {
                *entries = expansion.named(std::mem::take(entries));
            }
            Kind::List(entries) if LISTED.contains(&field.name.as_str()) => {
                *entries = expansion.listed(std::mem::take(entries));
            }
            _ => expansion.plain(&mut field.value),
        }
    }
    if expansion.problems.is_empty() { Ok(()) } else { Err(expansion.problems) }
}

struct Expansion<'a> {
    env: Env<'a>,
    sources: &'a Sources,
    problems: Vec<Problem>,
    entries: usize,
}

impl Expansion<'_> {
    fn plain(&mut self, node: &mut Node) {
        self.problems.extend(Scope::of_env(self.env, self.sources).apply(node).err());
    }

    /// What `make` makes without a matrix: one, or none when it cannot.
    fn once<T>(&mut self, make: impl Fn(&Scope<'_>) -> Result<T, Problem>) -> Vec<T> {
        self.entries += 1;
        match make(&Scope::of_env(self.env, self.sources)) {
            Ok(made) => vec![made],
            Err(problem) => {
                self.problems.push(problem);
                Vec::new()
            }
        }
    }

    fn named(&mut self, entries: Vec<Field>) -> Vec<Field> {
        let mut all: Vec<Field> = Vec::new();
        // The names that are taken, each with the place of the entry that took it.
        let mut taken: HashMap<String, Span> = HashMap::new();
        for mut entry in entries {
            let span = entry.name_span;
            let matrix = entry.value.remove("matrix");
            let filled = |scope: &Scope<'_>| {
                let mut field = entry.clone();
                field.name = scope.fill(&entry.name, entry.name_span)?.value;
                scope.apply(&mut field.value)?;
                Ok(field)
            };
            let made = match matrix {
                Some(matrix) => self.combinations(&matrix.value, matrix.name_span, filled),
                None => self.once(filled),
            };
            for field in made {
                if let Some(first) = taken.insert(field.name.clone(), span) {
                    self.problems.push(collision(&field.name, span, first == span));
                } else {
                    all.push(field);
                }
            }
        }
        all
    }

    fn listed(&mut self, entries: Vec<Node>) -> Vec<Node> {
        let mut all = Vec::new();
        for mut entry in entries {
            let matrix = entry.remove("matrix");
            let filled = |scope: &Scope<'_>| {
                let mut node = entry.clone();
                scope.apply(&mut node)?;
                Ok(node)
            };
            let Some(matrix) = matrix else {
                all.extend(self.once(filled));
                continue;
            };
            let made = self.combinations(&matrix.value, matrix.name_span, filled);
            let mut ids: Vec<&str> = made.iter().filter_map(|node| node.get("id")?.as_text()).collect();
            ids.sort_unstable();
            if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
                let span = entry.get("id").map_or(entry.span, |id| id.span);
                self.problems.push(collision(twice[0], span, true));
            }
            all.extend(made);
        }
        all
    }

    /// What `make` makes of every combination of a matrix; the first variable changes slowest.
    fn combinations<T>(
        &mut self,
        matrix: &Node,
        name_span: Span,
        make: impl Fn(&Scope<'_>) -> Result<T, Problem>,
    ) -> Vec<T> {
        let mut matrix = matrix.clone();
        let problem = Scope::of_env(self.env, self.sources).apply(&mut matrix).err();
        if let Some(problem) = problem.or_else(|| malformed(&matrix, name_span, self.entries)) {
            self.problems.push(problem);
            return Vec::new();
        }
        let variables = matrix.fields();
        let count: usize = variables.iter().map(|variable| variable.value.items().len()).product();
        self.entries += count;
        let mut made = Vec::with_capacity(count);
        for mut number in 0..count {
            let mut combination: Vec<(&str, &Node)> = Vec::with_capacity(variables.len());
            for variable in variables.iter().rev() {
                let values = variable.value.items();
                combination.push((&variable.name, &values[number % values.len()]));
                number /= values.len();
            }
            let scope = Scope { matrix: Some(combination), ..Scope::of_env(self.env, self.sources) };
            match make(&scope) {
                Ok(value) => made.push(value),
                Err(problem) => {
                    self.problems.push(problem);
                    return made;
                }
            }
            let unused: Vec<_> = variables.iter().filter(|v| !scope.used.borrow().contains(&v.name)).collect();
            if !unused.is_empty() {
                self.problems.extend(unused.into_iter().map(|variable| {
                    let message = format!("the matrix variable `{}` is never used", variable.name);
                    Problem::new(variable.name_span, message, "not used")
                        .help(format!("use it as `${{matrix.{}}}` in this entry, or remove it", variable.name))
                }));
                return made;
            }
        }
        made
    }
}

fn malformed(matrix: &Node, name_span: Span, so_far: usize) -> Option<Problem> {
    const HELP: &str = "write `matrix: { name: [first, second] }`";
    let Kind::Map(variables) = &matrix.kind else {
        let label = format!("expected lists by name, found {}", matrix.kind.words());
        return Some(Problem::new(name_span, "a matrix is a map", label).help(HELP));
    };
    if variables.is_empty() {
        return Some(Problem::new(name_span, "the matrix has no variables", "empty").help(HELP));
    }
    for variable in variables {
        let message = format!("the matrix variable `{}` has no values", variable.name);
        match &variable.value.kind {
            Kind::List(values) if values.is_empty() => {
                return Some(Problem::new(variable.name_span, message, "an empty list").help(HELP));
            }
            Kind::List(_) => {}
            other => {
                let label = format!("expected a list, found {}", other.words());
                return Some(Problem::new(variable.name_span, message, label).help(HELP));
            }
        }
    }
    let count = variables.iter().try_fold(1_usize, |product, v| product.checked_mul(v.value.items().len()));
    let fits = count.is_some_and(|count| count <= MOST_COMBINATIONS && so_far + count <= MOST_ENTRIES);
    (!fits).then(|| {
        let words = count.map_or_else(|| "more than can be counted".to_owned(), |count| count.to_string());
        let message = format!("the matrix has {words} combinations");
        let label = format!("at most {MOST_COMBINATIONS} in one matrix, and {MOST_ENTRIES} entries in all");
        Problem::new(name_span, message, label)
    })
}

fn collision(name: &str, span: Span, within_one: bool) -> Problem {
    let problem = Problem::new(span, format!("two entries would be called `{name}`"), "this name");
    if within_one {
        problem.help("use every variable of the matrix in the name, as `${matrix.name}`")
    } else {
        problem.help("one of them comes out of a matrix or a variable; rename the other")
    }
}
