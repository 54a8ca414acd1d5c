//! What processes hold.

use serde::{Deserialize, Serialize};

/// Memory and handles of a process, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// Open file descriptors.
    pub handles: u64,
}
