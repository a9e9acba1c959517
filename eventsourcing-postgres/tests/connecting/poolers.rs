//! A real PgBouncer in each of its modes: the error names one that is not in session mode, and nothing is reported as
//! corrupt.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use eventsourcing_core::store::{EventStore, FollowerStore, LogQuery, Position, StoreError};
use eventsourcing_postgres::PostgresOptions;
use tokio::time::{Instant, sleep};

use crate::support::server::{FORGETFUL, Server, user_of_servers};
use crate::support::{append, connect, log_of, one_line, reads_of, stream};

/// A pooler in front of a server. It ends when this is dropped.
struct Pooler {
    process: Child,
    folder: tempfile::TempDir,
    server_port: u16,
    port: u16,
}

impl Pooler {
    async fn start(server: &Server, mode: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        configure(folder.path(), server.port(), port, mode);
        let mut command = Command::new(program());
        command
            .arg(folder.path().join("pgbouncer.ini"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some((user, group)) = user_of_servers() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))
                .expect("the superuser may do that");
            command.uid(user).gid(group);
        }
        let process = command.spawn().expect("pgbouncer starts");
        let pooler = Self {
            process,
            folder,
            server_port: server.port(),
            port,
        };
        let start = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "pgbouncer does not listen"
            );
            sleep(Duration::from_millis(20)).await;
        }
        pooler
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Changes the mode, for existing connections too.
    async fn change_to(&self, mode: &str) {
        configure(self.folder.path(), self.server_port, self.port, mode);
        let console = connect(&format!(
            "postgres://pooler@127.0.0.1:{}/pgbouncer",
            self.port
        ))
        .await;
        console
            .simple_query("RELOAD")
            .await
            .expect("the console obeys");
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configure(folder: &Path, server_port: u16, port: u16, mode: &str) {
    let users = folder.join("users.txt");
    std::fs::write(&users, "\"postgres\" \"\"\n\"pooler\" \"\"\n").expect("a file");
    let users = users.display();
    let settings = format!(
        "[databases]\n* = host=127.0.0.1 port={server_port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\nadmin_users = pooler\npool_mode = {mode}\n\
         default_pool_size = 30\nmax_client_conn = 200\n"
    );
    std::fs::write(folder.join("pgbouncer.ini"), settings).expect("a file");
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.is_file());
    found.expect("PgBouncer is missing; install it (apt-get install pgbouncer)")
}

fn options() -> PostgresOptions {
    PostgresOptions::new()
        .with_connect_timeout(Duration::from_secs(4))
        .with_statement_timeout(Duration::from_secs(4))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_in_session_mode_is_as_good_as_none() {
    let server = Server::start(FORGETFUL);
    let pooler = Pooler::start(&server, "session").await;
    let store = options().connect(pooler.url()).await.expect("a store");
    for _ in 0..20 {
        store.append(append()).await.expect("a receipt");
    }
    assert_eq!(log_of(&store).await.len(), 20);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_in_another_mode_is_named_when_a_store_connects_and_nothing_is_made() {
    let server = Server::start(FORGETFUL);
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&server, mode).await;
        for _ in 0..3 {
            let error = options()
                .connect(pooler.url())
                .await
                .expect_err("this pooler is of no use");
            assert!(
                matches!(error, StoreError::Invalid { .. }),
                "{mode}: {error:?}"
            );
            let text = one_line(&error);
            assert!(
                text.contains("pooler") && text.contains("session mode"),
                "{mode}: {text}"
            );
        }
    }
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'eventsourcing'";
    let made = connect(&server.url("postgres"))
        .await
        .query_one(made, &[])
        .await
        .expect("a number");
    assert_eq!(made.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_that_changes_its_mode_under_a_store_is_named_and_nothing_is_called_corrupt() {
    let server = Server::start(FORGETFUL);
    let direct = options()
        .connect(server.url("postgres"))
        .await
        .expect("a store");
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&server, "session").await;
        let store = options().connect(pooler.url()).await.expect("a store");
        store.append(append()).await.expect("a receipt");
        pooler.change_to(mode).await;
        let mut named = 0;
        for _ in 0..30 {
            for error in errors_of(&store).await {
                assert!(
                    matches!(error, StoreError::Unavailable { .. }),
                    "{mode}: {error:?}"
                );
                named += usize::from(one_line(&error).contains("session mode"));
            }
        }
        assert!(named > 0, "{mode}: the pooler is not named");
    }
    let written = log_of(&direct).await.len();
    assert!(written >= 2, "{written} events");
}

/// Runs all operations at once, so that connections get mixed up.
async fn errors_of(store: &eventsourcing_postgres::PostgresStore) -> Vec<StoreError> {
    let (load, _) = reads_of(&stream());
    let one = store.append(append());
    let two = store.append(append());
    let three = store.load(load.clone());

    let four = store.read_log(LogQuery::after(Position::ZERO));
    let five = store.head();

    let (one, two, three, four, five, six) =
        tokio::join!(one, two, three, four, five, store.load(load));
    let begun = match store.database().expect("a database").begin().await {
        Ok(mut transaction) => {
            let executed = transaction
                .execute("CREATE TABLE IF NOT EXISTS pooled (a BIGINT)", &[])
                .await;
            match executed.err() {
                Some(eventsourcing_core::sql::SqlError::Store(error)) => Some(error),
                _ => transaction.commit().await.err(),
            }
        }
        Err(error) => Some(error),
    };
    [
        one.err(),
        two.err(),
        three.err(),
        four.err(),
        five.err(),
        six.err(),
        begun,
    ]
    .into_iter()
    .flatten()
    .collect()
}
