//! What the derive knows about an aggregate.

use syn::{DeriveInput, Expr, LitInt, LitStr, Path};

use crate::runtime_path::RuntimePath;

pub(super) struct Aggregate {
    pub(super) input: DeriveInput,
    pub(super) runtime: RuntimePath,
    pub(super) name: LitStr,
    /// The names it had before, the first one first.
    pub(super) former_names: Vec<LitStr>,
    /// The name that the next release will give it.
    pub(super) next_name: Option<LitStr>,
    pub(super) event: Path,
    pub(super) snapshot: Option<Expr>,
    /// The fingerprint of the fields or variants.
    pub(super) shape: LitInt,
}
