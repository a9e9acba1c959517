#[allow(
    clippy::boxed_local,
    clippy::missing_const_for_fn,
    clippy::needless_pass_by_ref_mut,
    clippy::needless_pass_by_value,
    clippy::unused_self
)]
impl Account {
    fn opened(#[allow(unused_variables)] owner: String) -> Self {
        Self { owner }
    }
    fn credited(
        &mut self,
        #[allow(unused_variables)]
        cents: Money,
        #[allow(unused_variables)]
        other_note: Option<String>,
        #[allow(unused_variables)]
        key: u64,
        #[allow(unused_variables)]
        cached: Cache,
    ) {
        self.cents += cents;
    }
}
///The events of [`Account`].
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
    ///The event `opened`.
    Opened {
        ///The parameter `owner` of `opened`.
        owner: String,
    },
    ///The event `credited`.
    #[serde(rename_all = "camelCase")]
    Credited {
        #[serde(
            bound(
                serialize = "for<'any> Money: ::eventsourcing_core::private::serde::Serialize + 'any",
                deserialize = "for<'any> Money: ::eventsourcing_core::private::serde::Deserialize<'any>"
            )
        )]
        /// In cents.
        cents: Money,
        ///The parameter `other_note` of `credited`.
        #[serde(default)]
        other_note: Option<String>,
        ///The parameter `key` of `credited`.
        #[serde(with = "hex")]
        key: u64,
        ///The parameter `cached` of `credited`.
        #[serde(skip)]
        cached: Cache,
    },
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
    ];
    const VARIANTS: &'static [&'static str] = &["Opened", "Credited"];
    fn index(&self) -> usize {
        match self {
            Self::Opened { .. } => 0usize,
            Self::Credited { .. } => 1usize,
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
const _: () = {
    use ::core::convert::Into as _;
    #[derive(::eventsourcing_core::private::schemars::JsonSchema)]
    #[schemars(
        crate = "::eventsourcing_core::private::schemars",
        bound = "for<'any> String: ::eventsourcing_core::private::schemars::JsonSchema + 'any"
    )]
    struct __Payload0<const DESCRIBED: bool> {
        owner: String,
    }
    #[derive(::eventsourcing_core::private::schemars::JsonSchema)]
    #[schemars(
        crate = "::eventsourcing_core::private::schemars",
        bound = "for<'any> Money: ::eventsourcing_core::private::schemars::JsonSchema + 'any, for<'any> Option < String >: ::eventsourcing_core::private::schemars::JsonSchema + 'any"
    )]
    #[serde(rename_all = "camelCase")]
    struct __Payload1<const DESCRIBED: bool> {
        /// In cents.
        cents: Money,
        #[serde(default)]
        other_note: Option<String>,
        #[schemars(with = "String")]
        key: u64,
        #[serde(skip)]
        cached: Cache,
    }
    #[automatically_derived]
    impl ::eventsourcing_core::schema::DescribedEvent for AccountEvent {
        fn payload_schema(
            index: usize,
            generator: &mut ::eventsourcing_core::schema::SchemaGenerator,
        ) -> ::eventsourcing_core::schema::Schema {
            use ::eventsourcing_core::private::Undescribed as _;
            match index {
                0usize => {
                    ::eventsourcing_core::private::PayloadOf::<
                        __Payload0<true>,
                    >::schema(generator)
                }
                1usize => {
                    ::eventsourcing_core::private::PayloadOf::<
                        __Payload1<true>,
                    >::schema(generator)
                }
                _ => ::core::unreachable!(),
            }
        }
    }
    const _: fn() = || {
        <String as ::eventsourcing_core::private::DescribedField>::is_described();
        <Money as ::eventsourcing_core::private::DescribedField>::is_described();
    };
};
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
            AccountEvent::Credited {
                cents: field0,
                other_note: field1,
                key: field2,
                cached: field3,
            } => {
                AccountEvent::Credited {
                    cents: ::eventsourcing_core::private::Of(field0).duplicate(),
                    other_note: ::eventsourcing_core::private::Of(field1).duplicate(),
                    key: ::eventsourcing_core::private::Of(field2).duplicate(),
                    cached: ::eventsourcing_core::private::Of(field3).duplicate(),
                }
            }
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
            AccountEvent::Credited {
                cents: field0,
                other_note: field1,
                key: field2,
                cached: field3,
            } => {
                f.debug_struct("Credited")
                    .field("cents", ::eventsourcing_core::private::Of(field0).shown())
                    .field(
                        "other_note",
                        ::eventsourcing_core::private::Of(field1).shown(),
                    )
                    .field("key", ::eventsourcing_core::private::Of(field2).shown())
                    .field("cached", ::eventsourcing_core::private::Of(field3).shown())
                    .finish()
            }
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
                AccountEvent::Credited {
                    cents: left0,
                    other_note: left1,
                    key: left2,
                    cached: left3,
                },
                AccountEvent::Credited {
                    cents: right0,
                    other_note: right1,
                    key: right2,
                    cached: right3,
                },
            ) => {
                ::eventsourcing_core::private::Of(left0).equals(right0)
                    && ::eventsourcing_core::private::Of(left1).equals(right1)
                    && ::eventsourcing_core::private::Of(left2).equals(right2)
                    && ::eventsourcing_core::private::Of(left3).equals(right3)
            }
            _ => false,
        }
    }
}
#[automatically_derived]
impl ::eventsourcing_core::Fold<AccountEvent> for Account {
    const FINGERPRINT: u64 = 0x229dc6fe374d9ce3;
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
            AccountEvent::Credited {
                cents: field0,
                other_note: field1,
                key: field2,
                cached: field3,
            } => {
                Self::credited(self, field0, field1, field2, field3);
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
    <u64 as ::eventsourcing_core::private::Copied>::is_copied();
    <Cache as ::eventsourcing_core::private::Copied>::is_copied();
};
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum DoorEvent {
    Opened,
    Closed { closed_by: String },
    Moved(u32, Box<Self>),
}
#[automatically_derived]
impl ::eventsourcing_core::Event for DoorEvent {
    const TYPES: &'static [::eventsourcing_core::EventType] = &[
        ::eventsourcing_core::EventType {
            name: "Opened",
            version: 1u16,
        },
        ::eventsourcing_core::EventType {
            name: "Closed",
            version: 1u16,
        },
        ::eventsourcing_core::EventType {
            name: "Moved",
            version: 1u16,
        },
    ];
    const VARIANTS: &'static [&'static str] = &["Opened", "Closed", "Moved"];
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
const _: () = {
    use ::core::convert::Into as _;
    #[derive(::eventsourcing_core::private::schemars::JsonSchema)]
    #[schemars(crate = "::eventsourcing_core::private::schemars")]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct __Payload0<const DESCRIBED: bool> {}
    #[derive(::eventsourcing_core::private::schemars::JsonSchema)]
    #[schemars(
        crate = "::eventsourcing_core::private::schemars",
        bound = "for<'any> String: ::eventsourcing_core::private::schemars::JsonSchema + 'any"
    )]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct __Payload1<const DESCRIBED: bool> {
        closed_by: String,
    }
    #[derive(::eventsourcing_core::private::schemars::JsonSchema)]
    #[schemars(
        crate = "::eventsourcing_core::private::schemars",
        bound = "for<'any> u32: ::eventsourcing_core::private::schemars::JsonSchema + 'any, for<'any> Box < DoorEvent >: ::eventsourcing_core::private::schemars::JsonSchema + 'any"
    )]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct __Payload2<const DESCRIBED: bool>(u32, Box<DoorEvent>);
    const _: fn(__Payload2<true>) = |__Payload2(_field0, _field1)| {};
    #[automatically_derived]
    impl ::eventsourcing_core::schema::DescribedEvent for DoorEvent {
        fn payload_schema(
            index: usize,
            generator: &mut ::eventsourcing_core::schema::SchemaGenerator,
        ) -> ::eventsourcing_core::schema::Schema {
            use ::eventsourcing_core::private::Undescribed as _;
            match index {
                0usize => {
                    ::eventsourcing_core::private::PayloadOf::<
                        __Payload0<true>,
                    >::schema(generator)
                }
                1usize => {
                    ::eventsourcing_core::private::PayloadOf::<
                        __Payload1<true>,
                    >::schema(generator)
                }
                2usize => {
                    ::eventsourcing_core::private::PayloadOf::<
                        __Payload2<true>,
                    >::schema(generator)
                }
                _ => ::core::unreachable!(),
            }
        }
    }
    const _: fn() = || {
        <String as ::eventsourcing_core::private::DescribedField>::is_described();
        <u32 as ::eventsourcing_core::private::DescribedField>::is_described();
        <DoorEvent as ::eventsourcing_core::private::DescribedField>::is_described();
    };
};
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pinged {
    at: u64,
}
#[automatically_derived]
impl ::eventsourcing_core::Event for Pinged {
    const TYPES: &'static [::eventsourcing_core::EventType] = &[
        ::eventsourcing_core::EventType {
            name: "Pinged",
            version: 1u16,
        },
    ];
    const VARIANTS: &'static [&'static str] = &["Pinged"];
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
const _: () = {
    use ::core::convert::Into as _;
    #[derive(::eventsourcing_core::private::schemars::JsonSchema)]
    #[schemars(
        crate = "::eventsourcing_core::private::schemars",
        bound = "for<'any> u64: ::eventsourcing_core::private::schemars::JsonSchema + 'any"
    )]
    struct __Payload0<const DESCRIBED: bool> {
        at: u64,
    }
    #[automatically_derived]
    impl ::eventsourcing_core::schema::DescribedEvent for Pinged {
        fn payload_schema(
            index: usize,
            generator: &mut ::eventsourcing_core::schema::SchemaGenerator,
        ) -> ::eventsourcing_core::schema::Schema {
            use ::eventsourcing_core::private::Undescribed as _;
            match index {
                0usize => {
                    ::eventsourcing_core::private::PayloadOf::<
                        __Payload0<true>,
                    >::schema(generator)
                }
                _ => ::core::unreachable!(),
            }
        }
    }
    const _: fn() = || {
        <u64 as ::eventsourcing_core::private::DescribedField>::is_described();
    };
};
#[automatically_derived]
impl ::eventsourcing_core::System for Bank {
    fn definition() -> ::eventsourcing_core::Definition {
        ::eventsourcing_core::Definition::new("Bank")
            .with_application(
                Self::ACCOUNTS.as_str(),
                &[
                    <Account as ::eventsourcing_core::Aggregate>::NAME,
                    <domain::Door as ::eventsourcing_core::Aggregate>::NAME,
                ],
            )
    }
    fn assemble(applications: &::eventsourcing_core::Applications) -> Self {
        Self {
            accounts: <Accounts as ::eventsourcing_core::private::Service>::of(
                applications.application("accounts"),
            ),
        }
    }
    fn followers() -> ::std::vec::Vec<::eventsourcing_core::Follower<Self>> {
        ::core::convert::From::<[::eventsourcing_core::Follower<Self>; 0usize]>::from([])
    }
}
#[automatically_derived]
impl Bank {
    ///The name of `accounts`.
    pub const ACCOUNTS: ::eventsourcing_core::system::ApplicationName<Self> = ::eventsourcing_core::system::ApplicationName::new(
        "accounts",
    );
    /// Starts the system on `stores`; `runner` says how its followers are run.
    ///
    /// # Errors
    /// The stores cannot be reached, or do not fit the definition.
    pub async fn start(
        stores: impl ::core::convert::Into<::eventsourcing_core::Stores>,
        runner: ::eventsourcing_core::Runner,
    ) -> ::core::result::Result<
        ::eventsourcing_core::RunningSystem<Self>,
        ::eventsourcing_core::SystemError,
    > {
        ::eventsourcing_core::SystemBuilder::new(stores)
            .with_runner(runner)
            .start()
            .await
    }
    /// A builder of the system, for more choices than [`start`](Self::start) offers.
    #[must_use]
    pub fn builder(
        stores: impl ::core::convert::Into<::eventsourcing_core::Stores>,
    ) -> ::eventsourcing_core::SystemBuilder<Self> {
        ::eventsourcing_core::SystemBuilder::new(stores)
    }
    /// Returns the definition: the owner of each aggregate, and the followers with their sources.
    #[must_use]
    pub fn definition() -> ::eventsourcing_core::Definition {
        <Self as ::eventsourcing_core::System>::definition()
    }
}
#[automatically_derived]
impl ::eventsourcing_core::schema::DescribedSystem for Bank {
    fn aggregates() -> ::std::vec::Vec<::eventsourcing_core::schema::AggregateSchema> {
        ::core::convert::From::<
            [::eventsourcing_core::schema::AggregateSchema; 2usize],
        >::from([
            ::eventsourcing_core::schema::AggregateSchema::of::<Account>(),
            ::eventsourcing_core::schema::AggregateSchema::of::<domain::Door>(),
        ])
    }
}
