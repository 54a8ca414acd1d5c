//! Questions that every later stage asks of a specification.

use super::{Backend, Blocks, Entry, SamplingPlan, Spec, Spending};
use crate::stats::looks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

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

/// How many statistical claims share the error of each family.
#[derive(Clone, Debug)]
pub struct Families<'a>(HashMap<&'a str, usize>);

impl<'a> Families<'a> {
    /// Those of a specification, or as many claims as the whole had of which it is a part.
    pub fn of(spec: &'a Spec) -> Self {
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        for (_, entry) in spec.entries() {
            let claims = usize::from(entry.require.is_some()) + usize::from(entry.gain.is_some());
            if let Some(family) = &entry.family {
                *sizes.entry(family).or_default() += claims;
            }
        }
        for (family, whole) in &spec.families {
            let size = sizes.entry(family).or_default();
            *size = (*whole as usize).max(*size);
        }
        Self(sizes)
    }

    /// With how many claims an entry shares its error, itself among them. One without a family shares it with nobody.
    pub fn size(&self, entry: &Entry) -> usize {
        entry.family.as_ref().and_then(|family| self.0.get(family.as_str())).map_or(1, |size| (*size).max(1))
    }
}

impl Spec {
    /// Every entry in order: checkpoints, then acceptance.
    pub fn entries(&self) -> impl Iterator<Item = (Section, &Entry)> {
        let checkpoints = self.checkpoints.iter().map(|entry| (Section::Checkpoint, entry));
        checkpoints.chain(self.acceptance.iter().map(|entry| (Section::Acceptance, entry)))
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
