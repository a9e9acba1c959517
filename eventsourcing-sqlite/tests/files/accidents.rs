//! Random accidents under load: a child process appends from several tasks and reports each acknowledgement and its
//! start; then its files are damaged. Every append that began afterwards and was acknowledged must be in the file that
//! the path names.
//!
//! `EVENTSOURCING_TEST_SEED` repeats a run. `EVENTSOURCING_FILE_ACCIDENTS` sets the number of accidents, 14 by default
//! and 200 before a release.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use eventsourcing_core::store::{EventStore, Expected, LogQuery, Position};
use eventsourcing_sqlite::SqliteStore;
use uuid::Uuid;

use super::hands::{assert_sound, beside, copy, names_in, run, store_with};
use crate::fixture::{Place, append_to, event, stream};

const CHILD_PATH: &str = "EVENTSOURCING_TEST_CHILD_PATH";
const SEED: &str = "EVENTSOURCING_TEST_SEED";
const ACCIDENTS: &str = "EVENTSOURCING_FILE_ACCIDENTS";
const TASKS: usize = 3;
/// The time for which the child continues after the accident, unless it has been refused a few times before.
const AFTERWARDS: Duration = Duration::from_millis(400);
const REFUSALS: usize = 6;

const ACKNOWLEDGED: &str = "acknowledged";
const REFUSED: &str = "refused";

fn nanoseconds() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970")
        .as_nanos()
}

fn say(line: &str) {
    stdout()
        .write_all(line.as_bytes())
        .expect("the parent listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process_writes_until_it_is_refused() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    // The test harness has printed the beginning of a line.
    say("\n");
    let store = match SqliteStore::open(&path).await {
        Ok(store) => store,
        Err(error) => return say(&format!("{REFUSED} {error}\n")),
    };
    let writers: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(write_without_end(store.clone())))
        .collect();
    // The parent closes the standard input to end the child.
    let ended = tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new()));
    ended.await.expect("a thread").expect("standard input");
    for writer in writers {
        // No append may be refused because of the close.
        writer.abort();
        let _ = writer.await;
    }
    store.close().await;
}

async fn write_without_end(store: SqliteStore) {
    let stream = stream();
    loop {
        let id = Uuid::new_v4();
        let mut append = append_to(&stream, Expected::Any);
        append.streams[0].events = vec![event(id.to_string())];
        let began = nanoseconds();
        match store.append(append).await {
            Ok(_) => say(&format!("{ACKNOWLEDGED} {id} {began}\n")),
            Err(error) => {
                say(&format!("{REFUSED} {error}\n"));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// A child that writes, and its reports.
struct Writer {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

/// The reports of a child about its appends.
#[derive(Default)]
struct Said {
    acknowledged: Vec<(Uuid, u128)>,
    refusals: Vec<String>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let arguments = [
            "--exact",
            "files::accidents::child_process_writes_until_it_is_refused",
            "--nocapture",
            "--test-threads=1",
        ];
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env(CHILD_PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("a child process");
        let output = BufReader::new(child.stdout.take().expect("its standard output"));
        let (said, lines) = mpsc::channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| said.send(line))
        });
        let input = child.stdin.take();
        Self {
            child,
            input,
            lines,
        }
    }

    /// Waits for the first append that is acknowledged or refused.
    fn wait_for_life(&self, said: &mut Said) {
        while said.acknowledged.is_empty() && said.refusals.is_empty() {
            said.hear(
                &self
                    .lines
                    .recv_timeout(Duration::from_secs(60))
                    .expect("a child that writes"),
            );
        }
    }

    fn listen_for_refusals(&self, said: &mut Said) {
        let until = Instant::now() + AFTERWARDS;
        while said.refusals.len() < REFUSALS
            && let Ok(line) = self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            said.hear(&line);
        }
    }

    fn kill(mut self, said: &mut Said) {
        self.child.kill().expect("kill -9");
        self.finish(said);
    }

    fn end(mut self, said: &mut Said) {
        drop(self.input.take());
        self.finish(said);
    }

    fn finish(&mut self, said: &mut Said) {
        self.child.wait().expect("a status");
        self.lines.iter().for_each(|line| said.hear(&line));
    }
}

impl Said {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        match words.next() {
            // A line that a kill has cut off does not count.
            Some(ACKNOWLEDGED) => {
                let id = words.next().and_then(|id| id.parse().ok());
                let began = words.next().and_then(|began| began.parse().ok());
                self.acknowledged.extend(id.zip(began));
            }
            Some(REFUSED) => self.refusals.push(line.to_owned()),
            _ => {}
        }
    }

    fn since(&self, moment: u128) -> Vec<Uuid> {
        self.acknowledged
            .iter()
            .filter(|(_, began)| *began > moment)
            .map(|(id, _)| *id)
            .collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    Remove,
    RemoveFileOnly,
    RemoveLog,
    RemoveIndex,
    Rename,
    RenameFileOnly,
    RenameFolder,
    Replace,
    RestoreInPlace,
    RestoreWithoutLog,
    RestoreBesideOldLog,
    Empty,
    SecondName,
    Copy,
}

const ALL: [Accident; 14] = [
    Accident::Remove,
    Accident::RemoveFileOnly,
    Accident::RemoveLog,
    Accident::RemoveIndex,
    Accident::Rename,
    Accident::RenameFileOnly,
    Accident::RenameFolder,
    Accident::Replace,
    Accident::RestoreInPlace,
    Accident::RestoreWithoutLog,
    Accident::RestoreBesideOldLog,
    Accident::Empty,
    Accident::SecondName,
    Accident::Copy,
];

/// The folder of one accident within a place.
struct Scene {
    place: Place,
    folder: PathBuf,
    file: PathBuf,
    backup: PathBuf,
}

impl Scene {
    async fn new(random: &mut fastrand::Rng) -> Self {
        let place = Place::new();
        let folder = place.folder().join("bank");
        fs::create_dir(&folder).expect("a folder");
        let file = folder.join("log.db");
        let backup = place.folder().join("backup");

        store_with(&place, random.usize(1..40)).await;
        fs::rename(place.file(), &file).expect("it is moved");
        copy(&file, &backup);
        Self {
            place,
            folder,
            file,
            backup,
        }
    }

    fn each_part(&self, change: impl Fn(&Path)) {
        ["", "-wal", "-shm"]
            .map(|ending| beside(&self.file, ending))
            .iter()
            .filter(|part| part.exists())
            .for_each(|part| change(part));
    }

    fn happen(&self, accident: Accident) {
        let elsewhere = self.place.folder().join("elsewhere");
        let remove = |part: &Path| fs::remove_file(part).expect("it is removed");
        match accident {
            Accident::Remove => self.each_part(remove),
            Accident::RemoveFileOnly => remove(&self.file),
            Accident::RemoveLog => remove(&beside(&self.file, "-wal")),
            Accident::RemoveIndex => remove(&beside(&self.file, "-shm")),
            Accident::Rename => {
                fs::create_dir(&elsewhere).expect("a folder");
                self.each_part(|part| {
                    fs::rename(part, elsewhere.join(part.file_name().expect("a name")))
                        .expect("it is renamed");
                });
            }
            Accident::RenameFileOnly => fs::rename(&self.file, elsewhere).expect("it is renamed"),
            Accident::RenameFolder => fs::rename(&self.folder, elsewhere).expect("it is renamed"),
            Accident::Replace => {
                copy(&self.backup, &elsewhere);
                fs::rename(elsewhere, &self.file).expect("it is replaced");
            }
            Accident::RestoreInPlace => copy(&self.backup, &self.file),
            Accident::RestoreWithoutLog => {
                remove(&beside(&self.file, "-wal"));
                remove(&beside(&self.file, "-shm"));
                copy(&self.backup, &self.file);
            }
            Accident::RestoreBesideOldLog => {
                copy(&self.backup, &elsewhere);
                remove(&self.file);
                fs::rename(elsewhere, &self.file).expect("it is restored");
            }
            Accident::Empty => run("truncate", &[Path::new("-s"), Path::new("0"), &self.file]),
            Accident::SecondName => fs::hard_link(&self.file, elsewhere).expect("a second name"),
            Accident::Copy => self.each_part(|part| copy(part, &self.place.folder().join("copy"))),
        }
    }

    /// Returns the events in the file that the path names, together with its log; nothing if there is no file, or if it
    /// is refused.
    async fn events(&self) -> Option<BTreeSet<Uuid>> {
        if !self.file.exists() {
            return None;
        }
        let store = SqliteStore::open(&self.file).await.ok()?;
        let page = store
            .read_log(LogQuery::after(Position::ZERO).limit(usize::MAX))
            .await
            .expect("the log");
        store.close().await;
        assert_sound(&self.file);
        let text = |event: &eventsourcing_core::store::StoredEvent| {
            String::from_utf8(event.payload.clone())
        };
        Some(
            page.events
                .iter()
                .filter_map(|event| text(event).ok()?.parse().ok())
                .collect(),
        )
    }
}

/// Returns the number of appends that began after the accident and were acknowledged.
async fn play(accident: Accident, random: &mut fastrand::Rng, context: &str) -> usize {
    let scene = Scene::new(random).await;
    let mut said = Said::default();
    let writer = Writer::start(&scene.file);
    writer.wait_for_life(&mut said);
    // Some accidents come so late that the log was copied into the file before.
    let late = if random.u8(..) < 96 { 250 } else { 0 };
    thread::sleep(Duration::from_millis(late + random.u64(0..80)));
    let killed_before = accident == Accident::RestoreBesideOldLog && random.bool();
    let mut running = Some(writer);
    if killed_before {
        running.take().expect("it runs").kill(&mut said);
    }
    scene.happen(accident);
    let moment = nanoseconds();
    if killed_before {
        running = Some(Writer::start(&scene.file));
    }
    let second = (accident == Accident::SecondName)
        .then(|| Writer::start(&scene.place.folder().join("elsewhere")));
    if let Some(running) = &running {
        running.listen_for_refusals(&mut said);
    }
    if let Some(second) = second {
        let mut by_second_name = Said::default();
        second.wait_for_life(&mut by_second_name);
        second.end(&mut by_second_name);
        assert!(
            by_second_name.acknowledged.is_empty(),
            "the second name was written to; {context}"
        );
    }
    let writer = running.expect("it runs");
    match random.bool() {
        true => writer.kill(&mut said),
        false => writer.end(&mut said),
    }
    let afterwards = said.since(moment);
    let found = scene.events().await;
    for id in &afterwards {
        let is_there = found.as_ref().is_some_and(|events| events.contains(id));
        assert!(
            is_there,
            "an acknowledged append is not in the file that the path names; {context}; {:?}",
            said.refusals
        );
    }
    let has_all =
        found.is_some_and(|events| said.acknowledged.iter().all(|(id, _)| events.contains(id)));
    match accident {
        Accident::Copy | Accident::SecondName => {
            assert!(
                said.refusals.is_empty(),
                "a false alarm: {:?}; {context}",
                said.refusals
            );
            assert!(has_all, "an append is missing; {context}");
        }
        // A store that cannot decide yet lets its appends wait.
        _ if afterwards.is_empty() => {}
        // No page was copied from the log into the file since the backup, so the restored file has the same bytes.
        Accident::RestoreInPlace | Accident::RestoreBesideOldLog if said.refusals.is_empty() => {
            assert!(has_all, "an append is missing; {context}");
        }
        _ => assert!(
            !said.refusals.is_empty(),
            "it was not noticed; {context}; {:?}",
            names_in(scene.place.folder())
        ),
    }
    afterwards.len()
}

#[tokio::test]
async fn appends_after_an_accident_are_refused_or_in_the_file_that_the_path_names() {
    let seed = std::env::var(SEED).map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("a number"),
    );
    let accidents =
        std::env::var(ACCIDENTS).map_or(ALL.len(), |count| count.parse().expect("a number"));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut afterwards = 0;
    for number in 0..accidents {
        // Each accident once, then random ones.
        let accident = ALL
            .get(number)
            .copied()
            .unwrap_or_else(|| ALL[random.usize(..ALL.len())]);
        let context = format!("accident {number}: {accident:?}, {SEED}={seed}");
        afterwards += play(accident, &mut random, &context).await;
    }
    say(&format!(
        "{accidents} accidents, {afterwards} appends acknowledged that began afterwards, none of them lost\n"
    ));
}
