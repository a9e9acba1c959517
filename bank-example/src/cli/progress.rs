//! How far something is that takes long: a bar on a terminal, and nothing where no person looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str = "{prefix} [{bar:30}] {human_pos} of {human_len}  {msg}";

/// A bar on stderr, without a length yet. It draws nothing unless stderr is a terminal.
pub(super) fn bar(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(TEMPLATE)
        .expect("the template is well-formed")
        .progress_chars("=> ");
    ProgressBar::new(0)
        .with_style(style)
        .with_prefix(what.to_owned())
}

/// How fast it goes, and how long it will take.
pub(super) fn pace(rate: f64, remaining: Option<Duration>) -> String {
    match remaining {
        Some(remaining) => format!("{rate:.0} a second, {} s left", remaining.as_secs()),
        None => String::new(),
    }
}
