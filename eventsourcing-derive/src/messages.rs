//! The texts of all mistakes: what the macro found, what it expected, what to write instead.
//!
//! Every message has a case in `tests/ui`, which a test below checks.

use std::fmt::Display;

macro_rules! messages {
    ($($name:ident($($value:ident),*) $text:literal)*) => {
        $(pub(crate) fn $name($($value: impl Display),*) -> String { format!($text) })*

        #[cfg(test)]
        const CATALOGUE: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}

// Options of all macros. `attribute` is the macro in the user's spelling.
messages! {
    malformed_options(attribute, cause)
        "cannot read the options of `{attribute}`: {cause}; options look like `name = \"…\"`, separated by commas"
    unknown_option(attribute, option, known)
        "`{attribute}` has no option `{option}` here; it knows {known}"
    misspelt_option(attribute, option, nearest)
        "`{attribute}` has no option `{option}` here; did you mean `{nearest}`?"
    repeated_option(option)
        "`{option}` is given twice; keep one"
    wrong_value(option, expected, example)
        "`{option}` takes {expected}; write `{example}`"
    bad_stored_name(name, fault)
        "the stored name `{name}` {fault}; a stored name has 1 to 255 bytes and no NUL character"

    reserved_name(name, fault)
        "the name `{name}` {fault}, which is reserved for names that the framework makes; names of applications, followers and aggregates have no `:`, `@`, `.` or `/`, and do not begin with `eventsourcing`"

    // #[derive(Aggregate)]
    aggregate_union(name)
        "`{name}` is a union; an aggregate is a struct or an enum"
    aggregate_generic(name)
        "`{name}` is generic; one stored name stands for one type: write a struct without parameters for each"

    aggregate_name_repeated(name, aggregate)
        "`{name}` is given to `{aggregate}` twice; keep one"

    // #[event]
    event_item()
        "`#[event]` stands on an `impl` block, an `enum` or a `struct`"
    event_generic(name)
        "`{name}` is generic; stored events have one form: write it without parameters"
    event_enum_empty(name)
        "`{name}` has no variants; an event enum has one for each event"
    event_cfg(name)
        "`{name}` exists in some builds only, but stored events stay forever; remove the `cfg`"
    event_serde_enum(name, option)
        "`#[serde({option})]` on `{name}` hides its variants; the event's name is stored beside the payload: remove it"
    event_serde_variant(name, option)
        "`#[serde({option})]` on `{name}` changes how it is stored; an event is stored as its fields: remove it, or put it on a field"
    repeated_event_name(name)
        "two events are stored as `{name}`; give one of them another name with `#[event(name = \"…\")]`"

    upcast_incomplete(option)
        "`upcast` says from which version and with which function, but has no `{option}`; write `upcast(from = 1, with = function)`"
    upcast_of_current(name, version, from, next)
        "`{name}` has version {version}, and version {from} does not come before it; write `version = {next}` or correct `from`"
    upcast_repeated(from, name)
        "version {from} of `{name}` is upcast twice; keep one"
    upcast_missing(name, missing, next)
        "stores may hold version {missing} of `{name}`, and nothing makes version {next} of it; write `upcast(from = {missing}, with = function)`"
    upcasts_missing(name, missing, first)
        "stores may hold the versions {missing} of `{name}`, and nothing makes the next ones of them; write `upcast(from = {first}, with = function)`, and so on"
    split_incomplete(option)
        "`split` says which stored event is read as others, but has no `{option}`; write `split(name = \"Moved\", with = function)`"
    split_repeated(version, name)
        "version {version} of `{name}` is split twice; keep one, or give one of them another version with `version = 2`"
    split_missing(missing, name)
        "stores may hold version {missing} of `{name}`, and nothing says how it is split; write `split(name = \"{name}\", version = {missing}, with = function)`"
    former_name_taken(name)
        "`{name}` is given to two events, and a stored name stands for one; remove it here or there"

    // #[event] impl
    block_of_trait(name)
        "`#[event]` stands on `impl {name}`, not on the implementation of a trait"
    block_generic(name)
        "this block of `{name}` is generic; stored events have one form: write it without parameters"
    block_type(found)
        "`{found}` is not the name of a struct or an enum; write `impl Account`"
    block_item()
        "only methods stand in an `#[event]` block, one for each event; move this to another `impl` block"
    block_never_creates(name)
        "no event creates `{name}`; add a method that returns `Self`, such as `fn opened() -> Self`"
    method_async(name)
        "`{name}` is `async`, but an event has already happened and waits for nothing; write `fn {name}`"
    method_const(name)
        "`{name}` is `const`, but events are applied while the program runs; write `fn {name}`"
    method_unsafe(name)
        "`{name}` is `unsafe`, but every event can be applied; write `fn {name}`"
    method_extern(name)
        "`{name}` is `extern`, but events are applied by Rust code; write `fn {name}`"
    method_variadic(name)
        "`{name}` takes any number of parameters; an event has the same fields each time: name them"
    receiver_shared(name)
        "`{name}` takes `&self`; an event changes the state: write `fn {name}(&mut self, …)`"
    receiver_owned(name)
        "`{name}` takes `self`; an event changes the state in place: write `fn {name}(&mut self, …)`"
    receiver_typed(name)
        "`{name}` names the type of `self`; write `fn {name}(&mut self, …)`"
    change_returns(name)
        "`{name}` returns something, but an event has already happened: remove the return type; what refuses or answers is a command"
    field_stored_otherwise(option)
        "with `{option}`, the type of this field does not say what is stored; describe it: `#[schemars(with = \"String\")]`"
    create_without_self(name)
        "`{name}` neither takes `&mut self` nor returns `Self`; an event changes the state with `&mut self` or creates it with `-> Self`"
    parameter_pattern(method)
        "a parameter of `{method}` is a pattern; it names a stored field: write `name: Type`"
    parameter_mut(name)
        "the parameter `{name}` is `mut`; it names a stored field: write `{name}: …` and `let mut {name} = {name};` in the body"
    parameter_reference(owned)
        "a stored event owns its fields, but this type borrows; write an owned type, such as `{owned}`"
    parameter_impl()
        "`impl Trait` is not one type that can be stored; write the type"
    parameter_cfg(name)
        "the parameter `{name}` exists in some builds only, but stored events stay forever; remove the `cfg`"
    field_repeated(method, field)
        "two parameters of `{method}` are the field `{field}`; a leading underscore does not count: rename one of them"
    variant_unnameable(method)
        "`{method}` cannot be turned into the name of a variant; begin it with a letter and choose no keyword"
    variant_repeated(first, second, variant)
        "`{first}` and `{second}` are both the event `{variant}`; rename one of them"

    // #[derive(System)]
    system_not_a_struct(name)
        "`{name}` is not a struct with named fields; a system has one field for each application and projection"
    system_generic(name)
        "`{name}` is generic; a system is one fixed set of applications: write it without parameters"
    field_without_role(field)
        "`{field}` is neither an application nor a projection; write `#[application(…)]` or `#[projection(…)]` above it"
    field_with_two_roles(field)
        "`{field}` is marked more than once; it is one application or one projection"
    application_idle(field)
        "the application `{field}` owns no aggregate and follows nothing; write `#[application(aggregates(Account))]`"
    timers_without_follows(field)
        "`{field}` has `timers` but follows nothing, so it never schedules one; add `follows(accounts: Account)` or remove `timers`"
    projection_idle(field)
        "the projection `{field}` follows nothing; write `#[projection(follows(accounts: Account))]`"
    projection_of_two_kinds(field)
        "`{field}` is both `sql` and `foreign`; keep `sql` for tables that the framework keeps in step, `foreign` for anything else"
    repeated_name(name)
        "two parts of the system are named `{name}`; give one of them another name with `name = \"…\"`"
    aggregate_of_two(aggregate, first, second)
        "`{aggregate}` is owned by `{first}` and by `{second}`; an aggregate has one owner"
    repeated_aggregate(aggregate)
        "`{aggregate}` is listed twice; keep one"
    repeated_follow(field, aggregate)
        "`{field}: {aggregate}` is listed twice; keep one"
    follows_no_event(aggregate)
        "`{aggregate}()` names no event; write `{aggregate}` to follow all of them, or those that are needed: `{aggregate}(Credited)`"
    follows_strange_event(found, aggregate)
        "`{found}` is not the name of an event; write that of a variant, such as `{aggregate}(Credited)`"
    follows_unknown_event(aggregate, name)
        "`{aggregate}` has no event `{name}`; name variants of its event type"
    repeated_followed_event(name)
        "the event `{name}` is listed twice; keep one"
    follows_itself(field)
        "`{field}` follows itself, which would never end; let another application follow it"
    follows_unknown(found, known)
        "the system has no application `{found}`; it has {known}"
    follows_misspelt(found, nearest)
        "the system has no application `{found}`; did you mean `{nearest}`?"
    follows_projection(field)
        "`{field}` is a projection and writes no events; follow an application"
    follows_not_owned(field, aggregate, owned)
        "`{field}` does not own `{aggregate}`; it owns {owned}"

    // laws!
    laws_without_subject()
        "`laws!` takes an aggregate, `laws!(Account)`, or a policy and the aggregate it follows, `laws!(policy LedgerService: Account)`; options follow after a comma"
}

#[cfg(test)]
mod tests {
    use super::CATALOGUE;

    /// Returns `true` if a line shows the message: the texts between its values, in order.
    fn is_shown(template: &str, shown: &str) -> bool {
        shown.lines().any(|line| {
            let mut pieces = template
                .split('{')
                .map(|piece| piece.split_once('}').map_or(piece, |(_, text)| text));
            let rest = pieces.try_fold(line, |rest, piece| {
                rest.find(piece).map(|at| &rest[at + piece.len()..])
            });
            rest.is_some()
        })
    }

    #[test]
    fn every_message_has_a_case_in_tests_ui() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ui");
        let files = std::fs::read_dir(folder).expect("tests/ui can be read");
        let paths = files.map(|file| file.expect("tests/ui can be read").path());
        let shown = paths.filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "stderr")
        });
        let shown: String = shown
            .map(|path| std::fs::read_to_string(path).expect("a case can be read"))
            .collect();
        let missing: Vec<_> = CATALOGUE
            .iter()
            .filter(|(_, text)| !is_shown(text, &shown))
            .map(|(name, _)| name)
            .collect();
        assert!(missing.is_empty(), "no case in tests/ui shows {missing:?}");
    }
}
