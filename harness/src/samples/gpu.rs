//! What the driver's management library (NVML) says of a card.

use serde::{Deserialize, Serialize};

/// A card, watched while a process ran its timed iterations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuWatch {
    /// The card, as `nvidia-smi` writes it.
    pub uuid: String,
    /// Pause between readings, in milliseconds.
    pub interval_ms: u64,
    /// Memory in use by anyone before the process was started, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_before_bytes: Option<u64>,
    /// In order.
    pub readings: Vec<GpuReading>,
}

/// One look at a card. What it does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuReading {
    /// Seconds since the first timed iteration began.
    pub at_s: f64,
    /// Clock of the multiprocessors, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_mhz: Option<u32>,
    /// Clock of the memory, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mhz: Option<u32>,
    /// What keeps the clocks from being higher; empty when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<ClockLimit>>,
    /// Power, in watts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Temperature of the chip, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
    /// Memory in use by anyone, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Processes that compute on the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<GpuProcess>>,
}

/// What keeps a card's clocks from being higher, by NVML's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockLimit {
    /// Nothing runs.
    Idle,
    /// Clocks that somebody set.
    ApplicationClocks,
    /// Clocks that the display needs.
    DisplayClocks,
    /// The power limit.
    PowerCap,
    /// The hardware halves the clocks, or does worse: heat, power or the power supply.
    HardwareSlowdown,
    /// The hardware does so for heat.
    HardwareThermal,
    /// The hardware does so at the power supply's word.
    PowerBrake,
    /// The driver lowers the clocks for heat.
    SoftwareThermal,
    /// Another card of a group that is kept at one clock.
    SyncBoost,
}

impl ClockLimit {
    /// Whether the card is slower than it could be, for a reason that nobody chose.
    pub fn throttles(self) -> bool {
        !matches!(self, Self::Idle | Self::ApplicationClocks | Self::DisplayClocks)
    }

    /// The limit in words, such as `its power limit`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Idle => "idleness",
            Self::ApplicationClocks => "clocks that were set",
            Self::DisplayClocks => "the display's clocks",
            Self::PowerCap => "its power limit",
            Self::HardwareSlowdown => "a slowdown by the hardware",
            Self::HardwareThermal => "heat, by the hardware",
            Self::PowerBrake => "the power supply's brake",
            Self::SoftwareThermal => "heat, by the driver",
            Self::SyncBoost => "another card of its group",
        }
    }
}

/// A process that computes on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its number, as the driver has it.
    pub pid: u32,
    /// The program's name, where a process of that number is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Device memory that it holds, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Whose it is.
    pub whose: Whose,
}

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// The worker's, or of its process group.
    Arm,
    /// Somebody else's.
    Foreign,
    /// No process of that number is here: it has just ended, or is of another container.
    Unknown,
}
