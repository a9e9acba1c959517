//! A temporary PostgreSQL server with its own folder and its own port on the loopback. It ends with the test process.
//!
//! The server of the distribution is never touched. A small shell process, the keeper, starts and stops the server on
//! commands from its standard input; when that closes, because this process ended or was killed, the keeper stops the
//! server and removes the folder. So nothing is left over, however a test ends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The variable with the URL of an existing server; its user must be allowed to create schemas, roles and databases.
pub(crate) const URL_VARIABLE: &str = "EVENTSOURCING_TEST_POSTGRES_URL";

/// The only user with a password: see [`PASSWORD`].
pub(crate) const GUARDED_USER: &str = "guarded";
/// The password of [`GUARDED_USER`], which the test has to create.
pub(crate) const PASSWORD: &str = "open-sesame";

/// Settings for servers whose tests do not concern durability.
pub(crate) const FORGETFUL: &[&str] = &["fsync = off", "full_page_writes = off"];
/// Settings for servers that crash.
pub(crate) const DURABLE: &[&str] = &["fsync = on", "synchronous_commit = on"];

const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 250
max_prepared_transactions = 10
shared_buffers = 64MB
log_min_messages = warning
";

const WHO_MAY_CONNECT: &str = "
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
";

/// `$0` is the folder of the programs, `$1` the folder of the server. Each line read is a command for `pg_ctl`.
const KEEPER: &str = r#"
while read -r what; do
    "$0/pg_ctl" -s -w -D "$1/data" -l "$1/log" $what </dev/null >/dev/null 2>>"$1/control"
    echo $?
done
"$0/pg_ctl" -s -w -D "$1/data" -m immediate stop </dev/null >/dev/null 2>&1
rm -rf "$1"
"#;

/// The number of ports that are tried when another program takes one first.
const PORTS_TRIED_MAX: usize = 5;

/// A running server. It is stopped and removed when this is dropped, at the latest when the process ends.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a new server with the defaults of PostgreSQL except for `settings`.
    ///
    /// # Panics
    /// PostgreSQL is not installed, or does not start.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_with_files(settings, &[])
    }

    /// Starts a server as [`start`](Self::start) does, with files beside the data that settings can name.
    pub(crate) fn start_with_files(settings: &[&str], files: &[(&str, &str)]) -> Self {
        let mut server = Self::at(new_cluster(settings, files), 0);
        for _ in 0..PORTS_TRIED_MAX {
            server.port = free_port();
            server.configure(&format!("port = {}", server.port));
            if server.control("start") {
                return server;
            }
            if !server.log().contains("Address already in use") {
                break;
            }
        }
        panic!("the server does not start:\n{}", server.log());
    }

    /// Starts a standby that streams from this server, at a port that was free or belonged to a stopped server.
    ///
    /// # Panics
    /// The copy cannot be made, or does not start.
    pub(crate) fn standby(&self, port: Option<u16>) -> Self {
        let folder = new_folder();
        let mut copy = as_owner(programs().join("pg_basebackup"));
        let primary = format!(
            "host=127.0.0.1 port={} user=postgres application_name=standby",
            self.port
        );
        copy.args([
            "--no-sync",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
        ]);
        let output = copy
            .arg("-d")
            .arg(primary)
            .arg("-D")
            .arg(folder.join("data"))
            .output()
            .expect("pg_basebackup runs");
        assert!(
            output.status.success(),
            "pg_basebackup failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let standby = Self::at(folder, port.unwrap_or_else(free_port));
        standby.add_setting(&format!("port = {}", standby.port));
        assert!(
            standby.control("start"),
            "the standby does not start:\n{}",
            standby.log()
        );
        standby
    }

    /// Promotes a standby, and returns when it takes writes.
    pub(crate) fn promote(&self) {
        assert!(
            self.control("promote"),
            "the standby is not promoted:\n{}",
            self.log()
        );
    }

    /// Copies the data while the server runs, replacing an earlier copy. See [`Self::restore`].
    pub(crate) fn back_up(&self) {
        let saved = self.folder.join("saved");
        let _ = fs::remove_dir_all(&saved);
        let mut copy = as_owner(programs().join("pg_basebackup"));
        copy.args([
            "--no-sync",
            "--wal-method=stream",
            "--checkpoint=fast",
            "-d",
            &self.url("postgres"),
            "-D",
        ]);
        let output = copy.arg(&saved).output().expect("pg_basebackup runs");
        assert!(
            output.status.success(),
            "pg_basebackup failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Restores the data of the last [`Self::back_up`].
    pub(crate) fn restore(&self) {
        self.stop();
        let [data, saved] = ["data", "saved"].map(|name| self.folder.join(name));
        fs::remove_dir_all(&data).expect("the data is removed");
        fs::rename(&saved, &data).expect("the copy takes its place");
        self.start_again();
    }

    fn at(folder: PathBuf, port: u16) -> Self {
        let keeper = Mutex::new(Keeper::new(&folder));
        Self {
            folder,
            port,
            keeper,
        }
    }

    /// Returns the URL for connecting to `database` as the owner of everything.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_of("postgres", database)
    }

    /// Returns the URL for connecting to `database` as `user`, with an optional password: `name:password`.
    pub(crate) fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server as a crash would: without closing connections and without flushing.
    pub(crate) fn crash(&self) {
        assert!(
            self.control("stop -m immediate"),
            "the server does not stop:\n{}",
            self.log()
        );
    }

    /// Copies the whole server, which is stopped meanwhile.
    pub(crate) fn keep(&self) {
        self.stop();
        self.copy("data", "kept");
        self.start_again();
    }

    /// Replaces the server by the copy that was [kept](Self::keep).
    pub(crate) fn put_back(&self) {
        self.stop();
        fs::remove_dir_all(self.folder.join("data")).expect("the data can be removed");
        self.copy("kept", "data");
        self.start_again();
    }

    fn copy(&self, from: &str, to: &str) {
        let copied = Command::new("cp")
            .arg("-a")
            .args([self.folder.join(from), self.folder.join(to)])
            .status();
        assert!(copied.expect("cp").success(), "{from} is not copied");
    }

    /// Stops the server in order, without waiting for its clients to leave.
    pub(crate) fn stop(&self) {
        assert!(
            self.control("stop -m fast"),
            "the server does not stop:\n{}",
            self.log()
        );
    }

    /// Starts a stopped server again, at the same port.
    pub(crate) fn start_again(&self) {
        assert!(
            self.control("start"),
            "the server does not start again:\n{}",
            self.log()
        );
    }

    /// Puts a file that only the server may read into its folder, beside its data.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("a file");
        give_to_owner(&path);
    }

    /// Makes the server read its settings and its certificate again, which happens soon.
    pub(crate) fn reload(&self) {
        assert!(
            self.control("reload"),
            "the server does not reload:\n{}",
            self.log()
        );
    }

    /// Adds a setting, which takes effect when the server starts again.
    pub(crate) fn set(&self, setting: &str) {
        self.configure(&format!("port = {}\n{setting}", self.port));
    }

    /// Starts a stopped server again, without waiting until it takes connections.
    pub(crate) fn start_without_waiting(&self) {
        assert!(
            self.control("start -W"),
            "the server does not start again:\n{}",
            self.log()
        );
    }

    fn configure(&self, setting: &str) {
        let path = self.folder.join("data/postgresql.auto.conf");
        fs::write(&path, format!("{setting}\n")).expect("a file of settings");
        give_to_owner(&path);
    }

    /// Adds to the settings that a copy has brought with it.
    fn add_setting(&self, setting: &str) {
        let path = self.folder.join("data/postgresql.auto.conf");
        let settings = fs::read_to_string(&path).expect("a file of settings");
        fs::write(&path, format!("{settings}{setting}\n")).expect("a file of settings");
    }

    fn control(&self, order: &str) -> bool {
        self.keeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .obey(order)
    }

    /// Returns the output of the server and of `pg_ctl`.
    fn log(&self) -> String {
        ["control", "log"]
            .map(|name| fs::read_to_string(self.folder.join(name)).unwrap_or_default())
            .concat()
    }
}

impl Keeper {
    fn new(folder: &Path) -> Self {
        let mut command = as_owner("sh");
        // In a process group of its own the keeper survives signals of the terminal to the tests, and can still clean
        // up.
        command
            .args(["-c", KEEPER])
            .arg(programs())
            .arg(folder)
            .process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().expect("a shell");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("its standard output"));
        Self {
            process,
            orders,
            answers,
        }
    }

    fn obey(&mut self, order: &str) -> bool {
        let orders = self
            .orders
            .as_mut()
            .expect("open until the server is dropped");
        writeln!(orders, "{order}").expect("the keeper listens");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the keeper answers");
        answer.trim() == "0"
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// Returns the URL of the server that the tests of this program share: the one in the variable [`URL_VARIABLE`],
/// otherwise a new one.
pub(crate) fn shared_url() -> String {
    static SHARED: OnceLock<Server> = OnceLock::new();
    match given_url() {
        Some(url) => url,
        None => SHARED
            .get_or_init(|| Server::start(FORGETFUL))
            .url("postgres"),
    }
}

/// Returns the URL of the given server, if there is one.
pub(crate) fn given_url() -> Option<String> {
    std::env::var(URL_VARIABLE)
        .ok()
        .filter(|url| !url.is_empty())
}

/// Returns a command for a program of PostgreSQL, run as the present user.
pub(crate) fn program(name: &str) -> Command {
    Command::new(programs().join(name))
}

/// Executes a statement with psql.
///
/// # Panics
/// The server refuses the statement.
pub(crate) fn execute(url: &str, sql: &str) {
    let done = program("psql")
        .arg(url)
        .args(["-Xqc", sql])
        .output()
        .expect("psql runs");
    assert!(
        done.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Returns the folder of PostgreSQL's programs.
///
/// # Panics
/// There are none.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).chain(places_of_distributions()).find(|folder| is_complete(folder));
        found.unwrap_or_else(|| {
            panic!(
                "PostgreSQL is missing; install it (apt-get install postgresql), put its programs into PATH, \
                 or name a running server in {URL_VARIABLE}"
            )
        })
    })
}

fn is_complete(folder: &Path) -> bool {
    ["initdb", "postgres", "pg_ctl", "pg_dump", "psql"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// Returns the folders in which Debian and its derivatives keep the programs, newest release first.
fn places_of_distributions() -> Vec<PathBuf> {
    let Ok(releases) = fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let mut releases: Vec<_> = releases
        .filter_map(|release| Some(release.ok()?.path()))
        .collect();
    releases.sort_by_key(|release| release.file_name()?.to_str()?.parse::<u32>().ok());
    releases
        .iter()
        .rev()
        .map(|release| release.join("bin"))
        .collect()
}

/// Creates a folder with a new cluster, owned by the user of the server.
fn new_cluster(settings: &[&str], files: &[(&str, &str)]) -> PathBuf {
    let folder = new_folder();
    let data = folder.join("data");
    let mut initdb = as_owner(programs().join("initdb"));
    initdb
        .args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--no-locale",
            "--encoding=UTF8",
            "-D",
        ])
        .arg(&data);
    let output = initdb.current_dir(&folder).output().expect("initdb runs");
    assert!(
        output.status.success(),
        "initdb failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let settings = format!("{SETTINGS}{}\n", settings.join("\n"));
    let own = [
        ("data/postgresql.conf", settings.as_str()),
        ("data/pg_hba.conf", WHO_MAY_CONNECT),
    ];
    for (name, text) in own.iter().chain(files) {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        give_to_owner(&path);
    }
    folder
}

fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new()
        .prefix("eventsourcing-postgres-")
        .tempdir();
    let folder = folder.expect("a temporary folder").keep();
    give_to_owner(&folder);
    folder
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Returns a command run as the user of the server. PostgreSQL refuses to run as the superuser.
fn as_owner(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if let Some((user, group)) = owner() {
        command.uid(user).gid(group).current_dir("/");
    }
    command
}

fn give_to_owner(path: &Path) {
    if let Some((user, group)) = owner() {
        chown(path, Some(user), Some(group)).expect("the superuser may do that");
    }
    if path.is_file() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permissions");
    }
}

/// Returns the user and group of servers, if it cannot be the present user.
pub(crate) fn user_of_servers() -> Option<(u32, u32)> {
    owner()
}

/// Returns the user and group of servers, if it cannot be the present user: `postgres` if it exists, otherwise
/// `nobody`.
fn owner() -> Option<(u32, u32)> {
    let superuser = fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    superuser.then(|| {
        user(&users, "postgres")
            .or_else(|| user(&users, "nobody"))
            .unwrap_or((65_534, 65_534))
    })
}

fn user(users: &str, name: &str) -> Option<(u32, u32)> {
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
