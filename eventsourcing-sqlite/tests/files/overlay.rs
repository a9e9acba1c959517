//! An overlay file system, as in containers: a file of a lower layer becomes another one when it is first opened for
//! writing. Mounting requires the rights of root, or of a user namespace.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use eventsourcing_sqlite::SqliteStore;

use super::hands::{assert_sound, events_of, run, store_with, write};
use crate::fixture::Place;

/// Set for a child process: the folder with the layers.
const CHILD_LAYERS: &str = "EVENTSOURCING_TEST_CHILD_LAYERS";

/// The test runs in a mount namespace of its own, so nothing stays mounted.
#[tokio::test]
async fn file_of_a_lower_layer_is_opened_and_written() {
    let place = Place::new();
    store_with(&place, 5).await;
    let layers = Place::new();
    for folder in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(layers.folder().join(folder)).expect("a folder");
    }
    std::fs::copy(place.file(), layers.folder().join("lower/log.db"))
        .expect("a file of the lower layer");
    let program = std::env::current_exe().expect("this program");
    let arguments = [
        "--exact",
        "files::overlay::child_writes_on_an_overlay",
        "--nocapture",
    ];
    let root = std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let namespaces: &[&str] = if root {
        &["--mount"]
    } else {
        &["--mount", "--user", "--map-root-user"]
    };
    let mut command = Command::new("unshare");
    command
        .args(namespaces)
        .arg(program)
        .args(arguments)
        .env(CHILD_LAYERS, layers.folder());
    let output = command
        .output()
        .expect("unshare of util-linux is installed");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains("written on an overlay"),
        "{said}"
    );
    assert_eq!(
        events_of(
            &SqliteStore::open(layers.folder().join("upper/log.db"))
                .await
                .expect("a store")
        )
        .await,
        8
    );
    assert_sound(&layers.folder().join("lower/log.db"));
}

#[tokio::test]
async fn child_writes_on_an_overlay() {
    let Some(layers) = std::env::var_os(CHILD_LAYERS) else {
        return;
    };
    let layers = Path::new(&layers);
    let layer = |name: &str| layers.join(name).display().to_string();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        layer("lower"),
        layer("upper"),
        layer("work")
    );
    let merged = layers.join("merged");
    let arguments = ["-t", "overlay", "overlay", "-o", &options].map(Path::new);
    run("mount", &[&arguments[..], &[&merged]].concat());
    let store = SqliteStore::open(merged.join("log.db"))
        .await
        .expect("a store on an overlay");
    write(&store, 1).await;
    let second = SqliteStore::open(merged.join("log.db"))
        .await
        .expect("a second store");
    write(&second, 1).await;
    write(&store, 1).await;
    second.close().await;
    store.close().await;
    run("umount", &[&merged]);
    std::io::stdout()
        .write_all(b"written on an overlay\n")
        .expect("the parent listens");
}
