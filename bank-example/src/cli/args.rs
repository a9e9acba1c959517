//! What can be typed.

use std::path::PathBuf;

use bank_example::domain::Money;
use bank_example::domain::account::Account;
use bank_example::domain::transfer::Transfer;
use clap::{Parser, Subcommand, ValueEnum};
use eventsourcing::store::{Position, Version};
use eventsourcing::{Codec, Id};

use super::failure::Failure;
use super::keyed::Key;
use super::parked::ParkedCommand;
use super::schema::SchemaCommand;
use super::serve::ServeArgs;
use super::settings::Place;

/// An event-sourced bank: accounts, a ledger that every movement reaches, and an activity feed.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How new events are encoded; those that are stored stay as they are and are read all the same
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) codec: CodecName,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The codecs by their names.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum CodecName {
    #[default]
    Json,
    MessagePack,
}

impl From<CodecName> for Codec {
    fn from(name: CodecName) -> Self {
        match name {
            CodecName::Json => Self::Json,
            CodecName::MessagePack => Self::MessagePack,
        }
    }
}

const AFTER_HELP: &str = "\
A first session:
  bank-example                          see it work
  bank-example open Alice               prints the id of the new account
  bank-example credit ID 20.00
  bank-example account ID --at 1        the account as it was at its first event
  bank-example verify                   has everything reached everybody, once?
  bank-example export bank.jsonl        the whole bank as a file, for any other store

The store's address and the password may hold secrets. BANK_STORE, BANK_STORE_FILE, BANK_PASSWORD and BANK_PASSWORD_FILE keep
them out of the list of processes; what ends in _FILE names a file with the value in its only line.

The demo, open, import and serve make a store where there is none; every other command takes one that exists.

Exit codes: 0 done, 1 the bank refused, or verify or schema found a difference, 2 wrong usage, 3 the store cannot be opened or
reached, 4 the answer could not be given (what was asked for is done), 130 and 143 ended by SIGINT and SIGTERM. Told to stop,
serve and watch end with 0.
Warnings and errors are logged to standard error; RUST_LOG=debug shows what happens inside, RUST_LOG=off nothing.";

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Bank(BankCommand),
    /// Show the bank in the browser, until it is interrupted
    Serve(ServeArgs),
    /// Print events as they are recorded, by whatever program, until it is interrupted
    Watch {
        /// Begin after this position instead of at the end of the log
        #[arg(long, value_name = "POSITION", value_parser = position)]
        after: Option<Position>,
    },
    /// Write the log, and what each policy has dealt with, into a file; the bank may be in use meanwhile
    ///
    /// The file is there when it is whole; until then it is called FILE.partial, and an interrupted export begins anew.
    Export {
        /// Where to, or - for standard output
        file: PathBuf,
    },
    /// Fill an empty store from a file that `export` has written, and check the bank in it
    ///
    /// If it is interrupted, run it again with the same file: it goes on where it was. Until it is finished no other command
    /// opens the store.
    Import { file: PathBuf },
    /// Copy a bank in an SQLite file, as of one moment, into a new file; the bank may be in use meanwhile
    ///
    /// The copy is a bank like any other: check it with `--store sqlite:FILE verify`. docs/backups.md says how to restore it, and how
    /// to copy a bank on PostgreSQL.
    Backup {
        /// Where to; nothing is ever overwritten
        file: PathBuf,
    },
    /// Show how the system is put together, and if it has a store what becomes of an acknowledged event there
    ///
    /// The store is opened if one is named, or if there is one in this folder; none is made. A diagram shows the system alone.
    Describe {
        /// As a Mermaid diagram
        #[arg(long)]
        mermaid: bool,
    },
    /// Show what events look like, and check that those which earlier releases have stored stay readable
    Schema {
        #[command(subcommand)]
        what: SchemaCommand,
    },
}

/// A command that may be repeated.
#[derive(clap::Args)]
pub(crate) struct Once {
    /// Carry the command out once, however often it is repeated with this key: it then gets the first answer, also if that
    /// was a refusal. The same key is the same command over HTTP (Idempotency-Key)
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<Key>,
}

/// What the bank itself is asked.
#[derive(Subcommand)]
pub(crate) enum BankCommand {
    /// Open two accounts, move money, and check that the ledger agrees (the default)
    Demo,
    /// Open an account and print its id
    Open {
        owner: String,
        #[command(flatten)]
        once: Once,
    },
    /// Put money on an account
    Credit {
        #[arg(value_parser = id::<Account>)]
        id: Id<Account>,
        #[arg(allow_hyphen_values = true, value_parser = money)]
        amount: Money,
        #[command(flatten)]
        once: Once,
    },
    /// Take money from an account
    Debit {
        #[arg(value_parser = id::<Account>)]
        id: Id<Account>,
        #[arg(allow_hyphen_values = true, value_parser = money)]
        amount: Money,
        #[command(flatten)]
        once: Once,
    },
    /// Move money from one account to another, in one write
    Transfer {
        #[arg(value_parser = id::<Account>)]
        from: Id<Account>,
        #[arg(value_parser = id::<Account>)]
        to: Id<Account>,
        #[arg(allow_hyphen_values = true, value_parser = money)]
        amount: Money,
        /// Take the money, ask, and put it there or back: as between banks that share no store. Prints the transfer's id
        #[arg(long)]
        in_steps: bool,
        #[command(flatten)]
        once: Once,
    },
    /// List the transfers in steps and how far they are, or show one
    Transfers {
        #[arg(value_parser = id::<Transfer>)]
        id: Option<Id<Transfer>>,
    },
    /// List accounts in the order in which they were opened
    Accounts {
        /// Only those whose owner has this in the name
        #[arg(
            long,
            value_name = "PART",
            default_value = "",
            hide_default_value = true
        )]
        owner: String,
        /// Only those opened after this position: `opened` of the last one of the page before
        #[arg(long, value_name = "POSITION", value_parser = position, default_value = "0")]
        after: Position,
        /// At most this many; all if not given
        #[arg(long, value_name = "ACCOUNTS")]
        limit: Option<usize>,
    },
    /// Show an account, now or as it was
    Account {
        #[arg(value_parser = id::<Account>)]
        id: Id<Account>,
        /// Show it as it was after this many events
        #[arg(long, value_name = "VERSION", value_parser = version)]
        at: Option<Version>,
    },
    /// Show everything that has happened to an account, oldest first
    History {
        #[arg(value_parser = id::<Account>)]
        id: Id<Account>,
    },
    /// Show the balance of the bank and the number of transactions
    Ledger,
    /// Run the followers for a moment and show where they are, how many events wait for them, which process runs them, and
    /// what keeps them if they are stuck
    Followers,
    /// Show events and timers that followers could not deal with and have put aside, retry them, or give them up
    Parked {
        #[command(subcommand)]
        what: Option<ParkedCommand>,
    },
    /// Check that every follower has dealt with every event, and with each once; exit code 1 if not
    ///
    /// Compares what the followers have noted with the log, and names the events that are missing or came twice. Others may
    /// go on working meanwhile.
    Verify {
        /// Also build each read model anew, beside the one that answers, and compare them row by row
        #[arg(long)]
        contents: bool,
    },
    /// Build a read model anew from the log; the old one answers until the new one takes its place
    ///
    /// If it is interrupted (Ctrl-C), the build goes on where it stopped with the next command of this bank.
    Rebuild {
        /// The read model, as in `followers`: activity, summaries
        name: String,
    },
    /// Have a follower that has stopped because its log was restored to an earlier moment go on in that log
    ///
    /// The effects of events that the log has lost stay as they are: look at them first. Read models are built anew instead
    /// (`rebuild`). docs/backups.md says more.
    AcceptRestored {
        /// The follower, as in `followers`: accounts, ledger, transfers
        follower: String,
        /// The end of the restored log before anything else was recorded in it: what is after it is processed
        #[arg(long, value_name = "POSITION", value_parser = position)]
        kept: Position,
    },
    /// Show the log of all events, oldest first
    Log {
        /// Only events after this position
        #[arg(long, value_name = "POSITION", value_parser = position, default_value = "0")]
        after: Position,
        /// At most this many events; all if not given
        #[arg(long, value_name = "EVENTS")]
        limit: Option<usize>,
    },
    /// Show what happened on all accounts, newest first
    Activity {
        /// At most this many lines; all if not given
        #[arg(long, value_name = "LINES")]
        limit: Option<usize>,
    },
}

impl BankCommand {
    /// Refuses a command that cannot succeed, before a store is opened or made for it.
    ///
    /// The parser checks each argument by itself; what is checked here takes a rule of the bank, or two arguments.
    pub(crate) fn validate(&self) -> Result<(), Failure> {
        match self {
            // A command with a key is sent to the bank all the same: its rejection is stored as the answer to the key.
            Self::Open {
                owner,
                once: Once { key: None },
            } => Account::open(owner)
                .map(drop)
                .map_err(|rejection| Failure::Refused(rejection.to_string())),
            Self::Parked {
                what: Some(command),
            } => command.validate(),
            _ => Ok(()),
        }
    }
}

fn id<A>(text: &str) -> Result<Id<A>, eventsourcing::ParseIdError> {
    text.parse()
}

fn money(text: &str) -> Result<Money, String> {
    let shown: String = text.chars().take(50).collect();
    let message = |_| format!("{shown:?} is not an amount; write it like 20 or 20.00");
    Money::from_str_exact(text).map_err(message)
}

fn position(text: &str) -> Result<Position, std::num::ParseIntError> {
    text.parse().map(Position::new)
}

fn version(text: &str) -> Result<Version, std::num::ParseIntError> {
    text.parse().map(Version::new)
}
