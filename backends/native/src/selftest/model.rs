//! Small models made for a check: one block, and weights that let a single operation through.

use super::inputs::{KINDS, Kind, Random, row, vector};
use crate::error::Result;
use qa_kernels::Format;
use qa_model::config::{Biases, Rope};
use qa_model::gguf::{TensorPlan, write_header};
use qa_model::{Architecture, Gguf, ModelConfig, RopeScaling, Value};

/// What a matrix holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Rows of every kind, in turns.
    Rows,
    /// Rows without anything difficult.
    PlainRows,
    /// Nothing: what it feeds is left out.
    Zero,
    /// Ones on the diagonal: what it feeds shows what it is fed. In F32.
    Identity,
    /// The same row everywhere: every row ties with every other.
    Ties,
    /// Plain vectors. In F32.
    Plain,
    /// Plain vectors a thousandth the usual size. In F32.
    Faint,
    /// Vectors of every kind. In F32.
    Vectors,
    /// As `Vectors`, with one element of each row no number. In F32.
    NotANumber,
}

/// A model to be made.
#[derive(Clone, Debug)]
pub struct Small {
    /// Its shape.
    pub config: ModelConfig,
    /// The format of every matrix that holds rows. Where rows are no whole blocks of it, `instead` takes its place.
    pub format: Format,
    /// See `format`.
    pub instead: Format,
    /// Formats of single tensors, by the end of their name, before `format`.
    pub formats: Vec<(&'static str, Format)>,
    /// Contents of single tensors, by the end of their name; the others hold rows.
    pub contents: Vec<(&'static str, Content)>,
}

/// Widths of the residual stream and of the feed-forward.
pub type Widths = (usize, usize);

/// Query heads, key heads, and elements of a head.
pub type Heads = (usize, usize, usize);

/// A model of one block.
pub fn config(
    architecture: Architecture,
    (hidden, intermediate): Widths,
    (heads, kv_heads, head_dim): Heads,
) -> ModelConfig {
    ModelConfig {
        architecture,
        layers: 1,
        hidden,
        intermediate,
        heads,
        kv_heads,
        head_dim,
        vocab: 256,
        context_length: 4096,
        rms_epsilon: 1e-6,
        rope: Rope {
            base: 1_000_000.0,
            dims: head_dim,
            style: architecture.rope_style(),
            scaling: RopeScaling::None,
            freqs: None,
        },
        tied_head: false,
        biases: Biases { qkv: architecture == Architecture::Qwen2, output: false },
    }
}

impl Small {
    /// The file, in memory.
    ///
    /// # Errors
    /// Where it is no valid model, which would be this program's fault.
    pub fn gguf(&self, name: &str) -> Result<Gguf> {
        let plans: Vec<TensorPlan> = self
            .config
            .expected_tensors()
            .map(|tensor| TensorPlan {
                dtype: self.format_of(&tensor.name, &tensor.shape).tensor_type(),
                name: tensor.name,
                shape: tensor.shape,
            })
            .collect();
        let mut file = Vec::new();
        write_header(&mut file, &self.metadata(), &plans)
            .map_err(|e| crate::Error::Internal(format!("a header in memory: {e}")))?;
        for plan in &plans {
            let end = file.len() + plan.padded_bytes() as usize;
            self.tensor(plan, &mut file);
            file.resize(end, 0);
        }
        Ok(Gguf::from_bytes(name, file)?)
    }

    fn content(&self, tensor: &str) -> Content {
        self.contents.iter().find(|(end, _)| tensor.ends_with(end)).map_or(Content::Rows, |(_, content)| *content)
    }

    fn format_of(&self, tensor: &str, shape: &[u64]) -> Format {
        if shape.len() < 2 {
            return Format::F32;
        }
        let format = match self.content(tensor) {
            Content::Rows | Content::PlainRows | Content::Zero | Content::Ties => {
                self.formats.iter().find(|(end, _)| tensor.ends_with(end)).map_or(self.format, |(_, format)| *format)
            }
            _ => Format::F32,
        };
        if shape[0].is_multiple_of(format.tensor_type().block_elements()) { format } else { self.instead }
    }

    fn tensor(&self, plan: &TensorPlan, out: &mut Vec<u8>) {
        let mut random = Random::new(42, &plan.name);
        let columns = plan.shape[0] as usize;
        if plan.shape.len() < 2 {
            // A norm's weights, or a bias.
            let size = if plan.name.ends_with("bias") { 0.5 } else { 1.5 };
            out.extend((0..columns).flat_map(|_| (size * random.signed()).to_le_bytes()));
            return;
        }
        let floats = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
        let content = self.content(&plan.name);
        let format = self.format_of(&plan.name, &plan.shape);
        for index in 0..plan.shape[1] as usize {
            let kind = KINDS[index % KINDS.len()];
            out.extend(match content {
                Content::Rows => row(format, kind, columns, &mut random),
                Content::PlainRows => row(format, Kind::Plain, columns, &mut random),
                Content::Zero => row(format, Kind::Zero, columns, &mut random),
                Content::Ties => row(format, Kind::Plain, columns, &mut Random::new(42, &plan.name)),
                Content::Identity => floats((0..columns).map(|i| f32::from(u8::from(i == index))).collect()),
                Content::Plain => floats(vector(Kind::Plain, columns, &mut random)),
                Content::Faint => floats((0..columns).map(|_| 1e-3 * random.signed()).collect()),
                Content::Vectors => floats(vector(kind, columns, &mut random)),
                Content::NotANumber => {
                    let mut values = vector(kind, columns, &mut random);
                    values[index % columns] = f32::NAN;
                    floats(values)
                }
            });
        }
    }

    fn metadata(&self) -> Vec<(String, Value)> {
        let config = &self.config;
        let architecture = config.architecture.name();
        let number = |suffix: &str, number: usize| (format!("{architecture}.{suffix}"), Value::U32(number as u32));
        let float = |suffix: &str, number: f32| (format!("{architecture}.{suffix}"), Value::F32(number));
        vec![
            ("general.architecture".into(), Value::String(architecture.into())),
            number("block_count", config.layers),
            number("context_length", config.context_length),
            number("embedding_length", config.hidden),
            number("feed_forward_length", config.intermediate),
            number("attention.head_count", config.heads),
            number("attention.head_count_kv", config.kv_heads),
            number("attention.key_length", config.head_dim),
            number("attention.value_length", config.head_dim),
            number("rope.dimension_count", config.rope.dims),
            number("vocab_size", config.vocab),
            float("rope.freq_base", config.rope.base),
            float("attention.layer_norm_rms_epsilon", config.rms_epsilon),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_model::config::names;
    use qa_model::dequantize;

    #[test]
    fn a_small_model_is_a_valid_file_that_holds_what_was_asked() {
        let small = Small {
            config: config(Architecture::Qwen2, (96, 512), (3, 1, 32)),
            format: Format::Q4_K,
            instead: Format::Q5_0,
            formats: vec![("ffn_up.weight", Format::Q8_0)],
            contents: vec![("attn_output.weight", Content::Identity), ("ffn_down.weight", Content::Zero)],
        };
        let gguf = small.gguf("small").unwrap();
        assert_eq!(ModelConfig::from_gguf(&gguf).unwrap(), small.config);
        let tensor = |part: &str| gguf.tensor(&names::block(0, part)).unwrap();
        let types =
            ["attn_q.weight", "ffn_down.weight", "ffn_up.weight", "attn_output.weight"].map(|p| tensor(p).dtype);
        let expected = [Format::Q5_0, Format::Q4_K, Format::Q8_0, Format::F32].map(Format::tensor_type);
        assert_eq!(types, expected);
        let values = |part: &str| dequantize(tensor(part).dtype, gguf.data(tensor(part))).unwrap();
        assert!(values("ffn_down.weight").iter().all(|&w| w == 0.0));
        assert_eq!(values("attn_output.weight")[96 + 1].to_bits(), 1.0_f32.to_bits());
        assert!(values("attn_q.weight").iter().any(|&w| w != 0.0));
    }
}
