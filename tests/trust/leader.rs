//! Several controllers: one works at a time, and when it ends the next goes on where it was.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    controller::Controller,
    kubernetes::{eventually, tell, within},
    proxy::{Fault, Request},
    rollout,
    stage::{Stage, WORKLOAD},
};

/// Two controllers of a stage, of which neither runs yet.
fn two(stage: &Stage) -> [Controller; 2] {
    let namespace = &stage.namespace.name;
    // The shipped Role is for the namespace of the installation.
    let lease = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "leader"}, "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "list", "watch", "update"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "leader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leader"},
            "subjects": [{"kind": "ServiceAccount", "name": "logsidecar", "namespace": "logsidecar-system"}]}]});
    stage.namespace.apply(&lease.to_string());
    let in_here = format!("--leader-elect-namespace={namespace}");
    [(); 2].map(|()| stage.controller_with(&["--leader-elect", &in_here]))
}

/// Who holds the lease.
fn holder(stage: &Stage) -> Option<String> {
    let leases = stage.namespace.json(&["get", "leases"]);
    Some(leases["items"].as_array()?.first()?["spec"]["holderIdentity"].as_str()?.to_owned())
}

/// Starts the first, and when it leads the second.
fn start(stage: &Stage, [first, second]: &[Controller; 2]) -> String {
    first.start();
    let leader = eventually("a leader", || holder(stage));
    second.start();
    eventually("the second to wait", || second.log().contains("another one leads").then_some(()));
    leader
}

fn works(request: &Request) -> bool {
    request.resource != "leases" && request.resource != "/version"
}

#[test]
fn one_works_and_the_next_takes_over_when_it_is_asked_to_end() {
    let stage = Stage::new("leader");
    let controllers = two(&stage);
    let leader = start(&stage, &controllers);
    stage.namespace.apply(WORKLOAD);
    stage.inject(crate::stage::SIDECAR);
    let [first, second] = &controllers;
    assert_eq!(second.proxy.count(works), 0, "whoever waits asks for the lease only: {:?}", second.proxy.seen());
    let pid = first.proxy.process.lock().expect("no panic").as_ref().expect("it runs").id();
    let asked = Instant::now();
    Command::new("kill").args(["-TERM", &pid.to_string()]).status().expect("a signal");
    eventually("the end of the first", || first.proxy.has_ended().then_some(()));
    assert_ne!(holder(&stage), Some(leader), "the lease was not given back: the next one waits until it runs out");
    eventually("the next one", || (second.proxy.count(works) > 0).then_some(()));
    tell(&format!("leader: after SIGTERM the next one works within {} ms", asked.elapsed().as_millis()));
    first.proxy.kill();
    stage.uninject();
}

#[test]
fn who_cannot_renew_the_lease_ends_and_writes_nothing_more() {
    let stage = Stage::new("leader-lost");
    let controllers = two(&stage);
    let leader = start(&stage, &controllers);
    let [first, second] = &controllers;
    let cut = Instant::now();
    first.proxy.script(|request| if request.resource == "leases" { Fault::status(500, "InternalError") } else { Fault::Pass });
    let ended = || first.proxy.process.lock().expect("no panic").as_mut().expect("it ran").try_wait().expect("a status");
    let mut ends_after = None;
    let status = eventually("the second to lead", || {
        let next = holder(&stage).filter(|now| *now != leader);
        // Asked after the lease: when another replica holds it, the first has ended before, however slow this machine is.
        let status = ended();
        ends_after = ends_after.or(status.map(|_| cut.elapsed()));
        assert!(next.is_none() || status.is_some(), "two replicas lead");
        next.and(status)
    });
    let ends_after = ends_after.expect("it has ended");
    assert!(!status.success() && first.log().contains("no longer the leader"), "{status}");
    tell(&format!(
        "leader: cut off from its lease it ends after {:.1} s, and the next one works after {:.1} s",
        ends_after.as_secs_f64(),
        cut.elapsed().as_secs_f64()
    ));
    stage.namespace.apply(WORKLOAD);
    stage.inject(crate::stage::SIDECAR);
    assert!(second.proxy.count(Request::changes_template) == 1);
    stage.uninject();
}

/// One rollout of several, whose leader is killed at a request of that number.
fn killed_at(at: usize, count: usize) -> Duration {
    let (stage, _kubelet) = rollout::stage("leader-killed", count, 1);
    stage.witness.starts_counting();
    let controllers = two(&stage);
    start(&stage, &controllers);
    let [first, second] = &controllers;
    let fired = first.proxy.kill_at(at, at % 2 == 1);
    stage.namespace.apply(&rollout::sidecar("good:1", &json!({"maxConcurrent": 3, "soak": "0s"})));
    within(Duration::from_secs(300), "the kill", || fired.load(std::sync::atomic::Ordering::Relaxed).then_some(()));
    let killed = Instant::now();
    within(Duration::from_secs(300), "the next leader", || (second.proxy.count(works) > 0).then_some(()));
    let gap = killed.elapsed();
    within(Duration::from_secs(600), "all to be injected", || {
        let status = stage.namespace.json(&["get", "logsidecar", "ship"])["status"].clone();
        (status["available"].as_u64()? == count as u64).then_some(())
    });
    let (most, rollouts) = stage.witness.most_under_way();
    assert!(most <= 3, "killed at {at}: {most} under way at a time");
    assert_eq!(rollouts, count, "killed at {at}: each is put in once");
    stage.uninject();
    gap
}

#[test]
fn killed_in_the_middle_of_a_rollout_the_next_leader_finishes_it() {
    let (kills, count) = if std::env::var_os("FULL").is_some() { (20, 30) } else { (2, 8) };
    // Spread over the story, before and after the API server has done what was asked.
    let gaps: Vec<Duration> = (0..kills).map(|number| killed_at(10 + number * 23 % 120, count)).collect();
    let longest = gaps.iter().max().expect("a kill");
    tell(&format!(
        "leader: killed {kills} times in the middle of {count} rollouts; nobody worked for at most {:.1} s",
        longest.as_secs_f64()
    ));
}
