//! What is wrong with a specification: collected with places in files, shown with excerpts.

use super::source::{Sources, Span};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity, SourceCode};
use std::fmt;
use std::sync::Arc;

/// Something wrong, before it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// One sentence.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What stands beside the excerpt: what was expected there.
    pub label: String,
    /// What would mend it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { message: message.into(), span, label: label.into(), help: None }
    }

    /// What would mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What would mend it, when something is known.
    #[must_use]
    pub fn help_if(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// The known name nearest to a wrong one, when it is near enough to be a slip: a third of its letters differ at most, or
/// one of the two is the beginning of the other.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const BEGINNING: usize = 3;
    const LONGEST: usize = 200;
    if wrong.len() > LONGEST {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let right = name.to_lowercase();
        let distance = strsim::damerau_levenshtein(&wrong, &right);
        let longest = right.chars().count().max(wrong.chars().count());
        let beginning =
            wrong.len().min(right.len()) >= BEGINNING && (right.starts_with(&wrong) || wrong.starts_with(&right));
        let near = beginning || distance <= (longest / 3).max(1);
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// A text of the file for a message: the beginning of a long one.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// Names for a message: `a`, `b` and `c`; the first dozen of many.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 24;
    let names: Vec<&str> = names.into_iter().collect();
    let quoted: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match (quoted.as_slice(), names.len()) {
        ([], _) => "none".to_owned(),
        (_, n) if n > SHOWN => format!("{} and {} more", quoted.join(", "), n - SHOWN),
        ([one], _) => one.clone(),
        ([first @ .., last], _) => format!("{} and {last}", first.join(", ")),
    }
}

/// "did you mean `x`?" or what there is.
pub fn suggest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str> + Clone, what: &str) -> String {
    match nearest(wrong, known.clone()) {
        Some(name) => format!("did you mean `{name}`? {what}: {}", list(known)),
        None => format!("{what}: {}", list(known)),
    }
}

/// One thing that is wrong with a specification, ready to be shown.
#[derive(Clone, Debug)]
pub struct SpecError {
    /// One sentence.
    pub message: String,
    /// The file, as the user would type it, or `--set`.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What would mend it.
    pub help: Option<String>,
    label: LabeledSpan,
    source: Option<Arc<NamedSource<String>>>,
    severity: Severity,
}

impl SpecError {
    pub(super) fn new(problem: Problem, sources: &Sources, severity: Severity) -> Self {
        let source = sources.get(problem.span.source).map(|source| source.named.clone());
        let (line, column) = sources.line_column(problem.span);
        let (span, _) = problem.span.first_line(sources);
        let length = (span.end - span.start) as usize;
        let label = LabeledSpan::new_primary_with_span(Some(problem.label), (span.start as usize, length));
        let file = source.as_ref().map_or_else(String::new, |source| source.name().to_owned());
        let source = source.filter(|_| excerpt_fits(sources, problem.span));
        Self { message: problem.message, file, line, column, help: problem.help, label, source, severity }
    }
}

/// Whether the lines about a place are worth showing: there are some, and none is endless.
fn excerpt_fits(sources: &Sources, span: Span) -> bool {
    const LONGEST_LINE: usize = 500;
    let text = sources.get(span.source).map_or("", |source| source.text());
    let (line, _) = sources.line_column(span);
    let about = text.lines().skip(line.saturating_sub(2)).take(3);
    !text.is_empty() && about.clone().all(|line| line.len() <= LONGEST_LINE)
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without an excerpt, which would name it, the place stands before the words.
        if self.source.is_none() && !self.file.is_empty() {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for SpecError {}

impl Diagnostic for SpecError {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(self.label.clone())))
    }
}

/// The most errors that are reported: whoever has more has one cause.
const MOST_SHOWN: usize = 100;

/// Everything that is wrong with a specification. Never empty.
#[derive(Clone, Debug)]
pub struct SpecErrors {
    /// In the order of the files; the first hundred.
    pub errors: Vec<SpecError>,
    /// How many more there are.
    pub omitted: usize,
}

impl SpecErrors {
    pub(super) fn new(problems: Vec<Problem>, sources: &Sources) -> Self {
        let mut errors = diagnostics(problems, sources, Severity::Error);
        let omitted = errors.len().saturating_sub(MOST_SHOWN);
        errors.truncate(MOST_SHOWN);
        Self { errors, omitted }
    }
}

/// Problems as diagnostics: each once, in the order of the files.
pub(super) fn diagnostics(mut problems: Vec<Problem>, sources: &Sources, severity: Severity) -> Vec<SpecError> {
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    problems.sort_by_key(|problem| problem.span);
    problems.into_iter().map(|problem| SpecError::new(problem, sources, severity)).collect()
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{}:{}: {}", error.file, error.line, error.column, error.message)?;
            if let Some(help) = &error.help {
                write!(f, " ({help})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for SpecErrors {}

/// Diagnostics as a terminal shows them, one below the other, `width` columns wide.
pub fn render(diagnostics: &[SpecError], width: usize, color: bool) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let mut out = String::new();
    for (number, diagnostic) in diagnostics.iter().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        // Writing to a string fails only where the excerpt cannot be read; the plain words remain.
        if handler.render_report(&mut out, diagnostic).is_err() {
            out.push_str(&diagnostic.message);
            out.push('\n');
        }
    }
    out
}
