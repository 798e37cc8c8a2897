//! The controller is killed at every single request of a piece of work: before the API server hears of it, and after it has done
//! it. Another one takes over, finishes the work, and nobody can tell by the workload.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use serde_json::Value;

use crate::{
    kubernetes::{eventually, left_out},
    oracle,
    owners::{ACTIONS, left},
    stage::{SIDECAR, Stage, admin},
};

/// A piece of work: what is there before, and what starts it.
struct Work<'a> {
    name: &'a str,
    /// Done while a controller is at work.
    before: &'a (dyn Fn(&Stage) + Sync),
    /// Done while there is none.
    start: &'a (dyn Fn(&Stage) + Sync),
}

/// What can be seen from outside when all is done.
#[derive(Debug, PartialEq)]
struct Result {
    workload: Value,
    /// Templates that the workload has had.
    templates: usize,
    /// What the LogSidecar says of it, if there is one.
    ready: Option<String>,
}

/// One run, with the controller killed at a request, or not at all. `None` if there are not that many requests.
fn run(work: &Work<'_>, kill: Option<(usize, bool)>) -> Option<Result> {
    let stage = Stage::new("crash");
    let controller = stage.controller();
    controller.start();
    (work.before)(&stage);
    controller.proxy.kill();
    (work.start)(&stage);
    let fired = kill.map(|(at, after)| controller.proxy.kill_at(at, after));
    controller.start();
    let result = eventually("the work to be done", || {
        if !controller.proxy.is_alive() {
            controller.start();
        }
        look(&stage)
    });
    fired.is_none_or(|fired| fired.load(Ordering::Relaxed)).then_some(result)
}

/// What there is, once everything is as it should be and the LogSidecar says so.
fn look(stage: &Stage) -> Option<Result> {
    if oracle::wrong(&admin(), &stage.namespace.name).is_some() {
        return None;
    }
    let sidecars = stage.namespace.json(&["get", "logsidecars"])["items"].as_array()?.clone();
    let ready = match sidecars.as_slice() {
        [] => None,
        [sidecar, ..] => {
            let conditions = sidecar["status"]["conditions"].as_array()?;
            let is = |name: &str| conditions.iter().find(|condition| condition["type"] == name);
            let (ready, reconciling) = (is("Ready")?, is("Reconciling")?);
            if ready["observedGeneration"] != sidecar["metadata"]["generation"] || reconciling["status"] == "True" {
                return None;
            }
            Some(format!("{} {}", ready["status"], ready["reason"]))
        }
    };
    Some(Result { workload: left(stage), templates: stage.templates(), ready })
}

/// Kills at every request there is; says how often that was.
fn at_every_request(work: &Work<'_>) -> usize {
    const AT_ONCE: usize = 4;
    let undisturbed = run(work, None).expect("nothing was killed");
    let (next, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
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
                        "{}: killed {} request {at}",
                        work.name,
                        if after { "after" } else { "before" }
                    );
                }
            });
        }
    });
    // Version, two lists and two watches come before any work.
    let kills = kills.into_inner();
    assert!(kills >= 10, "{}: only {kills} kills: the enumeration has ended too early", work.name);
    eprintln!("    {}: killed at {kills} points", work.name);
    kills
}

fn apply(stage: &Stage) {
    stage.run("kubectl apply -f web.yaml");
}

fn inject(stage: &Stage) {
    apply(stage);
    stage.inject(SIDECAR);
}

#[test]
fn killed_while_injecting() {
    at_every_request(&Work { name: "inject", before: &apply, start: &|stage| stage.namespace.apply(SIDECAR) });
}

#[test]
fn killed_while_changing() {
    let change = |stage: &Stage| stage.namespace.apply(&SIDECAR.replace("/var/log/app", "/elsewhere"));
    at_every_request(&Work { name: "change", before: &inject, start: &change });
}

#[test]
fn killed_while_deleting() {
    let delete = |stage: &Stage| drop(stage.namespace.kubectl(&["delete", "logsidecar/ship", "--wait=false"]));
    at_every_request(&Work { name: "delete", before: &inject, start: &delete });
}

/// What owners do (see `owners`) is done while there is no controller, and the one that comes back is killed.
#[test]
fn killed_while_following_what_owners_do() {
    if std::env::var_os("FULL").is_none() {
        left_out("killed_while_following_what_owners_do", "about a thousand runs: `make test-full`");
        return;
    }
    // What the API server refuses reaches nobody.
    for action in ACTIONS.iter().filter(|action| action.refused.is_none() && action.later.is_none()) {
        let before = |stage: &Stage| {
            stage.run(action.made);
            stage.inject(SIDECAR);
        };
        at_every_request(&Work { name: action.what, before: &before, start: &|stage| drop(stage.run(action.does)) });
    }
}
