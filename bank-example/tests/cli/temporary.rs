//! A read-only root without folders for temporary files, as containers have it.

use std::process::{Command, Output};

use crate::Bank;

/// Leaves nothing writable but `/mnt`, which is the folder of the bank; then runs a command there.
const READ_ONLY_ROOT: &str = "set -e
    mount --make-rprivate /
    mount --bind \"$1\" /mnt
    mount -t tmpfs -o ro none /tmp
    mount -t tmpfs -o ro none /var/tmp
    mount -o remount,ro,bind /
    cd /
    shift
    exec \"$@\"";

fn on_a_read_only_root(bank: &Bank, words: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    if !crate::signals::is_superuser() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--mount", "sh", "-c", READ_ONLY_ROOT, "sh"])
        .arg(bank.path())
        .args(words);
    for variable in [
        "TMPDIR",
        "SQLITE_TMPDIR",
        "RUST_LOG",
        "BANK_STORE",
        "BANK_STORE_FILE",
    ] {
        command.env_remove(variable);
    }
    command.output().expect("unshare runs (Debian: util-linux)")
}

#[test]
fn no_command_needs_a_folder_for_temporary_files() {
    let bank = Bank::new();
    bank.text(&["demo"]);
    for path in ["/tmp/x", "/var/tmp/x", "/x"] {
        let touched = on_a_read_only_root(&bank, &["touch", path]);
        let said = String::from_utf8_lossy(&touched.stderr).into_owned();
        assert!(
            !touched.status.success() && said.contains("Read-only file system"),
            "{path}: {said}"
        );
    }
    // The program stands in a folder that may be covered.
    let program = bank.path().join("bank-example");
    std::fs::copy(env!("CARGO_BIN_EXE_bank-example"), &program).expect("a copy of the program");
    for words in [
        &["ledger"][..],
        &["verify", "--contents"],
        &["rebuild", "activity"],
        &["rebuild", "summaries"],
        &["demo"],
        &["export", "/mnt/out.jsonl"],
        &[
            "--store",
            "sqlite:/mnt/other.db",
            "import",
            "/mnt/out.jsonl",
        ],
    ] {
        let store: &[&str] = if words[0] == "--store" {
            &[]
        } else {
            &["--store", "sqlite:/mnt/bank.db"]
        };
        let output = on_a_read_only_root(&bank, &[&["/mnt/bank-example"], store, words].concat());
        assert!(
            output.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    bank.text(&["verify", "--contents"]);
}
