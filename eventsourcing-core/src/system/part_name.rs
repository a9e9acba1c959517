//! Names of the parts of a system, tied to the system, so that a name that does not exist does not compile.
//!
//! `#[derive(System)]` writes one constant for each field. A name from outside, such as an argument of a command line, is
//! looked up with `find`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use super::{FollowerKind, System, SystemError, unknown_application, unknown_follower};
use crate::store::Name;

macro_rules! part_name {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        pub struct $name<S> {
            name: &'static str,
            system: PhantomData<fn() -> S>,
        }

        impl<S> $name<S> {
            /// For the constants that `#[derive(System)]` writes. A name that the definition lacks is refused when it is used.
            #[doc(hidden)]
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name, system: PhantomData }
            }

            /// The stored name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                self.name
            }
        }

        impl<S> Clone for $name<S> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<S> Copy for $name<S> {}

        impl<S> PartialEq for $name<S> {
            fn eq(&self, other: &Self) -> bool {
                self.name == other.name
            }
        }

        impl<S> Eq for $name<S> {}

        impl<S> Hash for $name<S> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.name.hash(state);
            }
        }

        impl<S> fmt::Debug for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.name).finish()
            }
        }

        impl<S> fmt::Display for $name<S> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name)
            }
        }

        impl<S> From<$name<S>> for Name {
            fn from(name: $name<S>) -> Self {
                name.name.into()
            }
        }

        impl<S> From<$name<S>> for String {
            fn from(name: $name<S>) -> Self {
                name.name.to_owned()
            }
        }
    };
}

part_name! {
    /// The name of an application of the system `S`.
    ApplicationName
}

part_name! {
    /// The name of a policy of the system `S`: an application that follows others. Converts into its [`ApplicationName`] and
    /// its [`FollowerName`].
    PolicyName
}

part_name! {
    /// The name of a projection of the system `S`. Converts into its [`FollowerName`].
    ProjectionName
}

part_name! {
    /// The name of a policy or projection of the system `S`.
    FollowerName
}

impl<S> From<PolicyName<S>> for ApplicationName<S> {
    fn from(name: PolicyName<S>) -> Self {
        Self::new(name.name)
    }
}

impl<S> From<PolicyName<S>> for FollowerName<S> {
    fn from(name: PolicyName<S>) -> Self {
        Self::new(name.name)
    }
}

impl<S> From<ProjectionName<S>> for FollowerName<S> {
    fn from(name: ProjectionName<S>) -> Self {
        Self::new(name.name)
    }
}

impl<S: System> ApplicationName<S> {
    /// Returns the application with this stored name.
    ///
    /// # Errors
    /// [`SystemError::UnknownApplication`]: the system has none.
    pub fn find(name: &str) -> Result<Self, SystemError> {
        let definition = S::definition();
        let mut names = definition
            .applications
            .iter()
            .map(|application| application.name);
        match names.find(|known| *known == name) {
            Some(known) => Ok(Self::new(known)),
            None => Err(unknown_application(&definition, name)),
        }
    }
}

impl<S: System> FollowerName<S> {
    /// Returns the policy or projection with this stored name.
    ///
    /// # Errors
    /// [`SystemError::UnknownFollower`]: the system has none.
    pub fn find(name: &str) -> Result<Self, SystemError> {
        find_follower::<S>(name).map(|(name, _)| Self::new(name))
    }
}

impl<S: System> PolicyName<S> {
    /// Returns the policy with this stored name.
    ///
    /// # Errors
    /// [`SystemError::UnknownFollower`]: the system has no such follower.
    /// [`SystemError::Invalid`]: it is a projection.
    pub fn find(name: &str) -> Result<Self, SystemError> {
        match find_follower::<S>(name)? {
            (name, FollowerKind::Policy) => Ok(Self::new(name)),
            (name, FollowerKind::Projection) => Err(SystemError::Invalid {
                reason: format!("{name} is a projection and not a policy"),
            }),
        }
    }
}

impl<S: System> ProjectionName<S> {
    /// Returns the projection with this stored name.
    ///
    /// # Errors
    /// [`SystemError::UnknownFollower`]: the system has no such follower.
    /// [`SystemError::NotARebuildableReadModel`]: it is a policy.
    pub fn find(name: &str) -> Result<Self, SystemError> {
        match find_follower::<S>(name)? {
            (name, FollowerKind::Projection) => Ok(Self::new(name)),
            (name, FollowerKind::Policy) => Err(SystemError::NotARebuildableReadModel {
                follower: name.into(),
                why: POLICY_IS_NOT_REBUILT,
            }),
        }
    }
}

/// The reason for which a policy is not rebuilt, in the words of an error.
pub(super) const POLICY_IS_NOT_REBUILT: &str = "a policy: the events that it has recorded stay";

fn find_follower<S: System>(name: &str) -> Result<(&'static str, FollowerKind), SystemError> {
    let definition = S::definition();
    let mut followers = definition.followers.iter();
    match followers.find(|follower| follower.name == name) {
        Some(follower) => Ok((follower.name, follower.kind)),
        None => Err(unknown_follower(&definition, name)),
    }
}
