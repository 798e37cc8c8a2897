//! Rolled out safely: never more at a time than allowed, the first failure stops everything, and killing the controller at any
//! point changes nothing of that.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    kubelet::Kubelet,
    kubernetes::{eventually, is_under_way, tell, within},
    stage::{Stage, admin},
};

/// A Deployment with the label that LogSidecars here select by.
fn deployment(name: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"ship": "yes"}}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}}})
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("web-{number:02}")).collect()
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// A LogSidecar with a container of that image, and how it rolls out.
pub fn sidecar(image: &str, rollout: &Value) -> String {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"selector": {"matchLabels": {"ship": "yes"}}},
        "logs": [{"name": "app", "directory": "/var/log/app"}],
        "sidecar": {"placement": "Native", "container": {"image": image}},
        "rollout": rollout}})
    .to_string()
}

/// Deployments that are available, on a stage with a kubelet.
pub fn stage(case: &str, count: usize, replicas: u32) -> (Stage, Kubelet) {
    let stage = Stage::new(case);
    let kubelet = Kubelet::of(&admin(), &stage.namespace.name);
    let all: Vec<Value> = names(count).iter().map(|name| deployment(name, replicas)).collect();
    stage.namespace.apply(&list(&all));
    eventually("all to be available", || {
        let items = stage.namespace.json(&["get", "deployments"])["items"].as_array()?.clone();
        items.iter().all(|item| !is_under_way(item)).then_some(())
    });
    (stage, kubelet)
}

fn status(stage: &Stage) -> Value {
    stage.namespace.json(&["get", "logsidecar", "ship"])["status"].clone()
}

fn condition(status: &Value, kind: &str) -> (String, String, String) {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Waits for the verdict on the current spec.
fn verdict(stage: &Stage, controller: &crate::controller::Controller, wanted: &str) -> Value {
    // Thirty rollouts, five at a time, take their time on a machine that does other things.
    within(Duration::from_secs(600), &format!("Ready for the reason {wanted}"), || {
        if !controller.proxy.is_alive() {
            controller.start();
        }
        let object = stage.namespace.json(&["get", "logsidecar", "ship"]);
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        (current && condition(&object["status"], "Ready").1 == wanted).then(|| object["status"].clone())
    })
}

/// Waits until the controller has handled every change of a Deployment before this one: it injects a Deployment that is made now.
fn fence(stage: &Stage) {
    let mut workload = deployment("fence", 0);
    workload["metadata"]["labels"] = json!({});
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "fence"}, "spec": {
        "target": {"name": "fence"}, "logs": [{"name": "app", "directory": "/var/log/app"}],
        "sidecar": {"container": {"image": "good:1"}}, "rollout": {"soak": "0s"}}});
    stage.namespace.apply(&list(&[workload, sidecar]));
    stage.namespace.wait_ready("fence");
}

fn templates(stage: &Stage, count: usize) -> Vec<Value> {
    names(count).iter().map(|name| stage.namespace.template(name)).collect()
}

#[test]
fn never_more_than_allowed_at_a_time_whatever_happens_around_it() {
    const COUNT: usize = 30;
    let (stage, _kubelet) = stage("budget", COUNT, 2);
    stage.witness.starts_counting();
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(&sidecar("good:1", &json!({"maxConcurrent": 5, "soak": "1s"})));
    // Others work at the same time: they scale, edit what is no template, create. None of that is a rollout of ours.
    let namespace = stage.namespace.name.clone();
    let busy = Arc::new(AtomicBool::new(true));
    let others = thread::spawn({
        let busy = busy.clone();
        move || {
            for round in (0usize..).take_while(|_| busy.load(Ordering::Relaxed)) {
                let name = format!("deployment/web-{:02}", round * 7 % COUNT);
                let replicas = format!("--replicas={}", 1 + round % 3);
                let run =
                    |arguments: &[&str]| drop(crate::kubernetes::try_kubectl(&[&["-n", &namespace], arguments].concat(), ""));
                run(&["scale", &name, &replicas]);
                run(&["annotate", "--overwrite", &name, &format!("round={round}")]);
                run(&["label", "--overwrite", &name, &format!("round={round}")]);
                if round % 10 == 3 {
                    run(&[
                        "patch",
                        &name,
                        "--type=merge",
                        "-p",
                        "{\"spec\": {\"minReadySeconds\": 0, \"revisionHistoryLimit\": 5}}",
                    ]);
                }
                // Otherwise three kubectl at any time keep the machine from everything else.
                thread::sleep(Duration::from_millis(300));
            }
        }
    });
    for killed_at in [7, 16] {
        within(Duration::from_secs(600), "the rollout to have come so far", || {
            let injected = status(&stage)["injected"].as_u64().unwrap_or_default();
            (injected >= killed_at).then_some(())
        });
        controller.proxy.kill();
        controller.start();
    }
    let newcomer = deployment("web-newcomer", 1);
    stage.namespace.apply(&newcomer.to_string());
    verdict(&stage, &controller, "Available");
    // Changed, then taken out, under the same budget.
    stage.namespace.apply(&sidecar("good:2", &json!({"maxConcurrent": 5, "soak": "0s"})));
    verdict(&stage, &controller, "Available");
    busy.store(false, Ordering::Relaxed);
    others.join().expect("the others end");
    controller.proxy.kill();
    controller.start();
    stage.uninject();
    let (most, rollouts) = stage.witness.most_under_way();
    tell(&format!("never_more_than_allowed: at most {most} of {} under way at a time, {rollouts} rollouts", COUNT + 1));
    assert!((2..=5).contains(&most), "{most} under way at a time");
    assert_eq!(rollouts, 3 * COUNT + 3, "each is put in, changed and taken out once");
}

/// One run of a rollout that fails at the canary, with the controller killed at a request, or not at all; `None` if there are not
/// that many requests.
fn failing(on_failure: &str, image: &str, kill: Option<(usize, bool)>) -> Option<()> {
    const COUNT: usize = 4;
    let (stage, _kubelet) = stage("failing", COUNT, 1);
    let controller = stage.controller();
    controller.start();
    let rollout = json!({"maxConcurrent": 2, "soak": "5s", "onFailure": on_failure});
    stage.namespace.apply(&sidecar("good:1", &json!({"maxConcurrent": 4, "soak": "0s"})));
    verdict(&stage, &controller, "Available");
    let before = templates(&stage, COUNT);
    controller.proxy.kill();
    stage.namespace.apply(&sidecar(image, &rollout));
    let fired = kill.map(|(at, after)| controller.proxy.kill_at(at, after));
    controller.start();
    verdict(&stage, &controller, "Halted");
    let restored = on_failure == "Rollback";
    let halted = eventually("the end of the story", || {
        if !controller.proxy.is_alive() {
            controller.start();
        }
        let status = status(&stage);
        let canary = status["targets"].as_array()?.iter().find(|target| target["name"] == "web-00")?.clone();
        let settled = if restored { canary["reason"] == "RolledBack" && status["rollout"]["underWay"] == 0 } else { true };
        let waiting = status["halted"].as_u64()? == if restored { COUNT as u64 } else { COUNT as u64 - 1 };
        (settled && waiting).then_some(status)
    });
    // Exactly the canary was touched.
    for (name, before) in names(COUNT).iter().zip(&before) {
        let seen = stage.witness.templates(name);
        let after = seen.last().expect("a template");
        let touched = seen.iter().skip_while(|template| *template != before).count() - 1;
        let expected = match (name.as_str(), restored) {
            ("web-00", true) => (2, true),
            ("web-00", false) => (1, false),
            _ => (0, true),
        };
        assert_eq!((touched, after == before), expected, "{name}, killed at {kill:?}: {halted:#}");
    }
    let (stalled, reason, message) = condition(&halted, "Stalled");
    assert_eq!((stalled.as_str(), reason.as_str()), ("True", "Halted"));
    assert!(message.starts_with("halted at Deployment web-00: container ship in pod web-00-"), "{message}");
    // Another controller knows it still, and a corrected spec resumes.
    controller.proxy.kill();
    controller.start();
    stage.namespace.apply(&sidecar("good:2", &rollout_of(&rollout, "1s")));
    verdict(&stage, &controller, "Available");
    let images: Vec<Value> =
        templates(&stage, COUNT).iter().map(|template| template["spec"]["initContainers"][0]["image"].clone()).collect();
    assert_eq!(images, vec![Value::from("good:2"); COUNT]);
    fired.is_none_or(|fired| fired.load(Ordering::Relaxed)).then_some(())
}

fn rollout_of(rollout: &Value, soak: &str) -> Value {
    let mut rollout = rollout.clone();
    rollout["soak"] = soak.into();
    rollout
}

#[test]
fn a_sidecar_that_crashes_harms_exactly_the_canary() {
    failing("Halt", "crashes:1", None);
}

#[test]
fn one_that_crashes_later_does_so_too_and_the_canary_gets_back_what_it_had() {
    failing("Rollback", "crashes-later:1", None);
}

#[test]
fn a_kill_at_any_request_changes_nothing_of_that() {
    // Every request in the long form; in the short one a few, spread over the story.
    let step = if std::env::var_os("FULL").is_some() { 1 } else { 5 };
    let (next, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed) * step;
                    let (at, after) = (number / 2, number % 2 == 1);
                    if number > 60 || failing("Rollback", "crashes:1", Some((at, after))).is_none() {
                        return;
                    }
                    kills.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let kills = kills.into_inner();
    tell(&format!("a rollout that fails: killed at {kills} points"));
    assert!(kills >= 6, "only {kills} kills: the enumeration has ended too early");
}

#[test]
fn a_first_injection_that_fails_is_taken_out_again() {
    let (stage, _kubelet) = stage("first", 3, 1);
    let before = templates(&stage, 3);
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(&sidecar("crashes:1", &json!({"onFailure": "Rollback", "soak": "1s"})));
    verdict(&stage, &controller, "Halted");
    eventually("the canary to be as before", || (templates(&stage, 3) == before).then_some(()));
    // It is not tried again by itself, and deleting it leaves nothing behind.
    let seen = stage.witness.templates("web-00").len();
    stage.namespace.kubectl(&["annotate", "deployment/web-00", "a=b"]);
    stage.namespace.kubectl(&["annotate", "deployment/web-01", "a=b"]);
    fence(&stage);
    assert_eq!((stage.witness.templates("web-00").len(), seen), (3, 3));
    stage.uninject();
    assert_eq!(templates(&stage, 3), before);
}

#[test]
fn mode_plan_says_what_would_be_changed_and_changes_nothing() {
    let (stage, _kubelet) = stage("mode-plan", 2, 1);
    let before = templates(&stage, 2);
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(&sidecar("good:1", &json!({"mode": "Plan"})));
    let status = verdict(&stage, &controller, "Planned");
    let told: Vec<&str> =
        status["targets"].as_array().expect("targets").iter().filter_map(|target| target["message"].as_str()).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].contains("+initContainers/ship"), "{told:?}");
    assert_eq!(templates(&stage, 2), before);
    assert_eq!(controller.proxy.count(crate::proxy::Request::writes_workload), 0);
    stage.namespace.apply(&sidecar("good:1", &json!({"soak": "0s"})));
    verdict(&stage, &controller, "Available");
}

/// Deployments that say nothing about a sidecar go first by their names, and are not tried first: one without pods, one that is
/// broken, one that is paused.
#[test]
fn canaries_are_those_that_can_tell() {
    let (stage, _kubelet) = stage("rules", 2, 1);
    let mut broken = deployment("a-broken", 1);
    broken["spec"]["template"]["spec"]["containers"][0]["image"] = "app-crashes-later:1".into();
    let mut paused = deployment("a-paused", 1);
    paused["spec"]["paused"] = true.into();
    stage.namespace.apply(&list(&[broken, paused, deployment("a-zero", 0)]));
    eventually("the broken one to be broken", || {
        let status = stage.namespace.json(&["get", "deployment", "a-broken"])["status"].clone();
        let was_available = status["conditions"].to_string().contains("NewReplicaSetAvailable");
        (status["unavailableReplicas"] == 1 && was_available).then_some(())
    });
    let all = || ["a-broken", "a-zero", "web-01"].map(|name| stage.namespace.template(name));
    let before = all();
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(&sidecar("crashes:1", &json!({"soak": "1s"})));
    let halted = verdict(&stage, &controller, "Halted");
    assert_eq!(halted["rollout"]["haltedAt"]["name"], "web-00", "{halted:#}");
    assert_eq!(all(), before);
    // A good one reaches all of them, and the broken one holds nobody up.
    stage.namespace.apply(&sidecar("good:1", &json!({"soak": "1s", "maxConcurrent": 1})));
    eventually("all to have it", || {
        let status = status(&stage);
        (status["injected"] == 5 && status["rollout"]["underWay"] == 0 && status["rollout"]["stage"] == "Rolling").then_some(())
    });
    let reasons: std::collections::BTreeMap<String, String> = status(&stage)["targets"]
        .as_array()
        .expect("targets")
        .iter()
        .filter_map(|target| Some((target["name"].as_str()?.to_owned(), target["reason"].as_str()?.to_owned())))
        .collect();
    let of = |name: &str| reasons[name].as_str();
    assert_eq!([of("a-broken"), of("a-paused"), of("a-zero")], ["RollingOut", "Paused", "Available"]);
}

#[test]
fn canaries_are_chosen_by_their_labels() {
    let (stage, _kubelet) = stage("labels", 4, 1);
    stage.namespace.kubectl(&["label", "deployment/web-02", "deployment/web-03", "canary=yes"]);
    let controller = stage.controller();
    controller.start();
    let rollout = json!({"soak": "1s", "maxConcurrent": 1, "canary": {"selector": {"matchLabels": {"canary": "yes"}}}});
    stage.namespace.apply(&sidecar("good:1", &rollout));
    verdict(&stage, &controller, "Available");
    let patched: Vec<String> = controller
        .proxy
        .seen()
        .into_iter()
        .filter(crate::proxy::Request::changes_template)
        .map(|request| request.name)
        .collect();
    let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
    assert_eq!((patched.len(), sorted(&patched[..2])), (4, sorted(&["web-02".to_owned(), "web-03".to_owned()])));
}

/// Two LogSidecars for the same workloads: one rollout each, and a place in both budgets.
#[test]
fn a_workload_of_two_takes_a_place_in_both_and_rolls_once() {
    let (stage, _kubelet) = stage("two", 4, 1);
    stage.witness.starts_counting();
    let second = |name: &str, most: u32| {
        json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": name}, "spec": {
            "target": {"selector": {"matchLabels": {"both": "yes"}}}, "logs": [{"name": "app", "directory": "/logs"}],
            "sidecar": {"placement": "Native", "container": {"image": "good:1"}},
            "rollout": {"maxConcurrent": most, "soak": "1s", "canary": {"count": 0}}}})
    };
    stage.namespace.apply(&list(&[second("one", 4), second("two", 1)]));
    let controller = stage.controller();
    controller.start();
    stage.namespace.wait_ready("one");
    stage.namespace.wait_ready("two");
    // Both are there before the first workload is.
    stage.namespace.kubectl(&["label", "deployments", "--all", "both=yes"]);
    eventually("both to have all", || {
        let sidecars = stage.namespace.json(&["get", "logsidecars"])["items"].as_array()?.clone();
        sidecars.iter().all(|sidecar| sidecar["status"]["available"] == 4).then_some(())
    });
    assert_eq!(stage.witness.most_under_way(), (1, 4));
    for name in names(4) {
        let sidecars = stage.namespace.template(&name)["spec"]["initContainers"].as_array().map(Vec::len);
        assert_eq!(sidecars, Some(2));
    }
}

/// Another default image is nobody's change of a spec, and a change of every template all the same.
#[test]
fn another_default_image_begins_with_a_canary_too() {
    const COUNT: usize = 3;
    let (stage, _kubelet) = stage("default-image", COUNT, 1);
    let object = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"selector": {"matchLabels": {"ship": "yes"}}}, "logs": [{"name": "app", "directory": "/logs"}],
        "rollout": {"soak": "1s", "onFailure": "Rollback"}}});
    let first = stage.controller_with(&["--tail-image=tail:1"]);
    first.start();
    stage.namespace.apply(&object.to_string());
    verdict(&stage, &first, "Available");
    let before = templates(&stage, COUNT);
    first.proxy.kill();
    let second = stage.controller_with(&["--tail-image=tail-crashes:2"]);
    second.start();
    verdict(&stage, &second, "Halted");
    eventually("the canary to have the old image again", || (templates(&stage, COUNT) == before).then_some(()));
    for (name, times) in names(COUNT).iter().zip([2, 0, 0]) {
        let since = stage.witness.templates(name).into_iter().skip_while(|template| !before.contains(template)).count();
        assert_eq!(since, times + 1, "{name}");
    }
}

/// A LogSidecar of that name for all, whose canaries have that label.
fn with_canary(name: &str, image: &str, label: &str) -> Value {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": name}, "spec": {
        "target": {"selector": {"matchLabels": {"ship": "yes"}}}, "logs": [{"name": "app", "directory": "/logs"}],
        "sidecar": {"placement": "Native", "container": {"image": image}},
        "rollout": {"soak": "1s", "onFailure": "Rollback", "canary": {"selector": {"matchLabels": {(label): "yes"}}}}}})
}

/// The canary of the one waits for the other's, and that for it: both go on all the same. And whose sidecar is well is not halted for
/// the one whose is not.
#[test]
fn the_canaries_of_two_do_not_wait_for_each_other_nor_does_one_pay_for_the_other() {
    let (stage, _kubelet) = stage("two-canaries", 4, 1);
    stage.namespace.kubectl(&["label", "deployment/web-02", "first=yes"]);
    stage.namespace.kubectl(&["label", "deployment/web-03", "second=yes"]);
    let controller = stage.controller();
    controller.start();
    let both = |image: &str, other: &str| list(&[with_canary("one", image, "first"), with_canary("two", other, "second")]);
    let available = |count: u64| {
        eventually("both to have all", || {
            let sidecars = stage.namespace.json(&["get", "logsidecars"])["items"].as_array()?.clone();
            let current = |sidecar: &Value| sidecar["status"]["observedGeneration"] == sidecar["metadata"]["generation"];
            sidecars.iter().all(|sidecar| current(sidecar) && sidecar["status"]["available"] == count).then_some(())
        });
    };
    stage.namespace.apply(&both("good:1", "good:1"));
    available(4);
    controller.proxy.kill();
    stage.namespace.apply(&both("good:2", "good:2"));
    controller.start();
    available(4);
    controller.proxy.kill();
    stage.namespace.apply(&both("crashes:3", "good:3"));
    controller.start();
    eventually("the one to be halted and the other to be through", || {
        let status = |name: &str| stage.namespace.json(&["get", "logsidecar", name])["status"].clone();
        let (one, two) = (status("one"), status("two"));
        let all_have = |sidecar: &str, image: &str| {
            names(4).iter().all(|name| {
                let sidecars = stage.namespace.template(name)["spec"]["initContainers"].as_array().cloned().unwrap_or_default();
                sidecars.iter().any(|container| container["name"] == sidecar && container["image"] == image)
            })
        };
        let through = condition(&two, "Ready").1 == "Available" && two["available"] == 4;
        let halted = condition(&one, "Stalled").1 == "Halted" && one["rollout"]["haltedAt"]["name"] == "web-02";
        (through && halted && all_have("one", "good:2") && all_have("two", "good:3")).then_some(())
    });
}

/// One that is scaled to nothing meanwhile proves nothing.
#[test]
fn a_canary_without_pods_is_none() {
    let (stage, _kubelet) = stage("scaled", 3, 1);
    let controller = stage.controller();
    controller.start();
    stage.namespace.apply(&sidecar("crashes-later:1", &json!({"soak": "20s"})));
    let is_under_way = |name: &str| (stage.witness.templates(name).len() > 1).then_some(());
    eventually("the first canary", || is_under_way("web-00"));
    stage.namespace.kubectl(&["scale", "deployment/web-00", "--replicas=0"]);
    eventually("the next canary", || is_under_way("web-01"));
    verdict(&stage, &controller, "Halted");
    assert_eq!(stage.witness.templates("web-02").len(), 1);
    assert_eq!(status(&stage)["rollout"]["haltedAt"]["name"], "web-01");
}
