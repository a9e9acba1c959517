::core::compile_error! {
    "a stored event owns its fields, but this type borrows; write an owned type, such as `String`"
}
#[allow(missing_docs, non_camel_case_types, unreachable_pub, private_interfaces)]
pub enum AccountEvent {
    Opened {
        owner: [(); ::core::compile_error! {
            "a stored event owns its fields, but this type borrows; write an owned type, such as `String`"
        }],
    },
}
impl ::core::clone::Clone for AccountEvent {
    fn clone(&self) -> Self {
        ::core::unreachable!()
    }
}
impl ::core::fmt::Debug for AccountEvent {
    fn fmt(&self, _: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        ::core::unreachable!()
    }
}
impl ::core::cmp::PartialEq for AccountEvent {
    fn eq(&self, _: &Self) -> bool {
        ::core::unreachable!()
    }
}
impl ::eventsourcing_core::private::serde::Serialize for AccountEvent {
    fn serialize<S: ::eventsourcing_core::private::serde::Serializer>(
        &self,
        _: S,
    ) -> ::core::result::Result<S::Ok, S::Error> {
        ::core::unreachable!()
    }
}
impl<'de> ::eventsourcing_core::private::serde::Deserialize<'de> for AccountEvent {
    fn deserialize<D: ::eventsourcing_core::private::serde::Deserializer<'de>>(
        _: D,
    ) -> ::core::result::Result<Self, D::Error> {
        ::core::unreachable!()
    }
}
impl ::eventsourcing_core::Event for AccountEvent
where
    Self: ::core::marker::Send + ::core::marker::Sync + 'static,
{
    const TYPES: &'static [::eventsourcing_core::EventType] = &[];
    fn index(&self) -> usize {
        ::core::unreachable!()
    }
    fn duplicate(&self) -> Self {
        ::core::unreachable!()
    }
    fn serialize_payload<S: ::eventsourcing_core::private::serde::Serializer>(
        &self,
        serializer: S,
    ) -> ::core::result::Result<S::Ok, S::Error> {
        ::core::unreachable!()
    }
    fn deserialize_payload<
        'de,
        D: ::eventsourcing_core::private::serde::Deserializer<'de>,
    >(index: usize, deserializer: D) -> ::core::result::Result<Self, D::Error> {
        ::core::unreachable!()
    }
}
#[allow(
    clippy::boxed_local,
    clippy::missing_const_for_fn,
    clippy::needless_pass_by_ref_mut,
    clippy::needless_pass_by_value,
    clippy::unused_self
)]
impl Account {
    fn opened(#[allow(unused_variables)] owner: &str) -> Self {
        Self { owner }
    }
}
impl ::eventsourcing_core::Fold<AccountEvent> for Account {
    fn create(
        _: AccountEvent,
    ) -> ::core::result::Result<Self, ::eventsourcing_core::UnexpectedEvent> {
        ::core::unreachable!()
    }
    fn apply(
        &mut self,
        _: AccountEvent,
    ) -> ::core::result::Result<(), ::eventsourcing_core::UnexpectedEvent> {
        ::core::unreachable!()
    }
}
::core::compile_error! {
    "the system has no application `accounts`; it has none"
}
#[automatically_derived]
impl ::eventsourcing_core::System for Bank
where
    Self: ::core::marker::Send + ::core::marker::Sync + 'static,
{
    fn definition() -> ::eventsourcing_core::Definition {
        let _: &[&str] = &[<Account as ::eventsourcing_core::Aggregate>::NAME];
        ::core::unreachable!()
    }
    fn assemble(applications: &::eventsourcing_core::Applications) -> Self {
        ::core::unreachable!()
    }
    fn followers() -> ::std::vec::Vec<::eventsourcing_core::Follower<Self>> {
        ::core::unreachable!()
    }
}
#[automatically_derived]
impl Bank
where
    Self: ::core::marker::Send + ::core::marker::Sync + 'static,
{
    ///The name of `activity`.
    const ACTIVITY: ::eventsourcing_core::system::ProjectionName<Self> = ::eventsourcing_core::system::ProjectionName::new(
        "activity",
    );
    /// Starts the system on `stores`; `runner` says how its followers are run.
    ///
    /// # Errors
    /// The stores cannot be reached, or do not fit the definition.
    async fn start(
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
    fn builder(
        stores: impl ::core::convert::Into<::eventsourcing_core::Stores>,
    ) -> ::eventsourcing_core::SystemBuilder<Self> {
        ::eventsourcing_core::SystemBuilder::new(stores)
    }
    /// Returns the definition: the owner of each aggregate, and the followers with their sources.
    #[must_use]
    fn definition() -> ::eventsourcing_core::Definition {
        <Self as ::eventsourcing_core::System>::definition()
    }
}
