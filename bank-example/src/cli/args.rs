//! What can be typed.

use std::path::PathBuf;

use bank_example::domain::Money;
use bank_example::domain::account::Account;
use bank_example::domain::transfer::Transfer;
use clap::{Parser, Subcommand, ValueEnum};
use eventsourcing_core::store::{Position, Version};
use eventsourcing_core::{Codec, Id};

use super::failure::Failure;
use super::parked::ParkedCommand;
use super::schema::SchemaCommand;
use super::serve::ServeArgs;

/// An event-sourced bank: accounts, a ledger that every movement reaches, and an activity feed.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Where the events are: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/DATABASE`, or `memory:` for a bank that is
    /// gone afterwards
    #[arg(long, global = true, value_name = "URL", default_value = "sqlite:bank.db")]
    pub(crate) store: String,
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

Exit codes: 1 the bank refused, or verify or schema found a difference, 2 wrong usage, 3 the store cannot be opened or reached.
RUST_LOG=debug shows what happens inside.";

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    OfBank(BankCommand),
    /// Show the bank in the browser, until it is interrupted
    Serve(ServeArgs),
    /// Print events as they are recorded, by whatever program, until it is interrupted
    Watch {
        /// Begin after this position instead of at the end of the log
        #[arg(long, value_name = "POSITION")]
        after: Option<u64>,
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
    /// Show how the system is put together
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

/// What the bank itself is asked.
#[derive(Subcommand)]
pub(crate) enum BankCommand {
    /// Open two accounts, move money, and check that the ledger agrees (the default)
    Demo,
    /// Open an account and print its id
    Open { owner: String },
    /// Put money on an account
    Credit {
        id: String,
        #[arg(allow_hyphen_values = true)]
        amount: String,
    },
    /// Take money from an account
    Debit {
        id: String,
        #[arg(allow_hyphen_values = true)]
        amount: String,
    },
    /// Move money from one account to another, in one write
    Transfer {
        from: String,
        to: String,
        #[arg(allow_hyphen_values = true)]
        amount: String,
        /// Take the money, ask, and put it there or back: as between banks that share no store. Prints the transfer's id
        #[arg(long)]
        in_steps: bool,
    },
    /// List the transfers in steps and how far they are, or show one
    Transfers { id: Option<String> },
    /// List accounts in the order in which they were opened
    Accounts {
        /// Only those whose owner has this in the name
        #[arg(long, value_name = "PART", default_value = "", hide_default_value = true)]
        owner: String,
        /// Only those opened after this position: `opened` of the last one of the page before
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        after: u64,
        /// At most this many; all if not given
        #[arg(long, value_name = "ACCOUNTS")]
        limit: Option<usize>,
    },
    /// Show an account, now or as it was
    Account {
        id: String,
        /// Show it as it was after this many events
        #[arg(long, value_name = "VERSION")]
        at: Option<u64>,
    },
    /// Show everything that has happened to an account, oldest first
    History { id: String },
    /// Show the balance of the bank and the number of transactions
    Ledger,
    /// Run the followers for a moment and show where they are, how many events wait for them, which process runs them, and
    /// what keeps them if they are stuck
    Followers,
    /// Show events that followers could not deal with and have put aside, retry them, or give them up
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
    /// Show the log of all events, oldest first
    Log {
        /// Only events after this position
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        after: u64,
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

/// A command whose ids and amounts can be read.
pub(crate) enum Checked {
    Demo,
    Open { owner: String },
    Credit { id: Id<Account>, amount: Money },
    Debit { id: Id<Account>, amount: Money },
    Transfer { from: Id<Account>, to: Id<Account>, amount: Money },
    TransferInSteps { from: Id<Account>, to: Id<Account>, amount: Money },
    Transfers { id: Option<Id<Transfer>> },
    Accounts { owner: String, after: Position, limit: usize },
    Account { id: Id<Account>, at: Option<Version> },
    History { id: Id<Account> },
    Ledger,
    Followers,
    Parked(ParkedCommand),
    Verify { contents: bool },
    Rebuild { name: String },
    Log { after: Position, limit: usize },
    Activity { limit: usize },
}

impl BankCommand {
    /// Reads ids and amounts, before anything is opened.
    pub(crate) fn check(self) -> Result<Checked, Failure> {
        Ok(match self {
            Self::Demo => Checked::Demo,
            Self::Open { owner } => Checked::Open { owner },
            Self::Credit { id: account, amount } => Checked::Credit { id: id(&account)?, amount: money(&amount)? },
            Self::Debit { id: account, amount } => Checked::Debit { id: id(&account)?, amount: money(&amount)? },
            Self::Transfer { from, to, amount, in_steps } => {
                let (from, to, amount) = (id(&from)?, id(&to)?, money(&amount)?);
                match in_steps {
                    true => Checked::TransferInSteps { from, to, amount },
                    false => Checked::Transfer { from, to, amount },
                }
            }
            Self::Transfers { id: transfer } => Checked::Transfers { id: transfer.as_deref().map(id).transpose()? },
            Self::Accounts { owner, after, limit } => {
                Checked::Accounts { owner, after: Position::new(after), limit: limit.unwrap_or(usize::MAX) }
            }
            Self::Account { id: account, at } => Checked::Account { id: id(&account)?, at: at.map(Version::new) },
            Self::History { id: account } => Checked::History { id: id(&account)? },
            Self::Ledger => Checked::Ledger,
            Self::Followers => Checked::Followers,
            Self::Parked { what } => Checked::Parked(what.unwrap_or(ParkedCommand::List).check()?),
            Self::Verify { contents } => Checked::Verify { contents },
            Self::Rebuild { name } => Checked::Rebuild { name },
            Self::Log { after, limit } => {
                Checked::Log { after: Position::new(after), limit: limit.unwrap_or(usize::MAX) }
            }
            Self::Activity { limit } => Checked::Activity { limit: limit.unwrap_or(usize::MAX) },
        })
    }
}

fn id<A>(text: &str) -> Result<Id<A>, Failure> {
    text.parse().map_err(|error: eventsourcing_core::ParseIdError| Failure::Usage(error.to_string()))
}

fn money(text: &str) -> Result<Money, Failure> {
    let shown: String = text.chars().take(50).collect();
    let message = || Failure::Usage(format!("{shown:?} is not an amount; write it like 20 or 20.00"));
    Money::from_str_exact(text).map_err(|_| message())
}
