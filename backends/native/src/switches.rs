//! The four optimisations: axes that are on or off, in any combination.
//!
//! | `megakernel` | `persistent` | a token is |
//! | --- | --- | --- |
//! | off | off | a launch for each operation |
//! | on | off | a launch for each transformer block, its five phases kept apart by exchanges across the grid |
//! | off | on | walked by a resident grid, a phase for each operation |
//! | on | on | walked by a resident grid, five phases a block |
//!
//! A resident grid decodes all tokens of a run in one launch, the choice of the token included. `graph` captures what a
//! token's launches are and replays it; around a resident grid there is one launch to capture, which changes nothing that
//! can be measured. `streams` runs the projections of keys and values beside that of queries. A cooperative launch takes
//! the whole card, so beside a resident grid or a block in one launch nothing can run: there `streams` has no effect, and
//! what it would overlap, the next weights' way to L2, the phases do themselves. (Asking for the next block's weights from
//! another stream was measured too: 836 tok/s in place of 1,531, since the launches then wait for each other.)

use qa_protocol::Failure;
use serde_json::Value;
use std::fmt;

/// Which optimisations are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools)]
pub struct Switches {
    /// A resident grid walks phases and tokens.
    pub persistent: bool,
    /// Launches are captured once and replayed.
    pub graph: bool,
    /// Independent work overlaps.
    pub streams: bool,
    /// A transformer block is one launch, or five phases.
    pub megakernel: bool,
}

/// Names in the order in which sets are written.
const NAMES: [&str; 4] = ["persistent", "graph", "streams", "megakernel"];

impl Switches {
    /// All four.
    pub const ALL: Self = Self { persistent: true, graph: true, streams: true, megakernel: true };

    /// The set that is fastest on the cards it was measured on.
    pub const BEST: Self = Self { persistent: true, graph: false, streams: false, megakernel: true };

    /// The same where tokens are drafted: whole passes, captured and replayed.
    pub const BEST_WITH_DRAFTS: Self = Self { persistent: false, graph: true, streams: false, megakernel: false };

    /// All sixteen sets, the baseline first.
    pub fn every() -> impl Iterator<Item = Self> {
        (0..16_u8).map(|bits| Self {
            persistent: bits & 1 != 0,
            graph: bits & 2 != 0,
            streams: bits & 4 != 0,
            megakernel: bits & 8 != 0,
        })
    }

    /// Reads `best`, `all` or a list of names.
    ///
    /// # Errors
    /// `unsupported`, naming what was found.
    pub fn from_json(value: &Value) -> Result<Self, Failure> {
        let wrong = || {
            Failure::unsupported(format!(
                "option `optimizations` of the native backend must be `best`, `all` or a list of `persistent`, `graph`, `streams` and `megakernel`, but is {value}"
            ))
        };
        match value {
            Value::String(name) if name == "best" => Ok(Self::BEST),
            Value::String(name) if name == "all" => Ok(Self::ALL),
            Value::Array(names) => {
                let mut switches = Self::default();
                for name in names {
                    match name.as_str().ok_or_else(wrong)? {
                        "persistent" => switches.persistent = true,
                        "graph" => switches.graph = true,
                        "streams" => switches.streams = true,
                        "megakernel" => switches.megakernel = true,
                        _ => return Err(wrong()),
                    }
                }
                Ok(switches)
            }
            _ => Err(wrong()),
        }
    }

    /// Sets that answer alike sum in one order, and give the same bits: fused phases sum otherwise than kernels of one
    /// operation, and a resident grid has a head of its own.
    pub fn order_of_sums(self) -> (bool, bool) {
        (self.megakernel, self.megakernel && self.persistent)
    }

    /// The names of those that are on.
    pub fn names(self) -> Vec<&'static str> {
        let on = [self.persistent, self.graph, self.streams, self.megakernel];
        NAMES.into_iter().zip(on).filter_map(|(name, on)| on.then_some(name)).collect()
    }

    /// Those that are on and cannot act in this set.
    pub fn without_effect(self) -> Vec<&'static str> {
        let resident = self.persistent || self.megakernel;
        let idle = [(self.persistent && self.graph, "graph"), (resident && self.streams, "streams")];
        idle.into_iter().filter_map(|(idle, name)| idle.then_some(name)).collect()
    }
}

impl fmt::Display for Switches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        f.pad(&if names.is_empty() { "baseline".to_owned() } else { names.join("+") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_are_read_by_name_and_written_back() {
        for switches in Switches::every() {
            assert_eq!(Switches::from_json(&json!(switches.names())).unwrap(), switches);
        }
        assert_eq!(Switches::from_json(&json!("all")).unwrap(), Switches::ALL);
        assert_eq!(Switches::default().to_string(), "baseline");
        assert_eq!(Switches::ALL.without_effect(), ["graph", "streams"]);
        let orders: std::collections::HashSet<_> = Switches::every().map(Switches::order_of_sums).collect();
        assert_eq!(orders.len(), 3);
        assert_eq!(Switches::every().collect::<std::collections::HashSet<_>>().len(), 16);
    }

    #[test]
    fn anything_else_is_refused_with_what_is_possible() {
        for wrong in [json!("fast"), json!(["graphs"]), json!([1]), json!(null)] {
            let message = Switches::from_json(&wrong).unwrap_err().message;
            assert!(message.contains("`persistent`, `graph`, `streams` and `megakernel`"), "{message}");
        }
    }
}
