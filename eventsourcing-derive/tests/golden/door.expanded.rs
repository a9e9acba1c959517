#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DoorEvent {
    Opened,
    Closed { by: String },
    Moved(u32, u32),
}
#[automatically_derived]
impl ::eventsourcing_core::Event for DoorEvent {
    const TYPES: &'static [::eventsourcing_core::EventType] = &[
        ::eventsourcing_core::EventType {
            name: "Opened",
            version: 1u16,
        },
        ::eventsourcing_core::EventType {
            name: "Shut",
            version: 1u16,
        },
        ::eventsourcing_core::EventType {
            name: "Moved",
            version: 1u16,
        },
    ];
    const VARIANTS: &'static [&'static str] = &["Opened", "Closed", "Moved"];
    const FORMER: &'static [::eventsourcing_core::LegacyEvent<Self>] = &[
        {
            const UPCASTERS: &[::eventsourcing_core::private::Upcaster] = &[];
            ::eventsourcing_core::LegacyEvent::read_as("Slammed", 1usize, UPCASTERS)
        },
    ];
    const FORMER_FINGERPRINT: u64 = 0xfe200cb512f4be5a;
    fn index(&self) -> usize {
        match self {
            Self::Opened { .. } => 0usize,
            Self::Closed { .. } => 1usize,
            Self::Moved { .. } => 2usize,
        }
    }
    fn duplicate(&self) -> Self {
        <Self as ::eventsourcing_core::private::Payload>::duplicate(self)
    }
    fn serialize_payload<S: ::eventsourcing_core::private::serde::Serializer>(
        &self,
        serializer: S,
    ) -> ::core::result::Result<S::Ok, S::Error> {
        <Self as ::eventsourcing_core::private::Payload>::serialize_variant(
            self,
            serializer,
        )
    }
    fn deserialize_payload<
        'de,
        D: ::eventsourcing_core::private::serde::Deserializer<'de>,
    >(index: usize, deserializer: D) -> ::core::result::Result<Self, D::Error> {
        <Self as ::eventsourcing_core::private::Payload>::deserialize_variant(
            index,
            deserializer,
        )
    }
}
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pinged {
    at: u64,
}
#[automatically_derived]
impl ::eventsourcing_core::Event for Pinged {
    const TYPES: &'static [::eventsourcing_core::EventType] = &[
        ::eventsourcing_core::EventType {
            name: "Pinged",
            version: 2u16,
        },
    ];
    const VARIANTS: &'static [&'static str] = &["Pinged"];
    const FORMER: &'static [::eventsourcing_core::LegacyEvent<Self>] = &[
        {
            const UPCASTERS: &[::eventsourcing_core::private::Upcaster] = &[
                |payload: &::eventsourcing_core::private::StoredPayload<'_>| {
                    use ::eventsourcing_core::private::Certain as _;
                    ::eventsourcing_core::private::Outcome(
                            in_milliseconds(
                                ::eventsourcing_core::private::read(payload)?,
                            ),
                        )
                        .payload()
                },
            ];
            ::eventsourcing_core::LegacyEvent::read_as("Pinged", 0usize, UPCASTERS)
        },
    ];
    const FORMER_FINGERPRINT: u64 = 0x9564e0aaedcfb559;
    fn index(&self) -> usize {
        0
    }
    fn duplicate(&self) -> Self {
        <Self as ::eventsourcing_core::private::Payload>::duplicate(self)
    }
    fn serialize_payload<S: ::eventsourcing_core::private::serde::Serializer>(
        &self,
        serializer: S,
    ) -> ::core::result::Result<S::Ok, S::Error> {
        <Self as ::eventsourcing_core::private::Payload>::serialize_struct(
            self,
            serializer,
        )
    }
    fn deserialize_payload<
        'de,
        D: ::eventsourcing_core::private::serde::Deserializer<'de>,
    >(index: usize, deserializer: D) -> ::core::result::Result<Self, D::Error> {
        <Self as ::eventsourcing_core::private::Payload>::deserialize_struct(
            index,
            deserializer,
        )
    }
}
#[automatically_derived]
impl ::eventsourcing_core::EventOf<Door> for DoorEvent {}
#[automatically_derived]
impl ::eventsourcing_core::Aggregate for Door {
    type Event = DoorEvent;
    const NAME: &'static str = "Door";
    const OTHER_NAMES: &'static [&'static str] = &["Gate", "Portal", "Entrance"];
    const FIRST_NAME: &'static str = "Gate";
    const FINGERPRINT: ::eventsourcing_core::store::Fingerprint = ::eventsourcing_core::private::fingerprint(
        0x11b86853c426ff64,
        <Self as ::eventsourcing_core::Fold<
            <Self as ::eventsourcing_core::Aggregate>::Event,
        >>::FINGERPRINT,
        <<Self as ::eventsourcing_core::Aggregate>::Event as ::eventsourcing_core::Event>::FORMER_FINGERPRINT,
    );
    fn snapshot_policy() -> impl ::eventsourcing_core::snapshot::SnapshotPolicy {
        ::eventsourcing_core::snapshot::never()
    }
    fn fold_first(
        event: Self::Event,
    ) -> ::core::result::Result<Self, ::eventsourcing_core::UnexpectedEvent> {
        <Self as ::eventsourcing_core::Fold<
            <Self as ::eventsourcing_core::Aggregate>::Event,
        >>::create(event)
    }
    fn fold_next(
        &mut self,
        event: Self::Event,
    ) -> ::core::result::Result<(), ::eventsourcing_core::UnexpectedEvent> {
        <Self as ::eventsourcing_core::Fold<
            <Self as ::eventsourcing_core::Aggregate>::Event,
        >>::apply(self, event)
    }
    fn serialize_state<S: ::eventsourcing_core::private::serde::Serializer>(
        &self,
        serializer: S,
    ) -> ::core::result::Result<S::Ok, S::Error> {
        <Self as ::eventsourcing_core::private::State>::serialize_state(self, serializer)
    }
    fn deserialize_state<
        'de,
        D: ::eventsourcing_core::private::serde::Deserializer<'de>,
    >(deserializer: D) -> ::core::result::Result<Self, D::Error> {
        <Self as ::eventsourcing_core::private::State>::deserialize_state(deserializer)
    }
}
