//! Expands the model to the `impl System` and the functions that start it. The checks have passed, so nothing here can fail.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{LitStr, Path, Type};

use super::model::{Follow, Part, Role, System, Target};
use crate::messages;
use crate::source_text::source_text;

impl System {
    pub(super) fn expand(&self) -> TokenStream {
        let nothing = TokenStream::new();
        let implementation = self.implementation(
            &self.definition(),
            &self.assemble(),
            &self.followers(),
            &nothing,
        );
        let starters = self.starters(&nothing);
        let description = self.description(&self.aggregate_schemas(), &nothing);
        quote!(#implementation #starters #description)
    }

    /// Expands to the messages and implementations without function, so that the compiler does not report missing ones.
    pub(super) fn stub(&self, messages: TokenStream) -> TokenStream {
        let body = quote!(::core::unreachable!());
        let conditions = quote!(where Self: ::core::marker::Send + ::core::marker::Sync + 'static);
        let names = self
            .parts
            .iter()
            .flat_map(Part::mentioned)
            .map(|aggregate| self.name_of(aggregate));
        let definition = quote! {
            let _: &[&str] = &[#(#names),*];
            #body
        };
        let implementation = self.implementation(&definition, &body, &body, &conditions);
        let starters = self.starters(&conditions);
        let description = self.description(&body, &conditions);
        quote!(#messages #implementation #starters #description)
    }

    fn implementation(
        &self,
        definition: &TokenStream,
        assemble: &TokenStream,
        followers: &TokenStream,
        conditions: &TokenStream,
    ) -> TokenStream {
        let runtime = &self.runtime;
        let ident = &self.input.ident;

        let (impl_generics, type_generics, _) = self.input.generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #impl_generics #runtime::System for #ident #type_generics #conditions {
                fn definition() -> #runtime::Definition {
                    #definition
                }

                fn assemble(applications: &#runtime::Applications) -> Self {
                    #assemble
                }

                fn followers() -> ::std::vec::Vec<#runtime::Follower<Self>> {
                    #followers
                }
            }
        }
    }

    /// Expands to the `impl DescribedSystem` for `#[system(schema)]`. The runtime's macro `described!` wraps it, because only the
    /// runtime knows if its feature is on; otherwise that macro reports what to enable.
    fn description(
        &self,
        aggregates: &TokenStream,
        conditions: &TokenStream,
    ) -> Option<TokenStream> {
        let word = self.schema.as_ref()?;
        let ident = &self.input.ident;

        let runtime = &self.runtime;
        let located = runtime.located_at(word.span());
        let (impl_generics, type_generics, _) = self.input.generics.split_for_impl();
        let implementation = quote! {
            #[automatically_derived]
            impl #impl_generics #runtime::schema::DescribedSystem for #ident #type_generics #conditions {
                fn aggregates() -> ::std::vec::Vec<#runtime::schema::AggregateSchema> {
                    #aggregates
                }
            }
        };
        let span = Span::call_site().located_at(word.span());
        Some(quote_spanned!(span=> #located::private::described! { #implementation }))
    }

    fn aggregate_schemas(&self) -> TokenStream {
        let runtime = &self.runtime;
        let owned = self
            .parts
            .iter()
            .flat_map(|part| part.aggregates().unwrap_or_default());
        let schemas: Vec<_> = owned
            .map(|aggregate| {
                let located = runtime.located_at(aggregate.span());
                quote_spanned!(aggregate.span()=> #located::schema::AggregateSchema::of::<#aggregate>())
            })
            .collect();
        let count = schemas.len();
        quote!(::core::convert::From::<[#runtime::schema::AggregateSchema; #count]>::from([#(#schemas),*]))
    }

    fn definition(&self) -> TokenStream {
        let runtime = &self.runtime;
        let name = &self.name;

        let parts = self.parts.iter().map(|part| part.definition(self));
        quote!(#runtime::Definition::new(#name) #(#parts)*)
    }

    fn assemble(&self) -> TokenStream {
        let fields = self.parts.iter().map(|part| part.assemble(self));
        quote!(Self { #(#fields,)* })
    }

    fn followers(&self) -> TokenStream {
        let followers: Vec<_> = self
            .parts
            .iter()
            .filter_map(|part| part.follower(self))
            .collect();
        let runtime = &self.runtime;
        let count = followers.len();

        quote!(::core::convert::From::<[#runtime::Follower<Self>; #count]>::from([#(#followers),*]))
    }

    fn starters(&self, conditions: &TokenStream) -> TokenStream {
        let Self { runtime, input, .. } = self;
        let visibility = &input.vis;
        let ident = &input.ident;
        let names = self.parts.iter().map(|part| part.constant(self));

        let (impl_generics, type_generics, _) = input.generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #impl_generics #ident #type_generics #conditions {
                #(#names)*

                /// Starts the system on `stores`; `runner` says how its followers are run.
                ///
                /// # Errors
                /// The stores cannot be reached, or do not fit the definition.
                #visibility async fn start(
                    stores: impl ::core::convert::Into<#runtime::Stores>,
                    runner: #runtime::Runner,
                ) -> ::core::result::Result<#runtime::RunningSystem<Self>, #runtime::SystemError> {
                    #runtime::SystemBuilder::new(stores).with_runner(runner).start().await
                }

                /// A builder of the system, for more choices than [`start`](Self::start) offers.
                #[must_use]
                #visibility fn builder(
                    stores: impl ::core::convert::Into<#runtime::Stores>,
                ) -> #runtime::SystemBuilder<Self> {
                    #runtime::SystemBuilder::new(stores)
                }

                /// Returns the definition: the owner of each aggregate, and the followers with their sources.
                #[must_use]
                #visibility fn definition() -> #runtime::Definition {
                    <Self as #runtime::System>::definition()
                }
            }
        }
    }

    /// Returns the stored names of the followed application and of the aggregate.
    fn source(&self, follow: &Follow) -> TokenStream {
        let application = self.followed(follow);
        let aggregate = self.name_of(&follow.aggregate);

        quote!((#application, #aggregate))
    }

    fn followed(&self, follow: &Follow) -> &LitStr {
        &self
            .part(&follow.field)
            .expect("checked: the followed field exists")
            .name
    }

    /// Returns the first place where `ty` is written. Every bound on the type has the span of that place, so the compiler reports a
    /// missing trait once.
    fn first_mention<'a>(&'a self, ty: &'a Type) -> &'a Type {
        let text = source_text(ty);
        self.parts
            .iter()
            .map(|part| &part.ty)
            .find(|first| source_text(first) == text)
            .unwrap_or(ty)
    }

    /// Expands to a constant that compiles only if the aggregate has the named events.
    fn variants(&self, follow: &Follow) -> TokenStream {
        let runtime = &self.runtime;
        let aggregate = &follow.aggregate;

        let checks = follow.named().into_iter().flatten().map(|name| {
            let variant = name.unraw().to_string();
            let message = messages::follows_unknown_event(source_text(aggregate), name);

            let span = at_call_site(name.span());
            quote_spanned!(span=> ::core::assert!(#runtime::private::has_variant::<#aggregate>(#variant), #message);)
        });
        quote!(const _: () = { #(#checks)* };)
    }

    fn name_of(&self, aggregate: &Path) -> TokenStream {
        let runtime = &self.runtime;
        let text = source_text(aggregate);

        let mut mentioned = self.parts.iter().flat_map(Part::mentioned);
        let aggregate = mentioned
            .find(|first| source_text(first) == text)
            .unwrap_or(aggregate);
        quote_spanned!(aggregate.span()=> <#aggregate as #runtime::Aggregate>::NAME)
    }
}

impl Part {
    fn definition(&self, system: &System) -> TokenStream {
        // The constants are used here, so that no program is warned of those that it does not use.
        let constant = self.constant_name();
        let name = quote!(Self::#constant.as_str());
        let sources: Vec<_> = self
            .follows
            .iter()
            .map(|follow| system.source(follow))
            .collect();
        match &self.role {
            Role::Projection(_) => quote!(.with_projection(#name, &[#(#sources),*])),
            Role::Application { aggregates, .. } => {
                let aggregates = aggregates.iter().map(|aggregate| system.name_of(aggregate));
                let policy =
                    (!sources.is_empty()).then(|| quote!(.with_policy(#name, &[#(#sources),*])));
                quote!(.with_application(#name, &[#(#aggregates),*]) #policy)
            }
        }
    }

    fn constant_name(&self) -> Ident {
        Ident::new(
            &self.field.unraw().to_string().to_uppercase(),
            self.field.span(),
        )
    }

    /// The constant by which the part is named in calls: a name that does not exist does not compile.
    fn constant(&self, system: &System) -> TokenStream {
        let Self { field, name, .. } = self;
        let runtime = &system.runtime;
        let visibility = &system.input.vis;

        let constant = self.constant_name();
        let docs = format!("The name of `{}`.", field.unraw());
        let kind = match self.role {
            Role::Projection(_) => quote!(ProjectionName),
            Role::Application { .. } if self.follows.is_empty() => quote!(ApplicationName),
            Role::Application { .. } => quote!(PolicyName),
        };
        quote! {
            #[doc = #docs]
            #visibility const #constant: #runtime::system::#kind<Self> = #runtime::system::#kind::new(#name);
        }
    }

    fn assemble(&self, system: &System) -> TokenStream {
        let Self { field, name, .. } = self;
        let runtime = &system.runtime;
        let ty = system.first_mention(&self.ty);

        let applications = quote!(applications); // The parameter, which a macro's type would not see.
        match self.role {
            Role::Projection(Target::Memory) => {
                quote_spanned!(ty.span()=> #field: <#ty as #runtime::private::ProjectionInMemory>::empty())
            }
            Role::Projection(Target::Sql) => quote_spanned! {ty.span()=>
                #field: <#ty as #runtime::private::ProjectionInSql>::of(#applications.read_model(#name))
            },
            Role::Projection(Target::Foreign) => quote_spanned! {ty.span()=>
                #field: #applications.projection::<#ty>(#name)
            },
            Role::Application { .. } => quote_spanned! {ty.span()=>
                #field: <#ty as #runtime::private::Service>::of(#applications.application(#name))
            },
        }
    }

    /// `None`: an application without a policy.
    fn follower(&self, system: &System) -> Option<TokenStream> {
        let Self {
            field,
            name,
            follows,
            ..
        } = self;
        let runtime = &system.runtime;
        let ty = system.first_mention(&self.ty);

        let kind = match self.role {
            _ if follows.is_empty() => return None,
            Role::Application { .. } => quote!(policy),
            Role::Projection(Target::Memory) => quote!(projection),
            Role::Projection(Target::Sql) => quote!(sql_projection),
            Role::Projection(Target::Foreign) => quote!(foreign_projection),
        };
        let follows = follows.iter().map(|follow| {
            let aggregate = &follow.aggregate;
            let application = system.followed(follow);

            let span = at_call_site(aggregate.span());
            let (checks, named) = match follow.named() {
                None => (TokenStream::new(), quote!(::core::option::Option::None)),
                Some(named) => {
                    let variants = named.map(|name| name.unraw().to_string());
                    (system.variants(follow), quote!(::core::option::Option::Some(&[#(#variants),*])))
                }
            };
            quote_spanned! {span=>
                #checks
                let follower = #runtime::private::Follow::<#ty, #aggregate>::#kind(follower, #application, #named);
            }
        });
        let start = match self.role {
            Role::Projection(Target::Sql) => {
                quote_spanned!(ty.span()=> #runtime::private::InSql::<#ty>::follower(#name, part))
            }
            _ => quote_spanned!(ty.span()=> #runtime::Follower::#kind::<#ty>(#name, part)),
        };
        let timers = self.timers().map(|word| {
            let span = at_call_site(word.span());
            quote_spanned!(span=> let follower = follower.timers();)
        });
        Some(quote! {{
            use #runtime::private::Unfollowed as _;
            let part: fn(&Self) -> &#ty = |system| &system.#field;
            let follower = #start;
            #(#follows)*
            #timers
            ::core::convert::Into::into(follower)
        }})
    }

    /// Returns every aggregate that the part names.
    fn mentioned(&self) -> impl Iterator<Item = &Path> {
        let followed = self.follows.iter().map(|follow| &follow.aggregate);
        self.aggregates().unwrap_or_default().iter().chain(followed)
    }
}

/// Returns the location of `place` with the hygiene of the expansion. Code at `place` may come from a macro, whose hygiene does
/// not see the names that the expansion defines.
fn at_call_site(place: Span) -> Span {
    Span::call_site().located_at(place)
}
