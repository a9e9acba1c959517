//! Messages to users: `tests/ui` holds mistakes and their messages, `tests/pass` programs that must compile.
//!
//! Each mistake gives one message and nothing else. The files of `tests/ui` hold many mistakes, those of
//! `tests/ui/one_mistake` one each, in a program that uses the item with the mistake everywhere. `TRYBUILD=overwrite` writes
//! the messages again.

use std::path::PathBuf;

#[test]
fn mistakes_give_one_message_each_and_odd_surroundings_none() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.compile_fail("tests/ui/one_mistake/*.rs");
    cases.pass("tests/pass/*.rs");
}

#[test]
fn a_program_with_one_mistake_shows_one_message() {
    let cases = cases_of_one_mistake();
    assert!(!cases.is_empty(), "there are no cases");
    let shown = cases.into_iter().map(|case| case.with_extension("stderr"));
    let counted = shown.map(|shown| {
        let text = std::fs::read_to_string(&shown).expect("every case has its messages");
        (
            text.lines()
                .filter(|line| line.starts_with("error"))
                .count(),
            shown,
        )
    });
    let others: Vec<_> = counted.filter(|(count, _)| *count != 1).collect();
    assert!(others.is_empty(), "not one message: {others:#?}");
}

fn cases_of_one_mistake() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ui/one_mistake");
    let files = std::fs::read_dir(folder).expect("the cases can be read");
    let paths = files.map(|file| file.expect("the cases can be read").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}
