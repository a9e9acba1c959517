//! [`Measured`]: how much was done, in what time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The amount of work that was done, and its duration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The number of events that were written, read or processed.
    pub events: u64,
    /// In what time.
    pub within: Duration,
    /// The duration of each, sorted, if durations were measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<Duration>,
    /// If several processes worked side by side: what the one that came to least did, as a share of what was fair. 1 is
    /// perfectly fair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_share: Option<f64>,
    /// The most memory the process has had, in bytes. Linux only; 0 elsewhere.
    #[serde(default)]
    pub memory_bytes_max: u64,
}

impl Measured {
    /// So many events in that time.
    #[must_use]
    pub fn new(events: u64, within: Duration) -> Self {
        Self {
            events,
            within,
            latencies: Vec::new(),
            least_share: None,
            memory_bytes_max: memory_bytes_max(),
        }
    }

    /// The duration of each event, in any order.
    #[must_use]
    pub fn with_latencies(mut self, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        self.latencies = latencies;
        self
    }

    /// Events in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.within.as_secs_f64()
    }

    /// The latency that `share` of all events stay below: `0.99` for the 99th percentile.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies
            .get((last as f64 * share).round() as usize)
            .copied()
    }
}

/// The peak of this process's memory: `VmHWM`.
fn memory_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}
