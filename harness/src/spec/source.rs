//! Where text came from: the files of a specification and the command line's `--set`, and places in them.

use miette::NamedSource;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A text that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// As messages name it: the path as the user would type it, or `--set`.
    pub named: Arc<NamedSource<String>>,
    /// The folder that paths written in it are relative to, itself relative to the folder of the root file. `None` for
    /// the command line, whose paths are relative to the working directory.
    pub folder: Option<PathBuf>,
}

impl Source {
    /// The text.
    pub fn text(&self) -> &str {
        self.named.inner()
    }
}

/// Every text that was read, in order; the root file is the first.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Add a file.
    pub fn add_file(&mut self, shown: &Path, folder: PathBuf, text: String) -> u32 {
        self.add(&shown.display().to_string(), Some(folder), text)
    }

    /// Add an argument of the command line.
    pub fn add_argument(&mut self, flag: &str, text: &str) -> u32 {
        self.add(flag, None, text.to_owned())
    }

    fn add(&mut self, name: &str, folder: Option<PathBuf>, text: String) -> u32 {
        let named = NamedSource::new(name, text).with_language("yaml");
        self.0.push(Source { named: Arc::new(named), folder });
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    /// A source by its number; the root file for a number that is none.
    pub fn get(&self, number: u32) -> Option<&Source> {
        self.0.get(number as usize).or_else(|| self.0.first())
    }

    /// Line and column of the start of a span, both counted from 1, the column in characters.
    pub fn line_column(&self, span: Span) -> (usize, usize) {
        let Some(source) = self.get(span.source) else { return (1, 1) };
        let before = source.text().get(..span.start as usize).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// A stretch of a source, in bytes: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Number of the source.
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The part of the span on its first line, without trailing blanks: what a message underlines.
    pub fn first_line<'a>(self, sources: &'a Sources) -> (Span, &'a str) {
        let text = sources.get(self.source).map_or("", Source::text);
        let covered: &'a str = text.get(self.start as usize..self.end as usize).unwrap_or_default();
        let line = covered.lines().next().unwrap_or_default().trim_end();
        (Span { end: self.start + line.len() as u32, ..self }, line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_begin_at_one() {
        let mut sources = Sources::default();
        sources.add_file(Path::new("a.yaml"), PathBuf::new(), "größe: 1\nb: x\n".to_owned());
        let place = |start| sources.line_column(Span { source: 0, start, end: start });
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(9), (1, 8), "two bytes each for ö and ß");
        assert_eq!(place(14), (2, 4));
    }
}
