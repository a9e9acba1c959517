//! What the examples of the document are about: their ids follow from their keys, so whoever tries the examples in order finds
//! what they name.

/// The account that the example with the key `open-alice` opens.
pub(super) const ALICE: &str = "2ed76046-a65e-524c-bd49-05cad4a7ceb2";
/// The account that is opened with the key `open-bob`.
pub(super) const BOB: &str = "66b81d2d-771a-5ba3-bd9d-e236cdefd7a3";
/// The transfer that the example with the key `steps-from-alice` begins.
pub(super) const TRANSFER: &str = "c52cedae-d760-51ad-a6fe-1891aff7dd5c";
