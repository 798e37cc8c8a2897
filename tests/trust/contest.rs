//! A tug of war: somebody takes back what we put in, as fast as he can.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use logsidecar::workload::kind::Kind;
use serde_json::{Value, json};

use crate::{
    kubernetes::eventually,
    proxy::{Request, runtime},
    stage::{SIDECAR, Stage, admin},
};

/// Puts the workload back to what it was, whenever it is not, and changes something of its own each time, as whoever renders
/// anew does.
fn reverts(stage: &Stage, before: &Value, stop: &AtomicBool, by: &str, whole: bool) {
    let api: Api<DynamicObject> = Api::namespaced_with(admin(), &stage.namespace.name, &Kind::Deployment.resource());
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut live = runtime().block_on(api.get("web")).expect("a Deployment");
        if live.data["spec"]["template"]["spec"] != before["spec"] {
            round += 1;
            live.data["spec"]["template"] = before.clone();
            live.data["spec"]["template"]["metadata"]["annotations"]["round"] = json!(round.to_string());
            // Somebody was faster: again.
            if whole {
                let params = PostParams { field_manager: Some(by.to_owned()), ..PostParams::default() };
                drop(runtime().block_on(api.replace("web", &params, &live)));
            } else {
                let patch = json!([
                    {"op": "remove", "path": "/spec/template/spec/initContainers/1"},
                    {"op": "remove", "path": "/spec/template/spec/containers/0/volumeMounts/1"},
                    {"op": "remove", "path": "/spec/template/spec/volumes/1"},
                ]);
                let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).expect("a patch"));
                drop(runtime().block_on(api.patch("web", &PatchParams::default(), &patch)));
            }
        }
        thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Stops the opponent, whatever happens.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_bounded_and_told(case: &str, whole: bool, said: &str) {
    let stage = Stage::new(case);
    stage.run("kubectl apply -f web.yaml");
    let before = stage.template();
    let controller = stage.controller();
    controller.start();
    stage.inject(SIDECAR);
    let (stop, start) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        let stops = Stops(&stop);
        scope.spawn(|| reverts(&stage, &before, &stop, "opponent", whole));
        let message = eventually("the LogSidecar to say so", || {
            let status = stage.namespace.json(&["get", "logsidecar", "ship"])["status"].clone();
            let target = status["targets"][0].clone();
            (target["reason"] == "Contested").then(|| target["message"].as_str().unwrap_or_default().to_owned())
        });
        assert_eq!(
            message,
            format!(
                "{said} takes back what is put in, again and again: make it leave alone what the annotation logsidecar.dev/injected names, or label the workload logsidecar.dev/inject=false"
            )
        );
        eventually("six writes", || (controller.proxy.count(Request::writes_workload) >= 6).then_some(()));
        // One to begin with, two for free, and then after 1, 2 and 4 seconds.
        assert!(start.elapsed().as_secs() >= 6, "six writes in {:?}", start.elapsed());
        drop(stops);
    });
    stage.namespace.wait_ready("ship");
    stage.converges();
    let writes = controller.proxy.count(Request::writes_workload);
    assert!(writes <= 8, "{writes} writes");
    let events = stage.namespace.json(&["get", "events.events.k8s.io"])["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(events.iter().filter(|event| event["reason"] == "Contested").count(), 1);
}

#[test]
fn an_opponent_that_writes_all_of_it_is_named() {
    is_bounded_and_told("contest", true, "the field manager opponent");
}

#[test]
fn an_opponent_that_only_takes_away_leaves_no_name_and_nobody_else_is_blamed() {
    is_bounded_and_told("contest-unseen", false, "somebody who does not show in managedFields");
}
