//! Tests of the test server itself: it answers, survives the actions of tests, and leaves nothing behind.

mod support;

use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::server::{DURABLE, FORGETFUL};
use support::{Server, connect};

/// Set for a child process: the file to which it writes the folder of its server.
const CHILD_PATH: &str = "EVENTSOURCING_TEST_CHILD_PATH";
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn server_is_durable_and_goes_on_after_a_crash() {
    let server = Server::start(DURABLE);
    let client = connect(&server.url("postgres")).await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let shown: String = client
            .query_one(&format!("SHOW {setting}"), &[])
            .await
            .expect("a setting")
            .get(0);
        assert_eq!(shown, "on", "{setting}");
    }
    client
        .batch_execute("CREATE TABLE kept AS SELECT 1")
        .await
        .expect("a table");
    server.crash();
    server.start_again();
    assert!(
        client.batch_execute("SELECT 1").await.is_err(),
        "the connection has ended with the server"
    );
    connect(&server.url("postgres"))
        .await
        .batch_execute("SELECT * FROM kept")
        .await
        .expect("the table is kept");
}

#[tokio::test]
async fn nothing_is_left_when_a_server_is_dropped() {
    let server = Server::start(FORGETFUL);
    let folder = folder_of(&server).await;
    assert!(folder.exists());
    drop(server);
    assert!(!folder.exists(), "{} is still there", folder.display());
}

#[tokio::test]
async fn nothing_is_left_when_the_process_is_killed() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("folder");
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command
        .args(["--exact", "child_process_starts_a_server", "--quiet"])
        .env(CHILD_PATH, &path)
        .stdout(Stdio::null());
    let mut child = command.spawn().expect("a child process");
    wait_until("the child's server runs", || path.exists());
    let folder = PathBuf::from(std::fs::read_to_string(&path).expect("a path"));
    let port = port_of_server_in(&folder);
    child.kill().expect("kill -9");
    child.wait().expect("a status");
    wait_until("the server has ended", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
    });
    wait_until("the server's folder is gone", || !folder.exists());
}

/// The other half of the test above. It does nothing in the process that runs all tests.
#[tokio::test]
async fn child_process_starts_a_server() {
    let Some(path) = std::env::var_os(CHILD_PATH) else {
        return;
    };
    let server = Server::start(FORGETFUL);
    let folder = folder_of(&server).await;
    let path = PathBuf::from(path);
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, folder.to_str().expect("text")).expect("a file");
    std::fs::rename(unfinished, path).expect("a name");
    tokio::time::sleep(SOON * 2).await;
    panic!("this process was not killed");
}

async fn folder_of(server: &Server) -> PathBuf {
    let data: String = connect(&server.url("postgres"))
        .await
        .query_one("SHOW data_directory", &[])
        .await
        .expect("a setting")
        .get(0);
    Path::new(&data).parent().expect("a folder").to_owned()
}

/// Reads the port, which the server writes to the fourth line of this file.
fn port_of_server_in(folder: &Path) -> u16 {
    let notes =
        std::fs::read_to_string(folder.join("data/postmaster.pid")).expect("the server's notes");
    notes
        .lines()
        .nth(3)
        .and_then(|port| port.parse().ok())
        .expect("a port")
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < SOON, "waited {SOON:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
