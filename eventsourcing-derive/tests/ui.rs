//! What users see: `tests/ui` holds mistakes and their messages, `tests/pass` what must compile.
//!
//! Each mistake gives one message and nothing else. `TRYBUILD=overwrite` writes the messages anew.

#[test]
fn mistakes_give_one_message_each_and_odd_surroundings_none() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/pass/*.rs");
}
