//! [`Durability`]: the accidents that an acknowledged append has to survive, as the program asks
//! for them.
//!
//! This is a wish, made when a store is opened. [`Acknowledged`](super::Acknowledged) tells what a
//! store in use delivers.

/// The accidents that an acknowledged append survives. No level can corrupt stored data.
///
/// Each store documents at its option `with_durability` by which settings it keeps a level. A store
/// that cannot keep a level refuses it when it is opened, with
/// [`StoreError::Invalid`](super::StoreError::Invalid).
///
/// All programs that append to one log ask for the same level: a repeated command is answered from
/// its first append, at the level which that append had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// An acknowledged append is on disk. It survives a crash of this process, a crash of the
    /// machine or server that stores it, and a power cut, provided that the disk keeps what it has
    /// confirmed.
    #[default]
    Full,
    /// An acknowledged append survives a crash of this process. A crash of the machine or server
    /// may lose the last commits, and their positions are then given to other events. Lone appends
    /// are much faster.
    Normal,
}
