//! What `qa stats` accepts, and how it says what it does not.

use super::{json, table};
use std::io;

/// Numbers from a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Dataset {
    /// One sample.
    Sample(Column),
    /// Two values a row, both above zero.
    Pairs(Column, Column),
    /// Iterations of several processes.
    Nested(String, Vec<Column>),
}

/// Named numbers; all finite.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
}

/// Why a file is not numbers that can be analysed.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be opened, or is not UTF-8.
    #[error("cannot read {file}")]
    Unreadable {
        /// The file.
        file: String,
        /// The operating system's word.
        source: io::Error,
    },
    /// The file holds no values.
    #[error("{file} has no values: expected a CSV file with a header and rows, or JSON")]
    Empty {
        /// The file.
        file: String,
    },
    /// The first row holds numbers where names should stand.
    #[error("{file}:1: the first row holds numbers; expected the names of the columns, such as \"value\" or \"a,b\"")]
    NoHeader {
        /// The file.
        file: String,
    },
    /// A row of a CSV file cannot be split into the header's columns.
    #[error("{file}:{line}: {problem}")]
    Row {
        /// The file.
        file: String,
        /// Line, counting from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A cell of a CSV file is not what its column needs.
    #[error("{file}:{line}, column {column} ({name:?}): expected {expected}, found {found:?}")]
    Cell {
        /// The file.
        file: String,
        /// Line, counting from 1.
        line: u64,
        /// Column, counting from 1.
        column: usize,
        /// The column's name.
        name: String,
        /// What was expected.
        expected: &'static str,
        /// The cell.
        found: String,
    },
    /// The columns are not one sample, one pairing or nested samples.
    #[error(
        "{file}: {problem}; expected one column (a sample), two (pairs), or one beside a column named \"process\" \
         (nested samples){hint}"
    )]
    Columns {
        /// The file.
        file: String,
        /// What was found.
        problem: String,
        /// What may mend it.
        hint: String,
    },
    /// The file is not JSON, or JSON of another shape.
    #[error(
        "{file}: {problem}; expected a list of numbers, {{\"values\": [...]}}, {{\"a\": [...], \"b\": [...]}} or \
         {{\"processes\": [[...], ...]}}"
    )]
    Json {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// The sides of JSON pairs do not match.
    #[error("{file}: \"a\" has {a} values and \"b\" has {b}; pairs need as many on each side")]
    Unpaired {
        /// The file.
        file: String,
        /// Number of values of "a".
        a: usize,
        /// Number of values of "b".
        b: usize,
    },
    /// A value of JSON pairs is not above zero.
    #[error("{file}: {name:?}[{index}] is {value}; a ratio needs values above zero")]
    NotPositive {
        /// The file.
        file: String,
        /// "a" or "b".
        name: &'static str,
        /// Position, counting from 0.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// Parses the text of a file: JSON if it begins as JSON's lists and objects do, else CSV. `columns` selects columns of a
/// CSV file; none means all.
pub(super) fn parse(file: &str, text: &str, columns: &[String]) -> Result<Dataset, InputError> {
    // Spreadsheets write a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().chars().next() {
        None => Err(InputError::Empty { file: file.to_owned() }),
        Some('[' | '{') if columns.is_empty() => json::parse(file, text),
        Some('[' | '{') => Err(InputError::Columns {
            file: file.to_owned(),
            problem: "JSON has no columns to select".to_owned(),
            hint: ", or no --columns".to_owned(),
        }),
        Some(_) => table::parse(file, text, columns),
    }
}
