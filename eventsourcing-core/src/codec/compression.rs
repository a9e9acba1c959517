//! [`Compression`]: compresses large payloads, and bounds the size of decompressed ones.

use std::io::{self, Read as _};

use crate::store::PAYLOAD_BYTES_MAX;

/// The compression level of zstd: the default of its authors.
const LEVEL: i32 = 3;
/// The largest window of a frame, as a power of two: the size of the largest payload. A frame that
/// asks for more memory is refused before the memory is allocated.
const WINDOW_BYTES_LOG2_MAX: u32 = PAYLOAD_BYTES_MAX.ilog2();

/// Compresses payloads and snapshots by zstd if they are larger than a threshold and compression
/// makes them smaller.
///
/// Stored bytes stay as they are: each payload tells if it is compressed, so compression can be
/// turned on and off at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    above_bytes: usize,
}

impl Compression {
    /// The threshold unless another one is chosen: 1 KiB. Smaller payloads gain little.
    pub const ABOVE_BYTES_DEFAULT: usize = 1024;

    /// Returns compression by zstd above [`ABOVE_BYTES_DEFAULT`](Self::ABOVE_BYTES_DEFAULT).
    #[must_use]
    pub const fn zstd() -> Self {
        Self {
            above_bytes: Self::ABOVE_BYTES_DEFAULT,
        }
    }

    /// Sets the threshold: payloads of at most `bytes` bytes are not compressed.
    #[must_use]
    pub const fn above_bytes(mut self, bytes: usize) -> Self {
        self.above_bytes = bytes;
        self
    }

    /// Compresses a payload; `None` if it is better stored as it is.
    ///
    /// A payload above the size limit is not compressed either, so that the store refuses it:
    /// compressed it could be stored, but never be read again.
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

/// The reason why compressed bytes could not be read.
pub(super) enum DecompressError {
    /// They are more than [`PAYLOAD_BYTES_MAX`] when decompressed.
    TooLarge,
    Broken(io::Error),
}

/// Decompresses at most [`PAYLOAD_BYTES_MAX`] bytes. The size that a frame claims allocates no
/// memory: bytes are counted as they are decompressed, and the window is bounded.
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
