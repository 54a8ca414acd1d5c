//! The small models on which operations are checked: every format with several lengths of rows.

use super::Plan;
use super::model::{Content, Heads, Small, Widths, config};
use crate::decoder::Options;
use crate::error::Result;
use crate::switches::Switches;
use qa_kernels::Format;
use qa_model::config::names;
use qa_model::{Architecture, Gguf};

/// Widths of the residual stream and the feed-forward, and heads: of the embedded model, Qwen2.5-Coder 0.5B and 1.5B,
/// SmolLM2, and an odd one.
const SHAPES: [(Widths, Heads); 5] = [
    ((256, 768), (4, 2, 64)),
    ((896, 4864), (14, 2, 64)),
    ((1536, 8960), (12, 2, 128)),
    ((576, 1536), (9, 3, 64)),
    ((96, 1248), (3, 1, 32)),
];

/// A model to check, and how.
pub(super) struct Case {
    /// Format and widths.
    pub name: String,
    /// The model whose feed-forward adds nothing.
    pub attention: Gguf,
    /// The model whose attention adds nothing.
    pub feed_forward: Gguf,
    /// A model of plain rows: what prompts compute has f16 factors, which hold none of the difficult ones' results.
    pub prompts: Gguf,
    /// How all are computed.
    pub options: Options,
    /// Whether the other strategies are compared too: they take long to compile.
    pub strategies: bool,
}

/// The strategies that launch other kernels, or in another way, than the baseline.
pub(super) fn strategies() -> [Switches; 5] {
    let [graph, streams, megakernel, persistent] = [
        Switches { graph: true, ..Switches::default() },
        Switches { graph: true, streams: true, ..Switches::default() },
        Switches { graph: true, megakernel: true, ..Switches::default() },
        Switches { persistent: true, ..Switches::default() },
    ];
    [graph, streams, megakernel, persistent, Switches::BEST]
}

/// A case of one shape.
struct Cast {
    architecture: Architecture,
    extents: Widths,
    heads: Heads,
    format: Format,
    formats: Vec<(&'static str, Format)>,
    /// Embeddings of every kind of vector in F32, in place of rows in the format.
    vectors: bool,
    float_activations: bool,
    strategies: bool,
}

impl Cast {
    fn case(self, name: String) -> Result<Case> {
        // Rows that are no whole blocks of a K format hold what llama.cpp puts there in its place.
        let instead = if self.format == Format::Q6_K { Format::Q8_0 } else { Format::Q5_0 };
        let embedding = if self.vectors { Content::Vectors } else { Content::Rows };
        // What the other half adds is left out, so that what a half adds is seen alone.
        let small = |contents: Vec<(&'static str, Content)>| {
            let small = Small {
                config: config(self.architecture, self.extents, self.heads),
                format: self.format,
                instead,
                formats: self.formats.clone(),
                contents,
            };
            small.gguf(&name)
        };
        let half = |without| small(vec![(without, Content::Zero), (names::TOKEN_EMBD, embedding)]);
        // Keys that are biases alone leave many positions a share of the attention. With others it would be the share of one,
        // and which one, the rounding of int8 would say.
        let keys = if self.float_activations { Content::PlainRows } else { Content::Zero };
        let plain = if self.vectors { Content::Plain } else { Content::PlainRows };
        Ok(Case {
            attention: half("ffn_down.weight")?,
            feed_forward: half("attn_output.weight")?,
            prompts: small(vec![(names::TOKEN_EMBD, plain), ("attn_k.weight", keys), (".weight", Content::PlainRows)])?,
            options: Options { float_activations: self.float_activations, context: Some(64), ..Options::default() },
            strategies: self.strategies,
            name,
        })
    }
}

pub(super) fn cases(plan: &Plan) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let shapes = if plan.quick { &SHAPES[..1] } else { &SHAPES };
    for format in Format::ALL {
        for (index, &(extents, heads)) in shapes.iter().enumerate() {
            // Pairs of llama's rotation with one shape, halves with the others.
            let architecture = if extents.0 == 576 { Architecture::Llama } else { Architecture::Qwen2 };
            let cast = Cast {
                architecture,
                extents,
                heads,
                format,
                formats: Vec::new(),
                vectors: index == 1,
                float_activations: false,
                strategies: index == 0,
            };
            cases.push(cast.case(format!("{format} {}x{}", extents.0, extents.1))?);
        }
        let (extents, heads) = SHAPES[0];
        let cast = Cast {
            architecture: Architecture::Qwen2,
            extents,
            heads,
            format,
            formats: Vec::new(),
            vectors: true,
            float_activations: true,
            strategies: false,
        };
        cases.push(cast.case(format!("{format} {}x{}, float activations", extents.0, extents.1))?);
    }
    let (extents, heads) = SHAPES[0];
    let mixed = Cast {
        architecture: Architecture::Qwen2,
        extents,
        heads,
        format: Format::Q4_K,
        formats: vec![
            ("attn_k.weight", Format::Q8_0),
            ("attn_v.weight", Format::Q6_K),
            ("attn_output.weight", Format::Q5_1),
            ("ffn_up.weight", Format::Q5_K),
            ("ffn_down.weight", Format::F16),
            ("output.weight", Format::BF16),
        ],
        vectors: true,
        float_activations: false,
        strategies: true,
    };
    cases.push(mixed.case("mixed formats".into())?);
    Ok(cases)
}
