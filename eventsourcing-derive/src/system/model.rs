//! What the derive knows about a system.

use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{DeriveInput, Ident, LitStr, Path, Token, Type, parenthesized, token};

use crate::runtime_path::RuntimePath;

pub(super) struct System {
    pub(super) input: DeriveInput,
    pub(super) runtime: RuntimePath,
    pub(super) name: LitStr,
    /// The word `schema`, if it stands there.
    pub(super) schema: Option<Ident>,
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
    Application {
        aggregates: Vec<Path>,
        timers: Option<Ident>,
    },
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

/// `accounts: Account`: the events of that aggregate which that application writes. With `Account(Credited)`, only those.
pub(super) struct Follow {
    pub(super) field: Ident,
    pub(super) aggregate: Path,
    /// `None`: all.
    pub(super) events: Option<Vec<Type>>,
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
        self.aggregates()
            .is_some_and(|owned| owned.iter().any(|owned| last(owned) == last(aggregate)))
    }
}

impl Parse for Follow {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let field = input.parse()?;
        input.parse::<Token![:]>()?;
        Ok(Self {
            field,
            aggregate: input.parse()?,
            events: named_events(input)?,
        })
    }
}

fn named_events(input: ParseStream<'_>) -> syn::Result<Option<Vec<Type>>> {
    if !input.peek(token::Paren) {
        return Ok(None);
    }
    let events;
    parenthesized!(events in input);
    Ok(Some(
        Punctuated::<Type, Token![,]>::parse_terminated(&events)?
            .into_iter()
            .collect(),
    ))
}

impl Follow {
    /// The events it names; `None`: all. What is no name has been reported.
    pub(super) fn named(&self) -> Option<impl Iterator<Item = &Ident>> {
        let events = self.events.as_ref()?;
        Some(events.iter().filter_map(event_name))
    }
}

/// The name of an event, if it is one.
pub(super) fn event_name(event: &Type) -> Option<&Ident> {
    match event {
        Type::Path(path) if path.qself.is_none() => path.path.get_ident(),
        _ => None,
    }
}

impl ToTokens for Follow {
    fn to_tokens(&self, tokens: &mut proc_macro2::TokenStream) {
        self.field.to_tokens(tokens);
        self.aggregate.to_tokens(tokens);
    }
}
