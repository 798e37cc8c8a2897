//! `logsidecar inject` and `uninject` remove items from a `List`: every other item survives, in its order and unchanged.

use std::sync::LazyLock;

use ::logsidecar::{cli::Verb, manifest};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A `LogSidecar` with a config of its own, so that `inject` makes a ConfigMap.
fn sidecar() -> Value {
    let sidecar = json!({"fluentBit": {}});
    let logs = json!([{"name": "app", "directory": "/var/log/app"}]);
    json!({
        "apiVersion": "logsidecar.dev/v1alpha1",
        "kind": "LogSidecar",
        "metadata": {"name": "ship"},
        "spec": {"target": {"name": "web"}, "logs": logs, "sidecar": sidecar},
    })
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1.27"}]}}},
    })
}

/// A ConfigMap that an earlier `inject` made from another version of the `LogSidecar`.
fn outdated(number: usize) -> Value {
    let mut sidecar = sidecar();
    sidecar["spec"]["logs"][0]["directory"] = format!("/old/{number}").into();
    let text = [sidecar, deployment("web")].map(|object| manifest::write(&object)).join("---\n");
    let injected = values(&Verb::Inject.on_text(text.as_bytes()).expect("injected"));
    injected.into_iter().find(|object| object["kind"] == "ConfigMap").expect("inject makes a ConfigMap")
}

/// An object that is of no interest to the command.
fn other(number: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("other-{number}")}, "data": {"a": "on"}})
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn values(text: &str) -> Vec<Value> {
    let documents = manifest::read("-", text.as_bytes()).expect("readable");
    documents.into_iter().map(|document| document.value).filter(|value| !value.is_null()).collect()
}

/// A name for an object that is the same before and after the command.
fn name(object: &Value) -> (String, String) {
    (object["kind"].to_string(), object["metadata"]["name"].to_string())
}

/// The document without the objects that the command removes, in the shape that it had.
fn without(document: &Value, removed: &[Value]) -> Value {
    let Some(items) = document["items"].as_array() else { return document.clone() };
    let kept = items.iter().filter(|item| !removed.contains(item)).map(|item| without(item, removed));
    list(&kept.collect::<Vec<_>>())
}

/// Every object below the lists of a document, in its order.
fn flattened(document: &Value) -> Vec<Value> {
    document["items"].as_array().map_or_else(|| vec![document.clone()], |items| items.iter().flat_map(flattened).collect())
}

/// Runs `inject` on a `List` and compares what is left of it with the items that must survive.
fn check(document: &Value, removed: &[Value]) {
    let expected = without(document, removed);
    let text = manifest::write(document);
    let out = Verb::Inject.on_text(text.as_bytes()).expect("injected");
    let left = values(&out).into_iter().find(|value| value["kind"] == "List").expect("the list is printed");
    let names = |document: &Value| flattened(document).iter().map(name).collect::<Vec<_>>();
    assert_eq!(names(&left), names(&expected), "{text}");
    for (left, expected) in flattened(&left).iter().zip(flattened(&expected)) {
        if name(left) == name(&deployment("web")) {
            assert_eq!(left["spec"]["template"]["spec"]["containers"][0]["image"], "nginx:1.27");
            assert!(left["metadata"]["annotations"].is_object(), "the workload is injected: {left}");
        } else {
            assert_eq!(left.to_string(), expected.to_string());
        }
    }
    let mut back = values(&Verb::Uninject.on_text(out.as_bytes()).expect("taken out"));
    back.retain(|document| document["kind"] == "List");
    assert_eq!(back.iter().map(Value::to_string).collect::<Vec<_>>(), [expected.to_string()], "uninject gives it back");
}

#[test]
fn removed_items_take_no_neighbour_with_them() {
    let removed = [sidecar(), outdated(0)];
    let [sidecar, config] = removed.clone();
    for items in [
        vec![config.clone(), sidecar.clone(), deployment("web")],
        vec![config.clone(), deployment("web"), sidecar.clone()],
        vec![sidecar, deployment("web"), config],
    ] {
        check(&list(&items), &removed);
    }
}

/// The objects that the command removes.
static REMOVED: LazyLock<Vec<Value>> = LazyLock::new(|| (0..3).map(outdated).chain([sidecar()]).collect());

/// The objects that it keeps.
static KEPT: LazyLock<Vec<Value>> = LazyLock::new(|| (0..4).map(other).chain(["web", "api", "db"].map(deployment)).collect());

fn objects() -> Vec<Value> {
    REMOVED.iter().chain(KEPT.iter()).cloned().collect()
}

/// Puts each run of objects into a list of its own, up to two levels deep.
fn nested(objects: &[Value], cuts: &[(usize, bool)]) -> Value {
    let mut items = Vec::new();
    let mut rest = objects;
    for (length, is_nested) in cuts {
        let (run, after) = rest.split_at((*length).min(rest.len()));
        rest = after;
        if *is_nested {
            let half = run.len() / 2;
            let inner = run[..half].iter().cloned().chain([list(&run[half..])]);
            items.push(list(&inner.collect::<Vec<_>>()));
        } else {
            items.extend_from_slice(run);
        }
    }
    items.extend_from_slice(rest);
    list(&items)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn survivors_keep_their_order_and_values_in_any_order_of_items(
        shuffled in Just(objects()).prop_shuffle(),
        cuts in prop::collection::vec((0_usize..5, any::<bool>()), 0..5),
    ) {
        check(&nested(&shuffled, &cuts), &REMOVED);
    }
}
