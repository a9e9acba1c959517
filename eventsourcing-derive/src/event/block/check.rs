//! Checks of `#[event]` on an `impl` block. The fold runs on every load, so its methods can do nothing but change the state.

use syn::{FnArg, ImplItem, Pat, ReceiverKind, Safety, Type};

use super::super::check::conditional;
use super::fields::unstorable;
use super::model::{Block, Field, Method};
use crate::errors::Errors;
use crate::messages;
use crate::source_text::source_text;

impl Block {
    pub(super) fn check(&self, errors: &mut Errors) {
        if let Some((path, _)) = &self.item.trait_ {
            return errors.report(path, messages::block_of_trait(&self.aggregate));
        }
        self.check_is_not_generic(errors);
        self.check_has_methods_only(errors);
        for method in &self.methods {
            method.check(self, errors);
        }
        self.check_variants_differ(errors);
        self.check_creates(errors);
    }

    /// Reports type parameters, which the enum could not name.
    fn check_is_not_generic(&self, errors: &mut Errors) {
        let Type::Path(path) = &*self.item.self_ty else {
            return;
        };
        let arguments = path.path.segments.last().map(|last| &last.arguments);
        if !self.item.generics.params.is_empty() {
            errors.report(
                &self.item.generics,
                messages::block_generic(&self.aggregate),
            );
        } else if let Some(arguments) = arguments.filter(|arguments| !arguments.is_empty()) {
            errors.report(arguments, messages::block_generic(&self.aggregate));
        }
    }

    fn check_has_methods_only(&self, errors: &mut Errors) {
        for item in self
            .item
            .items
            .iter()
            .filter(|item| !matches!(item, ImplItem::Fn(_)))
        {
            errors.report(item, messages::block_item());
        }
    }

    fn check_variants_differ(&self, errors: &mut Errors) {
        for (index, method) in self.methods.iter().enumerate() {
            if let Some(first) = self.methods[..index]
                .iter()
                .find(|earlier| earlier.variant == method.variant)
            {
                let first = &first.signature.ident;
                let second = &method.signature.ident;

                errors.report(
                    second,
                    messages::variant_repeated(first, second, &method.variant),
                );
            }
        }
    }

    /// Reports a block without a creating event. Reports nothing after other mistakes, which may hide the creating method.
    fn check_creates(&self, errors: &mut Errors) {
        if errors.count() == 0 && !self.methods.iter().any(Method::creates) {
            errors.report(
                &self.item.self_ty,
                messages::block_never_creates(&self.aggregate),
            );
        }
    }

    fn is_self(&self, output: &Type) -> bool {
        let output = source_text(output);
        output == "Self" || self.aggregate == output || output == source_text(&self.item.self_ty)
    }
}

impl Method {
    fn check(&self, block: &Block, errors: &mut Errors) {
        self.check_is_in_every_build(errors);
        self.check_qualifiers(errors);
        self.check_is_not_generic(errors);
        self.check_receiver(errors);
        self.check_output(block, errors);
        self.check_patterns(errors);
        self.check_fields_differ(errors);
        self.check_types(errors);
    }

    /// Reports conditional compilation: other builds could not read what this one has stored.
    fn check_is_in_every_build(&self, errors: &mut Errors) {
        if let Some(cfg) = conditional(&self.attributes) {
            errors.report(cfg, messages::event_cfg(&self.signature.ident));
        }
        for field in &self.signature.inputs {
            let FnArg::Typed(field) = field else { continue };
            if let Some(cfg) = conditional(&field.attrs) {
                errors.report(cfg, messages::parameter_cfg(source_text(&field.pat)));
            }
        }
    }

    fn check_qualifiers(&self, errors: &mut Errors) {
        let signature = &self.signature;
        let name = &signature.ident;
        if let Some(word) = signature.asyncness {
            errors.report(word, messages::method_async(name));
        }
        if let Some(word) = signature.constness {
            errors.report(word, messages::method_const(name));
        }
        if let Safety::Unsafe(word) = signature.safety {
            errors.report(word, messages::method_unsafe(name));
        }
        if let Some(abi) = &signature.abi {
            errors.report(abi, messages::method_extern(name));
        }
    }

    fn check_is_not_generic(&self, errors: &mut Errors) {
        let signature = &self.signature;
        let name = &signature.ident;
        if !signature.generics.params.is_empty() {
            errors.report(&signature.generics, messages::event_generic(name));
        }
        if let Some(variadic) = &signature.variadic {
            errors.report(variadic, messages::method_variadic(name));
        }
    }

    fn check_receiver(&self, errors: &mut Errors) {
        let Some(receiver) = self.signature.receiver() else {
            return;
        };
        let name = &self.signature.ident;
        match &receiver.kind {
            ReceiverKind::Reference(_, _, Some(_)) => {}
            ReceiverKind::Reference(_, _, None) => {
                errors.report(receiver, messages::receiver_shared(name));
            }
            ReceiverKind::Value => errors.report(receiver, messages::receiver_owned(name)),
            _ => errors.report(receiver, messages::receiver_typed(name)),
        }
    }

    fn check_output(&self, block: &Block, errors: &mut Errors) {
        let name = &self.signature.ident;
        match (self.creates(), self.output()) {
            (true, Some(ty)) if block.is_self(ty) => {}
            (true, _) => errors.report(name, messages::create_without_self(name)),
            (false, None) => {}
            (false, Some(ty)) => errors.report(ty, messages::change_returns(name)),
        }
    }

    /// Reports patterns: parameters are fields, and fields have names.
    fn check_patterns(&self, errors: &mut Errors) {
        for parameter in &self.signature.inputs {
            let FnArg::Typed(parameter) = parameter else {
                continue;
            };
            match &*parameter.pat {
                Pat::Ident(name) if name.by_ref.is_some() || name.subpat.is_some() => {
                    errors.report(name, messages::parameter_pattern(&self.signature.ident));
                }
                Pat::Ident(name) if name.mutability.is_some() => {
                    errors.report(name, messages::parameter_mut(&name.ident));
                }
                Pat::Ident(_) => {}
                pattern => {
                    errors.report(pattern, messages::parameter_pattern(&self.signature.ident));
                }
            }
        }
    }

    fn check_fields_differ(&self, errors: &mut Errors) {
        for (index, Field { ident, .. }) in self.fields.iter().enumerate() {
            if self.fields[..index]
                .iter()
                .any(|earlier| earlier.ident == *ident)
            {
                errors.report(
                    ident,
                    messages::field_repeated(&self.signature.ident, ident),
                );
            }
        }
    }

    /// Reports borrowed types: a field outlives the call that made it.
    fn check_types(&self, errors: &mut Errors) {
        for parameter in &self.signature.inputs {
            let FnArg::Typed(parameter) = parameter else {
                continue;
            };
            if let Some(message) = unstorable(&parameter.ty) {
                errors.report(&parameter.ty, message);
            }
        }
    }
}
