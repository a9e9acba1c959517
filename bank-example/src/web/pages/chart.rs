//! [`Chart`]: a balance event by event, as a drawing. The table beside it has the same numbers.

use std::fmt::Write as _;

use rust_decimal::prelude::ToPrimitive as _;

use super::shown;
use crate::domain::{Money, ZERO};

const LEFT: f64 = 8.0;
const RIGHT: f64 = 712.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 190.0;

/// A step chart: the balance stays the same until the next event.
pub(super) struct Chart {
    pub(super) curve: String,
    pub(super) area: String,
    /// The position of the selected version.
    pub(super) x: String,
    pub(super) y: String,
    pub(super) highest: String,
    pub(super) description: String,
}

impl Chart {
    /// Creates the chart from the balance after each version, beginning with version `from`; `at` is the selected
    /// version.
    pub(super) fn new(from: u64, balances: &[Money], at: u64) -> Self {
        let highest = balances.iter().copied().max().unwrap_or(ZERO);
        let scale = highest.max(Money::ONE).to_f64().unwrap_or(1.0);
        let width = (RIGHT - LEFT) / balances.len().max(1) as f64;
        let y =
            |balance: Money| BOTTOM - balance.to_f64().unwrap_or_default() / scale * (BOTTOM - TOP);
        let mut curve = format!(
            "M{LEFT:.1} {:.1}",
            y(balances.first().copied().unwrap_or(ZERO))
        );
        for (index, balance) in balances.iter().enumerate() {
            let right = LEFT + width * (index + 1) as f64;
            write!(curve, "V{:.1}H{right:.1}", y(*balance)).expect("a string takes everything");
        }
        let index = usize::try_from(at.saturating_sub(from)).unwrap_or_default();
        let now = balances.get(index).copied().unwrap_or(ZERO);
        let last = balances.last().copied().unwrap_or(ZERO);
        Self {
            area: format!("{curve}V{BOTTOM:.1}H{LEFT:.1}Z"),
            curve,
            x: format!("{:.1}", LEFT + width * (index as f64 + 0.5)),
            y: format!("{:.1}", y(now)),
            highest: shown::money(highest),
            description: format!(
                "{} events; the highest balance is {}, the last {}, at version {at} {}",
                balances.len(),
                shown::money(highest),
                shown::money(last),
                shown::money(now)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_step_for_each_event() {
        let chart = Chart::new(3, &[Money::ONE, Money::TEN, ZERO], 4);
        assert_eq!(chart.curve.matches('H').count(), 3);
        assert_eq!((chart.x.as_str(), chart.y.as_str()), ("360.0", "28.0"));
        assert_eq!(Chart::new(1, &[], 1).curve.matches('H').count(), 0);
    }
}
