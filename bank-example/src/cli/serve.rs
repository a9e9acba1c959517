//! The bank in the browser, until the program is interrupted.

use std::io::Write as _;
use std::net::SocketAddr;

use bank_example::stores;
use bank_example::system::EventSourcedBank;
use bank_example::web::{self, Password, ServeError, Settings};
use clap::Args;
use eventsourcing_core::{Codec, OnFailure, Runner};
use tokio::net::TcpListener;

use super::failure::Failure;

/// Where the password is: arguments are seen by every user of the machine.
const PASSWORD_VARIABLE: &str = "BANK_PASSWORD";

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    addr: SocketAddr,
    /// Serve other machines too; whoever asks must know the password in the variable BANK_PASSWORD
    #[arg(long)]
    allow_remote: bool,
}

pub(crate) async fn run(store: &str, codec: Codec, args: ServeArgs) -> Result<String, Failure> {
    let settings = settings(args.allow_remote)?;
    if !settings.may_listen_on(args.addr) {
        return Err(ServeError::Open(args.addr).into());
    }
    let listener = TcpListener::bind(args.addr).await;
    let listener = listener.map_err(|error| Failure::Usage(format!("cannot listen on {}: {error}", args.addr)))?;
    let address = listener.local_addr().map_err(ServeError::Socket)?;
    let builder =
        EventSourcedBank::builder(stores::open(store).await?).with_runner(Runner::concurrent()).with_codec(codec);
    let bank = builder.with_on_failure_default(OnFailure::Park).start().await?;
    say(&format!("the bank is at http://{address}/ until it is interrupted"));
    web::serve(bank, listener, &settings, told_to_stop()).await?;
    Ok(String::new())
}

fn settings(allow_remote: bool) -> Result<Settings, Failure> {
    if !allow_remote {
        return Ok(Settings::loopback());
    }
    let password = std::env::var(PASSWORD_VARIABLE).ok().and_then(|text| Password::new(&text));
    let missing = || {
        let characters = Password::CHARACTERS_MIN;
        Failure::Usage(format!(
            "--allow-remote takes a password of at least {characters} characters in the variable {PASSWORD_VARIABLE}"
        ))
    };
    password.map(Settings::remote).ok_or_else(missing)
}

/// By a person (Ctrl-C) or by whatever looks after the program.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// A reader that is gone is no reason to stop.
fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
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
