//! The place where SQLite keeps temporary data: rows that it sorts, and tables that it needs for a moment.
//!
//! They go to a folder for temporary files, so that large ones need no memory. A container with a read-only root may
//! have no such folder; then they are kept in memory, since statements would fail otherwise.

use std::path::Path;

use rusqlite::Connection;

/// The variables and folders in which SQLite looks for a folder, in its order (`unixTempFileDir` in its `os_unix.c`).
#[cfg(unix)]
const VARIABLES: [&str; 2] = ["SQLITE_TMPDIR", "TMPDIR"];
#[cfg(unix)]
const FOLDERS: [&str; 4] = ["/var/tmp", "/usr/tmp", "/tmp", "."];

/// Makes the connection keep temporary data in memory if there is no folder for it.
pub(crate) fn keep_in_memory_without_folder(connection: &Connection) -> rusqlite::Result<()> {
    if has_folder() {
        return Ok(());
    }
    tracing::debug!("no folder for temporary data found; SQLite keeps it in memory");
    connection.pragma_update(None, "temp_store", "memory")
}

#[cfg(unix)]
fn has_folder() -> bool {
    let named = VARIABLES.iter().filter_map(std::env::var_os);
    let mut folders = named.chain(FOLDERS.iter().map(Into::into));
    folders.any(|folder| takes_files(Path::new(&folder)))
}

/// The standard library knows the folder on other systems.
#[cfg(not(unix))]
fn has_folder() -> bool {
    takes_files(&std::env::temp_dir())
}

/// Returns `true` if a file can be created in the folder. The permissions alone do not tell: a file system may be
/// read-only, and the superuser has every right.
fn takes_files(folder: &Path) -> bool {
    let probe = folder.join(format!(".eventsourcing-{}", uuid::Uuid::new_v4()));
    let made = std::fs::File::create_new(&probe).is_ok();
    if made {
        // If the file cannot be removed, it stays empty in a folder that the system clears.
        let _ = std::fs::remove_file(&probe);
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_takes_files_if_one_can_be_made_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(takes_files(folder.path()));
        assert_eq!(
            std::fs::read_dir(folder.path())
                .expect("the folder")
                .count(),
            0,
            "nothing is left in it"
        );
        assert!(!takes_files(&folder.path().join("missing")));
        assert!(
            !takes_files(Path::new("/proc")),
            "the superuser may write, but nothing can be made there"
        );
    }
}
