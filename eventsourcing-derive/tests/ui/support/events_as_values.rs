//! What a program does with the events of an `#[event]` block, which are values like others.

use super::AccountEvent;

pub fn is_itself(event: &AccountEvent) -> bool {
    let copy = event.clone();
    copy == *event && format!("{copy:?}") == format!("{event:?}")
}
