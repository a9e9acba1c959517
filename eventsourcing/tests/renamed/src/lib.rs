//! Applications whose `Cargo.toml` knows the framework as `es`.
//!
//! The workspace tests them with every feature, `cargo test -p renamed-facade` with none; any set of features in between does as
//! well. `by_hand` needs no feature, `derived` the macros, and each feature adds the tests of what it brings.

#[cfg(test)]
mod by_hand;
#[cfg(all(test, feature = "derive"))]
mod derived;
#[cfg(test)]
mod opening;
