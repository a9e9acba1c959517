//! The worker that is a peer.

fn main() -> contest::Outcome<()> {
    contest::worker::work(peers::enter)
}
