//! What the derive knows about a system.

use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{DeriveInput, Ident, LitStr, Path, Token, Type};

use crate::runtime_path::RuntimePath;

pub(super) struct System {
    pub(super) input: DeriveInput,
    pub(super) runtime: RuntimePath,
    pub(super) name: LitStr,
    pub(super) parts: Vec<Part>,
    /// Fields whose role is not known. That has been reported; what else is said of them would repeat it.
    pub(super) unclear: Vec<Ident>,
}

/// A field of the system.
pub(super) struct Part {
    pub(super) field: Ident,
    pub(super) ty: Type,
    pub(super) name: LitStr,
    pub(super) role: Role,
    pub(super) follows: Vec<Follow>,
    /// Whether some option could not be read. That has been reported; what seems missing may stand there.
    pub(super) unclear: bool,
}

pub(super) enum Role {
    /// Writes the events of these aggregates, and of those its policy needs. Its policy has timers if the word stands there.
    Application { aggregates: Vec<Path>, timers: Option<Ident> },
    /// Reads only.
    Projection(Target),
}

/// What a projection writes into.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Memory,
    Sql,
    Foreign,
}

/// `accounts: Account`: the events of that aggregate which that application writes.
pub(super) struct Follow {
    pub(super) field: Ident,
    pub(super) aggregate: Path,
}

impl System {
    pub(super) fn part(&self, field: &Ident) -> Option<&Part> {
        self.parts.iter().find(|part| part.field == *field)
    }
}

impl Part {
    /// The aggregates it owns; `None` for a projection.
    pub(super) fn aggregates(&self) -> Option<&[Path]> {
        match &self.role {
            Role::Application { aggregates, .. } => Some(aggregates),
            Role::Projection(_) => None,
        }
    }

    /// The word that gives its policy timers, if it stands there.
    pub(super) fn timers(&self) -> Option<&Ident> {
        match &self.role {
            Role::Application { timers, .. } => timers.as_ref(),
            Role::Projection(_) => None,
        }
    }

    /// Whether one of its aggregates may be what `aggregate` means, written with more or less of its path.
    pub(super) fn owns(&self, aggregate: &Path) -> bool {
        let last = |path: &Path| path.segments.last().map(|last| last.ident.clone());
        self.aggregates().is_some_and(|owned| owned.iter().any(|owned| last(owned) == last(aggregate)))
    }
}

impl Parse for Follow {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let field = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Self { field, aggregate: input.parse()? })
    }
}

impl ToTokens for Follow {
    fn to_tokens(&self, tokens: &mut proc_macro2::TokenStream) {
        self.field.to_tokens(tokens);
        self.aggregate.to_tokens(tokens);
    }
}
