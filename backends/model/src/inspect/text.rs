//! An inspection as text for people.

use std::fmt::{self, Write as _};

use super::{Inspection, ModelFacts, TensorSummary};
use crate::config::RopeScaling;

/// Width of the column of labels.
const LABEL: usize = 22;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "file", &self.path.display())?;
        line(f, "size", &megabytes(self.file_bytes))?;
        line(f, "sha256", &self.sha256)?;
        line(f, "format", &format_args!("GGUF version {}", self.gguf_version))?;
        if let Some(name) = &self.name {
            line(f, "name", name)?;
        }
        if let Some(description) = &self.description {
            line(f, "description", description)?;
        }
        line(f, "architecture", &self.architecture.as_deref().unwrap_or("not given"))?;
        line(f, "parameters", &grouped(self.parameters))?;
        if let Some(model) = &self.model {
            facts(f, model)?;
        }
        if let Some(problem) = &self.model_problem {
            line(f, "cannot be run", problem)?;
        }
        writeln!(f, "\n{:<8} {:>8} {:>16} {:>14}", "type", "tensors", "parameters", "size")?;
        for summary in &self.types {
            writeln!(
                f,
                "{:<8} {:>8} {:>16} {:>14}",
                summary.dtype,
                summary.tensors,
                grouped(summary.parameters),
                megabytes(summary.bytes)
            )?;
        }
        writeln!(f, "\n{:<30} {:<20} {:<8} {:>7} {:>14}", "tensor", "shape", "type", "count", "size")?;
        for group in groups(&self.tensors) {
            let shape = group.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
            writeln!(
                f,
                "{:<30} {:<20} {:<8} {:>7} {:>14}",
                group.name,
                shape,
                group.dtype,
                group.count,
                megabytes(group.bytes)
            )?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, label: &str, value: &dyn fmt::Display) -> fmt::Result {
    writeln!(f, "{label:<LABEL$} {value}")
}

fn facts(f: &mut fmt::Formatter<'_>, model: &ModelFacts) -> fmt::Result {
    let config = &model.config;
    line(f, "layers", &config.layers)?;
    line(f, "hidden, intermediate", &format_args!("{}, {}", config.hidden, config.intermediate))?;
    let heads = format_args!("{} query, {} key-value, of {}", config.heads, config.kv_heads, config.head_dim);
    line(f, "heads", &heads)?;
    let tied = if config.tied_head { "tied to the embedding" } else { "a matrix of its own" };
    line(f, "vocabulary", &format_args!("{}; output head {tied}", grouped(config.vocab as u64)))?;
    let mut biases = Vec::new();
    if config.biases.qkv {
        biases.push("Q, K, V");
    }
    if config.biases.output {
        biases.push("attention output");
    }
    line(f, "biases", &if biases.is_empty() { "none".to_owned() } else { biases.join(", ") })?;
    let rope = &config.rope;
    let style = format!("{:?}", rope.style).to_lowercase();
    let mut description = format!("base {}, {} of {} elements, {style}", rope.base, rope.dims, config.head_dim);
    if let RopeScaling::Linear { factor } = rope.scaling {
        write!(description, ", positions divided by {factor}")?;
    }
    if rope.freqs.is_some() {
        description.push_str(", with divisors");
    }
    line(f, "rotary embedding", &description)?;
    line(f, "norm epsilon", &format_args!("{:e}", config.rms_epsilon))?;
    line(f, "context", &format_args!("{} positions", grouped(config.context_length as u64)))?;
    let bytes = &model.bytes_per_token;
    let parts = format_args!(
        "{} (blocks {}, head {})",
        megabytes(bytes.total()),
        megabytes(bytes.blocks),
        megabytes(bytes.head)
    );
    line(f, "read per token", &parts)?;
    line(f, "KV cache per position", &format_args!("{:.1} KB in f16", model.kv_bytes_per_position as f64 / 1e3))
}

/// Tensors of all blocks that have part, shape and type in common.
struct Group {
    name: String,
    shape: Vec<u64>,
    dtype: crate::TensorType,
    count: usize,
    bytes: u64,
}

fn groups(tensors: &[TensorSummary]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for tensor in tensors {
        let name = match tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((_, part)) => format!("blk.*.{part}"),
            None => tensor.name.clone(),
        };
        let same =
            |group: &&mut Group| group.name == name && group.shape == tensor.shape && group.dtype == tensor.dtype;
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.count += 1;
                group.bytes += tensor.bytes;
            }
            None => groups.push(Group {
                name,
                shape: tensor.shape.clone(),
                dtype: tensor.dtype,
                count: 1,
                bytes: tensor.bytes,
            }),
        }
    }
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

/// Decimal megabytes, as bandwidths are given.
fn megabytes(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes >= 1.0 { format!("{megabytes:.1} MB") } else { format!("{:.1} KB", bytes as f64 / 1e3) }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
