//! Archives in files, pipes and memory: the same bytes everywhere, and nothing half done is taken for whole.

use std::io::{self, Cursor, SeekFrom};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use eventsourcing_archive::{ArchiveError, export, import};
use eventsourcing_core::store::{Append, EventStore as _, Expected, MemoryStore, StreamId};
use eventsourcing_core::{SystemBuilder, SystemError};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{
    AsyncBufRead, AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncWrite, BufReader, ReadBuf,
};
use uuid::Uuid;

use crate::domain::Pantry;
use crate::{event, exported, imported, log, sealed, used_pantry};

/// An archive that the release with format 2 has written, of a store into which another one was imported. It has parked,
/// waiting and discarded events in two partitions, all kinds of answers, and payloads that are not JSON.
const FORMAT_2: &str = include_str!("format_2.jsonl");

/// Returns the archive with the log id of another one.
fn with_log_of(archive: &str, other: &str) -> String {
    let log = |archive: &str| {
        let at = archive.find("\"log\":\"").unwrap() + 7;
        archive[at..at + 36].to_owned()
    };
    sealed(&archive.replacen(&log(archive), &log(other), 1))
}

#[tokio::test]
async fn an_archive_of_the_last_release_comes_back_byte_for_byte() {
    let store = MemoryStore::new();
    let done = imported(&store, FORMAT_2.as_bytes()).await.unwrap();
    assert_eq!(
        (done.events, done.answers, done.followers.len()),
        (81, 6, 3)
    );
    let (again, _) = exported(&store).await;
    let again = String::from_utf8(again).unwrap();
    assert!(again == with_log_of(FORMAT_2, &again), "{again}");
}

async fn used_store() -> MemoryStore {
    let store = MemoryStore::new();
    used_pantry(&store, 3).await;
    store
}

#[tokio::test]
async fn files_and_pipes_get_the_bytes_that_memory_gets() {
    let store = used_store().await;
    let (expected, _) = exported(&store).await;

    // Each write takes a few bytes only.
    let (pipe, mut end) = tokio::io::duplex(7);
    let exporting = tokio::spawn(export::<Pantry>(store.clone(), pipe, |_| {}));
    let mut piped = Vec::new();
    end.read_to_end(&mut piped).await.unwrap();
    exporting.await.unwrap().unwrap();
    assert!(piped == expected, "the bytes differ");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pantry.jsonl");
    let mut file = File::create_new(&path).await.unwrap();
    export::<Pantry>(store.clone(), &mut file, |_| {})
        .await
        .unwrap();
    let written = std::fs::read(&path).unwrap();
    assert!(written == expected, "the file needs no further flush");

    // A reader may stand anywhere, and hold little.
    let mut file = File::open(&path).await.unwrap();
    file.read_exact(&mut [0; 99]).await.unwrap();
    let reader = BufReader::with_capacity(5, file);
    let other = MemoryStore::new();
    let importing = tokio::spawn(import(other.clone(), reader, |_| {}));
    importing.await.unwrap().unwrap();
    assert_eq!(log(&other).await, log(&store).await);
}

/// Takes this number of bytes, and fails.
struct Full(usize);

impl AsyncWrite for Full {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::ErrorKind::StorageFull.into()));
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_at_any_byte() {
    let store = used_store().await;
    let (file, _) = exported(&store).await;
    for bytes in (0..file.len()).step_by(997).chain([file.len() - 1]) {
        let error = export::<Pantry>(store.clone(), Full(bytes), |_| {})
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ArchiveError::File(error) if error.kind() == io::ErrorKind::StorageFull),
            "{bytes}: {error}"
        );
    }
    export::<Pantry>(store, Full(file.len()), |_| {})
        .await
        .unwrap();
}

#[tokio::test]
async fn a_pipe_that_its_reader_leaves_is_an_error() {
    let store = used_store().await;
    let (pipe, mut end) = tokio::io::duplex(64);
    let exporting = tokio::spawn(export::<Pantry>(store, pipe, |_| {}));
    end.read_exact(&mut [0; 500]).await.unwrap();
    drop(end);
    let error = exporting.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, ArchiveError::File(error) if error.kind() == io::ErrorKind::BrokenPipe),
        "{error}"
    );
}

/// Waits once before each read, write and seek.
struct Hesitant<T> {
    of: T,
    has_waited: bool,
}

impl<T> Hesitant<T> {
    fn new(of: T) -> Self {
        Self {
            of,
            has_waited: false,
        }
    }

    fn waits(&mut self, context: &mut Context<'_>) -> bool {
        self.has_waited = !self.has_waited;
        if self.has_waited {
            context.waker().wake_by_ref();
        }
        self.has_waited
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Hesitant<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.waits(context) {
            true => Poll::Pending,
            false => Pin::new(&mut this.of).poll_read(context, buffer),
        }
    }
}

impl<T: AsyncBufRead + Unpin> AsyncBufRead for Hesitant<T> {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        match this.waits(context) {
            true => Poll::Pending,
            false => Pin::new(&mut this.of).poll_fill_buf(context),
        }
    }

    fn consume(mut self: Pin<&mut Self>, bytes: usize) {
        Pin::new(&mut self.of).consume(bytes);
    }
}

impl<T: AsyncSeek + Unpin> AsyncSeek for Hesitant<T> {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.of).start_seek(to)
    }

    fn poll_complete(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let this = self.get_mut();
        match this.waits(context) {
            true => Poll::Pending,
            false => Pin::new(&mut this.of).poll_complete(context),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Hesitant<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.waits(context) {
            true => Poll::Pending,
            false => Pin::new(&mut this.of).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.waits(context) {
            true => Poll::Pending,
            false => Pin::new(&mut this.of).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.of).poll_shutdown(context)
    }
}

/// Polls the future until it has waited more often than this, and drops it; returns its output if it ends before.
async fn dropped_after<F: Future>(waits: u64, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = waits;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn an_import_whose_future_is_dropped_anywhere_goes_on_and_nothing_starts_meanwhile() {
    let whole = MemoryStore::new();
    imported(&whole, FORMAT_2.as_bytes()).await.unwrap();
    let mut halves = 0;
    for waits in 0.. {
        let store = MemoryStore::new();
        let file = Hesitant::new(Cursor::new(FORMAT_2));
        if let Some(done) = dropped_after(waits, import(store.clone(), file, |_| {})).await {
            done.unwrap();
            assert!(waits > 100 && halves > 20, "{waits} waits, {halves} halves");
            break;
        }
        if !log(&store).await.is_empty() {
            halves += 1;
            let started = SystemBuilder::<Pantry>::new(store.clone()).start().await;
            assert!(
                matches!(started, Err(SystemError::ImportUnfinished)),
                "after {waits}: {started:?}"
            );
        }
        imported(&store, FORMAT_2.as_bytes()).await.unwrap();
        assert_eq!(log(&store).await, log(&whole).await, "after {waits}");
        let (again, _) = exported(&store).await;
        let again = String::from_utf8(again).unwrap();
        assert!(again == with_log_of(FORMAT_2, &again), "after {waits}");
    }
}

/// A store whose log fills several writes of an export.
async fn large_store() -> MemoryStore {
    let store = MemoryStore::new();
    for number in 0..3_000_u128 {
        let stream = StreamId::new("Jar", Uuid::from_u128(number));
        let append = Append::new(Timestamp::from_microsecond(number as i64).unwrap());
        store
            .append(append.with_events(stream, Expected::Any, vec![event(1, b"{}", b"")]))
            .await
            .unwrap();
    }
    store
}

#[tokio::test]
async fn an_export_whose_future_is_dropped_anywhere_leaves_no_archive() {
    let store = large_store().await;
    let (whole, _) = exported(&store).await;
    for waits in 0.. {
        let mut file = Vec::new();
        let exporting = export::<Pantry>(store.clone(), Hesitant::new(&mut file), |_| {});
        if let Some(done) = dropped_after(waits, exporting).await {
            done.unwrap();
            assert!(file == whole, "the bytes differ");
            assert!(waits > 10, "{waits} waits");
            break;
        }
        // The last wait is that for the flush, and no byte is missing before it.
        if file.len() == whole.len() {
            continue;
        }
        let other = MemoryStore::new();
        let error = imported(&other, &file).await.unwrap_err();
        assert!(
            matches!(error, ArchiveError::Line { .. }),
            "after {waits}: {error}"
        );
        assert!(log(&other).await.is_empty());
    }
    let (again, _) = exported(&store).await;
    assert!(again == whole, "the store is only read");
}

/// Memory never waits, so a reader and a writer in memory could keep a thread to themselves.
#[tokio::test(flavor = "current_thread")]
async fn other_tasks_go_on_while_an_archive_is_in_memory() {
    let turns = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&turns);
    let other_task = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let store = large_store().await;
    let before = turns.load(Ordering::Relaxed);
    let (file, _) = exported(&store).await;
    let between = turns.load(Ordering::Relaxed);
    imported(&MemoryStore::new(), &file).await.unwrap();
    let after = turns.load(Ordering::Relaxed);
    other_task.abort();
    assert!(
        between - before > 10 && after - between > 20,
        "{before}, {between}, {after}"
    );
}
