//! The commands, arguments and options of the program, and its `--help`.

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

/// An event-sourced bank: accounts, a ledger that records every movement, and an activity feed.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The codec for new events; stored events keep theirs and stay readable
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
  bank-example                          run the demo
  bank-example open Alice               print the id of the new account
  bank-example credit ID 20.00
  bank-example account ID --at 1        the account as it was after its first event
  bank-example verify                   check that every follower has processed every event once
  bank-example export bank.jsonl        the whole bank as a file, to import into any store

The store's address and the password may contain secrets. BANK_STORE, BANK_STORE_FILE, BANK_PASSWORD and BANK_PASSWORD_FILE
keep them out of the list of processes; the variables that end in _FILE name a file with the value in its only line.

The demo, open, import and serve create a store where there is none; every other command needs one that exists.

Exit codes: 0 done, 1 the bank refused, or verify or schema found a difference, 2 wrong usage, 3 the store cannot be opened or
reached, 4 the answer could not be written (a change was carried out), 130 and 143 ended by SIGINT and SIGTERM. After a signal,
serve and watch end with 0.
Warnings and errors are logged to standard error; RUST_LOG=debug logs in detail, RUST_LOG=off nothing.";

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Bank(BankCommand),
    /// Serve the bank to browsers and programs, until it is interrupted
    Serve(ServeArgs),
    /// Print events as they are recorded, by any program, until it is interrupted
    Watch {
        /// Begin after this position instead of at the end of the log
        #[arg(long, value_name = "POSITION", value_parser = position)]
        after: Option<Position>,
    },
    /// Write the log and the positions of the policies into a file; the bank may be in use meanwhile
    ///
    /// The file gets its name when it is complete; until then it is called FILE.partial, and an interrupted export
    /// starts from the beginning.
    Export {
        /// The file to write, or - for standard output
        file: PathBuf,
    },
    /// Fill an empty store from a file that `export` has written, and check the bank in it
    ///
    /// If the import is interrupted, run it again with the same file: it continues where it stopped. Until the import
    /// is finished no other command opens the store.
    Import { file: PathBuf },
    /// Copy a bank in an SQLite file, as of one moment, into a new file; the bank may be in use meanwhile
    ///
    /// The copy is a bank like any other: check it with `--store sqlite:FILE verify`. docs/backups.md describes how to
    /// restore it, and how to copy a bank on PostgreSQL.
    Backup {
        /// The file to create; an existing file is never overwritten
        file: PathBuf,
    },
    /// Show the declared system, and the accidents that an acknowledged event survives in the store
    ///
    /// The store is opened if one is named, or if there is one in this folder; none is created. A diagram shows the
    /// system alone.
    Describe {
        /// Print a Mermaid diagram
        #[arg(long)]
        mermaid: bool,
    },
    /// Show the schema of events, and check that events stored by earlier releases stay readable
    Schema {
        #[command(subcommand)]
        what: SchemaCommand,
    },
}

/// The option of commands that can be repeated safely.
#[derive(clap::Args)]
pub(crate) struct Once {
    /// Carry the command out once, however often it is repeated with this key: a repetition gets the first answer, also
    /// if that was a rejection. The same key names the same command over HTTP (Idempotency-Key)
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<Key>,
}

/// A command to the bank itself.
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
        /// Debit, ask the receiving bank, then credit or refund, as between banks that share no store. Prints the
        /// transfer's id
        #[arg(long)]
        in_steps: bool,
        #[command(flatten)]
        once: Once,
    },
    /// List the transfers in steps and their states, or show one
    Transfers {
        #[arg(value_parser = id::<Transfer>)]
        id: Option<Id<Transfer>>,
    },
    /// List accounts in the order in which they were opened
    Accounts {
        /// Only accounts whose owner's name contains this text
        #[arg(
            long,
            value_name = "PART",
            default_value = "",
            hide_default_value = true
        )]
        owner: String,
        /// Only accounts opened after this position: `opened` of the last account of the previous page
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
        /// Show the account as it was after this many events
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
    /// Run the followers for a moment and show their positions, the number of events they have not processed, the
    /// process that runs each of them, and the cause if one is stuck
    Followers,
    /// Show events and timers that followers failed to process and have parked (dead letters), retry them, or discard
    /// them
    Parked {
        #[command(subcommand)]
        what: Option<ParkedCommand>,
    },
    /// Check that every follower has processed every event exactly once; exit code 1 if not
    ///
    /// Compares the checksums of the followers with the log, and names the events that are missing or were processed
    /// twice. Other programs may use the bank meanwhile.
    Verify {
        /// Also rebuild each read model beside the live one, and compare them row by row
        #[arg(long)]
        contents: bool,
    },
    /// Rebuild a read model from the log; the old one answers until the new one takes its place
    ///
    /// If it is interrupted (Ctrl-C), the next command of this bank continues the rebuild.
    Rebuild {
        /// The read model, as in `followers`: activity, summaries
        name: String,
    },
    /// Let a follower continue that has stopped because its log was restored to an earlier moment
    ///
    /// The effects of events that the log has lost stay as they are: check them first. Read models are rebuilt instead
    /// (`rebuild`). docs/backups.md says more.
    AcceptRestored {
        /// The follower, as in `followers`: accounts, ledger, transfers
        follower: String,
        /// The end of the restored log, before anything new was recorded in it: events after this position are
        /// processed
        #[arg(long, value_name = "POSITION", value_parser = position)]
        kept: Position,
    },
    /// Show all events of the log, oldest first
    Log {
        /// Only events after this position
        #[arg(long, value_name = "POSITION", value_parser = position, default_value = "0")]
        after: Position,
        /// At most this many events; all if not given
        #[arg(long, value_name = "EVENTS")]
        limit: Option<usize>,
    },
    /// Show the events of all accounts, newest first
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
