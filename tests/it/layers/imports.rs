//! Imports between the modules directly below the root point one way.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    mentions::mentions,
    source::{Module, crate_modules, made_up},
};

/// The layers from the top to the bottom. A module may import modules of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["operator", "inspect"],
    &["cluster"],
    &["report", "decide"],
    &["validate", "status", "rollout", "policy", "preflight"],
    &["plan"],
    &["options"],
    &["shipper"],
    &["workload"],
    &["api"],
    &["manifest", "merge", "quantity", "telemetry"],
];

/// The imports between modules directly below the root: from, to, and one place as an example.
type Graph = BTreeMap<(String, String), String>;

fn graph(modules: &[Module]) -> Graph {
    let names: BTreeSet<&str> = modules.iter().map(Module::top).filter(|name| !name.is_empty()).collect();
    let mut graph = Graph::new();
    for module in modules.iter().filter(|module| !module.path.is_empty()) {
        for mention in mentions(module) {
            let Some(name) = mention.strip_prefix("crate::").and_then(|rest| rest.split("::").next()) else { continue };
            if names.contains(name) && name != module.top() {
                let edge = (module.top().to_owned(), name.to_owned());
                graph.entry(edge).or_insert_with(|| format!("{}: {mention}", module.file));
            }
        }
    }
    graph
}

/// Returns the imports that do not point to a lower layer.
fn upward(graph: &Graph, layers: &[&[&str]]) -> BTreeMap<(String, String), String> {
    let rank = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let is_upward = |(from, to): &(String, String)| match (rank(from), rank(to)) {
        (Some(from), Some(to)) => from >= to,
        // `every_module_has_a_layer` says so.
        _ => false,
    };
    graph.iter().filter(|(edge, _)| is_upward(edge)).map(|(edge, place)| (edge.clone(), place.clone())).collect()
}

/// Returns a cycle of imports, if there is one: each module with the import that leads to the next.
fn cycle(graph: &Graph) -> Option<Vec<String>> {
    let starts: BTreeSet<&str> = graph.keys().map(|(from, _)| from.as_str()).collect();
    starts.into_iter().find_map(|start| path_to(graph, start, start, &mut BTreeSet::new()))
}

fn path_to<'a>(graph: &'a Graph, from: &'a str, goal: &str, seen: &mut BTreeSet<&'a str>) -> Option<Vec<String>> {
    for ((at, to), place) in graph.iter().filter(|((at, _), _)| at == from) {
        let step = format!("{at} -> {to} ({place})");
        if to == goal {
            return Some(vec![step]);
        }
        if seen.insert(to)
            && let Some(rest) = path_to(graph, to, goal, seen)
        {
            return Some([step].into_iter().chain(rest).collect());
        }
    }
    None
}

#[test]
fn imports_point_to_lower_layers() {
    let found = upward(&graph(&crate_modules()), LAYERS);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn imports_have_no_cycle() {
    assert_eq!(cycle(&graph(&crate_modules())), None);
}

#[test]
fn every_module_has_a_layer() {
    let modules = crate_modules();
    let names: BTreeSet<&str> = modules.iter().map(Module::top).filter(|name| !name.is_empty()).collect();
    let ranked: Vec<&str> = LAYERS.iter().copied().flatten().copied().collect();
    let missing: Vec<&&str> = names.iter().filter(|name| !ranked.contains(*name)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

#[test]
fn import_of_a_higher_layer_is_found() {
    let mut modules = made_up("api", "use crate::{plan::{self, Plan}};");
    modules.extend(made_up("plan", "fn f() { crate::api::g(); }"));
    let graph = graph(&modules);
    let found = upward(&graph, &[&["plan"], &["api"]]);
    assert_eq!(found.keys().cloned().collect::<Vec<_>>(), [("api".to_owned(), "plan".to_owned())]);
    assert_eq!(cycle(&graph).map(|steps| steps.len()), Some(2));
    assert_eq!(upward(&graph, &[&["api", "plan"]]).len(), 2, "modules of one layer do not import each other");
}

#[test]
fn cycle_over_three_modules_is_found_with_its_imports() {
    let mut modules = made_up("a", "use super::b::X;");
    modules.extend(made_up("b", "#[x(rule = crate::c::Y)] struct X;"));
    modules.extend(made_up("c", "fn f() { assert!(crate::a::g()); }"));
    let expected = ["a -> b (made-up.rs: crate::b::X)", "b -> c (made-up.rs: crate::c::Y)", "c -> a (made-up.rs: crate::a::g)"];
    assert_eq!(cycle(&graph(&modules)), Some(expected.map(str::to_owned).to_vec()));
}
