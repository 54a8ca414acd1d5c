//! What switches do to a scripted engine.
//!
//! The logarithm of the speed is the sum of the terms whose switches are all on. Every truth about n switches can be
//! written so, and its Shapley values can be read off: each switch of a term gets an equal share of it (Harsanyi, "A
//! simplified bargaining model for the n-person cooperative game", International Economic Review 4, 1963).

use crate::fault::Fault;
use crate::script::{Script, Tokens, positive};
use serde::{Deserialize, Serialize};

/// What changes where all of these switches are on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// The switches; at least one.
    pub with: Vec<String>,
    /// What the decode rate is multiplied with, on top of what other effects do. Below 1, two switches that gain alone
    /// gain less together.
    #[serde(default = "Effect::no_factor")]
    pub factor: f64,
    /// Which ids it then generates, in place of the script's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Faults that it then has too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

impl Effect {
    fn no_factor() -> f64 {
        1.0
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.with.is_empty() {
            return Err("an effect without switches in `with` is the script's own".to_owned());
        }
        positive("effects.factor", self.factor)?;
        self.faults.iter().try_for_each(Fault::check)
    }
}

impl Script {
    /// The script with every effect of its switches applied.
    pub(crate) fn switched(mut self) -> Self {
        for effect in self.effects.clone() {
            if effect.with.iter().all(|switch| self.optimizations.contains(switch)) {
                self.decode_rate *= effect.factor;
                self.tokens = effect.tokens.unwrap_or(self.tokens);
                self.faults.extend(effect.faults);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(optimizations: &Value) -> Script {
        let options = json!({
            "decode_rate": 100,
            "optimizations": optimizations,
            "effects": [
                { "with": ["a"], "factor": 1.5 },
                { "with": ["b"], "factor": 1.2 },
                { "with": ["a", "b"], "factor": 0.8, "tokens": "constant", "faults": [{ "kind": "crash" }] },
            ],
        });
        Script::from_options(options.as_object().unwrap()).unwrap()
    }

    #[test]
    fn effects_of_switches_multiply_and_those_of_pairs_need_both() {
        for (on, rate, tokens, faults) in [
            (json!([]), 100.0, Tokens::Correct, 0),
            (json!(["a"]), 150.0, Tokens::Correct, 0),
            (json!(["b"]), 120.0, Tokens::Correct, 0),
            (json!(["b", "a"]), 144.0, Tokens::Constant, 1),
            (json!(["c"]), 100.0, Tokens::Correct, 0),
        ] {
            let script = read(&on);
            assert!((script.decode_rate - rate).abs() < 1e-9, "{on}: {}", script.decode_rate);
            assert_eq!((script.tokens, script.faults.len()), (tokens, faults), "{on}");
        }
    }

    #[test]
    fn an_effect_that_says_nothing_is_refused() {
        for (effect, said) in [
            (json!({ "with": [] }), "without switches"),
            (json!({ "with": ["a"], "factor": 0 }), "`effects.factor` is 0, and must be above 0"),
            (json!({ "with": ["a"], "gain": 2 }), "unknown field `gain`"),
        ] {
            let options = json!({ "effects": [effect] });
            let failure = Script::from_options(options.as_object().unwrap()).unwrap_err();
            assert!(failure.message.contains(said), "{failure}");
        }
    }
}
