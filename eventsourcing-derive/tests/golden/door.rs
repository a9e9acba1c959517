#[event]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DoorEvent {
    Opened,
    #[event(name = "Shut", version = 3)]
    Closed {
        by: String,
    },
    Moved(u32, u32),
}

#[event(version = 2)]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pinged {
    at: u64,
}
