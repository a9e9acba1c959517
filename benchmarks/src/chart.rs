//! The results as a picture: for each workload, bars of all contestants, as multiples of the best peer or of `raw`.

use contest::Outcome;
use plotters::prelude::*;

use crate::contestants::{Entrant, Kind};
use crate::report::number;
use crate::results::{Figures, Results, TrialResults};

const WIDTH: u32 = 960;
const ROW: u32 = 20;
const TITLE: u32 = 44;
const LABELS: i32 = 210;
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const PEERS: RGBColor = RGBColor(0xb0, 0xb7, 0xc0);
const BY_HAND: RGBColor = RGBColor(0x7d, 0x9a, 0x6b);

/// Draws the chart as SVG.
///
/// # Errors
/// The chart cannot be drawn.
pub fn draw(results: &Results) -> Outcome<String> {
    let shown: Vec<_> = results
        .trials
        .iter()
        .filter(|trial| trial.letter != "h")
        .map(bars)
        .collect();
    let height: u32 = shown
        .iter()
        .map(|(_, bars)| TITLE + ROW * bars.len() as u32)
        .sum();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height.max(1))).into_drawing_area();
        area.fill(&WHITE)?;
        let mut top = 0;
        for (trial, bars) in &shown {
            draw_trial(&area, top, trial, bars)?;
            top += (TITLE + ROW * bars.len() as u32) as i32;
        }
        area.present()?;
    }
    Ok(svg)
}

/// A contestant and its figure.
struct Bar<'a> {
    lane: &'a Figures,
    figure: f64,
}

fn bars(trial: &TrialResults) -> (&TrialResults, Vec<Bar<'_>>) {
    let bars = trial.lanes.iter().filter_map(|lane| {
        Some(Bar {
            lane,
            figure: lane.median()?,
        })
    });
    (trial, bars.collect())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_trial(area: &Area<'_>, top: i32, trial: &TrialResults, bars: &[Bar<'_>]) -> Outcome<()> {
    let title = format!("{}. {} (events/s)", trial.letter, trial.title);
    let font = ("sans-serif", 15).into_font();
    area.draw_text(&title, &font.color(&BLACK), (10, top + 18))
        .map_err(|error| error.to_string())?;
    let longest = bars.iter().map(|bar| bar.figure).fold(1.0, f64::max);
    for (row, bar) in (0..).zip(bars) {
        let y = top + TITLE as i32 + row * ROW as i32;
        draw_bar(area, y, bar, bar.figure / longest)?;
    }
    Ok(())
}

fn draw_bar(area: &Area<'_>, y: i32, bar: &Bar<'_>, share: f64) -> Outcome<()> {
    let right = LABELS + (f64::from(WIDTH as i32 - LABELS - 90) * share).max(1.0) as i32;
    let small = ("sans-serif", 12).into_font().color(&BLACK);
    let drawn = (|| {
        area.draw_text(&bar.lane.label, &small, (10, y))?;
        area.draw(&Rectangle::new(
            [(LABELS, y), (right, y + ROW as i32 - 6)],
            colour(bar.lane).filled(),
        ))?;
        area.draw_text(&number(bar.figure), &small, (right + 6, y))
    })();
    drawn.map_err(|error| error.to_string().into())
}

fn colour(lane: &Figures) -> RGBColor {
    match Entrant::named(&lane.contestant).map(|entrant| entrant.kind) {
        Some(Kind::Ours) => OURS,
        Some(Kind::Raw | Kind::Limit) => BY_HAND,
        _ => PEERS,
    }
}
