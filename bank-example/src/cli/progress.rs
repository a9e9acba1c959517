//! The progress of long work: a bar on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{prefix} [{bar:30}] {human_pos} of {human_len}  {msg}";

/// Returns a bar on standard error, without a length yet. It draws nothing unless standard error is a terminal.
pub(super) fn bar(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE)
        .expect("the template is well-formed")
        .progress_chars("=> ");
    ProgressBar::new(0)
        .with_style(style)
        .with_prefix(what.to_owned())
}

/// Formats the rate and the remaining time.
pub(super) fn pace(rate: f64, remaining: Option<Duration>) -> String {
    match remaining {
        Some(remaining) => format!("{rate:.0} a second, {} s left", remaining.as_secs()),
        None => String::new(),
    }
}
