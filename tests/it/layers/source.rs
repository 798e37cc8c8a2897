//! The modules of the crate, parsed.

use std::{fs, path::Path};

use syn::{Attribute, Item};

/// A module without its submodules, which are modules of their own, and without tests.
pub struct Module {
    /// The file, for messages.
    pub file: String,
    /// The names from the root of the crate, such as `["rollout", "waves"]`.
    pub path: Vec<String>,
    pub items: Vec<Item>,
}

impl Module {
    /// The module directly below the root that this one belongs to; empty for the root itself.
    pub fn top(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }
}

/// Parses every module of this crate.
pub fn crate_modules() -> Vec<Module> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut modules = Vec::new();
    let file = root.join("src/lib.rs");
    add(&file, &root.join("src"), Vec::new(), parse(&file), &mut modules);
    modules
}

/// Parses a made-up module, with its inline modules.
pub fn made_up(name: &str, text: &str) -> Vec<Module> {
    let items = syn::parse_file(text).expect("Rust").items;
    let mut modules = Vec::new();
    add(Path::new("made-up.rs"), Path::new("nowhere"), vec![name.to_owned()], items, &mut modules);
    modules
}

fn parse(file: &Path) -> Vec<Item> {
    let text = fs::read_to_string(file).expect("a source file");
    syn::parse_file(&text).expect("Rust").items
}

fn add(file: &Path, folder: &Path, path: Vec<String>, items: Vec<Item>, modules: &mut Vec<Module>) {
    let mut kept = Vec::new();
    for item in items.into_iter().filter(|item| !is_test(item)) {
        let Item::Mod(module) = item else {
            kept.push(item);
            continue;
        };
        let name = module.ident.to_string();
        let below = folder.join(&name);
        let path: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
        if let Some((_, items)) = module.content {
            add(file, &below, path, items, modules);
        } else {
            let file = folder.join(format!("{name}.rs"));
            add(&file, &below, path, parse(&file), modules);
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = file.strip_prefix(root).unwrap_or(file).display().to_string();
    modules.push(Module { file, path, items: kept });
}

/// Whether an item is compiled for tests only.
fn is_test(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    };
    let is_cfg_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    };
    attributes.iter().any(is_cfg_test)
}

#[test]
fn tests_are_no_modules_and_inline_modules_are() {
    let modules = made_up("a", "struct X; mod b { struct Y; } #[cfg(test)] mod tests { struct Z; } #[cfg(test)] struct W;");
    let paths: Vec<(String, usize)> = modules.iter().map(|module| (module.path.join("::"), module.items.len())).collect();
    assert_eq!(paths, [("a::b".to_owned(), 1), ("a".to_owned(), 1)]);
}

#[test]
fn every_file_of_the_crate_is_a_module() {
    let modules = crate_modules();
    assert!(modules.len() > 80, "only {} modules", modules.len());
    for top in ["api", "cli", "plan", "report", "workload"] {
        assert!(modules.iter().any(|module| module.path == [top]), "{top}");
    }
}
