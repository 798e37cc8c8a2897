//! Every line is counted: a writer numbers its lines, something goes wrong, and what has arrived is compared with what was written.
//!
//! `make accounting` runs everything and prints the table of `docs/delivery.md`; the short suite has Jobs only.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    cluster::{Namespace, eventually, left_out, restart_kubelet, tell, within},
    lines::{
        Account, KEEP, LINES, RENAME, REPLACE, TRUNCATE, apply, command_line, in_app, in_loki, kill, loki, pod, settle,
        shippers, sidecar, until_written, without_loki, writer,
    },
};

fn hold_up(namespace: &Namespace, seconds: u64) {
    without_loki(namespace, || thread::sleep(Duration::from_secs(seconds)));
}

fn kill_sidecar(namespace: &Namespace, shipper: &str) {
    in_app(namespace, &kill("-9", command_line(shipper)));
}

fn kill_app(namespace: &Namespace) {
    in_app(namespace, "kill -9 $(cat /truth/pid)");
}

fn delete_pods(namespace: &Namespace) {
    namespace.kubectl(&["delete", "pods", "-l", "app=app", "--timeout=180s"]);
}

fn kill_sidecar_again_and_again(namespace: &Namespace, shipper: &str) {
    // Kubernetes keeps what the one before has printed, and not what those before it have.
    for _ in 0..if shipper == "tail" { 1 } else { 3 } {
        kill_sidecar(namespace, shipper);
        thread::sleep(Duration::from_secs(3));
    }
}

/// Something that goes wrong while lines are written.
type Fault = fn(&Namespace, &str);

#[allow(clippy::struct_excessive_bools, reason = "a table reads better so")]
struct Case {
    name: &'static str,
    rotation: &'static str,
    fault: Fault,
    /// What is added to the entry of `logs`.
    log: &'static str,
    /// Three of four lines belong to the one before.
    traces: bool,
    /// On a claim that outlives the pod.
    durable: bool,
    /// It may lose lines.
    loses: bool,
    /// It harms others that run at the same time.
    alone: bool,
}

const QUIET: Case = Case {
    name: "nothing",
    rotation: KEEP,
    fault: |_, _| {},
    log: "{}",
    traces: false,
    durable: false,
    loses: false,
    alone: false,
};
const ALL_AT_ONCE: Fault = |namespace, shipper| {
    kill_sidecar(namespace, shipper);
    kill_app(namespace);
    hold_up(namespace, 20);
    kill_sidecar(namespace, shipper);
};
const CASES: &[Case] = &[
    QUIET,
    Case { name: "sidecar: kill -9 (tail: once, else three times)", fault: kill_sidecar_again_and_again, ..QUIET },
    Case {
        name: "sidecar: kill -9 three times, stack traces (multiline: java)",
        fault: kill_sidecar_again_and_again,
        log: r#"{"multiline": {"language": "java"}}"#,
        traces: true,
        ..QUIET
    },
    Case { name: "application: kill -9", fault: |namespace, _| kill_app(namespace), ..QUIET },
    Case { name: "rotation by rename", rotation: RENAME, ..QUIET },
    Case { name: "rotation by delete and create", rotation: REPLACE, loses: true, ..QUIET },
    Case { name: "rotation by copy and truncate", rotation: TRUNCATE, loses: true, ..QUIET },
    Case { name: "Loki does not answer for a minute", fault: |namespace, _| hold_up(namespace, 60), ..QUIET },
    // What is rotated while nobody reads is not found again under its new name,
    Case { name: "all at once, rotation by rename", rotation: RENAME, fault: ALL_AT_ONCE, loses: true, ..QUIET },
    // unless the new name is asked for, too.
    Case {
        name: "the same with files: ['*.log', '*.log.[0-9]*']",
        rotation: RENAME,
        fault: ALL_AT_ONCE,
        log: r#"{"files": ["*.log", "*.log.[0-9]*"]}"#,
        ..QUIET
    },
    Case { name: "pod deleted", fault: |namespace, _| delete_pods(namespace), ..QUIET },
    Case { name: "pod deleted while Loki does not answer, emptyDir", fault: deleted_in_an_outage, loses: true, ..QUIET },
    Case { name: "pod deleted while Loki does not answer, claim", fault: deleted_in_an_outage, durable: true, ..QUIET },
    Case { name: "kubelet: kill -9", fault: |_, _| restart_kubelet(), alone: true, ..QUIET },
];

impl Case {
    /// What is on standard output goes with its pod, has no destination that could be down, and knows no stack traces.
    fn is_for(&self, shipper: &str) -> bool {
        shipper != "tail"
            || !(self.traces
                || self.log != QUIET.log
                || ["Loki", "pod", "all at once"].iter().any(|words| self.name.contains(words)))
    }
}

fn deleted_in_an_outage(namespace: &Namespace, _: &str) {
    without_loki(namespace, || {
        thread::sleep(Duration::from_secs(3));
        delete_pods(namespace);
        thread::sleep(Duration::from_secs(5));
    });
}

fn provide_claim(namespace: &Namespace) {
    namespace.provide_volume("kept", "64Mi");
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}});
    namespace.apply(&claim.to_string());
}

fn run(case: &Case, shipper: &str) -> Account {
    let namespace = Namespace::new("account");
    let url = if shipper == "tail" { String::new() } else { loki(&namespace) };
    if case.durable {
        provide_claim(&namespace);
    }
    let template = pod(&namespace, &writer(case.rotation, case.traces, "while [ -z \"$stop\" ]; do sleep 0.2; done"), "Always");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {
        "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "app"}}, "template": template}});
    let more: Value = serde_json::from_str(case.log).expect("JSON");
    apply(&namespace, &sidecar(shipper, &url, &json!({"name": "app"}), &more, case.durable), &deployment);
    namespace.kubectl(&["rollout", "status", "deployment/app", "--timeout=180s"]);
    until_written(&namespace, LINES / 3);
    (case.fault)(&namespace, shipper);
    eventually("the application again", || in_app(&namespace, "echo up").contains("up").then_some(()));
    within(Duration::from_secs(180), "the end of the writer", || {
        in_app(&namespace, "[ -e /truth/done ] && tail -n 1 /truth/all").contains("last").then_some(())
    });
    settle(&namespace, shipper)
}

fn check(case: &Case, shipper: &str) {
    let account = run(case, shipper);
    let Account { written, lost, duplicated } = account;
    tell(&format!("| {} | {shipper} | {written} | {lost} | {duplicated} |", case.name));
    assert!(written > LINES / 3, "{account:?}");
    assert!(case.loses || lost == 0, "{}: {account:?}", case.name);
    // Each time that something ends in the middle of it, what was under way is sent again.
    assert!(duplicated <= written, "{}: {account:?}", case.name);
}

#[test]
fn every_line_is_accounted_for() {
    if std::env::var_os("ACCOUNTING").is_none() {
        left_out("accounting of every fault", "it takes ten minutes: `make accounting`");
        return;
    }
    tell("| what goes wrong | shipper | written | lost | duplicated |\n|---|---|---|---|---|");
    let shippers = [vec!["tail"], shippers()].concat();
    let all =
        shippers.iter().flat_map(|shipper| CASES.iter().filter(|case| case.is_for(shipper)).map(move |case| (case, *shipper)));
    let (alone, together): (Vec<_>, Vec<_>) = all.partition(|(case, _)| case.alone);
    let failed: Vec<String> = together
        .chunks(4)
        .chain(alone.chunks(1))
        .flat_map(|some| {
            thread::scope(|scope| {
                let running: Vec<_> = some.iter().map(|(case, shipper)| scope.spawn(move || check(case, shipper))).collect();
                let ended =
                    running.into_iter().zip(some).filter_map(|(one, (case, _))| one.join().err().map(|_| case.name.to_owned()));
                ended.collect::<Vec<_>>()
            })
        })
        .collect();
    assert_eq!(failed, Vec::<String>::new());
}

/// A Job, and one that a `CronJob` makes: they complete, and their last line has arrived.
#[test]
fn jobs_complete_and_their_last_line_arrives() {
    for shipper in shippers() {
        let namespace = Namespace::new("account-job");
        let url = loki(&namespace);
        let script = "for i in 1 2 3; do echo \"line $HOSTNAME $i\" >> /logs/app.log; done; echo \"line $HOSTNAME last\" >> /logs/app.log";
        let template = pod(&namespace, script, "Never");
        let job =
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}});
        apply(&namespace, &sidecar(shipper, &url, &json!({"kind": "Job", "name": "once"}), &json!({}), false), &job);
        let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"}, "spec": {
            "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}});
        namespace.apply(&cron.to_string());
        namespace.apply(&sidecar(shipper, &url, &json!({"kind": "CronJob", "name": "cron"}), &json!({}), false).to_string());
        namespace.wait_ready("ship");
        namespace.kubectl(&["create", "job", "again", "--from=cronjob/cron"]);
        for job in ["once", "again"] {
            namespace.wait(&format!("job/{job}"), "condition=Complete");
        }
        eventually("the last lines", || {
            (in_loki(&namespace).iter().filter(|line| line.ends_with(" last")).count() >= 2).then_some(())
        });
    }
}
