//! The model of `#[event]` on an `impl` block.

use syn::{Attribute, Ident, ItemImpl, ReturnType, Signature, Type};

use crate::runtime_path::RuntimePath;

pub(super) struct Block {
    pub(super) runtime: RuntimePath,
    /// The user's block without the options of this macro and without the attributes that move to the enum.
    pub(super) item: ItemImpl,
    /// The name of the aggregate's type.
    pub(super) aggregate: Ident,
    /// The name of the enum to write.
    pub(super) events: Ident,
    pub(super) methods: Vec<Method>,
}

/// A method, which is an event.
pub(super) struct Method {
    pub(super) signature: Signature,
    pub(super) body: syn::Block,
    pub(super) attributes: Vec<Attribute>,
    /// Documentation and options that move to the variant.
    pub(super) variant_attributes: Vec<Attribute>,
    pub(super) variant: Ident,
    pub(super) fields: Vec<Field>,
}

/// A parameter, which is a field of the event.
pub(super) struct Field {
    pub(super) attributes: Vec<Attribute>,
    pub(super) ident: Ident,
    pub(super) ty: Type,
}

impl Block {
    /// Returns the methods whose variant is the first of its name. Repeated variants are reported by the checks.
    pub(super) fn variants(&self) -> impl Iterator<Item = &Method> {
        let repeated = |index: usize, method: &Method| {
            self.methods[..index]
                .iter()
                .any(|m| m.variant == method.variant)
        };
        self.methods
            .iter()
            .enumerate()
            .filter(move |(index, method)| !repeated(*index, method))
            .map(|(_, method)| method)
    }
}

impl Method {
    /// Returns `true` if the event creates the aggregate, and `false` if it changes an existing one.
    pub(super) fn creates(&self) -> bool {
        self.signature.receiver().is_none()
    }

    pub(super) fn is_deprecated(&self) -> bool {
        self.attributes
            .iter()
            .any(|attribute| attribute.path().is_ident("deprecated"))
    }

    /// Returns the return type, unless it is `()`.
    pub(super) fn output(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => match &**ty {
                Type::Tuple(tuple) if tuple.elems.is_empty() => None,
                ty => Some(ty),
            },
        }
    }
}
