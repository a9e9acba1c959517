//! `bank-example serve` as a process: its address, its answers, its log, its end.

#[path = "serve/proxies.rs"]
mod proxies;
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use support::Place;

const PASSWORD: &str = "correct horse battery";

fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank-example"));
    command
        .args(["--store", place.url()])
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("BANK_PASSWORD");
    for variable in [
        "BANK_PASSWORD_FILE",
        "BANK_STORE",
        "BANK_STORE_FILE",
        "BANK_ORIGIN",
    ] {
        command.env_remove(variable);
    }
    command
}

fn run(place: &Place, arguments: &[&str]) -> Output {
    command(place, arguments).output().expect("the bank runs")
}

/// Returns the output of the program.
fn text(place: &Place, arguments: &[&str]) -> String {
    let output = run(place, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("UTF-8")
        .trim()
        .to_owned()
}

/// The one line on stderr, after checking the exit code.
fn fails(place: &Place, code: i32, arguments: &[&str]) -> String {
    let output = run(place, arguments);
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(
        (output.status.code(), line.lines().count()),
        (Some(code), 1),
        "{arguments:?}: {line}"
    );
    assert!(
        line.starts_with("error: ") && output.stdout.is_empty(),
        "{arguments:?}: {line}"
    );
    line
}

/// Returns the answer of a server to a request without a body.
fn ask(address: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket
        .write_all(format!("{request}\r\nConnection: close\r\n\r\n").as_bytes())
        .expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn serving_where_others_can_reach_it_takes_a_password() {
    let place = &Place::all_durable()[0];
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let line = fails(place, 2, &["serve", "--addr", address]);
        assert!(
            line.contains("--allow-remote") && line.contains("BANK_PASSWORD"),
            "{line}"
        );
        let line = fails(place, 2, &["serve", "--addr", address, "--allow-remote"]);
        assert!(
            line.contains("12 characters in the variable BANK_PASSWORD"),
            "{line}"
        );
    }
    for address in ["nonsense", "localhost", "127.0.0.1", "127.0.0.1:99999"] {
        assert!(
            fails(place, 2, &["serve", "--addr", address]).contains("--addr"),
            "{address}"
        );
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    assert!(fails(place, 2, &["serve", "--addr", &address]).contains("cannot listen on"));
}

#[test]
fn a_store_that_cannot_be_opened_is_3() {
    let nowhere = [
        "--store",
        "sqlite:no/such/folder/bank.db",
        "serve",
        "--addr",
        "127.0.0.1:0",
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_bank-example"))
        .args(nowhere)
        .output()
        .expect("the bank runs");
    let line = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(3), "{line}");
    assert!(line.contains("no/such/folder"), "{line}");
}

#[test]
fn a_served_bank_answers_until_it_is_told_to_stop() {
    for place in Place::all_durable() {
        let alice = text(&place, &["open", "Alice"]);
        text(&place, &["credit", &alice, "20"]);
        let mut served = command(&place, &["serve", "--addr", "0.0.0.0:0", "--allow-remote"]);
        served
            .env("BANK_PASSWORD", PASSWORD)
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut served = served.spawn().expect("the bank runs");
        let mut lines = BufReader::new(served.stdout.take().expect("a pipe"))
            .lines()
            .map(|line| line.expect("UTF-8"));
        let line = lines.next().expect("a line");
        let port = line
            .split("0.0.0.0:")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .expect("an address");
        let address = format!("127.0.0.1:{port}");

        let admitted = format!("Authorization: Bearer {PASSWORD}");
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {address}");
        assert!(ask(&address, &request("/")).starts_with("HTTP/1.1 401"));
        let page = ask(
            &address,
            &format!("{}\r\n{admitted}", request("/?owner=Alice")),
        );
        assert!(
            page.starts_with("HTTP/1.1 200") && page.contains("Alice") && page.contains("20.00"),
            "{page}"
        );
        assert!(ask(&address, &request("/readyz")).ends_with("ready\n"));
        ask(
            &address,
            &format!(
                "{}\r\n{admitted}",
                request(&format!("/accounts/{alice}?at=1"))
            ),
        );
        // An open stream does not keep the bank from ending.
        let mut listening = TcpStream::connect(&address).expect("it listens");
        listening
            .write_all(format!("{}\r\n{admitted}\r\n\r\n", request("/live")).as_bytes())
            .expect("it reads");
        let mut first = [0; 12];
        listening.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");

        // A request that begins and never ends does not, either.
        let mut slow = TcpStream::connect(&address).expect("it listens");
        slow.write_all(b"GET / HTTP/1.1\r\nHost: ")
            .expect("it reads");
        slow.set_read_timeout(Some(Duration::from_secs(30)))
            .expect("it is set");
        let mut answer = String::new();
        slow.read_to_string(&mut answer).expect("it is cut off");
        assert!(!answer.contains("200"), "{answer}");

        let stop = Command::new("kill")
            .args(["-TERM", &served.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(stop.success());
        let output = served.wait_with_output().expect("it ends");
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert!(
            log.contains("/accounts/{id}") && log.contains("request"),
            "{log}"
        );
        assert!(!log.contains("open requests"), "{log}");
        for secret in ["Alice", "20.00", &alice, PASSWORD] {
            assert!(!log.contains(secret), "{secret} is logged: {log}");
        }
        text(&place, &["verify"]);
    }
}

/// The cause of a 500 is in the log, without `RUST_LOG`, and a file has no colours.
#[test]
fn a_problem_of_the_bank_is_in_its_log() {
    let place = &Place::all_durable()[0];
    let alice = text(place, &["open", "Alice"]);
    let file = place.url().strip_prefix("sqlite:").expect("a file");
    let broken = "UPDATE eventsourcing_events SET payload = CAST('{\"owner\":7}' AS BLOB) WHERE position = 1";
    let database = rusqlite::Connection::open(file).expect("the database");
    assert_eq!(database.execute(broken, []).expect("an event is broken"), 1);
    drop(database);
    for filter in [None, Some("info")] {
        let mut served = command(place, &["serve", "--addr", "127.0.0.1:0"]);
        served
            .envs(filter.map(|filter| ("RUST_LOG", filter)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut served = served.spawn().expect("the bank runs");
        let mut line = String::new();
        let mut out = BufReader::new(served.stdout.take().expect("a pipe"));
        out.read_line(&mut line).expect("it says where it is");
        let address = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .expect("an address")
            .to_owned();
        for (path, status) in [
            (format!("/api/accounts/{alice}"), "500"),
            (format!("/accounts/{alice}"), "500"),
        ] {
            let answer = ask(&address, &format!("GET {path} HTTP/1.1\r\nHost: {address}"));
            assert!(
                answer.split(' ').nth(1) == Some(status) && answer.contains("log"),
                "{answer}"
            );
        }
        let stop = Command::new("kill")
            .args(["-TERM", &served.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(stop.success());
        let log =
            String::from_utf8(served.wait_with_output().expect("it ends").stderr).expect("UTF-8");
        assert!(
            log.matches("ERROR").count() >= 2 && log.contains("cannot decode event Opened"),
            "{log}"
        );
        assert!(!log.contains('\u{1b}'), "{log:?}");
    }
}
