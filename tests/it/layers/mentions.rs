//! Every path that a module names: in imports, whichever way their braces are nested, in code, and in the tokens of macros and
//! attributes. Paths are absolute: a name that was imported stands for what was imported, `super` and `self` for the module.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use regex::Regex;
use syn::{
    Attribute, Expr, ExprAsync, ExprMethodCall, ItemUse, Macro, Meta, Path, Signature, UseTree,
    visit::{self, Visit},
};

use super::source::Module;

/// String literals: what looks like a path in them is text.
static TEXT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\.)*""#).expect("a pattern"));

/// A path in the tokens of a macro.
static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+").expect("a pattern"));

/// Returns every path that a module names. A macro ends with `!`, a glob import with `::*`; `async` and a call of `elapsed()`,
/// which reads the clock, are mentions as well.
pub fn mentions(module: &Module) -> BTreeSet<String> {
    let mut imports = Imports::default();
    module.items.iter().for_each(|item| imports.visit_item(item));
    let mut paths = Paths::default();
    module.items.iter().for_each(|item| paths.visit_item(item));
    let imported = imports.0.iter().map(|(_, path)| path.clone());
    let names: BTreeMap<&str, &Vec<String>> = imports.0.iter().map(|(name, path)| (name.as_str(), path)).collect();
    let used = paths.found.into_iter().filter_map(|path| match names.get(path[0].as_str()) {
        Some(start) => Some(start.iter().chain(&path[1..]).cloned().collect()),
        None => (path.len() > 1).then_some(path),
    });
    let absolute = imported.chain(used).map(|path| absolute(&module.path, &path).join("::"));
    absolute.chain(paths.words.into_iter().map(str::to_owned)).collect()
}

/// Replaces `self` and `super` at the start of a path.
fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let up = path.iter().take_while(|name| *name == "super" || *name == "self").count();
    if up == 0 {
        return path.to_vec();
    }
    let supers = path[..up].iter().filter(|name| *name == "super").count();
    let base = &module[..module.len().saturating_sub(supers)];
    ["crate".to_owned()].iter().chain(base).chain(&path[up..]).cloned().collect()
}

/// The imports, each with the name that it has in the module.
#[derive(Default)]
struct Imports(Vec<(String, Vec<String>)>);

impl Imports {
    fn add(&mut self, tree: &UseTree, above: &[String]) {
        let below = |name: &dyn ToString| above.iter().cloned().chain([name.to_string()]).collect::<Vec<String>>();
        match tree {
            UseTree::Path(path) => self.add(&path.tree, &below(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add(tree, above)),
            UseTree::Glob(_) => self.0.push(("*".to_owned(), below(&"*"))),
            UseTree::Name(name) if name.ident == "self" => {
                self.0.push((above.last().cloned().unwrap_or_default(), above.to_vec()));
            }
            UseTree::Name(name) => self.0.push((name.ident.to_string(), below(&name.ident))),
            UseTree::Rename(name) if name.ident == "self" => self.0.push((name.rename.to_string(), above.to_vec())),
            UseTree::Rename(name) => self.0.push((name.rename.to_string(), below(&name.ident))),
        }
    }
}

impl Visit<'_> for Imports {
    fn visit_item_use(&mut self, item: &ItemUse) {
        self.add(&item.tree, &[]);
    }
}

/// The paths in code, and what else counts as a mention.
#[derive(Default)]
struct Paths {
    found: Vec<Vec<String>>,
    words: BTreeSet<&'static str>,
}

impl Paths {
    fn add_tokens(&mut self, tokens: &impl ToString) {
        let text = tokens.to_string();
        let code = TEXT.replace_all(&text, "");
        for path in PATH.find_iter(&code) {
            self.found.push(path.as_str().split("::").map(|name| name.trim().to_owned()).collect());
        }
    }
}

impl Visit<'_> for Paths {
    fn visit_path(&mut self, path: &Path) {
        self.found.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &Macro) {
        let mut path: Vec<String> = item.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let [name] = path.as_slice() {
            // A path of one name counts only if it was imported.
            path = vec!["macro".to_owned(), format!("{name}!")];
        }
        self.found.push(path);
        self.visit_path(&item.path);
        self.add_tokens(&item.tokens);
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        self.visit_path(attribute.path());
        match &attribute.meta {
            Meta::List(list) => self.add_tokens(&list.tokens),
            Meta::NameValue(pair) => self.visit_expr(&pair.value),
            Meta::Path(_) => {}
        }
    }

    fn visit_signature(&mut self, signature: &Signature) {
        if signature.asyncness.is_some() {
            self.words.insert("async");
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, expression: &ExprAsync) {
        self.words.insert("async");
        visit::visit_expr_async(self, expression);
    }

    fn visit_expr_method_call(&mut self, call: &ExprMethodCall) {
        if call.method == "elapsed" && call.args.is_empty() && !matches!(*call.receiver, Expr::Lit(_)) {
            self.words.insert("elapsed()");
        }
        visit::visit_expr_method_call(self, call);
    }
}

#[test]
fn imports_code_and_macros_are_all_read() {
    let text = r#"
        use std::{fs, io::{self as out, Write}, time::*};
        use super::c::{self, D};
        #[x(rule = crate::e::F, "crate::not::code")]
        fn f() { fs::read("x"); out::stdin(); D::g(); self::h::i(); println!("{}", crate::j::K); tracing::info!("l"); }
        async fn m() { start.elapsed(); }
    "#;
    let modules = super::source::made_up("a", text);
    let found = mentions(&modules[0]);
    for expected in [
        "std::fs",
        "std::fs::read",
        "std::io",
        "std::io::stdin",
        "std::io::Write",
        "std::time::*",
        "crate::c",
        "crate::c::D::g",
        "crate::a::h::i",
        "crate::e::F",
        "crate::j::K",
        "macro::println!",
        "tracing::info",
        "async",
        "elapsed()",
    ] {
        assert!(found.contains(expected), "{expected}: {found:?}");
    }
    assert!(!found.iter().any(|path| path.contains("not")), "{found:?}");
}
