//! The accidents that an acknowledged append survives, derived from the settings of the server and of this store's
//! sessions. The result is a message for people. Replication below PostgreSQL, as some services have it, is not visible
//! from here.

use deadpool_postgres::ClientWrapper;
use eventsourcing_core::store::{Acknowledged, StoreError};
use tokio_postgres::{Error, Row};

use crate::readers::Readers;

const ACKNOWLEDGED: &str = include_str!("queries/acknowledged.sql");

/// The settings that determine the machines a commit waits for.
struct Settings {
    synchronous_commit: String,
    standbys: String,
    wal_senders_max: i32,
    fsync: bool,
    full_page_writes: bool,
}

/// Asks the server for the guarantees of this store's commits.
pub(crate) async fn find(readers: &Readers) -> Result<Acknowledged, StoreError> {
    let settings = readers
        .run(&(), |client, ()| Box::pin(settings(client)))
        .await?;
    Ok(settings.acknowledged())
}

async fn settings(client: &ClientWrapper) -> Result<Settings, Error> {
    let statement = client.prepare_cached(ACKNOWLEDGED).await?;
    Settings::of(&client.query_one(&statement, &[]).await?)
}

impl Settings {
    fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            synchronous_commit: row.try_get(0)?,
            standbys: row.try_get(1)?,
            wal_senders_max: row.try_get(2)?,
            fsync: row.try_get(3)?,
            full_page_writes: row.try_get(4)?,
        })
    }

    /// Returns the weakest guarantee that the settings imply. A primary that does not flush comes back from a power cut
    /// damaged, or without events that its standbys have, and nothing forces a fail-over then; so its own disk counts
    /// before its standbys.
    fn acknowledged(self) -> Acknowledged {
        let written = |remedy: &str| Acknowledged::Written {
            remedy: remedy.to_owned(),
        };
        let on_disk = |remedy: &str| Acknowledged::OnDisk {
            remedy: remedy.to_owned(),
        };
        match &*self.synchronous_commit {
            "off" => written("connect with Durability::Full to have each append wait for the disk"),
            _ if !self.fsync => written("the server has fsync = off; set it to on"),
            _ if !self.full_page_writes => written(
                "the server has full_page_writes = off; set it to on, unless its storage never leaves half a page behind",
            ),
            _ if self.standbys.is_empty() => on_disk(
                "as far as PostgreSQL knows no other machine has it: set synchronous_standby_names; see \
                 docs/beyond-one-machine.md",
            ),
            // Without WAL senders no commit waits for a standby, whatever the setting names.
            _ if self.wal_senders_max == 0 => on_disk(
                "as far as PostgreSQL knows no other machine has it: with max_wal_senders = 0 no commit waits for \
                 synchronous_standby_names; see docs/beyond-one-machine.md",
            ),
            "on" | "remote_apply" => Acknowledged::OnStandbys {
                standbys: self.standbys,
                flushed: true,
            },
            "remote_write" => Acknowledged::OnStandbys {
                standbys: self.standbys,
                flushed: false,
            },
            "local" => on_disk(
                "as far as PostgreSQL knows no other machine has it: synchronous_commit is local, set it to on; see \
                 docs/beyond-one-machine.md",
            ),
            _ => Acknowledged::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(synchronous_commit: &str) -> Settings {
        Settings {
            synchronous_commit: synchronous_commit.to_owned(),
            standbys: "ANY 1 (a, b)".to_owned(),
            wal_senders_max: 10,
            fsync: true,
            full_page_writes: true,
        }
    }

    #[test]
    fn standbys_count_as_far_as_commits_wait_for_them() {
        for (synchronous_commit, flushed) in [
            ("on", true),
            ("remote_apply", true),
            ("remote_write", false),
        ] {
            let standbys = "ANY 1 (a, b)".to_owned();
            let expected = Acknowledged::OnStandbys { standbys, flushed };
            assert_eq!(settings(synchronous_commit).acknowledged(), expected);
        }
        for (settings, why) in [
            (settings("local"), "synchronous_commit is local"),
            (
                Settings {
                    wal_senders_max: 0,
                    ..settings("on")
                },
                "max_wal_senders = 0",
            ),
            (
                Settings {
                    standbys: String::new(),
                    ..settings("remote_write")
                },
                "set synchronous_standby_names",
            ),
        ] {
            let acknowledged = settings.acknowledged();
            let is_on_disk =
                matches!(&acknowledged, Acknowledged::OnDisk { remedy } if remedy.contains(why));
            assert!(
                is_on_disk
                    && acknowledged
                        .to_string()
                        .contains("as far as PostgreSQL knows"),
                "{acknowledged}"
            );
        }
        assert_eq!(
            settings("a level to come").acknowledged(),
            Acknowledged::Unknown
        );
    }

    #[test]
    fn server_that_does_not_flush_is_told_whatever_standbys_it_has() {
        for (settings, why) in [
            (settings("off"), "Durability::Full"),
            (
                Settings {
                    fsync: false,
                    ..settings("on")
                },
                "fsync = off",
            ),
            (
                Settings {
                    full_page_writes: false,
                    ..settings("on")
                },
                "full_page_writes = off",
            ),
        ] {
            let acknowledged = settings.acknowledged();
            assert!(
                matches!(&acknowledged, Acknowledged::Written { remedy } if remedy.contains(why)),
                "{acknowledged}"
            );
        }
    }
}
