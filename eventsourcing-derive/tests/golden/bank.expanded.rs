#[automatically_derived]
impl ::eventsourcing_core::System for EventSourcedBank {
    fn definition() -> ::eventsourcing_core::Definition {
        ::eventsourcing_core::Definition::new("EventSourcedBank")
            .with_application(
                Self::ACCOUNTS.as_str(),
                &[<Account as ::eventsourcing_core::Aggregate>::NAME],
            )
            .with_application(
                Self::LEDGER.as_str(),
                &[<Ledger as ::eventsourcing_core::Aggregate>::NAME],
            )
            .with_policy(
                Self::LEDGER.as_str(),
                &[("accounts", <Account as ::eventsourcing_core::Aggregate>::NAME)],
            )
            .with_projection(
                Self::ACTIVITY.as_str(),
                &[
                    ("accounts", <Account as ::eventsourcing_core::Aggregate>::NAME),
                    ("books", <Ledger as ::eventsourcing_core::Aggregate>::NAME),
                ],
            )
    }
    fn assemble(applications: &::eventsourcing_core::Applications) -> Self {
        Self {
            accounts: <AccountService as ::eventsourcing_core::private::Service>::of(
                applications.application("accounts"),
            ),
            ledger: <LedgerService as ::eventsourcing_core::private::Service>::of(
                applications.application("books"),
            ),
            activity: <ActivityFeed as ::eventsourcing_core::private::ProjectionInMemory>::empty(),
        }
    }
    fn followers() -> ::std::vec::Vec<::eventsourcing_core::Follower<Self>> {
        ::core::convert::From::<
            [::eventsourcing_core::Follower<Self>; 2usize],
        >::from([
            {
                use ::eventsourcing_core::private::Unfollowed as _;
                let part: fn(&Self) -> &LedgerService = |system| &system.ledger;
                let follower = ::eventsourcing_core::Follower::policy::<
                    LedgerService,
                >("books", part);
                let follower = ::eventsourcing_core::private::Follow::<
                    LedgerService,
                    Account,
                >::policy(follower, "accounts", ::core::option::Option::None);
                let follower = follower.timers();
                ::core::convert::Into::into(follower)
            },
            {
                use ::eventsourcing_core::private::Unfollowed as _;
                let part: fn(&Self) -> &ActivityFeed = |system| &system.activity;
                let follower = ::eventsourcing_core::Follower::projection::<
                    ActivityFeed,
                >("activity", part);
                const _: () = {
                    ::core::assert!(
                        ::eventsourcing_core::private::has_variant:: < Account >
                        ("Opened"),
                        "`Account` has no event `Opened`; name variants of its event type"
                    );
                    ::core::assert!(
                        ::eventsourcing_core::private::has_variant:: < Account >
                        ("Credited"),
                        "`Account` has no event `Credited`; name variants of its event type"
                    );
                };
                let follower = ::eventsourcing_core::private::Follow::<
                    ActivityFeed,
                    Account,
                >::projection(
                    follower,
                    "accounts",
                    ::core::option::Option::Some(&["Opened", "Credited"]),
                );
                let follower = ::eventsourcing_core::private::Follow::<
                    ActivityFeed,
                    Ledger,
                >::projection(follower, "books", ::core::option::Option::None);
                ::core::convert::Into::into(follower)
            },
        ])
    }
}
#[automatically_derived]
impl EventSourcedBank {
    ///The name of `accounts`.
    pub const ACCOUNTS: ::eventsourcing_core::system::ApplicationName<Self> = ::eventsourcing_core::system::ApplicationName::new(
        "accounts",
    );
    ///The name of `ledger`.
    pub const LEDGER: ::eventsourcing_core::system::PolicyName<Self> = ::eventsourcing_core::system::PolicyName::new(
        "books",
    );
    ///The name of `activity`.
    pub const ACTIVITY: ::eventsourcing_core::system::ProjectionName<Self> = ::eventsourcing_core::system::ProjectionName::new(
        "activity",
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
