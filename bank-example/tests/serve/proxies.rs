//! The bank behind a real nginx, with the configurations in `docs/serving.md`: access, forms, streams, two processes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::Place;
use crate::support::http::Answer;
use crate::support::serving::{Client, Server};
use crate::{PASSWORD, text};

const PAGE: &str = include_str!("../../../docs/serving.md");
const MISSING: &str = "nginx does not start; the tests of proxies need it: apt-get install --no-install-recommends nginx";
const ADMITTED: (&str, &str) = ("Authorization", "Bearer correct horse battery");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
/// The headers that browsers send with a form of the page that they show, if the connection has TLS or is to this
/// machine.
const SAME_ORIGIN: (&str, &str) = ("Sec-Fetch-Site", "same-origin");

/// The blocks of nginx on the page: the one with everything, and the one with nothing but an upstream.
fn documented() -> [String; 2] {
    let mut blocks = PAGE
        .split("```nginx\n")
        .skip(1)
        .map(|rest| rest.split("```").next().expect("an end").to_owned());
    [
        blocks.next().expect("a block"),
        blocks.next().expect("another block"),
    ]
}

/// An nginx in front of the bank. It ends with the test.
struct Nginx {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx with a block of the page, in which only addresses and certificates are replaced.
    fn start(block: &str, servers: &[SocketAddr]) -> Self {
        let address = free_address();
        let mut block = block.to_owned();
        for (documented, server) in ["127.0.0.1:8000", "127.0.0.1:8001"].iter().zip(servers) {
            block = block.replace(documented, &server.to_string());
        }
        if servers.len() < 2 {
            block = without_lines(&block, "127.0.0.1:8001");
        }
        block = without_lines(&block, "ssl_certificate")
            .replace("server_name bank.example", "server_name _");
        for listen in ["listen 443 ssl;", "listen 80;"] {
            block = block.replace(listen, &format!("listen {address};"));
        }
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| {
            let path = folder.path().join(kind);
            format!("{kind}_temp_path {};\n", path.display())
        });
        // One process, which ends with this test, and which needs no rights that this one lacks.
        let settings = format!(
            "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{1}{block}\n}}\n",
            folder.path().display(),
            paths.concat(),
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, settings).expect("a file");
        let program = if std::path::Path::new("/usr/sbin/nginx").exists() {
            "/usr/sbin/nginx"
        } else {
            "nginx"
        };
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr"])
            .stdout(Stdio::null());
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{MISSING}\n{error}"));
        let mut nginx = Self {
            process,
            address,
            _folder: folder,
        };
        nginx.wait_until_it_listens();
        nginx
    }

    fn wait_until_it_listens(&mut self) {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().expect("it is waited for");
            assert!(
                ended.is_none() && begin.elapsed() < Duration::from_secs(20),
                "{MISSING}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn browser(&self) -> Browser {
        Browser {
            client: Client::to(self.address),
            cookie: None,
            page: String::new(),
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

fn without_lines(block: &str, part: &str) -> String {
    block
        .lines()
        .filter(|line| !line.contains(part))
        .collect::<Vec<_>>()
        .join("\n")
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
}

/// A person with a browser, as far as headers go.
struct Browser {
    client: Client,
    cookie: Option<String>,
    page: String,
}

impl Browser {
    fn get(&mut self, path: &str) -> Answer {
        let cookie = self.cookie.clone();
        let mut headers = vec![ADMITTED];
        headers.extend(cookie.as_deref().map(|cookie| ("Cookie", cookie)));
        let answer = self
            .client
            .send("GET", path, &headers, b"")
            .expect("an answer");
        if let Some(cookie) = answer.headers.get("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        self.page.clone_from(&answer.text);
        answer
    }

    /// Sends the first form of the page, which opens an account, as a browser does that has found the page at `origin`.
    fn open(&mut self, owner: &str, origin: &str, further: &[(&str, &str)]) -> Answer {
        let hidden = |name: &str| {
            let begin = format!("name=\"{name}\" value=\"");
            let value = self
                .page
                .split(&begin)
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            value
                .unwrap_or_else(|| panic!("no {name} in {}", self.page))
                .to_owned()
        };
        let body = format!(
            "owner={owner}&token={}&nonce={}",
            hidden("token"),
            hidden("nonce")
        );
        let cookie = self.cookie.clone().unwrap_or_default();
        let mut headers = vec![ADMITTED, FORM, ("Cookie", &cookie), ("Origin", origin)];
        headers.extend(further);
        self.client
            .send("POST", "/open", &headers, body.as_bytes())
            .expect("an answer")
    }
}

fn protected(place: &Place, arguments: &[&str]) -> Server {
    Server::start_with(
        place.url(),
        "127.0.0.1:0",
        arguments,
        &[("BANK_PASSWORD", PASSWORD)],
    )
}

#[test]
fn without_a_password_requests_through_a_proxy_are_refused() {
    let place = &Place::all_durable()[0];
    text(place, &["open", "Alice"]);
    let bank = Server::start(place.url());
    for block in documented() {
        // With any headers of the proxy, or none.
        for line in [
            "",
            "proxy_set_header X-Real-IP $remote_addr;",
            "proxy_set_header Via \"1.1 proxy\";",
        ] {
            let block = block.replacen("proxy_pass", &format!("{line}\n        proxy_pass"), 1);
            let nginx = Nginx::start(&block, &[bank.address]);
            for path in [
                "/",
                "/api/accounts",
                "/healthz",
                "/readyz",
                "/live",
                "/assets/style.css",
            ] {
                let answer = nginx.browser().get(path);
                assert_eq!(answer.status, 403, "{path} behind {block}: {answer:?}");
                assert!(
                    answer.text.contains("BANK_PASSWORD") && !answer.text.contains("Alice"),
                    "{answer:?}"
                );
            }
        }
    }
    assert_eq!(
        bank.client().get("/").expect("an answer").status,
        200,
        "this machine is served"
    );
}

#[test]
fn without_a_password_no_mark_of_a_proxy_and_no_other_name_is_answered() {
    let place = &Place::all_durable()[0];
    let bank = Server::start(place.url());
    for (name, value) in [
        ("Forwarded", "for=192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("X-Forwarded-Host", "bank.example"),
        ("X-Forwarded-Anything", ""),
        ("Via", "1.1 proxy"),
        ("X-Real-IP", "127.0.0.1"),
        ("CF-Connecting-IP", "192.0.2.1"),
    ] {
        for path in ["/", "/api/ledger", "/healthz", "/live", "/nothing"] {
            let answer = bank
                .client()
                .send("GET", path, &[(name, value)], b"")
                .expect("an answer");
            assert_eq!(answer.status, 403, "{name} {path}: {answer:?}");
            assert!(answer.text.contains("BANK_PASSWORD"), "{answer:?}");
        }
    }
    for (head, status) in [
        ("GET / HTTP/1.1\r\nHost: bank.example", "421"),
        ("GET / HTTP/1.1\r\nHost: 192.0.2.1:8000", "421"),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: bank.example",
            "4",
        ),
        (
            "GET http://bank.example/ HTTP/1.1\r\nHost: localhost",
            "421",
        ),
        ("GET / HTTP/1.0\r\nHost: localhost", "403"),
        ("GET / HTTP/1.1\r\nHost: LOCALHOST:1", "200"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.2", "200"),
        ("GET / HTTP/1.1\r\nHost: [::1]:8000", "200"),
    ] {
        let answer = crate::ask(&bank.address.to_string(), head);
        let found = answer.split(' ').nth(1).unwrap_or_default();
        assert!(found.starts_with(status), "{head}: {answer}");
    }
}

#[test]
fn a_password_is_asked_for_wherever_the_bank_listens() {
    let place = &Place::all_durable()[0];
    let bank = protected(place, &[]);
    assert_eq!(bank.client().get("/").expect("an answer").status, 401);
    assert_eq!(
        bank.client()
            .send("GET", "/", &[ADMITTED], b"")
            .expect("an answer")
            .status,
        200
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    let file = file.to_str().expect("UTF-8");
    for (arguments, variables) in [
        (&["--password-file", file][..], &[][..]),
        (&[], &[("BANK_PASSWORD_FILE", file)][..]),
    ] {
        let bank = Server::start_with(place.url(), "127.0.0.1:0", arguments, variables);
        assert_eq!(bank.client().get("/").expect("an answer").status, 401);
        assert_eq!(
            bank.client()
                .send("GET", "/", &[ADMITTED], b"")
                .expect("an answer")
                .status,
            200
        );
    }
    for (variable, value) in [
        ("BANK_PASSWORD", ""),
        ("BANK_PASSWORD", "too short"),
        ("BANK_PASSWORD_FILE", "/no/such/file"),
    ] {
        let output = crate::command(place, &["serve", "--addr", "127.0.0.1:0"])
            .env(variable, value)
            .output();
        let output = output.expect("the bank runs");
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && !line.contains("too short"),
            "{variable}={value}: {line}"
        );
    }
    for origin in [
        "bank.example",
        "https://bank.example/path",
        "https://me@bank.example",
    ] {
        let line = crate::fails(place, 2, &["serve", "--origin", origin]);
        assert!(line.contains("https://bank.example"), "{line}");
    }
    assert!(
        crate::fails(place, 2, &["serve", "--origin", "https://bank.example"])
            .contains("needs a password")
    );
}

/// Two processes of one bank, asked in turn, and restarted meanwhile.
#[test]
fn forms_go_to_any_process_and_survive_restarts() {
    for place in Place::all_durable() {
        let [first, second] = [(); 2].map(|()| protected(&place, &[]));
        let servers = [first.address, second.address];
        let nginx = Nginx::start(&documented()[0], &servers);
        let here = format!("http://{}", nginx.address);
        let mut browser = nginx.browser();
        for number in 0..6 {
            assert_eq!(browser.get("/").status, 200);
            // A request in between, so that the form goes to each process in turn.
            (0..number % 2).for_each(|_| drop(browser.client.send("GET", "/healthz", &[], b"")));
            let answer = browser.open(&format!("Owner{number}"), &here, &[]);
            assert_eq!(answer.status, 303, "{number}: {answer:?}");
        }
        browser.get("/");
        first.stop();
        second.kill();
        let [_first, _second] = servers.map(|address| {
            Server::start_with(
                place.url(),
                &address.to_string(),
                &[],
                &[("BANK_PASSWORD", PASSWORD)],
            )
        });
        let answer = browser.open("AfterTheRestart", &here, &[]);
        assert_eq!(answer.status, 303, "{answer:?}");
        assert!(text(&place, &["accounts"]).contains("AfterTheRestart"));
    }
}

/// A proxy that replaces `Host` with its own name.
#[test]
fn forms_pass_a_proxy_that_rewrites_host() {
    let place = &Place::all_durable()[0];
    let bank = protected(place, &[]);
    let nginx = Nginx::start(&documented()[1], &[bank.address]);
    let mut browser = nginx.browser();
    browser.get("/");
    assert_eq!(
        browser
            .open("Alice", "https://bank.example", &[SAME_ORIGIN])
            .status,
        303
    );
    let foreign = browser.open(
        "Mallory",
        "https://evil.example",
        &[("Sec-Fetch-Site", "cross-site")],
    );
    assert_eq!(foreign.status, 403);
    assert_eq!(browser.open("Mallory", "null", &[SAME_ORIGIN]).status, 403);
    let unknown = browser.open("Bob", "http://bank.example", &[]);
    assert!(
        unknown.status == 403 && unknown.text.contains("--origin"),
        "it says what to do: {unknown:?}"
    );
    drop(bank);

    for bank in [
        protected(
            place,
            &["--origin", "http://other.example,HTTP://Bank.Example:80/"],
        ),
        Server::start_with(
            place.url(),
            "127.0.0.1:0",
            &[],
            &[
                ("BANK_PASSWORD", PASSWORD),
                ("BANK_ORIGIN", "http://bank.example"),
            ],
        ),
    ] {
        let nginx = Nginx::start(&documented()[1], &[bank.address]);
        let mut browser = nginx.browser();
        browser.get("/");
        assert_eq!(browser.open("Bob", "http://bank.example", &[]).status, 303);
        assert_eq!(
            browser.open("Mallory", "https://bank.example", &[]).status,
            403,
            "another scheme is another site"
        );
        assert_eq!(
            browser.open("Mallory", "http://evil.example", &[]).status,
            403
        );
    }
    assert!(!text(place, &["accounts"]).contains("Mallory"));
}

#[test]
fn streams_pass_a_proxy_that_gathers_answers() {
    let place = &Place::all_durable()[0];
    text(place, &["open", "Alice"]);
    let bank = protected(place, &[]);
    for block in documented() {
        let nginx = Nginx::start(&block, &[bank.address]);
        let mut socket = TcpStream::connect(nginx.address).expect("nginx listens");
        socket
            .set_read_timeout(Some(Duration::from_secs(8)))
            .expect("it is set");
        let request = format!(
            "GET /live HTTP/1.1\r\nHost: {}\r\n{}: {}\r\n\r\n",
            nginx.address, ADMITTED.0, ADMITTED.1
        );
        socket.write_all(request.as_bytes()).expect("it reads");
        let mut lines = BufReader::new(socket)
            .lines()
            .map(|line| line.expect("the stream goes on"));
        let mut wait_for = |wanted: &str| {
            let seen: Vec<_> = lines
                .by_ref()
                .take_while(|line| !line.contains(wanted))
                .collect();
            seen.join("\n").to_ascii_lowercase()
        };
        let head = wait_for("event: tick");
        assert!(
            head.contains("200 ok") && head.contains("no-transform"),
            "{head}"
        );
        text(place, &["open", "Bob"]);
        let begin = Instant::now();
        wait_for("event: changed");
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{:?}",
            begin.elapsed()
        );
        wait_for("event: tick");
    }
    let mut direct = bank.client();
    let head = direct.head("/live", &[ADMITTED]).expect("an answer");
    assert_eq!(head.header("x-accel-buffering"), "no");
}
