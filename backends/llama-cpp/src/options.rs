//! An arm's options: what a specification may say about a llama.cpp arm, and the arguments that it becomes.

use qa_protocol::Failure;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::path::PathBuf;

/// A number of layers that no model has: llama.cpp offloads what there is. Understood by every version, unlike `all`.
const ALL_LAYERS: &str = "999";

/// Options of an arm with `backend: llama-cpp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The folder of llama.cpp's programs, or one of them. When absent, `QA_LLAMA_CPP` and then `PATH` are searched.
    pub programs: Option<PathBuf>,
    /// Layers that the GPU computes: `all`, a number, or `auto` for llama.cpp's own choice. With `all` or a number
    /// above 0, a run that is not on the GPU is invalid; 0 keeps every operation on the CPU.
    pub gpu_layers: GpuLayers,
    /// Fused attention: `true`, `false`, or `auto` for llama.cpp's own choice.
    pub flash_attention: FlashAttention,
    /// CPU threads; llama.cpp's own choice when absent.
    pub threads: Option<u32>,
    /// Most tokens of a prompt that are submitted at once (`--batch-size`); llama.cpp's default when absent.
    pub batch_size: Option<u32>,
    /// Most tokens that are computed at once (`--ubatch-size`); llama.cpp's default when absent.
    pub ubatch_size: Option<u32>,
    /// Element type of cached keys, such as `f16` or `q8_0`; llama.cpp's default when absent.
    pub cache_type_k: Option<String>,
    /// Element type of cached values, likewise.
    pub cache_type_v: Option<String>,
}

/// Which of llama.cpp's programs arguments are for: they spell some of them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `llama-bench`.
    Bench,
    /// `llama-server` and `llama-perplexity`.
    Common,
}

impl Options {
    /// Every option's name, in the order of the documentation.
    pub fn names() -> &'static [&'static str] {
        &[
            "programs",
            "gpu_layers",
            "flash_attention",
            "threads",
            "batch_size",
            "ubatch_size",
            "cache_type_k",
            "cache_type_v",
        ]
    }

    /// Read an arm's options.
    ///
    /// # Errors
    /// `unsupported` for an unknown name or an impossible value, which it names.
    pub fn from_json(options: &Map<String, Value>) -> Result<Self, Failure> {
        let options: Self = serde_path_to_error::deserialize(Value::Object(options.clone()))
            .map_err(|e| Failure::unsupported(format!("options of the llama-cpp arm: {e}")))?;
        let counts =
            [("threads", options.threads), ("batch_size", options.batch_size), ("ubatch_size", options.ubatch_size)];
        match counts.iter().find(|(_, count)| *count == Some(0)) {
            Some((name, _)) => {
                Err(Failure::unsupported(format!("options of the llama-cpp arm: {name}: must be at least 1")))
            }
            None => Ok(options),
        }
    }

    /// The arguments that these options become; what is left to llama.cpp becomes none.
    pub fn arguments(&self, dialect: Dialect) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        match self.gpu_layers {
            GpuLayers::Auto => {}
            GpuLayers::All => add("-ngl", ALL_LAYERS.to_owned()),
            // Without layers a GPU build still computes large batches and the KV cache on the GPU, unless it sees none.
            GpuLayers::Count(0) => {
                add("-ngl", "0".to_owned());
                add("-dev", "none".to_owned());
            }
            GpuLayers::Count(layers) => add("-ngl", layers.to_string()),
        }
        match (self.flash_attention, dialect) {
            (FlashAttention::Auto, _) => {}
            // `llama-bench` has understood numbers since it knew the option; words came later.
            (FlashAttention::Set(on), Dialect::Bench) => add("-fa", u8::from(on).to_string()),
            (FlashAttention::Set(on), Dialect::Common) => add("-fa", if on { "on" } else { "off" }.to_owned()),
        }
        let counts = [("-t", self.threads), ("-b", self.batch_size), ("-ub", self.ubatch_size)];
        for (name, count) in counts {
            if let Some(count) = count {
                add(name, count.to_string());
            }
        }
        for (name, kind) in [("-ctk", &self.cache_type_k), ("-ctv", &self.cache_type_v)] {
            if let Some(kind) = kind {
                add(name, kind.clone());
            }
        }
        arguments
    }
}

/// Layers that the GPU computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GpuLayers {
    /// llama.cpp chooses.
    #[default]
    Auto,
    /// Every layer.
    All,
    /// So many.
    Count(u32),
}

impl GpuLayers {
    /// Whether a run that is not on the GPU is not what was asked for.
    pub fn must_offload(self) -> bool {
        !matches!(self, Self::Auto | Self::Count(0))
    }
}

impl Serialize for GpuLayers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::All => serializer.serialize_str("all"),
            Self::Count(layers) => serializer.serialize_u32(*layers),
        }
    }
}

impl<'de> Deserialize<'de> for GpuLayers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Layers;
        impl Visitor<'_> for Layers {
            type Value = GpuLayers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, `auto` or a number of layers")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GpuLayers, E> {
                match text {
                    "auto" => Ok(GpuLayers::Auto),
                    "all" => Ok(GpuLayers::All),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, layers: u64) -> Result<GpuLayers, E> {
                u32::try_from(layers)
                    .map(GpuLayers::Count)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(layers), &self))
            }
        }
        deserializer.deserialize_any(Layers)
    }
}

/// Fused attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlashAttention {
    /// llama.cpp chooses.
    #[default]
    Auto,
    /// On or off.
    Set(bool),
}

impl Serialize for FlashAttention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Set(on) => serializer.serialize_bool(*on),
        }
    }
}

impl<'de> Deserialize<'de> for FlashAttention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Switch;
        impl Visitor<'_> for Switch {
            type Value = FlashAttention;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or `auto`")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<FlashAttention, E> {
                Ok(FlashAttention::Set(on))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FlashAttention, E> {
                match text {
                    "auto" => Ok(FlashAttention::Auto),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Switch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qa_protocol::FailureKind;
    use serde_json::json;

    fn options(value: &Value) -> Result<Options, Failure> {
        Options::from_json(value.as_object().unwrap())
    }

    #[test]
    fn names_are_the_fields() {
        let Value::Object(fields) = serde_json::to_value(Options::default()).unwrap() else { panic!("not a map") };
        assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), Options::names());
        assert_eq!(Options::from_json(&fields), Ok(Options::default()));
    }

    #[test]
    fn each_option_becomes_arguments() {
        let check = |value: Value, bench: &str, common: &str| {
            let options = options(&value).unwrap();
            assert_eq!(options.arguments(Dialect::Bench).join(" "), bench, "{value}");
            assert_eq!(options.arguments(Dialect::Common).join(" "), common, "{value}");
        };
        check(json!({}), "", "");
        check(json!({"gpu_layers": "auto", "flash_attention": "auto"}), "", "");
        check(json!({"gpu_layers": "all"}), "-ngl 999", "-ngl 999");
        check(json!({"gpu_layers": 0}), "-ngl 0 -dev none", "-ngl 0 -dev none");
        check(json!({"gpu_layers": 12}), "-ngl 12", "-ngl 12");
        check(json!({"flash_attention": true}), "-fa 1", "-fa on");
        check(json!({"flash_attention": false}), "-fa 0", "-fa off");
        check(
            json!({"threads": 2, "batch_size": 64, "ubatch_size": 32, "cache_type_k": "q8_0", "cache_type_v": "f32"}),
            "-t 2 -b 64 -ub 32 -ctk q8_0 -ctv f32",
            "-t 2 -b 64 -ub 32 -ctk q8_0 -ctv f32",
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let check = |value: Value, what: &[&str]| {
            let failure = options(&value).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Unsupported);
            assert!(what.iter().all(|what| failure.message.contains(what)), "{failure}");
        };
        check(json!({"gpu_layer": 1}), &["unknown field `gpu_layer`", "`gpu_layers`"]);
        check(json!({"gpu_layers": "some"}), &["gpu_layers", "\"some\"", "`all`, `auto` or a number"]);
        check(json!({"gpu_layers": -1}), &["gpu_layers", "-1"]);
        check(json!({"flash_attention": "on"}), &["flash_attention", "`true`, `false` or `auto`"]);
        check(json!({"threads": 0}), &["threads", "at least 1"]);
        check(json!({"threads": "two"}), &["threads", "two"]);
    }
}
