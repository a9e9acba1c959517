//! [`Compression`]: large payloads become smaller, and no payload can become larger than is allowed.

use std::io::{self, Read as _};

use crate::store::PAYLOAD_BYTES_MAX;

/// How hard zstd tries. The default of its authors.
const LEVEL: i32 = 3;
/// The largest window of a frame, as a power of two: that of the largest payload. A frame that asks for more memory is
/// refused before the memory is taken.
const WINDOW_BYTES_LOG2_MAX: u32 = PAYLOAD_BYTES_MAX.ilog2();

/// Compresses payloads and snapshots by zstd if they are larger than a threshold, and become smaller by it.
///
/// Bytes that are there already stay as they are: each payload says whether it is compressed, so it can be turned on and
/// off at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    above_bytes: usize,
}

impl Compression {
    /// What is larger is compressed, unless another threshold is chosen: 1 KiB. Below, there is little to gain.
    pub const ABOVE_BYTES_DEFAULT: usize = 1024;

    /// By zstd, above [`ABOVE_BYTES_DEFAULT`](Self::ABOVE_BYTES_DEFAULT).
    #[must_use]
    pub const fn zstd() -> Self {
        Self {
            above_bytes: Self::ABOVE_BYTES_DEFAULT,
        }
    }

    /// Leaves payloads of up to so many bytes alone.
    #[must_use]
    pub const fn above_bytes(mut self, bytes: usize) -> Self {
        self.above_bytes = bytes;
        self
    }

    /// `None`: it is better left as it is. What is larger than a payload may be stays too, for the store to refuse:
    /// compressed it could be stored, and never be read again.
    pub(super) fn compress(self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes.len() <= self.above_bytes || bytes.len() > PAYLOAD_BYTES_MAX {
            return None;
        }
        let compressed = zstd::bulk::compress(bytes, LEVEL).ok()?;
        (compressed.len() < bytes.len()).then_some(compressed)
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::zstd()
    }
}

/// Why compressed bytes could not be read.
pub(super) enum DecompressError {
    /// They are more than [`PAYLOAD_BYTES_MAX`] when decompressed.
    TooLarge,
    Broken(io::Error),
}

/// Decompresses at most [`PAYLOAD_BYTES_MAX`] bytes. What a frame claims about its size reserves no memory: the bytes are
/// counted as they come, and the window is bounded.
pub(super) fn decompress(bytes: &[u8]) -> Result<Vec<u8>, DecompressError> {
    let read = || {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
        decoder.window_log_max(WINDOW_BYTES_LOG2_MAX)?;
        let mut decompressed = Vec::new();
        decoder
            .take(PAYLOAD_BYTES_MAX as u64 + 1)
            .read_to_end(&mut decompressed)?;
        Ok(decompressed)
    };
    match read().map_err(DecompressError::Broken)? {
        decompressed if decompressed.len() > PAYLOAD_BYTES_MAX => Err(DecompressError::TooLarge),
        decompressed => Ok(decompressed),
    }
}
