//! The JSON forms of a data set.

use super::input::{Column, Dataset, InputError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    values: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pairs {
    a: Vec<f64>,
    b: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Processes {
    processes: Vec<Vec<f64>>,
}

pub(super) fn parse(file: &str, text: &str) -> Result<Dataset, InputError> {
    // The shape is looked at first, so that the second reading can say in which line it departs from that shape.
    let shape: serde_json::Value = read(file, text)?;
    let sample = |values| Dataset::Sample(Column { name: "values".to_owned(), values });
    let dataset = if shape.is_array() {
        sample(read(file, text)?)
    } else if shape.get("processes").is_some() {
        let Processes { processes } = read(file, text)?;
        let columns = processes
            .into_iter()
            .enumerate()
            .map(|(index, values)| Column { name: index.to_string(), values })
            .collect();
        Dataset::Nested("values".to_owned(), columns)
    } else if shape.get("a").is_some() || shape.get("b").is_some() {
        let Pairs { a, b } = read(file, text)?;
        pairs(file, a, b)?
    } else {
        let Values { values } = read(file, text)?;
        sample(values)
    };
    let is_empty = match &dataset {
        Dataset::Sample(column) | Dataset::Pairs(column, _) => column.values.is_empty(),
        Dataset::Nested(_, processes) => processes.iter().all(|process| process.values.is_empty()),
    };
    if is_empty { Err(InputError::Empty { file: file.to_owned() }) } else { Ok(dataset) }
}

fn pairs(file: &str, a: Vec<f64>, b: Vec<f64>) -> Result<Dataset, InputError> {
    if a.len() != b.len() {
        return Err(InputError::Unpaired { file: file.to_owned(), a: a.len(), b: b.len() });
    }
    for (name, side) in [("a", &a), ("b", &b)] {
        if let Some(index) = side.iter().position(|&value| value <= 0.0) {
            return Err(InputError::NotPositive { file: file.to_owned(), name, index, value: side[index] });
        }
    }
    let column = |name: &str, values| Column { name: name.to_owned(), values };
    Ok(Dataset::Pairs(column("a", a), column("b", b)))
}

fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, InputError> {
    serde_json::from_str(text).map_err(|error| InputError::Json { file: file.to_owned(), problem: error.to_string() })
}
