//! The model of `#[derive(Aggregate)]`: the result of `parse` and the input of `check` and `expand`.

use syn::{DeriveInput, Expr, LitInt, LitStr, Path};

use crate::runtime_path::RuntimePath;

pub(super) struct Aggregate {
    pub(super) input: DeriveInput,
    pub(super) runtime: RuntimePath,
    pub(super) name: LitStr,
    /// The names of earlier releases, the oldest first.
    pub(super) former_names: Vec<LitStr>,
    /// The name in the next release.
    pub(super) next_name: Option<LitStr>,
    pub(super) event: Path,
    pub(super) snapshot: Option<Expr>,
    /// The fingerprint of the fields or variants.
    pub(super) shape: LitInt,
}
