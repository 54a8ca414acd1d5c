//! Which block ran where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Blocks of a workload that ran on one card of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceRow {
    /// The workload.
    pub workload: String,
    /// The machine.
    pub host: String,
    /// What its kernel calls this boot.
    pub boot_id: Option<String>,
    /// The card, or the processor, by name.
    pub device: String,
    /// The card's identity.
    pub uuid: Option<String>,
    /// The blocks, counting from 1.
    pub blocks: Vec<u32>,
    /// The scheduler's jobs that had them.
    pub jobs: Vec<String>,
}

impl PlaceRow {
    /// Its blocks: `1 to 3, 5`.
    pub fn blocks_words(&self) -> String {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for block in &self.blocks {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *block => *last = *block,
                _ => runs.push((*block, *block)),
            }
        }
        let word = |(first, last): (u32, u32)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first} to {last}"),
        };
        runs.into_iter().map(word).collect::<Vec<_>>().join(", ")
    }

    /// The machine, and which boot of it.
    pub fn machine_words(&self) -> String {
        self.boot_id.as_ref().map_or_else(|| self.host.clone(), |id| format!("{} (boot {id:.8})", self.host))
    }

    /// The card, and which of its kind.
    pub fn device_words(&self) -> String {
        self.uuid.as_ref().map_or_else(|| self.device.clone(), |uuid| format!("{} ({uuid})", self.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_in_a_row_are_told_by_their_ends() {
        let words = |blocks: &[u32]| {
            let (workload, host, device) = ("w".into(), "n1".into(), "Card".into());
            let row = PlaceRow {
                workload,
                host,
                device,
                boot_id: Some("0123456789".into()),
                uuid: None,
                blocks: blocks.to_vec(),
                jobs: vec![],
            };
            assert_eq!((row.machine_words().as_str(), row.device_words().as_str()), ("n1 (boot 01234567)", "Card"));
            row.blocks_words()
        };
        assert_eq!(words(&[1, 2, 3, 5, 7, 8]), "1 to 3, 5, 7, 8");
        assert_eq!(words(&[4]), "4");
    }
}
