//! The controller is killed at every single request of a piece of work: before the API server hears of it, and after it has done
//! it. Another one takes over, finishes the work, and nobody can tell by the workload.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;

use crate::{
    kubernetes::eventually,
    oracle,
    proxy::Fault,
    stage::{SIDECAR, Stage, admin},
};

/// A piece of work: what is there before, and what starts it.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    /// Done while a controller is at work.
    before: fn(&Stage),
    /// Done while there is none.
    start: fn(&Stage),
}

const INJECT: Work = Work { name: "inject", before: |_| {}, start: |stage| stage.namespace.apply(SIDECAR) };

const CHANGE: Work = Work {
    name: "change",
    before: |stage| stage.inject(SIDECAR),
    start: |stage| stage.namespace.apply(&SIDECAR.replace("/var/log/app", "/elsewhere")),
};

const DELETE: Work = Work {
    name: "delete",
    before: |stage| stage.inject(SIDECAR),
    start: |stage| drop(stage.namespace.kubectl(&["delete", "logsidecar/ship", "--wait=false"])),
};

/// What can be seen of a workload from outside when all is done.
#[derive(Debug, PartialEq)]
struct Result {
    template: Value,
    annotations: Vec<String>,
    /// Templates that the workload has had.
    templates: usize,
    ready: Option<bool>,
}

/// One run, with the controller killed at a request, or not at all. `None` if there are not that many requests.
fn run(work: Work, kill: Option<(usize, bool)>) -> Option<Result> {
    let stage = Stage::new(&format!("crash-{}", work.name));
    stage.run("kubectl apply -f web.yaml");
    let controller = stage.controller();
    controller.start();
    (work.before)(&stage);
    controller.proxy.kill();
    (work.start)(&stage);
    let fired = Arc::new(AtomicBool::new(false));
    if let Some((at, after)) = kill {
        let (count, fired) = (AtomicUsize::new(0), fired.clone());
        controller.proxy.script(move |_| {
            if count.fetch_add(1, Ordering::Relaxed) != at {
                return Fault::Pass;
            }
            fired.store(true, Ordering::Relaxed);
            if after { Fault::KillAfter } else { Fault::KillBefore }
        });
    }
    controller.start();
    let result = eventually("the work to be done", || {
        if !controller.proxy.is_alive() {
            controller.start();
        }
        look(&stage)
    });
    let is_hit = fired.load(Ordering::Relaxed);
    (kill.is_none() || is_hit).then_some(result)
}

fn look(stage: &Stage) -> Option<Result> {
    if oracle::wrong(&admin(), &stage.namespace.name).is_some() {
        return None;
    }
    let sidecars = stage.namespace.json(&["get", "logsidecars"])["items"].as_array()?.clone();
    let ready = match sidecars.as_slice() {
        [] => None,
        [sidecar, ..] => {
            let condition =
                sidecar["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")?.clone();
            if condition["observedGeneration"] != sidecar["metadata"]["generation"] || condition["status"] != "True" {
                return None;
            }
            Some(true)
        }
    };
    let object = stage.namespace.json(&["get", "deployment", "web"]);
    let annotations = object["metadata"]["annotations"].as_object()?.keys().cloned().collect();
    Some(Result { template: object["spec"]["template"].clone(), annotations, templates: stage.templates(), ready })
}

fn at_every_request(work: Work) {
    let undisturbed = run(work, None).expect("nothing was killed");
    const AT_ONCE: usize = 4;
    let next = AtomicUsize::new(0);
    let kills = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let (at, after) = (number / 2, number % 2 == 1);
                    let Some(result) = run(work, Some((at, after))) else { return };
                    kills.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(
                        result,
                        undisturbed,
                        "{} killed {} request {at}",
                        work.name,
                        if after { "after" } else { "before" }
                    );
                }
            });
        }
    });
    // Version, two lists, two watches, and at the least one write of ours.
    let kills = kills.into_inner();
    assert!(kills >= 12, "only {kills} kills: the enumeration has ended too early");
    eprintln!("    {}: killed at {kills} points", work.name);
}

#[test]
fn killed_while_injecting() {
    at_every_request(INJECT);
}

#[test]
fn killed_while_changing() {
    at_every_request(CHANGE);
}

#[test]
fn killed_while_deleting() {
    at_every_request(DELETE);
}
