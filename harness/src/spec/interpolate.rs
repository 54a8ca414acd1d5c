//! `${VAR}`, `${VAR:-default}` and `${matrix.name}`, replaced in scalars after parsing: what is put in can never become
//! structure. What was put in is not read again.

use super::node::{Kind, Node, Text};
use super::problem::{Problem, shown, suggest};
use super::source::{Sources, Span};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The longest name of an environment variable, in bytes.
const LONGEST_NAME: usize = 200;

/// Looks an environment variable up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What names stand for.
pub struct Scope<'a> {
    /// Environment variables.
    pub env: Env<'a>,
    /// One combination of a matrix; `None` where there is no matrix.
    pub matrix: Option<Vec<(&'a str, &'a Node)>>,
    /// For the excerpt of a problem.
    pub sources: &'a Sources,
    /// Matrix variables that were used.
    pub used: RefCell<BTreeSet<String>>,
}

impl<'a> Scope<'a> {
    /// A scope without a matrix.
    pub fn of_env(env: Env<'a>, sources: &'a Sources) -> Self {
        Self { env, matrix: None, sources, used: RefCell::default() }
    }

    /// Replace what stands in a node and below it. Names of maps stay.
    ///
    /// # Errors
    /// Where a reference is malformed, or stands for nothing.
    pub fn apply(&self, node: &mut Node) -> Result<(), Problem> {
        match &mut node.kind {
            Kind::List(items) => items.iter_mut().try_for_each(|item| self.apply(item)),
            Kind::Map(fields) => fields.iter_mut().try_for_each(|field| self.apply(&mut field.value)),
            _ => self.apply_to_scalar(node),
        }
    }

    fn apply_to_scalar(&self, node: &mut Node) -> Result<(), Problem> {
        let Kind::Text(text) = &node.kind else { return Ok(()) };
        if !text.value.contains("${") {
            return Ok(());
        }
        if let Some(value) = self.whole(&text.value) {
            node.kind = value.kind.clone();
            return Ok(());
        }
        let filled = self.fill(&text.value, node.span)?;
        let text = Text { from_outside: filled.from_outside || text.from_outside, ..filled };
        node.kind = Kind::Text(text);
        Ok(())
    }

    /// The value of a matrix variable that is all of a scalar, when it is a list or a map.
    fn whole(&self, text: &str) -> Option<&'a Node> {
        let name = text.strip_prefix("${matrix.")?.strip_suffix('}')?;
        let (_, value) = self.matrix.as_ref()?.iter().find(|(known, _)| *known == name)?;
        if !matches!(value.kind, Kind::List(_) | Kind::Map(_)) {
            return None;
        }
        self.used.borrow_mut().insert(name.to_owned());
        Some(value)
    }

    /// A text with its references replaced.
    ///
    /// # Errors
    /// Where a reference is malformed, or stands for nothing.
    pub fn fill(&self, text: &str, span: Span) -> Result<Text, Problem> {
        let mut out = Text { value: String::with_capacity(text.len()), substituted: false, from_outside: false };
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if at > 0 && rest[..at].ends_with('$') {
                out.value.push_str(&rest[..at - 1]);
                out.value.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.value.push_str(&rest[..at]);
            let Some(length) = rest[at..].find('}') else {
                let here = self.narrow(span, &rest[at..]);
                let problem = Problem::new(here, "`${` is never closed", "expected a `}`");
                return Err(problem.help("`$${` stands for `${` itself"));
            };
            let reference = &rest[at..=at + length];
            let (value, from_env) = self.value(reference, self.narrow(span, reference))?;
            out.from_outside |= from_env && out.value.is_empty();
            out.substituted = true;
            out.value.push_str(&value);
            rest = &rest[at + length + 1..];
        }
        out.value.push_str(rest);
        Ok(out)
    }

    /// What `${...}` stands for, and whether that came from the environment.
    fn value(&self, reference: &str, span: Span) -> Result<(String, bool), Problem> {
        let inner = &reference[2..reference.len() - 1];
        if let Some(name) = inner.strip_prefix("matrix.") {
            return self.matrix_value(name, span).map(|value| (value, false));
        }
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let spelled = !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit());
        if !spelled || name.len() > LONGEST_NAME {
            let problem = Problem::new(span, format!("{} is not a reference", shown(reference)), "not understood");
            return Err(
                problem.help("write `${NAME}`, `${NAME:-default}` or `${matrix.name}`; `$${` stands for `${` itself")
            );
        }
        match ((self.env)(name).filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => Ok((value, true)),
            (None, Some(default)) => Ok((default.to_owned(), false)),
            (None, None) => {
                let problem = Problem::new(span, format!("the environment variable `{name}` is not set"), "not set");
                Err(problem.help(format!("set it (`{name}=... qa ...`), or give a default: `${{{name}:-...}}`")))
            }
        }
    }

    fn matrix_value(&self, name: &str, span: Span) -> Result<String, Problem> {
        let Some(matrix) = &self.matrix else {
            let message = format!("{} stands outside of a matrix", shown(&format!("${{matrix.{name}}}")));
            let problem = Problem::new(span, message, "no matrix here");
            return Err(problem.help("add a `matrix` to this model, workload, arm or entry; only these have one"));
        };
        let Some((_, value)) = matrix.iter().find(|(known, _)| *known == name) else {
            let problem = Problem::new(span, format!("the matrix has no variable {}", shown(name)), "no such variable");
            return Err(problem.help(suggest(name, matrix.iter().map(|(known, _)| *known), "its variables")));
        };
        self.used.borrow_mut().insert(name.to_owned());
        match &value.kind {
            Kind::Text(text) => Ok(text.value.clone()),
            Kind::Number(number) => Ok(number.to_string()),
            Kind::Bool(value) => Ok(value.to_string()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                let what = value.kind.words();
                let problem = Problem::new(span, format!("{what} cannot be part of a text"), "this variable");
                Err(problem.help("a list or map can only be the whole value of a field"))
            }
        }
    }

    /// Where `part` stands within a span, when it stands there as it is.
    fn narrow(&self, span: Span, part: &str) -> Span {
        let text = self.sources.get(span.source).map_or("", |source| source.text());
        let covered = text.get(span.start as usize..span.end as usize).unwrap_or_default();
        covered.find(part).map_or(span, |at| {
            let start = span.start + at as u32;
            Span { start, end: start + part.len() as u32, ..span }
        })
    }
}

/// A text that [`Scope::fill`] leaves as it was.
pub fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, String> {
        let env = |name: &str| match name {
            "HOME_DIR" => Some("/home/me".to_owned()),
            "EMPTY" => Some(String::new()),
            "SLY" => Some("${HOME_DIR}".to_owned()),
            _ => None,
        };
        let sources = Sources::default();
        Scope::of_env(&env, &sources).fill(text, Span::default()).map(|text| text.value).map_err(|p| p.message)
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${HOME_DIR}/x", "/home/me/x"),
            ("a ${HOME_DIR} b ${HOME_DIR}", "a /home/me b /home/me"),
            ("${NONE:-fallback}", "fallback"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${EMPTY:-fallback}", "fallback"),
            ("${EMPTY}", ""),
            ("${SLY}", "${HOME_DIR}"),
            ("$${HOME_DIR}", "${HOME_DIR}"),
            ("$HOME_DIR $$ $", "$HOME_DIR $$ $"),
            ("größe ${NONE:-ä}", "größe ä"),
        ] {
            assert_eq!(fill(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("${NONE}", "the environment variable `NONE` is not set"),
            ("${NONE", "`${` is never closed"),
            ("${}", "`${}` is not a reference"),
            ("${1A}", "`${1A}` is not a reference"),
            ("${NONE-x}", "`${NONE-x}` is not a reference"),
            ("${matrix.x}", "`${matrix.x}` stands outside of a matrix"),
        ] {
            assert_eq!(fill(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn escaping_is_undone_by_filling() {
        for text in ["${A}", "$${A}", "$$${A}", "${", "a$", "$${", "${${"] {
            assert_eq!(fill(&escape(text)).as_deref(), Ok(text), "{text}");
        }
    }
}
