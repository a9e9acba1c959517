//! The places where contestants keep their events: databases of a server of their own, and files. All are removed at the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use contest::Outcome;
use tempfile::TempDir;

use crate::contestants::Database;
use crate::server::{DURABLE, Server, program};

/// Settings of the server besides durability: so much room that no contestant waits for a checkpoint, and files of its log are
/// kept.
const ROOM: &[&str] = &[
    "shared_buffers = 512MB",
    "max_wal_size = 8GB",
    "min_wal_size = 4GB",
    "checkpoint_timeout = 30min",
];
/// The number of log files of 16 MiB that are made before the first trial. A server that has run for a while reuses old files,
/// while a new one creates each file during a write, which would slow down the first contestant.
const LOG_FILES: usize = 160;

/// A server that is durable, and a folder for files.
pub struct Places {
    server: Server,
    folder: TempDir,
    made: AtomicU32,
}

impl Places {
    /// Starts the server.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open() -> Outcome<Self> {
        let server = Server::start(&[DURABLE, ROOM].concat());
        Ok(Self {
            server,
            folder: tempfile::tempdir()?,
            made: AtomicU32::new(0),
        })
    }

    /// Makes the files of the log that the server will reuse.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn wear_in(&self) -> Outcome<()> {
        let fill_file =
            "SELECT pg_logical_emit_message(true, 'benchmark', ''); SELECT pg_switch_wal();";
        self.tell(&fill_file.repeat(LOG_FILES))?;
        self.settle()
    }

    /// Makes a new, empty place.
    ///
    /// # Errors
    /// The server does not make the database.
    pub fn make(&self, database: Database) -> Outcome<String> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        match database {
            Database::Memory => Ok(String::new()),
            Database::Sqlite => Ok(self.file(number).display().to_string()),
            Database::Postgres => {
                let name = format!("benchmark_{number}");
                self.tell(&format!("CREATE DATABASE {name}"))?;
                Ok(self.server.url(&name))
            }
        }
    }

    /// Removes a place that [`make`](Self::make) made. No contestant may use it any more.
    ///
    /// # Errors
    /// The server does not drop the database.
    pub fn remove(&self, place: &str) -> Outcome<()> {
        match place.strip_prefix(&self.server.url("")) {
            Some(database) => {
                self.tell(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"))
            }
            None => {
                for file in ["", "-wal", "-shm"] {
                    let _gone = std::fs::remove_file(format!("{place}{file}"));
                }
                Ok(())
            }
        }
    }

    /// Makes the server write everything to disk now, and not during a measurement.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn settle(&self) -> Outcome<()> {
        self.tell("CHECKPOINT")
    }

    fn file(&self, number: u32) -> PathBuf {
        self.folder.path().join(format!("benchmark_{number}.db"))
    }

    fn tell(&self, statement: &str) -> Outcome<()> {
        let output = program("psql")
            .args([&self.server.url("postgres"), "-qc", statement])
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "{statement}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )
            .into()),
        }
    }
}
