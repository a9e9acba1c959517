//! What `#[event]` knows about the events of one enum, or the one event of a struct.

use syn::{Attribute, Generics, Ident, ItemEnum, ItemStruct, LitStr};

use super::former::{RemovedEvents, Upcast};
use super::schema::Schema;
use crate::runtime_path::RuntimePath;

pub(super) struct Events {
    pub(super) runtime: RuntimePath,
    /// What the user wrote, without our options.
    pub(super) item: EventItem,
    /// In the order in which serde counts variants.
    pub(super) types: Vec<EventType>,
    /// Stored events that none of them stands for.
    pub(super) gone: RemovedEvents,
    /// Whether they describe themselves.
    pub(super) schema: Option<Schema>,
}

pub(super) enum EventItem {
    Enum(ItemEnum),
    /// An enum that the user has not written: it stands for an `impl` block.
    Block(ItemEnum),
    Struct(ItemStruct),
}

/// One event: a variant, or the whole struct.
pub(super) struct EventType {
    pub(super) ident: Ident,
    pub(super) attributes: Vec<Attribute>,
    pub(super) name: LitStr,
    pub(super) version: u16,
    /// The names it was stored under before.
    pub(super) former_names: Vec<LitStr>,
    pub(super) upcasts: Vec<Upcast>,
    /// Whether some option could not be read. That has been reported; what seems missing may stand there.
    pub(super) is_unclear: bool,
}

impl Events {
    pub(super) fn ident(&self) -> &Ident {
        match &self.item {
            EventItem::Enum(item) | EventItem::Block(item) => &item.ident,
            EventItem::Struct(item) => &item.ident,
        }
    }

    pub(super) fn generics(&self) -> &Generics {
        match &self.item {
            EventItem::Enum(item) | EventItem::Block(item) => &item.generics,
            EventItem::Struct(item) => &item.generics,
        }
    }
}
