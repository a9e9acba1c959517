//! Certificates are accepted and refused as by libpq: each test asks psql the same question.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use eventsourcing_core::store::{EventStore, StoreError};
use tokio::task::block_in_place;

use crate::support::server::{FORGETFUL, program};
use crate::support::{Place, Server, append, one_line};

/// A folder in which openssl makes certificates.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        let workshop = Self(tempfile::tempdir().expect("a folder"));
        for name in ["ca", "other-ca"] {
            workshop.openssl(&format!(
                "req -new -x509 -nodes -newkey rsa:2048 -days 9 -subj /CN={name} -keyout {name}.key -out {name}.crt"
            ));
        }
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file of openssl")
    }

    fn openssl(&self, arguments: &str) -> String {
        let mut command = Command::new("openssl");
        let output = command
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output();
        let output = output.expect("openssl is missing; install it (apt-get install openssl)");
        assert!(
            output.status.success(),
            "openssl {arguments}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Creates `name.key`, and `name.csr` with a common name.
    fn request(&self, name: &str, common_name: &str) {
        self.openssl(&format!(
            "req -new -nodes -newkey rsa:2048 -subj /CN={common_name} -keyout {name}.key -out {name}.csr"
        ));
    }

    /// Creates a certificate as the documentation of PostgreSQL does: version 3, of an authority, with only a common
    /// name.
    fn self_signed(&self, name: &str, common_name: &str) {
        self.openssl(&format!(
            "req -new -x509 -nodes -newkey rsa:2048 -days 9 -subj /CN={common_name} -keyout {name}.key -out {name}.crt"
        ));
    }

    /// Creates a certificate with an elliptic curve, of version 1.
    fn self_signed_v1(&self, name: &str, common_name: &str) {
        self.openssl(&format!(
            "ecparam -genkey -name secp384r1 -noout -out {name}.key"
        ));
        self.openssl(&format!(
            "req -new -key {name}.key -subj /CN={common_name} -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -days 9 -in {name}.csr -signkey {name}.key -out {name}.crt"
        ));
        assert!(
            self.openssl(&format!("x509 -in {name}.crt -noout -text"))
                .contains("Version: 1"),
            "of version 1"
        );
    }

    fn signed_v1(&self, name: &str, common_name: &str) {
        self.request(name, common_name);
        self.openssl(&format!(
            "x509 -req -days 9 -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt"
        ));
        assert!(
            self.openssl(&format!("x509 -in {name}.crt -noout -text"))
                .contains("Version: 1"),
            "of version 1"
        );
    }

    fn signed(&self, name: &str, common_name: &str, alternative_name: &str) {
        self.request(name, common_name);
        fs::write(
            self.path("extensions"),
            format!("subjectAltName={alternative_name}\n"),
        )
        .expect("a file");
        self.openssl(&format!(
            "x509 -req -days 9 -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile extensions -out {name}.crt"
        ));
    }

    /// Creates a certificate that expired yesterday.
    fn expired(&self, name: &str, common_name: &str) {
        self.request(name, common_name);
        fs::write(self.path("index"), "").expect("a file");
        fs::write(self.path("serial"), "01\n").expect("a file");
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
                      policy=p\nrand_serial=no\n[p]\ncommonName=supplied\n";
        fs::write(self.path("ca.cnf"), config).expect("a file");
        self.openssl(&format!(
            "ca -batch -config ca.cnf -selfsign -keyfile {name}.key -in {name}.csr -out {name}.crt -notext \
             -startdate 20200101000000Z -enddate 20210101000000Z"
        ));
    }
}

fn server_with(workshop: &Workshop, name: &str) -> Server {
    let tls = [
        "ssl = on",
        "ssl_cert_file = '../server.crt'",
        "ssl_key_file = '../server.key'",
        "ssl_ca_file = '../ca.crt'",
    ];
    let files = [
        ("server.crt", workshop.read(&format!("{name}.crt"))),
        ("server.key", workshop.read(&format!("{name}.key"))),
        ("ca.crt", workshop.read("ca.crt")),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    Server::start_with_files(&[FORGETFUL, &tls].concat(), &files)
}

/// Gives the server another certificate, even one whose authority may not vouch for itself.
fn change_certificate(server: &Server, workshop: &Workshop, name: &str) {
    server.put("server.crt", &workshop.read(&format!("{name}.crt")));
    server.put("server.key", &workshop.read(&format!("{name}.key")));
    server.stop();
    server.start_again();
}

fn psql_connects(url: &str) -> bool {
    // No file in a home folder may have an effect.
    let mut psql = program("psql");
    psql.env("HOME", "/nonexistent")
        .env("PGCONNECT_TIMEOUT", "10")
        .args([url, "-XAtc", "SELECT 1"]);
    psql.output().expect("psql runs").status.success()
}

async fn try_to_append(place: &Place) -> Result<(), StoreError> {
    let store = place.try_store().await?;
    store.append(append()).await.expect("a receipt");
    store.close().await;
    Ok(())
}

/// A requirement for a certificate, and the expected outcome.
struct Question<'a> {
    host: &'a str,
    options: &'a str,
    /// A part of the refusal; empty if the certificate is accepted.
    refusal: &'a str,
}

async fn ask(server: &Server, workshop: &Workshop, what: &str, question: &Question<'_>) {
    let Question {
        host,
        options,
        refusal,
    } = question;
    let folder = workshop.0.path().display().to_string();
    let options = options.replace("sslrootcert=", &format!("sslrootcert={folder}/"));
    let url = format!(
        "{}?{options}",
        server.url("postgres").replace("127.0.0.1", host)
    );
    let answer = try_to_append(&Place::at(url.clone())).await;
    let of_psql = block_in_place(|| psql_connects(&url));
    assert_eq!(
        answer.is_ok(),
        of_psql,
        "{what}, {host}, {options}: psql says {of_psql}, the store {answer:?}"
    );
    match answer {
        Ok(()) => assert_eq!(*refusal, "", "{what}, {host}, {options} is taken"),
        Err(error) => {
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            let text = one_line(&error);
            assert!(
                !refusal.is_empty() && text.contains(refusal),
                "{what}, {host}, {options}: {text}"
            );
        }
    }
}

const fn taken<'a>(host: &'a str, options: &'a str) -> Question<'a> {
    Question {
        host,
        options,
        refusal: "",
    }
}

const fn refused<'a>(host: &'a str, options: &'a str, refusal: &'a str) -> Question<'a> {
    Question {
        host,
        options,
        refusal,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_taken_and_refused_as_by_libpq() {
    let workshop = Workshop::new();
    workshop.self_signed("plain", "localhost");
    workshop.self_signed_v1("old", "localhost");
    workshop.signed_v1("old-signed", "localhost");
    workshop.signed("signed", "localhost", "DNS:db.example,DNS:*.localhost");
    workshop.signed("address", "db.example", "IP:127.0.0.1");
    workshop.expired("expired", "localhost");
    let unjudged = |host| {
        [
            taken(host, "sslmode=prefer"),
            taken(host, "sslmode=require"),
        ]
    };
    let server = server_with(&workshop, "plain");
    let local = "localhost";
    let unknown_issuer = "UnknownIssuer";
    for (name, questions) in [
        (
            "plain",
            vec![
                taken(local, "sslmode=verify-full&sslrootcert=plain.crt"),
                taken("127.0.0.1", "sslmode=verify-ca&sslrootcert=plain.crt"),
                refused(
                    "127.0.0.1",
                    "sslmode=verify-full&sslrootcert=plain.crt",
                    "for localhost, not for 127.0.0.1",
                ),
                taken(local, "sslmode=require&sslrootcert=plain.crt"),
                taken(local, "sslmode=prefer&sslrootcert=ca.crt"),
                refused(local, "sslmode=require&sslrootcert=ca.crt", unknown_issuer),
                refused(
                    local,
                    "sslmode=verify-ca&sslrootcert=other-ca.crt",
                    unknown_issuer,
                ),
            ],
        ),
        (
            "old",
            vec![
                taken(local, "sslmode=verify-full&sslrootcert=old.crt"),
                taken(
                    local,
                    "sslmode=verify-ca&sslrootcert=old.crt&ssl_max_protocol_version=TLSv1.2",
                ),
                refused(
                    "127.0.0.1",
                    "sslmode=verify-full&sslrootcert=old.crt",
                    "for localhost, not for 127.0.0.1",
                ),
                refused(
                    local,
                    "sslmode=verify-ca&sslrootcert=ca.crt",
                    unknown_issuer,
                ),
            ],
        ),
        (
            "old-signed",
            vec![
                taken(local, "sslmode=verify-full&sslrootcert=ca.crt"),
                taken(
                    local,
                    "sslmode=verify-full&sslrootcert=ca.crt&ssl_min_protocol_version=TLSv1.3",
                ),
                refused(
                    local,
                    "sslmode=verify-ca&sslrootcert=other-ca.crt",
                    unknown_issuer,
                ),
                refused(
                    "127.0.0.1",
                    "sslmode=verify-full&sslrootcert=ca.crt",
                    "for localhost, not for 127.0.0.1",
                ),
            ],
        ),
        (
            "signed",
            vec![
                taken(local, "sslmode=verify-ca&sslrootcert=ca.crt"),
                refused(
                    local,
                    "sslmode=verify-full&sslrootcert=ca.crt",
                    "for db.example, *.localhost, not for localhost",
                ),
                refused(
                    local,
                    "sslmode=verify-ca&sslrootcert=other-ca.crt",
                    unknown_issuer,
                ),
            ],
        ),
        (
            "address",
            vec![
                taken("127.0.0.1", "sslmode=verify-full&sslrootcert=ca.crt"),
                refused(
                    local,
                    "sslmode=verify-full&sslrootcert=ca.crt",
                    "for 127.0.0.1, not for localhost",
                ),
            ],
        ),
        (
            "expired",
            vec![refused(
                local,
                "sslmode=verify-ca&sslrootcert=expired.crt",
                "xpired",
            )],
        ),
    ] {
        block_in_place(|| change_certificate(&server, &workshop, name));
        for question in unjudged(local).iter().chain(&questions) {
            ask(&server, &workshop, name, question).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_shows_its_certificate() {
    let workshop = Workshop::new();
    workshop.self_signed("plain", "localhost");
    workshop.signed("client", "postgres", "DNS:client.example");
    fs::set_permissions(
        workshop.path("client.key"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .expect("rights");
    let server = server_with(&workshop, "plain");
    server.put("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 cert\n");
    block_in_place(|| server.stop());
    block_in_place(|| server.start_again());
    let url = format!("{}?sslmode=require", server.url("postgres"));
    let shown = |name: &str| path_of(&workshop.path(name));
    let with = format!(
        "{url}&sslcert={}&sslkey={}",
        shown("client.crt"),
        shown("client.key")
    );
    assert!(block_in_place(|| psql_connects(&with)));
    try_to_append(&Place::at(with.clone()))
        .await
        .expect("the certificate is shown");
    for without in [url, format!("{with}&sslcertmode=disable")] {
        let error = try_to_append(&Place::at(without))
            .await
            .expect_err("there is no certificate");
        assert!(one_line(&error).contains("certificate"), "{error}");
    }
    for (certificate, key) in [
        ("nothing.crt", "client.key"),
        ("client.crt", "client.crt"),
        ("client.key", "client.key"),
    ] {
        let url = format!(
            "{}?sslcert={}&sslkey={}",
            server.url("postgres"),
            shown(certificate),
            shown(key)
        );
        let error = try_to_append(&Place::at(url))
            .await
            .expect_err("these are no certificate and its key");
        assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
        assert!(
            one_line(&error).contains("sslcert") || one_line(&error).contains("sslkey"),
            "{error}"
        );
    }
}

fn path_of(path: &Path) -> String {
    path.display().to_string()
}
