//! The command-line program of the bank.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
