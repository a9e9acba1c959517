//! A network between a store and its server that can fail: cut a connection, swallow a reply, fall silent.
//!
//! It understands just enough of the protocol to count round trips and to detect answers. TLS does not pass through it.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The fate of the connection that carries a certain request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server never sees the request; the connection is cut.
    CutBeforeRequest,
    /// The server processes the request; its reply is swallowed and the connection is cut.
    CutBeforeReply,
    /// The server processes the request; then no byte passes either way for this duration. Then the connection is cut.
    SilentBeforeReply(Duration),
    /// The server sees the first half of the request; the connection is cut.
    CutWithinRequest,
    /// The server processes the request; the first half of its reply arrives, and the connection is cut.
    CutWithinReply,
}

/// The request at which a fault strikes.
enum Target {
    /// The next request that contains these bytes.
    Containing(Vec<u8>),
    /// The request after this number of others, on any connection.
    After(usize),
}

/// All bytes that a client sends until it waits for the server.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The number of the connection, in the order of arrival.
    pub(crate) connection: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Request {
    pub(crate) fn contains(&self, mark: &[u8]) -> bool {
        self.bytes.windows(mark.len()).any(|part| part == mark)
    }
}

/// Listens on a port of its own and passes everything on.
pub(crate) struct Proxy {
    port: u16,
    network: Arc<Network>,
    listening: JoinHandle<()>,
}

struct Network {
    server: SocketAddr,
    connections: AtomicU64,
    requests: Mutex<Vec<Request>>,
    /// The fault that waits for its request.
    armed: Mutex<Option<(Target, Fault)>>,
    /// `true` while nothing listens at the port.
    away: watch::Sender<bool>,
    /// `true` while connections are accepted but not answered.
    silent: watch::Sender<bool>,
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Creates a proxy in front of the server at `port` of the loopback.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let port_of_proxy = listener.local_addr().expect("an address").port();
        let network = Arc::new(Network {
            server: (Ipv4Addr::LOCALHOST, port).into(),
            connections: AtomicU64::new(0),
            requests: Mutex::default(),
            armed: Mutex::default(),
            away: watch::Sender::new(false),
            silent: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&network)));
        Self {
            port: port_of_proxy,
            network,
            listening,
        }
    }

    /// Returns the URL of the server that leads through this proxy.
    pub(crate) fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Returns the requests so far, on all connections. Each entry is a round trip.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.network
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Arms `fault` for the next request that contains `mark`.
    pub(crate) fn arm(&self, mark: impl Into<Vec<u8>>, fault: Fault) {
        *self.network.armed() = Some((Target::Containing(mark.into()), fault));
    }

    /// Arms `fault` for the request that comes after `requests` others.
    pub(crate) fn arm_after(&self, requests: usize, fault: Fault) {
        *self.network.armed() = Some((Target::After(requests), fault));
    }

    /// Cuts every connection and closes the port, so that new ones are refused until [`listen`](Self::listen).
    pub(crate) async fn leave(&self) {
        self.network.away.send_replace(true);
        self.cut();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .is_ok()
        {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Listens at the port again.
    pub(crate) fn listen(&self) {
        self.network.away.send_replace(false);
    }

    /// Returns `true` if a fault waits for its request.
    pub(crate) fn is_armed(&self) -> bool {
        self.network.armed().is_some()
    }

    /// Disarms the fault, and returns `true` if it had not struck yet.
    pub(crate) fn disarm(&self) -> bool {
        self.network.armed().take().is_some()
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.network.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Blocks all traffic, on existing and new connections, without cutting any.
    pub(crate) fn fall_silent(&self) {
        self.network.silent.send_replace(true);
    }

    /// Lets all traffic pass again.
    pub(crate) fn speak(&self) {
        self.network.silent.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

impl Network {
    fn armed(&self) -> std::sync::MutexGuard<'_, Option<(Target, Fault)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault_of(&self, request: &Request) -> Option<Fault> {
        let mut armed = self.armed();
        let (target, fault) = armed.as_mut()?;
        let strikes = match target {
            Target::Containing(mark) => request.contains(mark),
            Target::After(0) => true,
            Target::After(requests) => {
                *requests -= 1;
                false
            }
        };
        let fault = strikes.then_some(*fault)?;
        *armed = None;
        Some(fault)
    }

    async fn while_silent(&self) {
        let _ = self.silent.subscribe().wait_for(|silent| !silent).await;
    }
}

async fn listen(listener: TcpListener, network: Arc<Network>) {
    let address = listener.local_addr().expect("an address");
    let mut away = network.away.subscribe();
    let mut listener = Some(listener);
    loop {
        if *away.borrow_and_update() {
            drop(listener.take());
            let _ = away.wait_for(|away| !away).await;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(address)
                .await
                .expect("the port is still free"),
        };
        tokio::select! {
            accepted = open.accept() => {
                let (client, _) = accepted.expect("a connection");
                tokio::spawn(connect_through(client, Arc::clone(&network)));
            }
            _ = away.changed() => {}
        }
        listener = Some(open);
    }
}

/// Lives as long as the connection. Dropping both streams cuts it.
async fn connect_through(client: TcpStream, network: Arc<Network>) {
    let mut cuts = network.cuts.subscribe();
    network.while_silent().await;
    let Ok(server) = TcpStream::connect(network.server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let struck = watch::Sender::new(None);
    tokio::select! {
        () = pass_requests(from_client, to_server, &network, &struck) => {}
        () = pass_replies(from_server, to_client, &network, &struck) => {}
        _ = cuts.changed() => {}
    }
}

/// Ends when the client does, or when a fault cuts the connection.
async fn pass_requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    network: &Network,
    struck: &watch::Sender<Option<Fault>>,
) {
    let mut requests = Requests::of(network.connections.fetch_add(1, Ordering::SeqCst));
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = client.read(&mut bytes).await {
        network.while_silent().await;
        let finished = requests.take(&bytes[..read]);
        let fault = finished
            .iter()
            .find_map(|request| network.fault_of(request));
        network
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(finished);
        match fault {
            Some(Fault::CutBeforeRequest) => return,
            Some(Fault::CutWithinRequest) => {
                let _ = server.write_all(&bytes[..read / 2]).await;
                return;
            }
            Some(fault) => drop(struck.send_replace(Some(fault))),
            None => {}
        }
        if server.write_all(&bytes[..read]).await.is_err() {
            return;
        }
        if fault.is_some() {
            return pending().await;
        }
    }
}

/// Ends when the server does, or when a fault cuts the connection.
async fn pass_replies(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    network: &Network,
    struck: &watch::Sender<Option<Fault>>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = server.read(&mut bytes).await {
        network.while_silent().await;
        let fault = *struck.borrow();
        match fault {
            Some(_) if !is_ready(&bytes[..read]) => continue,
            Some(Fault::SilentBeforeReply(time)) => {
                sleep(time).await;
                return;
            }
            Some(Fault::CutWithinReply) => {
                let _ = client.write_all(&bytes[..read / 2]).await;
                return;
            }
            Some(_) => return,
            None => {}
        }
        if client.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// Returns `true` if these bytes end with `ReadyForQuery` outside of a transaction: then the request has been
/// processed.
fn is_ready(reply: &[u8]) -> bool {
    reply.ends_with(&[b'Z', 0, 0, 0, 5, b'I'])
}

/// Finds the requests in the bytes of a client.
struct Requests {
    connection: u64,
    begun: bool,
    unfinished: Vec<u8>,
    request: Vec<u8>,
}

impl Requests {
    /// The code of the message that asks for TLS; the startup message follows.
    const WANTS_TLS: [u8; 4] = 80_877_103_i32.to_be_bytes();

    fn of(connection: u64) -> Self {
        Self {
            connection,
            begun: false,
            unfinished: Vec::new(),
            request: Vec::new(),
        }
    }

    /// Returns the requests that `bytes` complete: those after which the client waits for the server.
    fn take(&mut self, bytes: &[u8]) -> Vec<Request> {
        self.unfinished.extend_from_slice(bytes);
        let mut finished = Vec::new();
        while let Some((kind, length)) = self.next_message() {
            if !self.begun {
                self.begun = self.unfinished[4..8] != Self::WANTS_TLS;
            }
            self.request.extend(self.unfinished.drain(..length));
            // The server answers Sync and Query.
            if kind == b'S' || kind == b'Q' {
                let bytes = std::mem::take(&mut self.request);
                finished.push(Request {
                    connection: self.connection,
                    bytes,
                });
            }
        }
        finished
    }

    /// Returns the kind and length of the first message, if it is complete. The very first message has no kind.
    fn next_message(&self) -> Option<(u8, usize)> {
        let head = usize::from(self.begun);
        let length = self.unfinished.get(head..head + 4)?;
        let length = head + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        (self.unfinished.len() >= length)
            .then(|| (if self.begun { self.unfinished[0] } else { 0 }, length))
    }
}
