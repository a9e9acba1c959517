//! On every store: checksums find events that a follower did not receive exactly once, and rows find wrong results of a
//! projection.

#[path = "../../eventsourcing-core/tests/lying_store/mod.rs"]
mod lying_store;
mod support;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::Cursor;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bank_example::application::accounts::AccountService;
use bank_example::domain::account::{Account, AccountEvent};
use bank_example::system::EventSourcedBank;
use derive_more::{Deref, From};
use eventsourcing::archive::{export, import};
use eventsourcing::postgres::PostgresStore;
use eventsourcing::sql::SqlError;
use eventsourcing::sqlite::SqliteStore;
use eventsourcing::store::{
    EventStore, FollowerStore, LogQuery, MemoryStore, Position, StoredEvent,
};
use eventsourcing::system::{ContentsVerification, EventPlace, Finding};
use eventsourcing::testing::Seed;
use eventsourcing::{
    Application, Policy, ReadModel, RecordedEvent, Root, Runner, RunningSystem, SqlProjection,
    SqlReadModel, Stores, System, SystemBuilder, Table, Tx, UnitOfWork, values,
};
use lying_store::{Flaw, LyingStore, log};
use support::by_hand::Session;
use support::{Place, money};

/// The mistake that the code of a projection makes with one event.
enum Mistake {
    Drops,
    Doubles,
    Takes(Box<RecordedEvent<Account>>),
}

/// The position and the kind of the projection's mistake, while it makes one.
static MISTAKE: Mutex<Option<(Position, Mistake)>> = Mutex::new(None);

/// Held by a test while the projection makes a mistake.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn make_a_mistake(mistake: Option<(Position, Mistake)>) {
    *MISTAKE.lock().expect("no panic") = mistake;
}

/// The number of events of each account, and the events.
#[derive(Debug, Deref, From)]
struct Tally(ReadModel);

impl SqlReadModel for Tally {
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[
        Table::new("totals", "account TEXT PRIMARY KEY, number BIGINT NOT NULL"),
        Table::new(
            "entries",
            "account TEXT NOT NULL, version BIGINT NOT NULL, name TEXT NOT NULL, remark TEXT",
        ),
    ];
}

impl SqlProjection<Account> for Tally {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        let events = match &*MISTAKE.lock().expect("no panic") {
            Some((position, Mistake::Drops)) if *position == event.position => vec![],
            Some((position, Mistake::Doubles)) if *position == event.position => {
                vec![event.clone(); 2]
            }
            Some((position, Mistake::Takes(other))) if *position == event.position => {
                vec![(**other).clone()]
            }
            _ => vec![event.clone()],
        };
        for event in events {
            let sql = "INSERT INTO {totals} (account, number) VALUES ($1, 1) \
                       ON CONFLICT (account) DO UPDATE SET number = {totals}.number + 1";
            tx.execute(sql, &values![event.aggregate_id]).await?;
            let sql = "INSERT INTO {entries} (account, version, name) VALUES ($1, $2, $3)";
            tx.execute(
                sql,
                &values![event.aggregate_id, event.version, event.name()],
            )
            .await?;
        }
        Ok(())
    }
}

#[derive(Debug, System)]
struct TallyBank {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, follows(accounts: Account))]
    tally: Tally,
}

/// A policy that reacts to nothing.
#[derive(Debug)]
struct Calm(#[expect(dead_code, reason = "a policy has an application")] Application);

impl From<Application> for Calm {
    fn from(app: Application) -> Self {
        Self(app)
    }
}

impl Policy<Account> for Calm {
    type Error = Infallible;

    async fn react(
        &self,
        _: &RecordedEvent<Account>,
        _: &mut UnitOfWork,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

#[derive(Debug, System)]
struct CalmBank {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[application(aggregates(), follows(accounts: Account))]
    calm: Calm,
}

/// Creates an empty store with a database, in memory or on a server.
async fn database(number: u64) -> (LyingStore, Option<Place>) {
    if number % 10 != 9 {
        return (
            LyingStore::new(SqliteStore::in_memory().expect("a store")),
            None,
        );
    }
    let place = Place::postgres();
    (
        LyingStore::new(PostgresStore::connect(place.url()).await.expect("a store")),
        Some(place),
    )
}

/// Writes events of accounts, while no follower runs.
async fn write(
    store: &impl FollowerStore,
    app: &Application,
    accounts: usize,
    events_each: usize,
) -> Vec<StoredEvent> {
    for number in 0..accounts {
        let mut account = Root::<Account>::create(AccountEvent::Opened {
            owner: format!("Owner {number}"),
        });
        (1..events_each).for_each(|_| {
            account.record(AccountEvent::Credited {
                amount: money("0.01"),
            });
        });
        app.save(&mut account).await.expect("a save");
    }
    log(store).await
}

fn application(store: &LyingStore) -> Application {
    Application::new("accounts", store.clone())
}

async fn start<S: System>(stores: impl Into<Stores>, runner: Runner) -> RunningSystem<S> {
    SystemBuilder::new(stores)
        .with_runner(runner)
        .start()
        .await
        .expect("a start")
}

/// Draws two different events of the log.
fn two_of<'a>(events: &'a [StoredEvent], rng: &mut fastrand::Rng) -> [&'a StoredEvent; 2] {
    let one = rng.usize(..events.len());
    let other = rng.usize(..events.len() - 1);

    [
        &events[one],
        &events[if other < one { other } else { other + 1 }],
    ]
}

async fn recorded(app: &Application, event: &StoredEvent) -> RecordedEvent<Account> {
    let before = Position::new(event.position.as_u64() - 1);
    let page = app
        .log(LogQuery::after(before).limit(1))
        .await
        .expect("the log is read");
    page.decode().expect("an event of an account").remove(0)
}

fn is_at(place: &EventPlace, event: &StoredEvent) -> bool {
    (place.position, place.version, &place.stream) == (event.position, event.version, &event.stream)
}

/// The same on every store: the checksum of a delivered event is committed together with the step.
#[tokio::test]
async fn an_event_that_is_dropped_doubled_or_swapped_on_its_way_is_found_from_each_of_100_seeds() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let first = Seed::from_env();
    for number in 0..100 {
        let seed = Seed::new(first.as_u64().wrapping_add(number));
        let mut rng = seed.rng(0);
        let (store, _place) = database(number).await;
        let events = write(&store, &application(&store), 4, 30).await;
        // A follower that has not received the last event is at an earlier position, which is not a difference.
        let [event, other] = two_of(&events[..events.len() - 1], &mut rng);
        let flaw = [
            Flaw::Drop,
            Flaw::Double,
            Flaw::SwapFor(Box::new(other.clone())),
        ][number as usize % 3]
            .clone();
        store.break_at(event.position, flaw.clone());
        let bank: RunningSystem<TallyBank> = start(store.clone(), Runner::inline()).await;
        store.be_honest();

        let verification = bank.verify().await.expect("an answer");
        let [tally] = &verification.followers[..] else {
            panic!("{seed}: {verification}")
        };
        let [difference] = &tally.differences[..] else {
            panic!("{seed}: {flaw:?}: {verification}")
        };
        assert_eq!(difference.follower.as_str(), "tally@1");
        match (&flaw, &difference.finding) {
            (Flaw::Drop, Finding::Missing(found)) | (Flaw::Double, Finding::Doubled(found)) => {
                assert!(
                    found.len() == 1 && is_at(&found[0], event),
                    "{seed}: {verification}"
                );
            }
            (Flaw::SwapFor(_), Finding::Exchanged(found)) => {
                let is_found = |event| found.iter().any(|place| is_at(place, event));
                assert!(is_found(event) && is_found(other), "{seed}: {verification}");
            }
            _ => panic!("{seed}: {flaw:?}: {verification}"),
        }
    }
}

#[tokio::test]
async fn a_projection_that_drops_doubles_or_swaps_an_event_is_found_from_each_of_100_seeds() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let first = Seed::from_env();
    for number in 0..100 {
        let seed = Seed::new(first.as_u64().wrapping_add(number));
        let mut rng = seed.rng(0);
        let (store, _place) = database(number).await;
        let events = write(&store, &application(&store), 4, 30).await;
        let [event, other] = two_of(&events, &mut rng);
        let mistake = match number % 3 {
            0 => Mistake::Drops,
            1 => Mistake::Doubles,
            _ => Mistake::Takes(Box::new(recorded(&application(&store), other).await)),
        };
        make_a_mistake(Some((event.position, mistake)));
        let bank: RunningSystem<TallyBank> = start(store.clone(), Runner::inline()).await;
        make_a_mistake(None);
        assert!(
            bank.verify().await.expect("an answer").agrees(),
            "{seed}: it was handed each event once"
        );

        let [tally] = &bank.verify_contents().await.expect("an answer")[..] else {
            panic!("one read model")
        };
        assert!(
            !tally.agrees() && tally.unchecked.is_none(),
            "{seed}: {tally}"
        );
        let entries = tally
            .differences
            .iter()
            .find(|difference| difference.table == "entries");
        let entries = entries.unwrap_or_else(|| panic!("{seed}: {tally}"));
        assert_eq!(
            entries.rows,
            if number % 3 == 2 { 2 } else { 1 },
            "{seed}: {tally}"
        );
        let expected = match number % 3 {
            0 => vec![(event, 0)],
            1 => vec![(event, 2)],
            _ => vec![(event, 0), (other, 2)],
        };
        for (event, times) in expected {
            let row = format!("account=\"{}\" version={}", event.stream.id, event.version);
            let is_named = entries
                .examples
                .iter()
                .any(|example| example.to_string().starts_with(&row) && example.found == times);
            assert!(is_named, "{seed}: {row} {times} times in {tally}");
        }
        assert_comparison_left_nothing(&store).await;
        if number >= 89 {
            assert!(
                !bank.verify_contents().await.expect("an answer")[0].agrees(),
                "verification changed nothing"
            );
            bank.rebuild(TallyBank::TALLY)
                .await
                .expect("it begins")
                .finished()
                .await
                .expect("it is shown");
            assert!(
                bank.verify_contents().await.expect("an answer")[0].agrees(),
                "{seed}"
            );
        }
    }
}

/// Requires that readers see what they saw before, and that the other tables are gone.
async fn assert_comparison_left_nothing(store: &impl FollowerStore) {
    let database = store.database().expect("a database");
    database
        .query("SELECT * FROM totals_1", &[])
        .await
        .expect("the one that readers see");
    for table in ["totals_2", "entries_2"] {
        database
            .query(&format!("SELECT * FROM {table}"), &[])
            .await
            .expect_err("it is thrown away");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dropped_one_doubled_and_one_swapped_event_in_100_000_are_found_on_every_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = SqliteStore::open(folder.path().join("bank.db"))
        .await
        .expect("a store");
    let place = Place::postgres();
    let server = PostgresStore::connect(place.url()).await.expect("a store");
    for store in [LyingStore::new(file), LyingStore::new(server)] {
        let events = write(&store, &application(&store), 20, 5_000).await;
        let [dropped, doubled, swapped, other] =
            [12_345, 54_321, 77_777, 77_778].map(|index| &events[index]);
        store.break_at(dropped.position, Flaw::Drop);
        store.break_at(doubled.position, Flaw::Double);
        store.break_at(swapped.position, Flaw::SwapFor(Box::new(other.clone())));
        let bank: RunningSystem<CalmBank> = start(store.clone(), Runner::concurrent()).await;
        bank.wait_until_caught_up().await.expect("it catches up");
        store.be_honest();

        let verification = bank.verify().await.expect("an answer");
        let [calm] = &verification.followers[..] else {
            panic!("{verification}")
        };
        assert_eq!(calm.events, 100_000);
        let [first, second, third] = &calm.differences[..] else {
            panic!("{verification}")
        };
        let is_named = |found: &[EventPlace], events: &[&StoredEvent]| {
            found.len() == events.len()
                && found
                    .iter()
                    .zip(events)
                    .all(|(place, event)| is_at(place, event))
        };
        assert!(
            matches!(&first.finding, Finding::Missing(found) if is_named(found, &[dropped])),
            "{verification}"
        );
        assert!(
            matches!(&second.finding, Finding::Doubled(found) if is_named(found, &[doubled])),
            "{verification}"
        );
        let both = [swapped, other];
        assert!(
            matches!(&third.finding, Finding::Exchanged(found) if is_named(found, &both)),
            "{verification}"
        );
        bank.stop().await.expect("a graceful end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_agrees_while_writers_and_followers_work() {
    let _alone = ONE_AT_A_TIME.lock().await;
    for place in Place::all() {
        let stores = bank_example::stores::open(place.url())
            .await
            .expect("a store");
        let bank: RunningSystem<EventSourcedBank> =
            start(stores.clone(), Runner::concurrent()).await;
        let other: RunningSystem<EventSourcedBank> =
            start(stores.clone(), Runner::concurrent()).await;
        let alice = bank.accounts.open("Alice").await.expect("an account").id;
        let app = Application::new("accounts", stores.store());
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let writer = tokio::spawn(async move {
            let mut credits = 0;
            while !stop.load(Ordering::Relaxed) {
                app.update(alice, |account| account.credit(money("0.01")))
                    .await
                    .expect("a credit");
                credits += 1;
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            credits
        });
        let mut positions = BTreeSet::new();
        let mut round = 0;

        while round < 4 || positions.len() < 3 {
            let looks = if round % 2 == 0 { &bank } else { &other };
            let verification = looks.verify().await.expect("an answer");
            assert!(verification.agrees(), "{}: {verification}", place.url());
            let contents = looks.verify_contents().await.expect("an answer");
            assert!(
                contents.iter().all(ContentsVerification::agrees),
                "{}: {contents:?}",
                place.url()
            );
            positions.extend(contents.iter().map(|contents| contents.position));
            round += 1;
        }
        over.store(true, Ordering::Relaxed);
        let events = 1 + writer.await.expect("no panic");
        bank.wait_until_caught_up().await.expect("it catches up");
        let verification = bank.verify().await.expect("an answer");
        assert!(verification.agrees(), "{verification}");
        let processed: Vec<_> = verification
            .followers
            .iter()
            .map(|follower| follower.events)
            .collect();
        assert_eq!(
            processed,
            [0, 0, events, events, events],
            "there are no transfers in steps"
        );
        support::assert_consistent(&bank).await;
        other.stop().await.expect("a graceful end");
        bank.stop().await.expect("a graceful end");
    }
}

/// Tables left by a process that was killed are removed, and two comparisons at a time do not disturb each other.
#[tokio::test(flavor = "multi_thread")]
async fn comparing_contents_cleans_up_and_is_done_by_one_at_a_time() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (store, _place) = database(9).await;
    write(&store, &application(&store), 2, 100).await;
    let bank: RunningSystem<TallyBank> = start(store.clone(), Runner::inline()).await;
    let (one, other) = tokio::join!(bank.verify_contents(), bank.verify_contents());
    let both = [
        one.expect("an answer").remove(0),
        other.expect("an answer").remove(0),
    ];
    let [compared, unchecked] = if both[0].unchecked.is_none() {
        both
    } else {
        let [a, b] = both;
        [b, a]
    };
    assert!(
        compared.agrees() && compared.events == 200 && compared.rows == 202,
        "{compared}"
    );
    if !unchecked.agrees() {
        assert!(
            unchecked
                .to_string()
                .contains("not compared: another process is comparing it"),
            "{unchecked}"
        );
    }
    assert_comparison_left_nothing(&store).await;
    assert!(bank.verify_contents().await.expect("an answer")[0].agrees());
}

/// The next release of [`Tally`].
#[derive(Debug, Deref, From)]
struct LaterTally(ReadModel);

impl SqlReadModel for LaterTally {
    const VERSION: u32 = 2;
    const TABLES: &'static [Table] = &[Table::new(
        "entries",
        "account TEXT NOT NULL, version BIGINT NOT NULL",
    )];
}

impl SqlProjection<Account> for LaterTally {
    type Error = SqlError;

    async fn project(
        &self,
        event: &RecordedEvent<Account>,
        tx: &mut Tx<'_>,
    ) -> Result<(), SqlError> {
        let sql = "INSERT INTO {entries} (account, version) VALUES ($1, $2)";
        tx.execute(sql, &values![event.aggregate_id, event.version])
            .await
            .map(drop)
    }
}

#[derive(Debug, System)]
#[system(name = "TallyBank")]
struct LaterTallyBank {
    #[expect(dead_code, reason = "it is followed")]
    #[application(aggregates(Account))]
    accounts: AccountService,
    #[projection(sql, name = "tally", follows(accounts: Account))]
    tally: LaterTally,
}

/// A read model of which another version is live is checked as far as this one can, and never left out silently.
#[tokio::test]
async fn a_read_model_of_which_another_version_answers_is_not_passed_over_in_silence() {
    let _alone = ONE_AT_A_TIME.lock().await;
    for number in [0, 9] {
        let (store, _place) = database(number).await;
        let events = write(&store, &application(&store), 2, 20).await;
        let early: RunningSystem<TallyBank> = start(store.clone(), Runner::inline()).await;
        store.break_at(events[7].position, Flaw::Drop);
        let late: RunningSystem<LaterTallyBank> = start(store.clone(), Runner::inline()).await;
        store.be_honest();
        let rows = late
            .tally
            .query("SELECT * FROM {entries}", &[])
            .await
            .expect("an answer");
        assert_eq!(
            rows.len(),
            39,
            "the later version answers, and has lost an event"
        );

        let of_late = late.verify().await.expect("an answer").to_string();
        assert!(
            of_late.contains("tally@2, positions 1–10000") && of_late.contains("is missing"),
            "{of_late}"
        );
        let of_early = early.verify().await.expect("an answer");
        assert!(!of_early.agrees(), "{of_early}");
        assert!(
            of_early
                .to_string()
                .contains("not checked: version 2 of it is live"),
            "{of_early}"
        );
        let contents = early.verify_contents().await.expect("an answer")[0].to_string();
        assert!(
            contents.contains(
                "not compared: version 2 of it is live; verify with a program of that version"
            ),
            "{contents}"
        );

        late.rebuild(LaterTallyBank::TALLY)
            .await
            .expect("it begins")
            .finished()
            .await
            .expect("it is shown");
        assert!(
            early.verify().await.expect("an answer").agrees(),
            "it takes the same events, and has taken each once"
        );
        assert!(late.verify().await.expect("an answer").agrees());
        assert!(late.verify_contents().await.expect("an answer")[0].agrees());
    }
}

/// Runs the program, a process that has seen nothing of the log yet, and requires that it finds nothing wrong.
async fn assert_the_program_agrees(place: &Place, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank-example"));
    command
        .args(["--store", place.url()])
        .args(arguments)
        .env_remove("RUST_LOG");
    let run = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
    let output = tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .expect("in time")
        .expect("no panic");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{arguments:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Requires that a process that has seen nothing of the log yet finds nothing wrong.
async fn assert_no_false_alarm(place: &Place, what: &str) {
    let stores = bank_example::stores::open(place.url())
        .await
        .expect("a store");
    let bank: RunningSystem<EventSourcedBank> = start(stores, Runner::inline()).await;
    let verification = bank.verify().await.expect("an answer");
    assert!(verification.agrees(), "{what}: {verification}");
    let contents = tokio::time::timeout(Duration::from_secs(60), bank.verify_contents())
        .await
        .expect("in time");
    let contents = contents.expect("an answer");
    assert!(
        contents.iter().all(ContentsVerification::agrees),
        "{what}: {contents:?}"
    );
    for follower in bank.health().await.expect("an answer").followers {
        assert!(
            follower.position <= follower.head,
            "{what}: {follower:?} is ahead of its log"
        );
        assert!(
            follower.lag == 0 && follower.failure().is_none(),
            "{what}: {follower:?}"
        );
    }
    bank.stop().await.expect("a graceful end");
}

/// A process that starts while an append is open sees the log only up to the first gap. In other processes, which saw
/// the gap decided earlier, the followers have got further.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_and_an_open_append_raise_no_false_alarm() {
    let place = Place::postgres();
    let stores = bank_example::stores::open(place.url())
        .await
        .expect("a store");
    let bank: RunningSystem<EventSourcedBank> =
        start(stores, Runner::concurrent().without_leases()).await;
    let account = bank.accounts.open("Alice").await.expect("an account").id;
    let mut by_hand = Session::new(&place);
    for _ in 0..3 {
        by_hand.leave_a_hole();
        bank.accounts
            .credit(account, money("1.00"))
            .await
            .expect("a credit");
    }
    bank.wait_until_caught_up().await.expect("it catches up");

    by_hand.begin_append();
    assert_the_program_agrees(&place, &["verify"]).await;
    assert_the_program_agrees(&place, &["verify", "--contents"]).await;
    assert_no_false_alarm(&place, "an append is open").await;

    for _ in 0..3 {
        bank.accounts
            .credit(account, money("1.00"))
            .await
            .expect("a credit");
    }
    assert_the_program_agrees(&place, &["verify", "--contents"]).await;
    assert_no_false_alarm(&place, "others append behind it").await;
    by_hand.run("COMMIT");
    assert_no_false_alarm(&place, "it has been committed").await;
    assert_the_program_agrees(&place, &["verify", "--contents"]).await;
    bank.wait_until_caught_up().await.expect("it catches up");
    bank.stop().await.expect("a graceful end");
}

/// Late commits, roll-backs and gaps drawn from a seed, while two processes follow and new ones verify.
#[tokio::test(flavor = "multi_thread")]
async fn late_commits_and_holes_drawn_from_a_seed_raise_no_false_alarm() {
    let place = Place::postgres();
    let seed = Seed::from_env();
    let mut rng = seed.rng(0);
    let mut banks: Vec<RunningSystem<EventSourcedBank>> = Vec::new();
    for _ in 0..2 {
        let stores = bank_example::stores::open(place.url())
            .await
            .expect("a store");
        banks.push(start(stores, Runner::concurrent().without_leases()).await);
    }
    let account = banks[0]
        .accounts
        .open("Alice")
        .await
        .expect("an account")
        .id;
    for round in 0..6 {
        let mut open: Vec<_> = (0..3).map(|_| Session::new(&place)).collect();
        let mut is_open = [false; 3];
        for _ in 0..12 {
            let number = rng.usize(..open.len());
            match rng.u8(..3) {
                0 => banks[1]
                    .accounts
                    .credit(account, money("1.00"))
                    .await
                    .map(drop)
                    .expect("a credit"),
                1 => open[number].leave_a_hole(),
                _ if is_open[number] => {
                    open[number].run(["COMMIT", "ROLLBACK"][rng.usize(..2)]);
                    is_open[number] = false;
                }
                _ => {
                    open[number].begin_append();
                    is_open[number] = true;
                }
            }
        }
        let what = format!("{seed}, round {round}");
        let stores = bank_example::stores::open(place.url())
            .await
            .expect("a store");
        let fresh: RunningSystem<EventSourcedBank> = start(stores, Runner::inline()).await;
        for bank in banks.iter().chain([&fresh]) {
            let verification = bank.verify().await.expect("an answer");
            assert!(verification.agrees(), "{what}: {verification}");
        }
        let contents = tokio::time::timeout(Duration::from_secs(60), fresh.verify_contents())
            .await
            .expect("in time");
        assert!(
            contents
                .expect("an answer")
                .iter()
                .all(ContentsVerification::agrees),
            "{what}"
        );
        open.iter_mut()
            .zip(is_open)
            .filter(|(_, is_open)| *is_open)
            .for_each(|(session, _)| session.run("COMMIT"));
    }
    for bank in &banks {
        let settled =
            tokio::time::timeout(Duration::from_secs(60), bank.wait_until_caught_up()).await;
        settled.expect("in time").expect("it catches up");
    }
    assert_no_false_alarm(&place, "at the end").await;
    support::assert_consistent(&banks[0]).await;
}

/// A policy is at the end of the log, so a cut behind the last event is complete, also while an append is open.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_append_does_not_keep_from_exporting_what_every_policy_has_processed() {
    let place = Place::postgres();
    let store = PostgresStore::connect(place.url()).await.expect("a store");
    let mut by_hand = Session::new(&place);
    write(&store, &Application::new("accounts", store.clone()), 1, 2).await;
    by_hand.leave_a_hole();
    let events = write(&store, &Application::new("accounts", store.clone()), 1, 2).await;
    let bank: RunningSystem<CalmBank> = start(store, Runner::inline()).await;
    bank.stop().await.expect("a graceful end");

    by_hand.begin_append();
    let fresh = PostgresStore::connect(place.url()).await.expect("a store");
    let mut archive = Vec::new();
    assert!(
        fresh.head().await.expect("a head") < events[3].position,
        "this process does not see the last events"
    );
    let exported = export::<CalmBank>(fresh, &mut archive, |_| {})
        .await
        .expect("an archive");
    assert_eq!((exported.events, exported.head), (4, events[3].position));
    let copy = MemoryStore::new();
    import(copy.clone(), Cursor::new(archive), |_| {})
        .await
        .expect("it is whole");
    let bank: RunningSystem<CalmBank> = start(copy, Runner::inline()).await;
    let verification = bank.verify().await.expect("an answer");
    assert!(verification.agrees(), "{verification}");
}
