//! The text of made-up plans.

use super::*;
use crate::{
    api::{OnFailure, RolloutMode},
    preflight::Cost,
    report::{
        WorkloadRef,
        plan::{Refused, RolloutPlan},
    },
    workload::kind::Kind,
};
use serde_json::{Value, json};

fn planned(name: &str, result: PlanResult) -> WorkloadPlan {
    let before = json!({"spec": {"containers": [{"name": "app", "image": "nginx"}], "dnsPolicy": "ClusterFirst"}});
    let mut template = before.clone();
    if result == PlanResult::Change {
        template["spec"]["volumes"] = json!([{"name": "logs", "emptyDir": {}}]);
    }
    WorkloadPlan {
        workload: WorkloadRef::new(Kind::Deployment, "shop", name),
        sidecars: vec!["web-logs".to_owned()],
        result,
        reason: "Suspended".to_owned(),
        message: "spec.suspend is true".to_owned(),
        warnings: Vec::new(),
        refused: Vec::new(),
        pods: 3,
        rolls: result == PlanResult::Change,
        cost: Cost { cpu_millis: 15, memory_bytes: 48 << 20, pods: 3 },
        before,
        template,
        patch: Value::Null,
    }
}

fn rollout(name: &str) -> RolloutPlan {
    RolloutPlan {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        canary: "1".to_owned(),
        max_concurrent: 5,
        soak: std::time::Duration::from_secs(15),
        on_failure: OnFailure::Halt,
        mode: RolloutMode::Apply,
    }
}

#[test]
fn what_changes_is_a_difference_and_all_else_a_line() {
    let changed =
        WorkloadPlan { warnings: vec!["volume logs has no sizeLimit".to_owned()], ..planned("web", PlanResult::Change) };
    let refused = Refused { sidecar: "x".into(), reason: "ContainerAmbiguous".into(), message: "which?".into() };
    let blocked = WorkloadPlan {
        reason: refused.reason.clone(),
        message: refused.message.clone(),
        refused: vec![refused],
        ..planned("api", PlanResult::Blocked)
    };
    let workloads = vec![blocked, planned("old", PlanResult::LeftAlone), changed, planned("zoo", PlanResult::Unchanged)];
    let text = PlanReport { workloads, rollouts: vec![rollout("web-logs")] }.text(Paint::Plain);
    let expected = "\
Deployment shop/api  (LogSidecar web-logs)  Blocked: ContainerAmbiguous: which?
Deployment shop/old  (LogSidecar web-logs)  LeftAlone: Suspended: spec.suspend is true

Deployment shop/web  (LogSidecar web-logs)  1 rollout, 3 pods, cpu +15m, memory +48Mi
@@ -3,3 +3,6 @@
   - name: app
     image: nginx
   dnsPolicy: ClusterFirst
+  volumes:
+  - name: logs
+    emptyDir: {}
warning: volume logs has no sizeLimit

Deployment shop/zoo  (LogSidecar web-logs)  Unchanged

Plan: 1 would change (1 rollout, 3 pods), 2 stay as they are, 1 blocked. Cost: cpu +15m, memory +48Mi.
Rolls out: canary 1, then 5 at a time, soak 15s; on failure: Halt
";
    assert_eq!(text, expected);
}

#[test]
fn a_workload_whose_ledger_alone_changes_does_not_roll() {
    let before = planned("web", PlanResult::Unchanged).before;
    let only = WorkloadPlan { template: before, rolls: false, cost: Cost::default(), ..planned("web", PlanResult::Change) };
    let text = PlanReport { workloads: vec![only], rollouts: Vec::new() }.text(Paint::Plain);
    let expected = "\
Deployment shop/web  (LogSidecar web-logs)  0 rollouts, 3 pods
only the annotation logsidecar.dev/injected would change

Plan: 1 would change (0 rollouts, 0 pods).
";
    assert_eq!(text, expected);
}

#[test]
fn a_summary_says_what_there_is() {
    let text = |workloads: Vec<WorkloadPlan>| summary(&PlanReport { workloads, rollouts: Vec::new() }.summary());
    assert_eq!(text(Vec::new()), "Plan: no workload is concerned.");
    assert_eq!(text(vec![planned("a", PlanResult::Unchanged)]), "Plan: nothing would change, 1 stays as it is.");
    let taken_out = WorkloadPlan { cost: -planned("a", PlanResult::Change).cost, ..planned("a", PlanResult::Change) };
    assert_eq!(text(vec![taken_out]), "Plan: 1 would change (1 rollout, 3 pods). Cost: cpu -15m, memory -48Mi.");
}

#[test]
fn several_rollouts_are_told_by_name() {
    let rollouts = vec![
        rollout("a"),
        RolloutPlan {
            canary: "0".into(),
            soak: std::time::Duration::from_millis(1500),
            on_failure: OnFailure::Rollback,
            mode: RolloutMode::Plan,
            ..rollout("b")
        },
    ];
    let text = PlanReport { workloads: Vec::new(), rollouts }.text(Paint::Plain);
    let expected = "\
Plan: no workload is concerned.
LogSidecar shop/a rolls out: canary 1, then 5 at a time, soak 15s; on failure: Halt
LogSidecar shop/b rolls out: 5 at a time, soak 1500ms; on failure: Rollback; spec.rollout.mode is Plan: the controller changes nothing until it is Apply
";
    assert_eq!(text, expected);
}

#[test]
fn colours_are_only_around_what_they_colour() {
    let text = PlanReport { workloads: vec![planned("web", PlanResult::Change)], rollouts: Vec::new() }.text(Paint::Coloured);
    assert!(text.contains("\x1b[32m+  volumes:\x1b[0m\n"), "{text}");
    assert!(text.contains("\n   dnsPolicy: ClusterFirst\n"), "{text}");
}

#[test]
fn programs_get_amounts_without_a_sign_and_the_whole_template() {
    let value = PlanReport { workloads: vec![planned("web", PlanResult::Change)], rollouts: vec![rollout("a")] }.value();
    let one = &value["workloads"][0];
    assert_eq!(one["cost"], json!({"cpu": "15m", "memory": "48Mi"}));
    assert_eq!((&one["result"], &one["rollouts"], &one["pods"]), (&json!("Change"), &json!(1), &json!(3)));
    assert_eq!(one["template"], planned("web", PlanResult::Change).template);
    assert_eq!(value["summary"]["changed"], 1);
}
