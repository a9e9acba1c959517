//! The program `bank-example serve`, as a process, and a client that speaks to it over a socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::http::Answer;

/// The time after which a missing answer is a failure.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A process that serves a bank. Killed when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(url: &str) -> Self {
        Self::start_with(url, "127.0.0.1:0", &[], &[])
    }

    /// Starts one that listens there, with further arguments and variables.
    pub fn start_with(
        url: &str,
        address: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bank-example"));
        for variable in [
            "RUST_LOG",
            "BANK_PASSWORD",
            "BANK_PASSWORD_FILE",
            "BANK_ORIGIN",
        ] {
            command.env_remove(variable);
        }
        command
            .args(["--store", url, "serve", "--addr", address])
            .args(arguments)
            .envs(variables.iter().copied());
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("it says where it is");
        let address = line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once('/'));
        let address = address
            .and_then(|(address, _)| address.parse().ok())
            .unwrap_or_else(|| panic!("{line:?}"));
        Self { child, address }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client {
            address: self.address,
            stream: None,
        }
    }

    /// Kills the process as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it has ended");
    }

    /// Ends the process gracefully.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill runs")
                .success()
        );
        assert!(
            self.child.wait().expect("it has ended").success(),
            "it ends gracefully"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Sends one request after the other, over one connection as long as that lasts.
pub struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send("GET", path, &[], b"")
    }

    /// Creates a client of the server at this address.
    pub fn to(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// Returns the head of an answer that may have no end. The connection is not used again.
    pub fn head(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let answer = self.exchange(format!("{request}\r\n").as_bytes());
        self.stream = None;
        answer
    }

    /// Sends a command of the API.
    pub fn post(&mut self, path: &str, key: &str, body: &Value) -> io::Result<Answer> {
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ];
        self.send("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Sends a request, well-formed or not.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        let answer = self.exchange(&[request.as_bytes(), body].concat());
        // The server does not read the rest of a request that it refuses early.
        if answer.as_ref().map_or(true, |answer| answer.status >= 400) {
            self.stream = None;
        }
        answer
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_nodelay(true)?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().expect("it was just made");
        // A request that is refused early may be refused before all of it is sent.
        let sent = stream.get_mut().write_all(request);
        read(stream).or_else(|error| sent.and(Err(error)))
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Answer> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut headers = axum::http::HeaderMap::new();
    let mut bytes = 0;

    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            bytes = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        let name: axum::http::HeaderName = name.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        headers.append(name, value.parse().map_err(|_| io::ErrorKind::InvalidData)?);
    }
    let mut body = vec![0; bytes];
    stream.read_exact(&mut body)?;
    let text = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Answer {
        status,
        headers,
        text,
    })
}
