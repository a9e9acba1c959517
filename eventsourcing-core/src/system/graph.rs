//! [`Definition`]: the applications of a system, the aggregates they own, and the followers between
//! them, as data.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::{SystemError, notes};
use crate::store::Name;

/// A system as it was declared. Prints itself as text (`Display`) and as a diagram
/// ([`to_mermaid`](Self::to_mermaid)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Definition {
    /// The name of the system.
    pub name: &'static str,
    /// Its applications, in the order of declaration.
    pub applications: Vec<ApplicationDefinition>,
    /// Its followers, in the order of declaration.
    pub followers: Vec<FollowerDefinition>,
}

/// An application and the aggregates it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplicationDefinition {
    /// The name of the application.
    pub name: &'static str,
    /// The stored names of its aggregates.
    pub aggregates: Vec<&'static str>,
}

/// A follower and what it follows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowerDefinition {
    /// The name of the follower, under which it keeps its position.
    pub name: &'static str,
    /// The kind of the follower.
    pub kind: FollowerKind,
    /// The aggregates whose events it takes.
    pub follows: Vec<Follows>,
}

/// One aggregate of one application that a follower follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Follows {
    /// The application.
    pub application: &'static str,
    /// The stored name of the aggregate.
    pub aggregate: &'static str,
}

/// The kind of a follower, by what it does with events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowerKind {
    /// The follower records events of its own.
    Policy,
    /// The follower builds a read model.
    Projection,
}

impl Definition {
    /// Returns a system without applications and followers. `#[derive(System)]` adds them.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            applications: Vec::new(),
            followers: Vec::new(),
        }
    }

    /// Adds an application that owns `aggregates`.
    #[must_use]
    pub fn with_application(mut self, name: &'static str, aggregates: &[&'static str]) -> Self {
        self.applications.push(ApplicationDefinition {
            name,
            aggregates: aggregates.to_vec(),
        });
        self
    }

    /// Adds a policy that follows pairs of application and aggregate.
    #[must_use]
    pub fn with_policy(self, name: &'static str, follows: &[(&'static str, &'static str)]) -> Self {
        self.with_follower(name, FollowerKind::Policy, follows)
    }

    /// Adds a projection that follows pairs of application and aggregate.
    #[must_use]
    pub fn with_projection(
        self,
        name: &'static str,
        follows: &[(&'static str, &'static str)],
    ) -> Self {
        self.with_follower(name, FollowerKind::Projection, follows)
    }

    fn with_follower(
        mut self,
        name: &'static str,
        kind: FollowerKind,
        follows: &[(&'static str, &'static str)],
    ) -> Self {
        let follows = follows
            .iter()
            .map(|&(application, aggregate)| Follows {
                application,
                aggregate,
            })
            .collect();
        self.followers.push(FollowerDefinition {
            name,
            kind,
            follows,
        });
        self
    }

    /// Returns the system as a Mermaid flow chart: boxes for applications, rounded boxes for
    /// projections, an arrow for each followed aggregate.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut lines = vec!["flowchart LR".to_string()];
        for ApplicationDefinition { name, aggregates } in &self.applications {
            lines.push(format!(
                "    {name}[\"{name}<br/>{}\"]",
                aggregates.join(", ")
            ));
        }
        for follower in &self.followers {
            if follower.kind == FollowerKind::Projection {
                lines.push(format!("    {name}([\"{name}\"])", name = follower.name));
            }
        }
        for FollowerDefinition { name, follows, .. } in &self.followers {
            lines.extend(follows.iter().map(|follows| {
                format!(
                    "    {} -- {} --> {name}",
                    follows.application, follows.aggregate
                )
            }));
        }
        lines.join("\n") + "\n"
    }

    /// Checks the stored names. The compiler cannot: two types can have one stored name, and a
    /// definition can be written by hand.
    pub(crate) fn check(&self) -> Result<(), SystemError> {
        self.check_names()?;
        let mut owners = HashMap::new();
        for ApplicationDefinition { name, aggregates } in &self.applications {
            for aggregate in aggregates {
                if let Some(other) = owners.insert(aggregate, name) {
                    let reason = format!(
                        "{other} and {name} both own an aggregate with the stored name {aggregate}"
                    );
                    return Err(SystemError::Invalid { reason });
                }
            }
        }
        Ok(())
    }

    /// Refuses the names that the framework makes for itself: data of both would be stored under
    /// one name.
    fn check_names(&self) -> Result<(), SystemError> {
        let applications = self
            .applications
            .iter()
            .map(|application| ("application", application.name));
        let aggregates = self
            .applications
            .iter()
            .flat_map(|application| &application.aggregates);
        let followers = self
            .followers
            .iter()
            .map(|follower| ("follower", follower.name));
        for (what, name) in applications
            .chain(followers)
            .chain(aggregates.map(|name| ("aggregate", *name)))
        {
            if let Some(fault) = notes::reserved(name) {
                let reason = format!(
                    "the name of the {what} {name:?} {fault}, as do names that the framework stores things under; choose another \
                     one with name = \"…\""
                );
                return Err(SystemError::Invalid { reason });
            }
        }
        Ok(())
    }

    /// Returns the stored names of all aggregates.
    pub(crate) fn aggregates(&self) -> BTreeSet<Name> {
        let aggregates = self
            .applications
            .iter()
            .flat_map(|application| &application.aggregates);
        aggregates.map(|name| Name::from_static(name)).collect()
    }

    /// Returns the policies that are part of a cycle, in which an event can cause events without
    /// end, and those between two cycles.
    pub(crate) fn policy_cycles(&self) -> Vec<&'static str> {
        let mut left: Vec<_> = self
            .followers
            .iter()
            .filter(|follower| follower.kind == FollowerKind::Policy)
            .collect();
        // Policies that follow no policy of the rest, or that none of the rest follows, are removed
        // until nothing changes. The rest is what lies in a cycle or on a path between two cycles,
        // because only there each policy has both.
        loop {
            let names: Vec<_> = left.iter().map(|follower| follower.name).collect();
            let followed: Vec<_> = left
                .iter()
                .flat_map(|follower| follower.applications())
                .collect();
            left.retain(|follower| {
                follower
                    .applications()
                    .any(|application| names.contains(&application))
            });
            left.retain(|follower| followed.contains(&follower.name));
            if left.len() == names.len() {
                return names;
            }
        }
    }
}

impl FollowerDefinition {
    /// Returns the applications that it follows.
    fn applications(&self) -> impl Iterator<Item = &'static str> {
        self.follows.iter().map(|follows| follows.application)
    }
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .applications
            .iter()
            .map(|part| part.name)
            .chain(self.followers.iter().map(|part| part.name));
        let width = names.map(str::len).max().unwrap_or(0);
        write!(f, "{}", self.name)?;
        for ApplicationDefinition { name, aggregates } in &self.applications {
            write!(
                f,
                "\n  application  {name:width$}  owns {}",
                aggregates.join(", ")
            )?;
        }
        for FollowerDefinition {
            name,
            kind,
            follows,
        } in &self.followers
        {
            let follows: Vec<_> = follows.iter().map(ToString::to_string).collect();
            write!(
                f,
                "\n  {kind:11}  {name:width$}  follows {}",
                follows.join(", ")
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Follows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.aggregate, self.application)
    }
}

impl fmt::Display for FollowerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Policy => "policy",
            Self::Projection => "projection",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bank() -> Definition {
        Definition::new("Bank")
            .with_application("accounts", &["Account"])
            .with_application("ledger", &["Ledger"])
            .with_policy("ledger", &[("accounts", "Account")])
            .with_projection("activity", &[("accounts", "Account")])
    }

    #[test]
    fn prints_itself_as_text() {
        let text = "\
Bank
  application  accounts  owns Account
  application  ledger    owns Ledger
  policy       ledger    follows Account of accounts
  projection   activity  follows Account of accounts";
        assert_eq!(bank().to_string(), text);
    }

    #[test]
    fn prints_itself_as_a_diagram() {
        let diagram = r#"flowchart LR
    accounts["accounts<br/>Account"]
    ledger["ledger<br/>Ledger"]
    activity(["activity"])
    accounts -- Account --> ledger
    accounts -- Account --> activity
"#;
        assert_eq!(bank().to_mermaid(), diagram);
    }

    #[test]
    fn one_stored_name_has_one_owner() {
        let twice = bank().with_application("savings", &["Account"]);
        let message = twice.check().expect_err("two owners").to_string();
        assert!(
            message.contains("accounts and savings both own"),
            "{message}"
        );
        assert!(bank().check().is_ok());
    }

    #[test]
    fn names_that_the_framework_makes_are_refused() {
        let fault =
            |definition: Definition| definition.check().expect_err("a reserved name").to_string();
        let partition = fault(bank().with_application("ledger:1/4", &["Book"]));
        assert!(
            partition.contains("the application \"ledger:1/4\" contains `:`"),
            "{partition}"
        );
        let aggregate = fault(bank().with_application("books", &["bank.Book"]));
        assert!(
            aggregate.contains("the aggregate \"bank.Book\" contains `.`"),
            "{aggregate}"
        );
        let generation = fault(bank().with_projection("feed@2", &[("accounts", "Account")]));
        assert!(
            generation.contains("the follower \"feed@2\" contains `@`"),
            "{generation}"
        );
        let framework = fault(bank().with_projection("eventsourcing", &[("accounts", "Account")]));
        assert!(
            framework.contains("begins with `eventsourcing`"),
            "{framework}"
        );
    }

    #[test]
    fn finds_cycles_of_policies() {
        assert_eq!(bank().policy_cycles(), [""; 0]);
        let definition = bank()
            .with_policy("accounts", &[("audit", "Finding")])
            .with_policy("audit", &[("ledger", "Ledger")]);
        let definition = definition
            .with_policy("report", &[("ledger", "Ledger")])
            .with_policy("source", &[("feed", "Rate")]);
        assert_eq!(definition.policy_cycles(), ["ledger", "accounts", "audit"]);
    }
}
