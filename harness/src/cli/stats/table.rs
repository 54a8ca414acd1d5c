//! The CSV forms of a data set.

use super::input::{Column, Dataset, InputError};
use csv::{ReaderBuilder, StringRecord, Trim};

/// The column that makes samples nested.
const PROCESS: &str = "process";

pub(super) fn parse(file: &str, text: &str, selected: &[String]) -> Result<Dataset, InputError> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| bad_row(file, &error))?.clone();
    if header.iter().all(|name| name.parse::<f64>().is_ok()) {
        return Err(InputError::NoHeader { file: file.to_owned() });
    }
    let layout = Layout::of(file, &header, selected)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        rows.push(record.map_err(|error| bad_row(file, &error))?);
    }
    if rows.is_empty() {
        return Err(InputError::Empty { file: file.to_owned() });
    }
    let table = Table { file, header: &header, rows: &rows };
    match layout {
        Layout::Sample(column) => Ok(Dataset::Sample(table.column(column, Need::Number)?)),
        Layout::Pairs(a, b) => Ok(Dataset::Pairs(table.column(a, Need::AboveZero)?, table.column(b, Need::AboveZero)?)),
        Layout::Nested { process, value } => table.nested(process, value),
    }
}

/// Which columns hold what, by index.
enum Layout {
    Sample(usize),
    Pairs(usize, usize),
    Nested { process: usize, value: usize },
}

impl Layout {
    fn of(file: &str, header: &StringRecord, selected: &[String]) -> Result<Self, InputError> {
        let refuse = |problem: String, hint: &str| {
            Err(InputError::Columns { file: file.to_owned(), problem, hint: hint.to_owned() })
        };
        let names = header.iter().collect::<Vec<_>>().join(", ");
        let mut used = Vec::new();
        for name in selected {
            match header.iter().position(|column| column == name) {
                Some(index) => used.push(index),
                None => return refuse(format!("there is no column {name:?} among {names}"), ""),
            }
        }
        if selected.is_empty() {
            used = (0..header.len()).collect();
        }
        let is_process = |&index: &usize| header[index].eq_ignore_ascii_case(PROCESS);
        match (used.as_slice(), used.iter().copied().find(is_process)) {
            (&[value], None) => Ok(Self::Sample(value)),
            (&[a, b], None) if a != b => Ok(Self::Pairs(a, b)),
            (&[one, other], Some(process)) if one != other => {
                Ok(Self::Nested { process, value: if one == process { other } else { one } })
            }
            _ => refuse(format!("the columns are {names}"), ", or --columns to name them"),
        }
    }
}

/// What a cell must hold.
#[derive(Clone, Copy)]
enum Need {
    Number,
    AboveZero,
}

struct Table<'a> {
    file: &'a str,
    header: &'a StringRecord,
    rows: &'a [StringRecord],
}

impl Table<'_> {
    fn column(&self, column: usize, need: Need) -> Result<Column, InputError> {
        let values = self.rows.iter().map(|row| self.number(row, column, need)).collect::<Result<_, _>>()?;
        Ok(Column { name: self.header[column].to_owned(), values })
    }

    /// Groups by process, in the order in which the processes first appear.
    fn nested(&self, process: usize, value: usize) -> Result<Dataset, InputError> {
        let mut processes: Vec<Column> = Vec::new();
        for row in self.rows {
            let number = self.number(row, value, Need::Number)?;
            let name = &row[process];
            if name.is_empty() {
                return Err(self.bad_cell(row, process, "the name or number of a process"));
            }
            match processes.iter_mut().find(|known| known.name == name) {
                Some(known) => known.values.push(number),
                None => processes.push(Column { name: name.to_owned(), values: vec![number] }),
            }
        }
        Ok(Dataset::Nested(self.header[value].to_owned(), processes))
    }

    fn number(&self, row: &StringRecord, column: usize, need: Need) -> Result<f64, InputError> {
        match (row[column].parse::<f64>(), need) {
            (Ok(value), Need::AboveZero) if value.is_finite() && value <= 0.0 => {
                Err(self.bad_cell(row, column, "a number above zero, since the ratio is analysed"))
            }
            (Ok(value), _) if value.is_finite() => Ok(value),
            _ => Err(self.bad_cell(row, column, "a finite number")),
        }
    }

    fn bad_cell(&self, row: &StringRecord, column: usize, expected: &'static str) -> InputError {
        InputError::Cell {
            file: self.file.to_owned(),
            line: row.position().map_or(0, csv::Position::line),
            column: column + 1,
            name: self.header[column].to_owned(),
            expected,
            found: row[column].to_owned(),
        }
    }
}

fn bad_row(file: &str, error: &csv::Error) -> InputError {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} cells and the header {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "the row is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    InputError::Row { file: file.to_owned(), line, problem }
}
