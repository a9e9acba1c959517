//! The ids in the examples of the OpenAPI document. They follow from the examples' keys, so the examples work if they
//! are tried in order.

/// The account that the example with the key `open-alice` opens.
pub(super) const ALICE: &str = "2ed76046-a65e-524c-bd49-05cad4a7ceb2";
/// The account that the example with the key `open-bob` opens.
pub(super) const BOB: &str = "66b81d2d-771a-5ba3-bd9d-e236cdefd7a3";
/// The transfer that the example with the key `steps-from-alice` begins.
pub(super) const TRANSFER: &str = "c52cedae-d760-51ad-a6fe-1891aff7dd5c";
