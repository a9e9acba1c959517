//! Serves the bank over HTTP until a signal asks the program to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bank_example::stores::{self, OpenError};
use bank_example::system::EventSourcedBank;
use bank_example::web::{self, Password, ServeError, Settings};
use clap::Args;
use eventsourcing::schema::WithLock as _;
use eventsourcing::store::StoreError;
use eventsourcing::{Codec, OnFailure, Runner, Stores};
use tokio::net::TcpListener;

use super::failure::{Failure, one_line};
use super::stop::Stop;
use super::{NOTHING_DONE, console, opened, settings};

/// The time to answer open requests and to stop the followers.
const ENDING_TIME_MAX: Duration = Duration::from_secs(25);

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    addr: SocketAddr,
    /// Listen on an address that other machines can reach; requires a password in BANK_PASSWORD or a file
    #[arg(long)]
    allow_remote: bool,
    /// A file with the password in its only line. If there is a password, every client must know it
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The address under which browsers find the bank, if that is behind a proxy, such as https://bank.example; several
    /// with commas between them. BANK_ORIGIN does the same
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    origin: Vec<String>,
}

impl ServeArgs {
    fn settings(&self) -> Result<Settings, Failure> {
        let password = settings::password(self.password_file.as_deref())?;
        let password = password
            .map(|text| {
                Password::new(&text).ok_or_else(|| needs_password("the bank needs a password"))
            })
            .transpose()?;
        let origins = settings::origins(&self.origin)?;
        let settings = match (password, self.allow_remote) {
            (Some(password), true) => Settings::remote(password),
            (Some(password), false) => Settings::loopback().with_password(password),
            (None, true) => return Err(needs_password("--allow-remote needs a password")),
            (None, false) if !origins.is_empty() => {
                return Err(needs_password("a bank behind a proxy needs a password"));
            }
            (None, false) => Settings::loopback(),
        };
        Ok(settings.with_origins(origins))
    }
}

fn needs_password(begin: &str) -> Failure {
    let characters = Password::CHARACTERS_MIN;
    Failure::Usage(format!(
        "{begin} of at least {characters} characters in the variable BANK_PASSWORD, or in a file (--password-file)"
    ))
}

pub(crate) async fn run(
    store: &str,
    codec: Codec,
    args: ServeArgs,
    stop: &Stop,
) -> Result<(), Failure> {
    let settings = args.settings()?;
    stop.must_end_within(ENDING_TIME_MAX, "the shutdown timed out with open requests");
    if !settings.may_listen_on(args.addr) {
        return Err(ServeError::Open(args.addr).into());
    }
    let listener = TcpListener::bind(args.addr).await;
    let listener = listener
        .map_err(|error| Failure::Usage(format!("cannot listen on {}: {error}", args.addr)))?;
    let address = listener.local_addr().map_err(ServeError::Socket)?;
    let builder = EventSourcedBank::builder(open_or_make(store, stop).await?)
        .with_lock(EventSourcedBank::LOCK);
    let starting = builder
        .with_runner(Runner::concurrent())
        .with_codec(codec)
        .with_on_failure_default(OnFailure::Park)
        .start();
    let bank = stop.or(starting, NOTHING_DONE).await??;
    if let Err(error) = console::answer(&format!(
        "the bank is at http://{address}/ until it is interrupted\n"
    )) {
        // The bank is served even if nothing reads the program's output.
        tracing::warn!(%error, %address, "address of the bank not written to standard output");
    }
    let stop = stop.clone();
    let told_to_stop = async move {
        let signal = stop.requested().await;
        tracing::info!(signal = signal.name(), "bank stopping");
    };
    Ok(web::serve(bank, listener, &settings, told_to_stop).await?)
}

/// Opens the store, or creates it and says so: the address may be mistyped.
async fn open_or_make(url: &str, stop: &Stop) -> Result<Stores, Failure> {
    match stop.or(stores::open_existing(url), NOTHING_DONE).await? {
        Err(OpenError::Store(error @ StoreError::NoStore { .. })) => {
            let stores = opened(stop, stores::open(url)).await?;
            console::say("note", &format!("{}; created a new one", one_line(&error)));
            Ok(stores)
        }
        opened => Ok(opened?),
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Open(_) => Self::Usage(error.to_string()),
            ServeError::Socket(_) => Self::Store(error.to_string()),
            ServeError::System(error) => error.into(),
        }
    }
}
