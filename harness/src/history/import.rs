//! Results of other tools: criterion, hyperfine, Google Benchmark, llama-bench. They are evidence of another kind than what is
//! measured here, and stay marked so: nobody checked the output, nor in what order what ran.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A tool whose results are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `estimates.json` of criterion.
    Criterion,
    /// `hyperfine --export-json`.
    Hyperfine,
    /// `--benchmark_format=json` of Google Benchmark.
    GoogleBenchmark,
    /// `llama-bench -o json` or `-o jsonl`.
    LlamaBench,
}

impl Tool {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Criterion => "criterion",
            Self::Hyperfine => "hyperfine",
            Self::GoogleBenchmark => "google-benchmark",
            Self::LlamaBench => "llama-bench",
        }
    }
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Who measured.
    pub tool: Tool,
    /// What, in the tool's words.
    pub name: String,
    /// Unit of the mean.
    pub unit: String,
    /// The mean.
    pub mean: f64,
    /// Standard deviation, where the tool gives one or its samples do.
    pub sd: Option<f64>,
    /// Samples behind it; 0 where the tool does not say.
    pub samples: u32,
}

/// Why a file gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is of no tool that is known.
    #[error(
        "{} is no result of criterion (estimates.json), hyperfine (--export-json), Google Benchmark \
         (--benchmark_format=json) or llama-bench (-o json): {problem}",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The results of a file, by whichever tool it is.
///
/// # Errors
/// [`ImportError`] where it cannot be read, or is of no tool that is known.
pub fn read_file(path: &Path) -> Result<Vec<Imported>, ImportError> {
    let text = fs::read_to_string(path).map_err(|source| ImportError::Io { path: path.to_owned(), source })?;
    let unknown = |problem: String| ImportError::Unknown { path: path.to_owned(), problem };
    let results = parse(&text, &criterion_name(path)).map_err(unknown)?;
    if let Some(odd) = results.iter().find(|result| !result.mean.is_finite()) {
        return Err(unknown(format!("the mean of {} is no number", odd.name)));
    }
    if results.is_empty() { Err(unknown("it holds no result".into())) } else { Ok(results) }
}

/// `.../<group>/<function>/new/estimates.json`: criterion writes the name as folders.
fn criterion_name(path: &Path) -> String {
    let folders: Vec<String> = path
        .parent()
        .into_iter()
        .flat_map(Path::components)
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    let end = if folders.last().is_some_and(|last| matches!(last.as_str(), "new" | "base")) {
        folders.len() - 1
    } else {
        folders.len()
    };
    let begin = folders.iter().rposition(|folder| folder == "criterion").map_or(end.saturating_sub(1), |at| at + 1);
    folders[begin.min(end)..end].join("/")
}

fn parse(text: &str, name: &str) -> Result<Vec<Imported>, String> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // One object a line.
        Err(e) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            Value::Array(lines.map(serde_json::from_str).collect::<Result<_, _>>().map_err(|_| e.to_string())?)
        }
    };
    let has = |value: &Value, key: &str| value.get(key).is_some();
    match &value {
        value if has(value, "mean") && has(value, "std_dev") => criterion(value, name),
        value if has(value, "results") => hyperfine(value),
        value if has(value, "benchmarks") => google_benchmark(value),
        Value::Array(rows) if rows.iter().any(|row| has(row, "avg_ts")) => llama_bench(rows),
        value if has(value, "avg_ts") => llama_bench(std::slice::from_ref(value)),
        _ => Err("none of their fields are in it".into()),
    }
}

fn typed<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|e| e.to_string())
}

fn criterion(value: &Value, name: &str) -> Result<Vec<Imported>, String> {
    #[derive(Deserialize)]
    struct Estimate {
        point_estimate: f64,
    }
    #[derive(Deserialize)]
    struct Estimates {
        mean: Estimate,
        std_dev: Estimate,
    }
    let found: Estimates = typed(value)?;
    let (mean, sd) = (found.mean.point_estimate, Some(found.std_dev.point_estimate));
    Ok(vec![Imported { tool: Tool::Criterion, name: name.into(), unit: "ns".into(), mean, sd, samples: 0 }])
}

fn hyperfine(value: &Value) -> Result<Vec<Imported>, String> {
    #[derive(Deserialize)]
    struct Row {
        command: String,
        mean: f64,
        stddev: Option<f64>,
        #[serde(default)]
        times: Vec<f64>,
    }
    let rows: Vec<Row> = typed(&value["results"])?;
    let one = |row: Row| Imported {
        tool: Tool::Hyperfine,
        name: row.command,
        unit: "s".into(),
        mean: row.mean,
        sd: row.stddev,
        samples: row.times.len() as u32,
    };
    Ok(rows.into_iter().map(one).collect())
}

fn google_benchmark(value: &Value) -> Result<Vec<Imported>, String> {
    #[derive(Deserialize)]
    struct Row {
        name: String,
        #[serde(default)]
        run_type: String,
        real_time: f64,
        #[serde(default = "nanoseconds")]
        time_unit: String,
        #[serde(default)]
        error_occurred: bool,
    }
    fn nanoseconds() -> String {
        "ns".into()
    }
    let rows: Vec<Row> = typed(&value["benchmarks"])?;
    // Repetitions of one name are its samples; aggregates are computed from them.
    let mut by_name: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| row.run_type != "aggregate" && !row.error_occurred) {
        by_name.entry((row.name, row.time_unit)).or_default().push(row.real_time);
    }
    Ok(by_name.into_iter().map(|((name, unit), times)| of_samples(Tool::GoogleBenchmark, name, unit, &times)).collect())
}

fn of_samples(tool: Tool, name: String, unit: String, samples: &[f64]) -> Imported {
    let mean = crate::stats::summary::mean(samples).unwrap_or(f64::NAN);
    Imported { tool, name, unit, mean, sd: crate::stats::summary::sd(samples).ok(), samples: samples.len() as u32 }
}

fn llama_bench(rows: &[Value]) -> Result<Vec<Imported>, String> {
    #[derive(Deserialize)]
    struct Row {
        model_type: String,
        #[serde(default)]
        backends: String,
        n_prompt: u32,
        n_gen: u32,
        #[serde(default)]
        n_depth: u32,
        avg_ts: f64,
        stddev_ts: Option<f64>,
        #[serde(default)]
        samples_ts: Vec<f64>,
    }
    let one = |row: &Value| {
        let row: Row = typed(row)?;
        let test = match (row.n_prompt, row.n_gen) {
            (prompt, 0) => format!("pp{prompt}"),
            (0, generate) => format!("tg{generate}"),
            (prompt, generate) => format!("pp{prompt}+tg{generate}"),
        };
        let depth = if row.n_depth > 0 { format!(" @ d{}", row.n_depth) } else { String::new() };
        Ok(Imported {
            tool: Tool::LlamaBench,
            name: format!("{} {} {test}{depth}", row.model_type, row.backends)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "),
            unit: "tok/s".into(),
            mean: row.avg_ts,
            sd: row.stddev_ts,
            samples: row.samples_ts.len() as u32,
        })
    };
    rows.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Imported {
        let mut found = parse(text, "group/function").unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn each_tool_is_known_by_its_fields() {
        let criterion = one(
            r#"{"mean":{"confidence_interval":{"confidence_level":0.95,"lower_bound":9.0,"upper_bound":11.0},"point_estimate":10.0,
            "standard_error":0.1},"median":{"point_estimate":9.9},"std_dev":{"point_estimate":0.5},"slope":null}"#,
        );
        assert_eq!((criterion.name.as_str(), criterion.mean, criterion.sd), ("group/function", 10.0, Some(0.5)));
        let hyperfine = one(
            r#"{"results":[{"command":"sleep 1","mean":1.002,"stddev":0.001,"median":1.0,"user":0.0,"system":0.0,"min":1.0,"max":1.1,
            "times":[1.001,1.003],"exit_codes":[0,0]}]}"#,
        );
        assert_eq!((hyperfine.name.as_str(), hyperfine.unit.as_str(), hyperfine.samples), ("sleep 1", "s", 2));
        let google = one(r#"{"context":{"date":"2026-01-01"},"benchmarks":[
            {"name":"BM_x/8","run_type":"iteration","real_time":10.0,"cpu_time":9.0,"time_unit":"us"},
            {"name":"BM_x/8","run_type":"iteration","real_time":12.0,"cpu_time":9.0,"time_unit":"us"},
            {"name":"BM_x/8_mean","run_type":"aggregate","real_time":11.0,"cpu_time":9.0,"time_unit":"us"},
            {"name":"BM_broken","run_type":"iteration","error_occurred":true,"real_time":0.0}]}"#);
        assert_eq!((google.mean, google.unit.as_str(), google.samples), (11.0, "us", 2));
        let row = r#"{"model_type":"qwen2 1B Q4_K","backends":"CUDA","n_prompt":0,"n_gen":128,"n_depth":32,"avg_ts":878.0,"stddev_ts":2.0,
            "samples_ts":[877.0,879.0]}"#
            .replace('\n', " ");
        let llama = one(&format!("[{row}]"));
        assert_eq!((llama.name.as_str(), llama.mean), ("qwen2 1B Q4_K CUDA tg128 @ d32", 878.0));
        assert_eq!(parse(&format!("{row}\n{row}\n"), "").unwrap().len(), 2, "one object a line");
    }

    #[test]
    fn what_is_of_no_tool_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd.json");
        for text in ["{\"speed\": 5}", "not JSON", "{\"results\": []}", "{\"results\": [{\"mean\": \"fast\"}]}", "[]"] {
            fs::write(&path, text).unwrap();
            let said = read_file(&path).unwrap_err().to_string();
            assert!(said.contains("odd.json is no result of criterion"), "{text}: {said}");
        }
        assert!(read_file(&dir.path().join("nowhere.json")).unwrap_err().to_string().contains("cannot read"));
    }

    #[test]
    fn criterions_folders_are_the_name() {
        for (path, name) in [
            ("target/criterion/parse/small/new/estimates.json", "parse/small"),
            ("target/criterion/parse/new/estimates.json", "parse"),
            ("estimates.json", ""),
        ] {
            assert_eq!(criterion_name(Path::new(path)), name);
        }
    }
}
