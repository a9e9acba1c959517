//! Accidents that people cause to files: removed, renamed, replaced, overwritten, restored beside an old log. Promises
//! F1 to F3.
//!
//! After any of them, a later append is refused or is in the file that the path names. Copies are made by `cp`, in
//! another process: a process that closes a file releases all its locks on it, including those of its stores.

#![cfg(unix)]

mod fixture;
mod files {
    pub(crate) mod accidents;
    mod backups;
    mod hands;
    mod overlay;
    mod refusals;
    mod stale_logs;
}
