//! Absence is not evidence: whatever the controller cannot see, it takes nothing out because of that. Each fault strikes a running
//! controller and one that has just started, while another LogSidecar on the same workload changes, so that there is something to
//! write.

use serde_json::{Value, json};

use crate::{
    controller::Controller,
    kubernetes::eventually,
    proxy::{Fault, Request},
    stage::{SIDECAR, Stage},
};

/// A second LogSidecar on the same workload; with another directory it has to be planned anew.
fn other(directory: &str) -> String {
    SIDECAR
        .replace("ship", "other")
        .replace("/var/log/app", directory)
        .replace("{name: app, ", "{name: app, files: ['*.txt'], ")
}

/// What happens to a request while the fault lasts.
type Fails = fn(&Request) -> Fault;

fn lists_sidecars(request: &Request) -> bool {
    request.resource == "logsidecars" && request.verb == "list"
}

fn empty(list: &mut Value) {
    list["items"] = json!([]);
}

/// The list as an API server that lags behind has it: as if `ship` had never been.
fn without_ship(list: &mut Value) {
    if let Some(items) = list["items"].as_array_mut() {
        items.retain(|item| item["metadata"]["name"] != "ship");
    }
}

/// A newer object: a field that this controller does not know, and a target that would not match.
fn newer(object: &mut Value) {
    for item in object["items"].as_array_mut().into_iter().flatten().filter(|item| item["metadata"]["name"] == "ship") {
        item["spec"]["target"] = json!({"name": "elsewhere"});
        item["spec"]["future"] = json!({"field": true});
    }
}

fn unless(holds: bool, fault: Fault) -> Fault {
    if holds { fault } else { Fault::Pass }
}

const FAULTS: &[(&str, Fails)] = &[
    ("an empty list of LogSidecars", |request| unless(lists_sidecars(request), Fault::Rewrite(empty))),
    ("a stale list of LogSidecars", |request| unless(lists_sidecars(request), Fault::Rewrite(without_ship))),
    ("a LogSidecar that this controller cannot read", |request| unless(lists_sidecars(request), Fault::Rewrite(newer))),
    ("LogSidecars forbidden", |request| unless(request.resource == "logsidecars", Fault::status(403, "Forbidden"))),
    ("LogSidecars not served", |request| unless(request.resource == "logsidecars", Fault::status(404, "NotFound"))),
    ("LogSidecars expired", |request| {
        unless(request.resource == "logsidecars" && request.verb != "patch", Fault::status(410, "Expired"))
    }),
    ("errors for everything about LogSidecars", |request| {
        unless(request.resource.starts_with("logsidecars"), Fault::status(500, "InternalError"))
    }),
    ("an empty list of workloads", |request| {
        unless(request.resource == "deployments" && request.verb == "list", Fault::Rewrite(empty))
    }),
    ("workloads forbidden", |request| unless(request.resource == "deployments", Fault::status(403, "Forbidden"))),
    ("errors for everything", |_| Fault::status(500, "InternalError")),
];

/// Whether the sidecar of `ship`, its volume and its mount are in a template.
fn has_ship(template: &Value) -> bool {
    let named = |list: &Value, field: &str, name: &str| list.as_array().into_iter().flatten().any(|item| item[field] == name);
    let app = template["spec"]["containers"].as_array().into_iter().flatten().find(|container| container["name"] == "app");
    named(&template["spec"]["initContainers"], "name", "ship")
        && named(&template["spec"]["volumes"], "name", "logs-app-var-log-app")
        && app.is_some_and(|app| named(&app["volumeMounts"], "mountPath", "/var/log/app"))
}

/// Both LogSidecars are in, and a controller is at work.
fn injected(case: &str) -> (Stage, Controller) {
    let stage = Stage::new(case);
    stage.run("kubectl apply -f web.yaml");
    let controller = stage.controller();
    controller.start();
    stage.inject(SIDECAR);
    stage.inject(&other("/one"));
    (stage, controller)
}

/// Waits until the fault has struck, changes the other LogSidecar, and waits until the controller has either done that or been
/// hindered again and again.
fn strike(stage: &Stage, controller: &Controller, fails: Fails, from: usize) {
    let hits = || controller.proxy.seen()[from..].iter().filter(|request| !matches!(fails(request), Fault::Pass)).count();
    eventually("the fault to strike", || (hits() >= 1).then_some(()));
    stage.namespace.apply(&other("/two"));
    // Something that makes the controller look at the workload.
    stage.run("kubectl annotate deployment/web look=here");
    eventually("the fault to make no difference, or to strike again", || (hits() >= 4 || mounts(stage, "/two")).then_some(()));
}

/// Whether the application has a mount there.
fn mounts(stage: &Stage, directory: &str) -> bool {
    let mounts = stage.template()["spec"]["containers"][0]["volumeMounts"].clone();
    mounts.as_array().into_iter().flatten().any(|mount| mount["mountPath"] == directory)
}

fn survives(stage: &Stage, controller: &Controller, what: &str, when: &str, directory: &str) {
    // The fault ends, and what was asked for meanwhile happens.
    controller.proxy.script(|_| Fault::Pass);
    controller.proxy.expire_watches();
    eventually(&format!("{directory} after {what} {when}"), || mounts(stage, directory).then_some(()));
    stage.converges();
    let templates = stage.witness.templates("web");
    let first = templates.iter().position(has_ship).expect("it was put in");
    let without = templates[first..].iter().filter(|template| !has_ship(template)).count();
    assert_eq!(without, 0, "{what} {when}: taken out");
    // In for the first, in for the other, and its change: no rollout comes from the fault.
    assert_eq!(templates.len() - first, 3, "{what} {when}: rollouts");
}

fn strikes_a_running_one(what: &str, fails: Fails) {
    let (stage, controller) = injected("absence-run");
    let from = controller.proxy.seen().len();
    controller.proxy.script(fails);
    controller.proxy.expire_watches();
    strike(&stage, &controller, fails, from);
    survives(&stage, &controller, what, "while it runs", "/two");
}

fn strikes_one_that_has_just_started(what: &str, fails: Fails) {
    let (stage, controller) = injected("absence-start");
    controller.proxy.kill();
    let from = controller.proxy.seen().len();
    controller.proxy.script(fails);
    controller.start();
    strike(&stage, &controller, fails, from);
    survives(&stage, &controller, what, "right after the start", "/two");
}

#[test]
fn what_is_not_seen_is_not_taken_out() {
    // Mostly waiting for pauses after errors, so all at once.
    std::thread::scope(|scope| {
        for (what, fails) in FAULTS {
            scope.spawn(move || {
                strikes_a_running_one(what, *fails);
                strikes_one_that_has_just_started(what, *fails);
            });
        }
    });
}

#[test]
fn a_watch_that_is_cut_in_the_middle_of_an_event_loses_nothing() {
    let (stage, controller) = injected("absence-cut");
    controller.proxy.cut_watches();
    stage.namespace.apply(&other("/two"));
    controller.proxy.cut_watches();
    survives(&stage, &controller, "a watch cut in the middle", "twice", "/two");
}
