//! Files as people handle them: removed, renamed, replaced, copied over, restored beside an old log. Promises F1 to F3.
//!
//! Whatever happens, an append that begins afterwards is refused or is in the file that the path names. Copies are made by
//! `cp`, in another process: a process that closes a file gives up all its locks on it, and those of its stores with them.

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
