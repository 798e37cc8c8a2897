//! The pure half stays pure: what plans, renders and decides knows no client, clock, I/O or logging.

use super::{
    mentions::mentions,
    source::{Module, crate_modules, made_up},
};

/// Modules that must be pure.
const PURE: [&str; 14] = [
    "api",
    "decide",
    "manifest",
    "merge",
    "plan",
    "policy",
    "preflight",
    "quantity",
    "report",
    "rollout",
    "shipper",
    "status",
    "validate",
    "workload",
];

/// Paths that give a module access to the world, with all that is below them.
const FORBIDDEN: [&str; 22] = [
    "async",
    "axum",
    "elapsed()",
    "futures",
    "macro::dbg!",
    "macro::eprint!",
    "macro::eprintln!",
    "macro::print!",
    "macro::println!",
    "prometheus_client",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime",
    "tokio",
    "tokio_util",
    "tracing",
];

/// Ends of paths that read the clock, whichever crate the type is from.
const CLOCKS: [&str; 5] = ["Instant::now", "SystemTime::now", "Timestamp::now", "Utc::now", "Zoned::now"];

/// Of `kube`, the plain data types and derives. All else is a client or needs one.
const DATA_OF_KUBE: [&str; 9] = [
    "kube::CustomResource",
    "kube::CustomResourceExt",
    "kube::KubeSchema",
    "kube::Resource",
    "kube::ResourceExt",
    "kube::api::ApiResource",
    "kube::api::DynamicObject",
    "kube::api::ObjectMeta",
    "kube::core",
];

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_forbidden(path: &str) -> bool {
    // A glob brings everything that is below it.
    let brings = |forbidden: &str| path.strip_suffix("::*").is_some_and(|base| is_below(forbidden, base));
    let is_of_kube = is_below(path, "kube") && !DATA_OF_KUBE.iter().any(|data| is_below(path, data));
    let reads_clock = CLOCKS.iter().any(|clock| path == *clock || path.ends_with(&format!("::{clock}")));
    is_of_kube || reads_clock || FORBIDDEN.iter().any(|forbidden| is_below(path, forbidden) || brings(forbidden))
}

fn offences(modules: &[Module]) -> Vec<String> {
    let offences = modules.iter().flat_map(|module| {
        let found = mentions(module).into_iter().filter(|path| is_forbidden(path));
        found.map(|path| format!("{}: {path}", module.file)).collect::<Vec<_>>()
    });
    offences.collect()
}

#[test]
fn pure_modules_know_no_client_clock_io_or_logging() {
    let mut modules = crate_modules();
    for name in PURE {
        assert!(modules.iter().any(|module| module.top() == name), "src/{name}.rs is missing: has it moved?");
    }
    modules.retain(|module| PURE.contains(&module.top()));
    assert_eq!(offences(&modules), Vec::<String>::new());
}

#[test]
fn access_to_the_world_is_found_however_it_is_imported() {
    for text in [
        "use std::{collections::BTreeMap, fs};",
        "use kube::{core::ApiResource, Api};",
        "use kube::{self as k}; type C = k::Client;",
        "use kube::api::{DynamicObject, ListParams};",
        "use std::time::*;",
        "use std::time::{Duration, Instant}; fn f() { let x = Instant::now(); }",
        "use std::time; fn f() { time::Instant::now(); }",
        "fn f(start: std::time::Instant) { start.elapsed(); }",
        "fn f() { k8s_openapi::jiff::Timestamp::now(); }",
        "fn f() { println!(\"x\"); }",
        "use tracing::info; fn f() { info!(\"x\"); }",
        "fn f() { vec![std::env::var(\"X\")]; }",
        "async fn f() {}",
    ] {
        assert!(!offences(&made_up("plan", text)).is_empty(), "{text}");
    }
}

#[test]
fn plain_data_is_pure() {
    for text in [
        "use std::{collections::BTreeMap, time::{Duration, Instant}}; fn f(at: Instant, now: Instant) { now - at; }",
        "use kube::{CustomResource, ResourceExt, api::{ApiResource, DynamicObject}, core::GroupVersionKind};",
        "// println!(\"x\")\nfn f() { format!(\"std::fs\"); }",
        "#[cfg(test)] mod tests { use std::fs; }",
    ] {
        assert_eq!(offences(&made_up("plan", text)), Vec::<String>::new(), "{text}");
    }
}
