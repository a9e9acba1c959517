//! The stored form of followers, for `eventsourcing-archive`, which copies them to another store.

pub use crate::system::notes::{FINISHED, IMPORT, UNFINISHED, whole as whole_follower};
pub use crate::system::transferable::{
    Partition, TransferableFollower, accounted, checksum_note, is_copied_unchanged,
    is_of_positions, is_unprocessed, moved_note, partitions, place_of, transferable_followers,
};
