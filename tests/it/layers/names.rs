//! A type name means one thing in the whole crate.

use std::collections::BTreeMap;

use syn::Item;

use super::source::{Module, crate_modules, made_up};

/// The name that every module may use for its failures.
const SHARED: [&str; 1] = ["Error"];

/// Returns the names of types that are declared more than once, with the files.
fn duplicates(modules: &[Module]) -> BTreeMap<String, Vec<String>> {
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for module in modules {
        for item in &module.items {
            let name = match item {
                Item::Enum(item) => &item.ident,
                Item::Struct(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Union(item) => &item.ident,
                _ => continue,
            };
            declared.entry(name.to_string()).or_default().push(module.file.clone());
        }
    }
    declared.retain(|name, files| files.len() > 1 && !SHARED.contains(&name.as_str()));
    declared
}

#[test]
fn no_type_name_is_declared_twice() {
    let found = duplicates(&crate_modules());
    assert!(found.is_empty(), "rename one of each: {found:#?}");
}

#[test]
fn duplicate_in_another_module_is_found() {
    let text = "struct A; enum Error {} mod b { type A = u8; trait C {} enum Error {} } #[cfg(test)] mod tests { struct C; }";
    let found = duplicates(&made_up("x", text));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["A"]);
}
