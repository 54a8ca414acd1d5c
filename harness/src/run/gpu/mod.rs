//! The card, watched while an arm is timed.
//!
//! | module | does |
//! | --- | --- |
//! | [`nvml`] | asks the driver's management library |
//! | [`watch`] | reads it in the background, from the first timed iteration to the last |
//! | [`hold`] | keeps two runs from one card |
//! | [`owner`] | says whose a process on the card is |

mod hold;
mod nvml;
mod owner;
mod watch;

pub(super) use hold::Holds;
pub use nvml::Nvml;
pub(super) use watch::{Before, Running, Watched};

use crate::samples::ClockLimit;
use crate::spec::Arm;

/// The cards of this machine.
pub trait Cards: Sync {
    /// Identities of all cards.
    ///
    /// # Errors
    /// Why none can be watched, as a sentence.
    fn uuids(&self) -> Result<Vec<String>, String>;

    /// One of them.
    ///
    /// # Errors
    /// Why it cannot be watched, as a sentence.
    fn card(&self, uuid: &str) -> Result<Box<dyn Card + '_>, String>;
}

/// The cards that an arm may compute on as soon as it is started, as far as can be told before. Of those that blocks take
/// turns on all are held from the first block on: one that is lost half-way is lost for the run.
pub(super) fn at_start(arm: &Arm, cards: &dyn Cards, spread: &[String]) -> Vec<String> {
    if !spread.is_empty() && hold::needs_card(arm) {
        return spread.to_vec();
    }
    let cards = || cards.uuids().unwrap_or_default();
    if hold::needs_card(arm) {
        hold::visible(cards(), std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref())
    } else {
        Vec::new()
    }
}

/// A card that can be looked at.
pub trait Card: Send {
    /// Look now. What the card does not tell is absent.
    fn read(&mut self) -> Raw;
}

/// What a card says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Raw {
    /// Clock of the multiprocessors, in MHz.
    pub sm_mhz: Option<u32>,
    /// Clock of the memory, in MHz.
    pub memory_mhz: Option<u32>,
    /// What keeps the clocks from being higher.
    pub limits: Option<Vec<ClockLimit>>,
    /// Power, in watts.
    pub power_w: Option<f64>,
    /// Temperature, in degrees Celsius.
    pub temperature_c: Option<u32>,
    /// Memory in use by anyone, in bytes.
    pub used_bytes: Option<u64>,
    /// Numbers of the processes that compute there, and the memory that each holds, in bytes.
    pub processes: Option<Vec<(u32, Option<u64>)>>,
}

/// No card: simulations have none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCards;

impl Cards for NoCards {
    fn uuids(&self) -> Result<Vec<String>, String> {
        Err("A simulation has no card.".into())
    }

    fn card(&self, _: &str) -> Result<Box<dyn Card + '_>, String> {
        Err("A simulation has no card.".into())
    }
}
