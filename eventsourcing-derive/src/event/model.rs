//! The model of `#[event]`: the events of one enum, or the one event of a struct.

use syn::{Attribute, Generics, Ident, ItemEnum, ItemStruct, LitStr};

use super::legacy::{RemovedEvents, Upcast};
use super::schema::Schema;
use crate::runtime_path::RuntimePath;

pub(super) struct Events {
    pub(super) runtime: RuntimePath,
    /// The user's item without the options of this macro.
    pub(super) item: EventItem,
    /// The events in the order in which serde counts variants.
    pub(super) types: Vec<EventType>,
    /// Stored events that no variant stands for any more.
    pub(super) removed: RemovedEvents,
    /// The schema, if `schema` is among the options.
    pub(super) schema: Option<Schema>,
}

pub(super) enum EventItem {
    Enum(ItemEnum),
    /// The enum that is written for an `impl` block.
    Block(ItemEnum),
    Struct(ItemStruct),
}

/// One event: a variant, or the whole struct.
pub(super) struct EventType {
    pub(super) ident: Ident,
    pub(super) attributes: Vec<Attribute>,
    pub(super) name: LitStr,
    pub(super) version: u16,
    /// The names under which earlier releases stored the event.
    pub(super) former_names: Vec<LitStr>,
    pub(super) upcasts: Vec<Upcast>,
    /// `true` if some option could not be read, which has been reported. Such an option may hold whatever seems to be missing.
    pub(super) is_incomplete: bool,
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
