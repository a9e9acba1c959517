//! The log of a store, read by programs: page by page, or as a stream that waits for more events.
//!
//! Neither reader stores a position; the caller remembers how far it has read. Followers, which do,
//! live in `system/`.

pub(crate) mod pages;
pub(crate) mod subscription;
