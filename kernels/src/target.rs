//! What kernels are compiled for.

/// An architecture whose ways a newer card can take, to see on it what cards of that architecture have: of instructions and
/// shared memory no more than those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// A100.
    Sm80,
    /// RTX 30.
    Sm86,
    /// RTX 40.
    Sm89,
}

impl Older {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sm80, Self::Sm86, Self::Sm89];

    /// Its name for a compiler, such as `sm_89`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm86 => "sm_86",
            Self::Sm89 => "sm_89",
        }
    }

    /// That of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|older| older.name() == name)
    }

    /// Its `__CUDA_ARCH__`.
    fn number(self) -> u32 {
        match self {
            Self::Sm80 => 800,
            Self::Sm86 => 860,
            Self::Sm89 => 890,
        }
    }

    /// Bytes of shared memory that a block may have at most (CUDA C++ Programming Guide, "Technical specifications per
    /// compute capability").
    fn shared_of_block(self) -> usize {
        match self {
            Self::Sm80 => 163 << 10,
            Self::Sm86 | Self::Sm89 => 99 << 10,
        }
    }
}

/// The machine code that kernels become, and the architecture whose ways they take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    machine: String,
    older: Option<Older>,
}

impl Target {
    /// Machine code for an architecture such as `sm_90a`, and its own ways unless those of an older one are asked for.
    pub fn new(machine: &str, older: Option<Older>) -> Self {
        Self { machine: machine.to_owned(), older }
    }

    /// The architecture whose ways are taken.
    pub fn ways(&self) -> &str {
        match self.older {
            Some(older) => older.name(),
            None => &self.machine,
        }
    }

    /// Whether a kernel may begin before those that it depends on have ended (programmatic dependent launch), as from sm_90 on.
    pub fn has_dependent_launch(&self) -> bool {
        let number = self.ways().trim_matches(|c: char| !c.is_ascii_digit());
        number.parse::<u32>().is_ok_and(|number| number >= 90)
    }

    /// Bytes of shared memory that a block has at most, on a card that offers so many.
    pub fn shared_of_block(&self, offered: usize) -> usize {
        self.older.map_or(offered, |older| offered.min(older.shared_of_block()))
    }

    /// The compiler's options.
    pub(crate) fn options(&self) -> Vec<String> {
        let machine = format!("--gpu-architecture={}", self.machine);
        let older = self.older.map(|older| format!("-DQA_ARCHITECTURE={}", older.number()));
        std::iter::once(machine).chain(older).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_architecture_gives_its_ways_and_its_shared_memory_but_not_its_machine_code() {
        let own = Target::new("sm_90a", None);
        assert_eq!((own.ways(), own.shared_of_block(227 << 10)), ("sm_90a", 227 << 10));
        assert_eq!(own.options(), ["--gpu-architecture=sm_90a"]);
        assert!(own.has_dependent_launch() && Target::new("sm_120a", None).has_dependent_launch());
        let older = Target::new("sm_90a", Older::of_name("sm_89"));
        assert_eq!((older.ways(), older.shared_of_block(227 << 10)), ("sm_89", 99 << 10));
        assert_eq!(older.options(), ["--gpu-architecture=sm_90a", "-DQA_ARCHITECTURE=890"]);
        assert!(!older.has_dependent_launch() && !Target::new("sm_86", None).has_dependent_launch());
        assert_eq!(Older::of_name("sm_90a"), None);
    }
}
