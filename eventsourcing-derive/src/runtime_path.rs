//! The path by which expansions name the framework: given by `crate = …`, or found in the user's `Cargo.toml`.
//!
//! An expansion names only items that the façade and the core both export, so a path to either works.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::{Path, parse_quote};

use crate::errors::Errors;
use crate::options::Options;
use crate::source_text::source_text;

#[derive(Clone)]
pub(crate) struct RuntimePath(Path);

/// A package that a user may depend on, and the name of its library.
struct Package {
    name: &'static str,
    library: &'static str,
}

/// The package that applications depend on. Its library has another name, because the package name `eventsourcing` is taken.
const FACADE: Package = Package {
    name: "eventsourcing-kit",
    library: "eventsourcing",
};
/// The package that stores and the façade itself depend on.
const CORE: Package = Package {
    name: "eventsourcing-core",
    library: "eventsourcing_core",
};

impl RuntimePath {
    pub(crate) fn parse(options: &Options, errors: &mut Errors) -> Self {
        let found = Self::found();
        let example = format!("crate = {}", source_text(&found));
        Self(options.path("crate", &example, errors).unwrap_or(found))
    }

    /// Returns the path of the first package found in the `Cargo.toml` of the crate that is being compiled.
    ///
    /// The façade comes first, because a crate that depends on both writes its application against the façade. If neither is
    /// found (a build without Cargo, or a crate that gets the framework through a third one), the path names the façade, and the
    /// compiler resolves it or reports that it is missing.
    fn found() -> Path {
        let found = [&FACADE, &CORE]
            .into_iter()
            .find_map(Package::name_in_manifest);
        let name = Ident::new(
            found.as_deref().unwrap_or(FACADE.library),
            Span::call_site(),
        );
        parse_quote!(::#name)
    }

    /// Returns the path with the spans of `place`, so that messages about the items it names point there.
    pub(crate) fn located_at(&self, place: Span) -> TokenStream {
        let located = self.0.to_token_stream().into_iter().map(|mut token| {
            token.set_span(token.span().located_at(place));
            token
        });
        located.collect()
    }

    /// Returns the path in the form of serde's `crate` attribute.
    pub(crate) fn serde(&self) -> String {
        source_text(&self.0) + "::private::serde"
    }

    /// Returns the path in the form of schemars' `crate` attribute.
    pub(crate) fn schemars(&self) -> String {
        source_text(&self.0) + "::private::schemars"
    }
}

impl Package {
    /// Returns the name of the library in the crate that is being compiled, if that crate depends on the package.
    fn name_in_manifest(&self) -> Option<String> {
        crate_name(self.name)
            .ok()
            .map(|found| self.name_as_found(found))
    }

    /// Returns the name of the library. Cargo renames a library only if the dependency has another name than its package.
    ///
    /// In the package's own tests and examples the library is an external crate under its own name.
    fn name_as_found(&self, found: FoundCrate) -> String {
        match found {
            FoundCrate::Name(name) if name != self.name.replace('-', "_") => name,
            FoundCrate::Name(_) | FoundCrate::Itself => self.library.to_owned(),
        }
    }
}

impl ToTokens for RuntimePath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_under_the_name_of_its_package_has_the_name_of_the_library() {
        assert_eq!(
            FACADE.name_as_found(FoundCrate::Name("eventsourcing_kit".into())),
            "eventsourcing"
        );
        assert_eq!(
            CORE.name_as_found(FoundCrate::Name("eventsourcing_core".into())),
            "eventsourcing_core"
        );
    }

    #[test]
    fn a_renamed_dependency_has_its_new_name() {
        for name in [
            "es",
            "eventsourcing",
            "eventsourcing_core",
            "event_sourcing",
        ] {
            assert_eq!(FACADE.name_as_found(FoundCrate::Name(name.into())), name);
        }
        assert_eq!(CORE.name_as_found(FoundCrate::Name("es".into())), "es");
    }

    #[test]
    fn the_tests_of_a_package_find_its_library() {
        assert_eq!(FACADE.name_as_found(FoundCrate::Itself), "eventsourcing");
        assert_eq!(CORE.name_as_found(FoundCrate::Itself), "eventsourcing_core");
    }

    #[test]
    fn this_package_finds_the_core_among_its_dependencies() {
        let found = RuntimePath(RuntimePath::found());
        assert_eq!(found.serde(), "::eventsourcing_core::private::serde");
        assert_eq!(FACADE.name_in_manifest(), None);
    }
}
