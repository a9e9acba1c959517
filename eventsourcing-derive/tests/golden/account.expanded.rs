#[automatically_derived]
impl ::eventsourcing_core::EventOf<Account> for AccountEvent {}
#[automatically_derived]
impl ::eventsourcing_core::Aggregate for Account {
    type Event = AccountEvent;
    const NAME: &'static str = "Account";
    const FINGERPRINT: ::eventsourcing_core::store::Fingerprint = ::eventsourcing_core::private::fingerprint(
        0x95e238605bac61d2,
        <Self as ::eventsourcing_core::Fold<
            <Self as ::eventsourcing_core::Aggregate>::Event,
        >>::FINGERPRINT,
        <<Self as ::eventsourcing_core::Aggregate>::Event as ::eventsourcing_core::Event>::FORMER_FINGERPRINT,
    );
    fn snapshot_policy() -> impl ::eventsourcing_core::snapshot::SnapshotPolicy {
        use ::eventsourcing_core::snapshot::{every, never};
        every(50)
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
/// The events of an account.
#[allow(
    clippy::boxed_local,
    clippy::missing_const_for_fn,
    clippy::needless_pass_by_ref_mut,
    clippy::needless_pass_by_value,
    clippy::unused_self
)]
impl Account {
    /// A customer opened the account.
    fn opened(#[allow(unused_variables)] owner: String) -> Self {
        Self {
            owner,
            balance: Money::ZERO,
        }
    }
    fn credited(
        &mut self,
        #[allow(unused_variables)]
        amount: Money,
        #[allow(unused_variables)]
        note: Option<String>,
    ) {
        self.balance += amount;
    }
    fn closed_for_good(&mut self) {}
}
/// The events of an account.
#[derive(
    ::eventsourcing_core::private::serde::Serialize,
    ::eventsourcing_core::private::serde::Deserialize
)]
#[serde(crate = "::eventsourcing_core::private::serde")]
#[allow(
    private_interfaces,
    clippy::enum_variant_names,
    clippy::large_enum_variant,
    clippy::module_name_repetitions
)]
pub enum AccountEvent {
    /// A customer opened the account.
    Opened {
        ///The parameter `owner` of `opened`.
        owner: String,
    },
    ///The event `credited`.
    Credited {
        ///The parameter `amount` of `credited`.
        #[serde(
            bound(
                serialize = "for<'any> Money: ::eventsourcing_core::private::serde::Serialize + 'any",
                deserialize = "for<'any> Money: ::eventsourcing_core::private::serde::Deserialize<'any>"
            )
        )]
        amount: Money,
        ///The parameter `note` of `credited`.
        #[serde(default)]
        note: Option<String>,
    },
    ///The event `closed_for_good`.
    ClosedForGood,
}
#[automatically_derived]
impl ::eventsourcing_core::Event for AccountEvent {
    const TYPES: &'static [::eventsourcing_core::EventType] = &[
        ::eventsourcing_core::EventType {
            name: "Opened",
            version: 1u16,
        },
        ::eventsourcing_core::EventType {
            name: "Credited",
            version: 1u16,
        },
        ::eventsourcing_core::EventType {
            name: "Closed",
            version: 3u16,
        },
    ];
    const VARIANTS: &'static [&'static str] = &["Opened", "Credited", "ClosedForGood"];
    const FORMER: &'static [::eventsourcing_core::LegacyEvent<Self>] = &[
        {
            const UPCASTERS: &[::eventsourcing_core::private::Upcaster] = &[
                |payload: &::eventsourcing_core::private::StoredPayload<'_>| {
                    use ::eventsourcing_core::private::Certain as _;
                    ::eventsourcing_core::private::Outcome(
                            closed::from_1(::eventsourcing_core::private::read(payload)?),
                        )
                        .payload()
                },
                |payload: &::eventsourcing_core::private::StoredPayload<'_>| {
                    use ::eventsourcing_core::private::Certain as _;
                    ::eventsourcing_core::private::Outcome(
                            closed::from_2(::eventsourcing_core::private::read(payload)?),
                        )
                        .payload()
                },
            ];
            ::eventsourcing_core::LegacyEvent::read_as("Closed", 2usize, UPCASTERS)
        },
        {
            const UPCASTERS: &[::eventsourcing_core::private::Upcaster] = &[
                |payload: &::eventsourcing_core::private::StoredPayload<'_>| {
                    use ::eventsourcing_core::private::Certain as _;
                    ::eventsourcing_core::private::Outcome(
                            closed::from_1(::eventsourcing_core::private::read(payload)?),
                        )
                        .payload()
                },
                |payload: &::eventsourcing_core::private::StoredPayload<'_>| {
                    use ::eventsourcing_core::private::Certain as _;
                    ::eventsourcing_core::private::Outcome(
                            closed::from_2(::eventsourcing_core::private::read(payload)?),
                        )
                        .payload()
                },
            ];
            ::eventsourcing_core::LegacyEvent::read_as("Shut", 2usize, UPCASTERS)
        },
        ::eventsourcing_core::LegacyEvent::split(
            "Moved",
            1u16,
            |payload: &::eventsourcing_core::private::StoredPayload<'_>| {
                ::eventsourcing_core::private::Outcome(
                        moved(::eventsourcing_core::private::read(payload)?),
                    )
                    .events::<Self>()
            },
        ),
        ::eventsourcing_core::LegacyEvent::retired("Frozen"),
    ];
    const FORMER_FINGERPRINT: u64 = 0xf9703c14fb3f0ce1;
    fn index(&self) -> usize {
        match self {
            Self::Opened { .. } => 0usize,
            Self::Credited { .. } => 1usize,
            Self::ClosedForGood { .. } => 2usize,
        }
    }
    fn duplicate(&self) -> Self {
        ::core::clone::Clone::clone(self)
    }
    fn serialize_payload<S: ::eventsourcing_core::private::serde::Serializer>(
        &self,
        serializer: S,
    ) -> ::core::result::Result<S::Ok, S::Error> {
        use ::eventsourcing_core::private::Missing as _;
        ::eventsourcing_core::private::Of(self).serialize_variant(serializer)
    }
    fn deserialize_payload<
        'de,
        D: ::eventsourcing_core::private::serde::Deserializer<'de>,
    >(index: usize, deserializer: D) -> ::core::result::Result<Self, D::Error> {
        use ::eventsourcing_core::private::Missing as _;
        ::eventsourcing_core::private::Of::<
            Self,
        >::deserialize_variant(index, deserializer)
    }
}
#[automatically_derived]
impl ::core::clone::Clone for AccountEvent {
    fn clone(&self) -> Self {
        use ::eventsourcing_core::private::Missing as _;
        match self {
            AccountEvent::Opened { owner: field0 } => {
                AccountEvent::Opened {
                    owner: ::eventsourcing_core::private::Of(field0).duplicate(),
                }
            }
            AccountEvent::Credited { amount: field0, note: field1 } => {
                AccountEvent::Credited {
                    amount: ::eventsourcing_core::private::Of(field0).duplicate(),
                    note: ::eventsourcing_core::private::Of(field1).duplicate(),
                }
            }
            AccountEvent::ClosedForGood {} => AccountEvent::ClosedForGood {},
        }
    }
}
#[automatically_derived]
impl ::core::fmt::Debug for AccountEvent {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        use ::eventsourcing_core::private::Missing as _;
        match self {
            AccountEvent::Opened { owner: field0 } => {
                f.debug_struct("Opened")
                    .field("owner", ::eventsourcing_core::private::Of(field0).shown())
                    .finish()
            }
            AccountEvent::Credited { amount: field0, note: field1 } => {
                f.debug_struct("Credited")
                    .field("amount", ::eventsourcing_core::private::Of(field0).shown())
                    .field("note", ::eventsourcing_core::private::Of(field1).shown())
                    .finish()
            }
            AccountEvent::ClosedForGood {} => f.write_str("ClosedForGood"),
        }
    }
}
#[automatically_derived]
impl ::core::cmp::PartialEq for AccountEvent {
    fn eq(&self, other: &Self) -> bool {
        use ::eventsourcing_core::private::Missing as _;
        match (self, other) {
            (
                AccountEvent::Opened { owner: left0 },
                AccountEvent::Opened { owner: right0 },
            ) => ::eventsourcing_core::private::Of(left0).equals(right0),
            (
                AccountEvent::Credited { amount: left0, note: left1 },
                AccountEvent::Credited { amount: right0, note: right1 },
            ) => {
                ::eventsourcing_core::private::Of(left0).equals(right0)
                    && ::eventsourcing_core::private::Of(left1).equals(right1)
            }
            (AccountEvent::ClosedForGood {}, AccountEvent::ClosedForGood {}) => true,
            _ => false,
        }
    }
}
#[automatically_derived]
impl ::eventsourcing_core::Fold<AccountEvent> for Account {
    const FINGERPRINT: u64 = 0x83cce6b4490f931c;
    fn create(
        event: AccountEvent,
    ) -> ::core::result::Result<Self, ::eventsourcing_core::UnexpectedEvent> {
        match event {
            AccountEvent::Opened { owner: field0 } => {
                ::core::result::Result::Ok(Self::opened(field0))
            }
            AccountEvent::Credited { .. } => {
                ::core::result::Result::Err(::eventsourcing_core::UnexpectedEvent)
            }
            AccountEvent::ClosedForGood { .. } => {
                ::core::result::Result::Err(::eventsourcing_core::UnexpectedEvent)
            }
        }
    }
    fn apply(
        &mut self,
        event: AccountEvent,
    ) -> ::core::result::Result<(), ::eventsourcing_core::UnexpectedEvent> {
        match event {
            AccountEvent::Opened { .. } => {
                ::core::result::Result::Err(::eventsourcing_core::UnexpectedEvent)
            }
            AccountEvent::Credited { amount: field0, note: field1 } => {
                Self::credited(self, field0, field1);
                ::core::result::Result::Ok(())
            }
            AccountEvent::ClosedForGood {} => {
                Self::closed_for_good(self);
                ::core::result::Result::Ok(())
            }
        }
    }
}
const _: fn() = || {
    use ::eventsourcing_core::private::Unasked as _;
    <String as ::eventsourcing_core::private::Parameter>::is_parameter();
    <Money as ::eventsourcing_core::private::Parameter>::is_parameter();
    ::eventsourcing_core::private::Within::<
        Option<String>,
        (String, ()),
    >::is_parameter();
};
