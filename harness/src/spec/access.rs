//! Questions that every later stage asks of a specification.

use super::{Backend, Blocks, Entry, SamplingPlan, Spec, Spending};
use crate::stats::looks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which list of the specification an entry is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// `checkpoints`
    Checkpoint,
    /// `acceptance`
    Acceptance,
}

impl Section {
    /// Both, in the order of a specification.
    pub const ALL: [Self; 2] = [Self::Checkpoint, Self::Acceptance];

    /// The field of a specification that holds its entries.
    pub fn field(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoints",
            Self::Acceptance => "acceptance",
        }
    }
}

impl Spec {
    /// Every entry in order: checkpoints, then acceptance.
    pub fn entries(&self) -> impl Iterator<Item = (Section, &Entry)> {
        let checkpoints = self.checkpoints.iter().map(|entry| (Section::Checkpoint, entry));
        checkpoints.chain(self.acceptance.iter().map(|entry| (Section::Acceptance, entry)))
    }

    /// How many statistical claims share the error of an entry's family: those of this specification, or as many as the
    /// whole had of which it is a part. An entry without a family shares its error with nobody.
    pub fn family_size(&self, entry: &Entry) -> usize {
        let Some(family) = &entry.family else { return 1 };
        let members = self.entries().filter(|(_, other)| other.family.as_ref() == Some(family));
        let here: usize = members.map(|(_, e)| usize::from(e.require.is_some()) + usize::from(e.gain.is_some())).sum();
        let whole = self.families.get(family).map_or(0, |size| *size as usize);
        here.max(whole).max(1)
    }

    /// The workload that a claim means: the one it names, else the only one, else the one called `decode`.
    pub fn workload_name<'a>(&'a self, named: Option<&'a str>) -> &'a str {
        match (named, self.workloads.len()) {
            (Some(name), _) => name,
            (None, 1) => self.workloads.keys().next().map_or("decode", String::as_str),
            (None, _) => "decode",
        }
    }
}

impl Backend {
    /// Whether an arm may do without a model.
    pub fn may_lack_model(self) -> bool {
        matches!(self, Self::Fake | Self::Plugin)
    }
}

impl SamplingPlan {
    /// The block counts at which a verdict may be taken, increasing; a fixed number is a single look.
    pub fn looks(&self) -> Vec<u32> {
        match &self.blocks {
            Blocks::Count(blocks) => vec![*blocks],
            Blocks::Looks { looks } => looks.clone(),
        }
    }
}

impl From<Spending> for looks::Spending {
    fn from(spending: Spending) -> Self {
        match spending {
            Spending::Bonferroni => Self::Bonferroni,
            Spending::OBrienFleming => Self::ObrienFleming,
        }
    }
}
