//! [`Graph`]: the declared system as a drawing, from left to right.

use eventsourcing::Definition;
use eventsourcing::system::FollowerKind;

const WIDTH: i32 = 180;
const HEIGHT: i32 = 64;
/// The distance from the left side of a box to that of the next column.
const COLUMN: i32 = 340;
const ROW: i32 = 92;
const MARGIN: i32 = 24;

/// The state of a follower, as a colour and as a class of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// An application that records events and follows nothing.
    Source,
    Running,
    /// The follower retries.
    Waiting,
    /// The follower has stopped or parked something.
    Failed,
}

impl Condition {
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        }
    }
}

pub(super) struct Graph {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) boxes: Vec<Box>,
    pub(super) arrows: Vec<Arrow>,
    pub(super) description: String,
}

/// An application or a projection.
pub(super) struct Box {
    pub(super) name: &'static str,
    /// The aggregates of an application, or the kind of a follower.
    pub(super) about: String,
    pub(super) condition: Condition,
    pub(super) radius: i32,
    pub(super) x: i32,
    pub(super) y: i32,
}

pub(super) struct Arrow {
    pub(super) label: &'static str,
    pub(super) path: String,
    pub(super) tip: String,
    pub(super) x: i32,
    pub(super) y: i32,
}

impl Graph {
    pub(super) fn new(definition: &Definition, conditions: &[(&str, Condition)]) -> Self {
        let mut boxes = boxes(definition, conditions);
        place(&mut boxes, definition);
        let centre = |row: &Box| row.y + HEIGHT / 2;
        let find = |name: &str| boxes.iter().find(|row| row.name == name);
        let mut arrows = Vec::new();
        for follower in &definition.followers {
            for follows in &follower.follows {
                let Some(from) = find(follows.application) else {
                    continue;
                };
                let Some(to) = find(follower.name) else {
                    continue;
                };
                arrows.push(Arrow::new(
                    follows.aggregate,
                    (from.x, centre(from)),
                    (to.x, centre(to)),
                ));
            }
        }
        let width = boxes
            .iter()
            .map(|row| row.x + WIDTH)
            .max()
            .unwrap_or_default()
            + MARGIN;
        let height = boxes
            .iter()
            .map(|row| row.y + HEIGHT)
            .max()
            .unwrap_or_default()
            + MARGIN;
        Self {
            width,
            height,
            boxes,
            arrows,
            description: definition.to_string(),
        }
    }
}

fn boxes(definition: &Definition, conditions: &[(&str, Condition)]) -> Vec<Box> {
    let condition = |name: &str| {
        let of_name = conditions
            .iter()
            .filter(|(known, _)| *known == name)
            .map(|(_, condition)| *condition);
        // A follower of several logs is listed once for each log, so conditions may come several times.
        of_name
            .max_by_key(|condition| *condition as u8)
            .unwrap_or(Condition::Source)
    };
    let new = |name, about, radius| Box {
        name,
        about,
        condition: condition(name),
        radius,
        x: 0,
        y: 0,
    };
    let applications = definition
        .applications
        .iter()
        .map(|part| new(part.name, part.aggregates.join(", "), 8));
    let projections = definition
        .followers
        .iter()
        .filter(|follower| follower.kind == FollowerKind::Projection);
    applications
        .chain(projections.map(|part| new(part.name, "read model".to_owned(), HEIGHT / 2)))
        .collect()
}

/// Places each box one column right of the boxes it follows. In a cycle, the application declared first comes first.
fn place(boxes: &mut [Box], definition: &Definition) {
    let mut columns: Vec<Option<i32>> = vec![None; boxes.len()];
    while let Some(begin) = columns.iter().position(Option::is_none) {
        columns[begin] = Some(0);
        let mut open = vec![begin];
        while let Some(from) = open.pop() {
            for (index, part) in boxes.iter().enumerate() {
                let follows = definition
                    .followers
                    .iter()
                    .filter(|follower| follower.name == part.name);
                let is_next = follows
                    .flat_map(|follower| &follower.follows)
                    .any(|f| f.application == boxes[from].name);
                if is_next && columns[index].is_none() {
                    columns[index] = columns[from].map(|column| column + 1);
                    open.insert(0, index);
                }
            }
        }
    }
    let columns: Vec<i32> = columns.into_iter().flatten().collect();
    let tallest = (0..)
        .take(boxes.len())
        .map(|column| of_column(&columns, column))
        .max()
        .unwrap_or_default();
    let mut rows = vec![0; boxes.len() + 1];
    for (part, column) in boxes.iter_mut().zip(&columns) {
        let row = &mut rows[usize::try_from(*column).unwrap_or_default()];
        let above = (tallest - of_column(&columns, *column)) * ROW / 2;
        (part.x, part.y) = (MARGIN + column * COLUMN, MARGIN + above + *row * ROW);
        *row += 1;
    }
}

fn of_column(columns: &[i32], column: i32) -> i32 {
    i32::try_from(columns.iter().filter(|known| **known == column).count()).unwrap_or_default()
}

impl Arrow {
    /// Creates an arrow between two boxes, given by their left sides. Arrows to the left end a little lower, so that
    /// both directions are visible.
    fn new(label: &'static str, from: (i32, i32), to: (i32, i32)) -> Self {
        let is_forwards = to.0 > from.0;
        let (begin, end, shift, tip) = match is_forwards {
            true => (from.0 + WIDTH, to.0, -10, -9),
            false => (from.0, to.0 + WIDTH, 10, 9),
        };
        let begin_y = from.1 + shift;
        let end_y = to.1 + shift;

        let middle = i32::midpoint(begin, end);
        let right_y = if is_forwards { end_y } else { begin_y };
        Self {
            label,
            path: format!(
                "M{begin} {begin_y}C{middle} {begin_y} {middle} {end_y} {} {end_y}",
                end + tip
            ),
            tip: format!("M{end} {end_y}l{tip} -5v10z"),
            // The label is beside the right one of the two boxes, where arrows are apart, on the outer side of the
            // bend.
            x: end.max(begin) - 48,
            y: if is_forwards && end_y <= begin_y {
                end_y - 9
            } else {
                right_y + 20
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::EventSourcedBank;

    #[test]
    fn the_bank_is_drawn_with_an_arrow_for_each_thing_followed() {
        let definition = EventSourcedBank::definition();
        let graph = Graph::new(
            &definition,
            &[
                ("ledger", Condition::Running),
                ("ledger", Condition::Failed),
            ],
        );
        assert_eq!(graph.boxes.len(), 5);
        assert_eq!(graph.arrows.len(), 5);
        let find = |name: &str| {
            graph
                .boxes
                .iter()
                .find(|part| part.name == name)
                .expect("a box")
        };
        assert_eq!(find("ledger").condition, Condition::Failed);
        assert!(find("accounts").x < find("ledger").x);
        for (index, part) in graph.boxes.iter().enumerate() {
            let others = graph.boxes[..index].iter();
            assert!(
                others
                    .clone()
                    .all(|other| (other.x, other.y) != (part.x, part.y)),
                "no box covers another"
            );
        }
    }
}
