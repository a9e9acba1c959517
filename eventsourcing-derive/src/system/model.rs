//! The model of `#[derive(System)]`: the result of `parse` and the input of `check` and `expand`.

use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{DeriveInput, Ident, LitStr, Path, Token, Type, parenthesized, token};

use crate::runtime_path::RuntimePath;

pub(super) struct System {
    pub(super) input: DeriveInput,
    pub(super) runtime: RuntimePath,
    pub(super) name: LitStr,
    /// The word `schema`, if it is among the options.
    pub(super) schema: Option<Ident>,
    pub(super) parts: Vec<Part>,
    /// Fields whose role is not known, which has been reported. Further messages about them would repeat it.
    pub(super) incomplete: Vec<Ident>,
}

/// A field of the system.
pub(super) struct Part {
    pub(super) field: Ident,
    pub(super) ty: Type,
    pub(super) name: LitStr,
    pub(super) role: Role,
    pub(super) follows: Vec<Follow>,
    /// `true` if some option could not be read, which has been reported. Such an option may hold whatever seems to be missing.
    pub(super) incomplete: bool,
}

pub(super) enum Role {
    /// Owns these aggregates. Its policy has timers if the word `timers` is given.
    Application {
        aggregates: Vec<Path>,
        timers: Option<Ident>,
    },
    /// Reads only.
    Projection(Target),
}

/// The kind of storage that a projection writes into.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Memory,
    Sql,
    Foreign,
}

/// A source such as `accounts: Account`: the events of an aggregate that an application owns. `Account(Credited)` names the
/// events that are needed.
pub(super) struct Follow {
    pub(super) field: Ident,
    pub(super) aggregate: Path,
    /// The named events; `None` means all.
    pub(super) events: Option<Vec<Type>>,
}

impl System {
    pub(super) fn part(&self, field: &Ident) -> Option<&Part> {
        self.parts.iter().find(|part| part.field == *field)
    }
}

impl Part {
    /// Returns the aggregates it owns; `None` for a projection.
    pub(super) fn aggregates(&self) -> Option<&[Path]> {
        match &self.role {
            Role::Application { aggregates, .. } => Some(aggregates),
            Role::Projection(_) => None,
        }
    }

    /// Returns the word `timers` that gives its policy timers.
    pub(super) fn timers(&self) -> Option<&Ident> {
        match &self.role {
            Role::Application { timers, .. } => timers.as_ref(),
            Role::Projection(_) => None,
        }
    }

    /// Returns `true` if one of its aggregates has the same last name as `aggregate`. The paths before it may differ, because a user
    /// may write more or less of a path.
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
    /// Returns the named events; `None` means all. Anything that is not a name has been reported.
    pub(super) fn named(&self) -> Option<impl Iterator<Item = &Ident>> {
        let events = self.events.as_ref()?;
        Some(events.iter().filter_map(event_name))
    }
}

/// Returns the name of an event; `None` if the type is more than a name.
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
