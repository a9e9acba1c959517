#[event]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DoorEvent {
    Opened,
    #[event(name = "Shut", former_names("Slammed"))]
    Closed {
        by: String,
    },
    Moved(u32, u32),
}

#[event(version = 2, upcast(from = 1, with = in_milliseconds))]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pinged {
    at: u64,
}

#[derive(Aggregate)]
#[aggregate(name = "Door", former_names("Gate", "Portal"), next_name = "Entrance")]
pub struct Door {
    open: bool,
}
