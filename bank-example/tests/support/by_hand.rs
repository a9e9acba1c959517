//! Foreign writes to a bank on a PostgreSQL server: by psql, in a transaction that stays open.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::{Place, server};

/// A session of psql. It ends, and what it has not committed with it, when this is dropped.
pub struct Session {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Session {
    pub fn new(place: &Place) -> Self {
        let mut command = server::program("psql");
        command
            .arg(place.url())
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1"]);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let orders = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut session = Self {
            process,
            orders,
            answers,
        };
        session.run("SET search_path TO eventsourcing");
        session
    }

    /// Runs statements, and returns when they are carried out.
    pub fn run(&mut self, statements: &str) {
        writeln!(self.orders, "{statements};\n\\echo carried out").expect("psql takes orders");
        let mut line = String::new();
        while line.trim_end() != "carried out" {
            line.clear();
            assert!(
                self.answers.read_line(&mut line).expect("an answer") > 0,
                "psql refuses: {statements}"
            );
        }
    }

    /// Uses up a position, so that no event has it.
    pub fn leave_a_hole(&mut self) {
        self.run("SELECT nextval('events_position')");
    }

    /// Opens an account in a transaction that stays open: its position is assigned, and no other session sees it.
    pub fn begin_append(&mut self) {
        self.run(
            "BEGIN; INSERT INTO events (stream_id, category, version, name, schema_version, codec, recorded_at, \
             metadata, payload) VALUES (gen_random_uuid(), 'Account', 1, 'Opened', 1, 1, now(), '', \
             '{\"owner\":\"Late\"}')",
        );
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
