//! Checks the dependencies between the files of this crate: there is no cycle, and reports depend on the store contract only.
//!
//! A file depends on the files that define the items it names, whatever re-exports are in between. Parent and child modules may
//! name each other, because they are read together. Tests within a file do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, UseTree, Visibility};

/// The path of a module within its crate; empty for the crate itself.
type ModulePath = Vec<String>;

/// A source file.
#[derive(Default)]
struct Module {
    /// The paths that the file names, in `use` items and elsewhere.
    named: Vec<Vec<String>>,
    /// The path behind each name that a `use` item brings into scope.
    brought: BTreeMap<String, Vec<String>>,
    /// The modules that the file re-exports with `*`.
    globs: Vec<Vec<String>>,
    defined: BTreeSet<String>,
}

struct Crate(BTreeMap<ModulePath, Module>);

impl Crate {
    fn read(source: &Path) -> Self {
        let mut modules = BTreeMap::new();
        let mut folders = vec![source.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder)
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
            {
                if entry.is_dir() {
                    folders.push(entry);
                } else if entry.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&entry).expect("a text");
                    let relative = entry
                        .strip_prefix(source)
                        .expect("a path below")
                        .with_extension("");
                    let mut path: ModulePath = relative
                        .iter()
                        .map(|part| part.to_string_lossy().into_owned())
                        .collect();
                    if path
                        .last()
                        .is_some_and(|last| last == "mod" || last == "lib")
                    {
                        path.pop();
                    }
                    modules.insert(path, Module::parse(&text));
                }
            }
        }
        Self(modules)
    }

    /// Returns the file that defines `named`, as seen from `from`; `None` if it belongs to another crate, or is unknown.
    fn file_of(&self, from: &ModulePath, named: &[String], hops: usize) -> Option<ModulePath> {
        let first = named.first()?;
        let (mut module, mut rest) = match first.as_str() {
            "crate" => (Vec::new(), &named[1..]),
            "self" => (from.clone(), &named[1..]),
            "super" => {
                let ups = named.iter().take_while(|part| *part == "super").count();
                (from[..from.len().checked_sub(ups)?].to_vec(), &named[ups..])
            }
            name if self.is_child(from, name) => (from.clone(), named),
            name if self.0[from]
                .brought
                .get(name)
                .is_some_and(|brought| brought[0] != *name) =>
            {
                (from.clone(), named)
            }
            _ => return None,
        };
        while let Some(name) = rest.first().filter(|_| hops < 30) {
            if self.is_child(&module, name) {
                module.push(name.clone());
                rest = &rest[1..];
                continue;
            }
            let here = self.0.get(&module)?;
            if let Some(brought) = here.brought.get(name) {
                let path = [brought.as_slice(), &rest[1..]].concat();
                return self.file_of(&module, &path, hops + 1);
            }
            let from_glob = here.globs.iter().find_map(|glob| {
                let file = self.file_of(&module, &[glob.as_slice(), rest].concat(), hops + 1)?;
                self.0[&file].defined.contains(name).then_some(file)
            });
            return Some(from_glob.unwrap_or(module));
        }
        Some(module)
    }

    fn is_child(&self, module: &ModulePath, name: &str) -> bool {
        self.0
            .contains_key(&[module.as_slice(), &[name.to_owned()]].concat())
    }

    /// Returns the dependencies of each file, without its parents and children.
    fn dependencies(&self) -> BTreeMap<&ModulePath, BTreeSet<ModulePath>> {
        let of = |(path, module): (&ModulePath, &Module)| {
            let files = module
                .named
                .iter()
                .filter_map(|named| self.file_of(path, named, 0));
            files
                .filter(|file| !file.starts_with(path) && !path.starts_with(file))
                .collect()
        };
        self.0
            .iter()
            .map(|(path, module)| (path, of((path, module))))
            .collect()
    }

    /// Returns a cycle of files, if there is one.
    fn circle(&self) -> Option<Vec<ModulePath>> {
        let mut dependencies = self.dependencies();
        // A file without remaining dependencies is in no cycle.
        loop {
            let left: BTreeSet<_> = dependencies.keys().map(|path| (*path).clone()).collect();
            dependencies
                .values_mut()
                .for_each(|files| files.retain(|file| left.contains(file)));
            let before = dependencies.len();
            dependencies.retain(|_, files| !files.is_empty());
            if dependencies.len() == before {
                break;
            }
        }
        let mut way = vec![(*dependencies.keys().next()?).clone()];
        loop {
            let next = dependencies[way.last().expect("a beginning")]
                .iter()
                .next()
                .expect("all have one")
                .clone();
            if let Some(start) = way.iter().position(|file| *file == next) {
                way.push(next);
                return Some(way.split_off(start));
            }
            way.push(next);
        }
    }
}

impl Module {
    fn parse(text: &str) -> Self {
        let mut module = Self::default();
        let file = syn::parse_file(text).expect("Rust");
        module.defined.extend(file.items.iter().filter_map(name_of));
        module.visit_file(&file);
        module
    }

    fn bring(&mut self, tree: &UseTree, before: &[String], is_public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.bring(&path.tree, &with(&path.ident), is_public),
            UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.bring(tree, before, is_public)),
            UseTree::Glob(_) if is_public => self.globs.push(before.to_vec()),
            UseTree::Glob(_) => self.named.push(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => {
                self.take(
                    before.last().expect("a path before self").clone(),
                    before.to_vec(),
                    is_public,
                );
            }
            UseTree::Name(name) => self.take(name.ident.to_string(), with(&name.ident), is_public),
            UseTree::Rename(rename) => {
                self.take(rename.rename.to_string(), with(&rename.ident), is_public);
            }
        }
    }

    /// Adds a `use` item. A re-export is not a dependency.
    fn take(&mut self, name: String, path: Vec<String>, is_public: bool) {
        if !is_public {
            self.named.push(path.clone());
        }
        self.brought.insert(name, path);
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !module
            .attrs
            .iter()
            .any(|attribute| attribute.path().is_ident("cfg") && is_of_tests(attribute))
        {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.bring(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if names.len() > 1 && ["crate", "super", "self"].contains(&names[0].as_str()) {
            self.named.push(names);
        }
        visit::visit_path(self, path);
    }
}

fn is_of_tests(attribute: &syn::Attribute) -> bool {
    attribute
        .parse_args::<syn::Path>()
        .is_ok_and(|path| path.is_ident("test"))
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        _ => return None,
    })
}

fn this_crate() -> Crate {
    Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn dependencies_of_files_have_no_cycle() {
    let circle = this_crate().circle();
    let files = circle
        .iter()
        .flatten()
        .map(|path| path.join("/"))
        .collect::<Vec<_>>();
    assert!(circle.is_none(), "{}", files.join(" → "));
}

#[test]
fn reports_depend_on_the_contract_of_stores_alone() {
    for (file, dependencies) in this_crate().dependencies() {
        if file.starts_with(&["system".to_owned(), "report".to_owned()]) {
            let is_allowed = |path: &&ModulePath| {
                path[0] == "store" || path[0] == "sql" || path.starts_with(&file[..2])
            };
            let others: Vec<_> = dependencies
                .iter()
                .filter(|path| !is_allowed(path))
                .collect();
            assert!(
                others.is_empty(),
                "{} depends on {others:?}",
                file.join("/")
            );
        }
    }
}

#[test]
fn cycles_are_found_through_re_exports() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("structure");
    std::fs::create_dir_all(folder.join("parts")).expect("a folder");
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).expect("a file");
    write("lib.rs", "mod parts; mod user; pub use parts::Part;");
    write("parts/mod.rs", "mod one; pub use one::*;");
    write(
        "parts/one.rs",
        "use super::super::user::User; pub struct Part(User);",
    );
    write(
        "user.rs",
        "#[cfg(test)] mod tests { use crate::Part; } pub struct User;",
    );
    assert_eq!(Crate::read(&folder).circle(), None);
    write(
        "user.rs",
        "pub struct User; fn made() -> crate::Part { todo() }",
    );
    let circle = Crate::read(&folder)
        .circle()
        .expect("user names a part, and the part a user");
    assert_eq!(circle.len(), 3, "{circle:?}");
}
