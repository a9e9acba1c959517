//! The stored form of followers and of kept rejections, for `eventsourcing-archive`, which copies
//! both to another store.

pub use crate::application::{rejection, rejection_note};
pub use crate::system::notes::{FINISHED, IMPORT, UNFINISHED, whole as whole_follower};
pub use crate::system::transferable::{
    Partition, TransferableFollower, accounted, checksum_note, is_copied_unchanged,
    is_of_positions, is_unprocessed, moved_note, partitions, place_of, transferable_followers,
};
