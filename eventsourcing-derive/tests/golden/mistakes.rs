#[event]
impl Account {
    fn opened(owner: &str) -> Self {
        Self { owner }
    }
}

#[derive(System)]
struct Bank {
    #[projection(follows(accounts: Account))]
    activity: ActivityFeed,
}
