//! [`ArchiveWriter`]: writes the lines of an archive in pieces, and hashes them.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::task::coop::consume_budget;

use crate::ArchiveError;
use crate::line::End;

/// The number of bytes that are collected before they are written: each write to a file costs a
/// turn of another thread.
const BYTES_PER_WRITE: usize = 64 * 1024;

/// Writes the lines of an archive, and hashes them.
pub(crate) struct ArchiveWriter<'a> {
    out: &'a mut (dyn AsyncWrite + Unpin + Send),
    /// The lines that are neither hashed nor written yet.
    lines: Vec<u8>,
    hash: Sha256,
}

impl<'a> ArchiveWriter<'a> {
    pub(crate) fn new(out: &'a mut (dyn AsyncWrite + Unpin + Send)) -> Self {
        Self {
            out,
            lines: Vec::with_capacity(2 * BYTES_PER_WRITE),
            hash: Sha256::new(),
        }
    }

    pub(crate) async fn line(&mut self, line: &impl Serialize) -> Result<(), ArchiveError> {
        serde_json::to_writer(&mut self.lines, line)
            .map_err(|error| ArchiveError::File(error.into()))?;
        self.end_line().await
    }

    pub(crate) async fn text(&mut self, line: &str) -> Result<(), ArchiveError> {
        self.lines.extend_from_slice(line.as_bytes());
        self.end_line().await
    }

    async fn end_line(&mut self) -> Result<(), ArchiveError> {
        // Memory is always ready and would keep the thread from all other tasks.
        consume_budget().await;
        self.lines.push(b'\n');
        match self.lines.len() < BYTES_PER_WRITE {
            true => Ok(()),
            false => self.write().await,
        }
    }

    async fn write(&mut self) -> Result<(), ArchiveError> {
        self.hash.update(&self.lines);
        let written = self.out.write_all(&self.lines).await;
        self.lines.clear();
        written.map_err(ArchiveError::File)
    }

    /// Writes the last line, with the hash of all lines before it.
    pub(crate) async fn end(mut self, events: u64) -> Result<(), ArchiveError> {
        self.write().await?;
        let sha256 = hex(self.hash.clone());
        self.line(&End {
            end: true,
            events,
            sha256,
        })
        .await?;
        self.write().await?;
        self.out.flush().await.map_err(ArchiveError::File)
    }
}

/// Returns a hash as text.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
