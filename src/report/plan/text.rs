//! A plan for people: a unified difference for each workload that would change, then what it comes to.

use similar::TextDiff;

use super::{PlanReport, PlanResult, Summary, WorkloadPlan, shortened::shortened, told};
use crate::{
    manifest,
    report::{Paint, counted},
};

/// How many unchanged lines are shown around a change.
const CONTEXT: usize = 3;

pub(super) fn plan(plan: &PlanReport, paint: Paint) -> String {
    let mut out = String::new();
    for planned in &plan.workloads {
        let block = workload(planned, paint);
        // A difference is set apart; lines that say that nothing happens are not.
        if planned.result == PlanResult::Change && !out.is_empty() && !out.ends_with("\n\n") {
            out.push('\n');
        }
        out.push_str(&block);
        if planned.result == PlanResult::Change {
            out.push('\n');
        }
    }
    if !out.is_empty() && !out.ends_with("\n\n") {
        out.push('\n');
    }
    out.push_str(&paint.bold(&summary(&plan.summary())));
    out.push('\n');
    for rollout in &plan.rollouts {
        if plan.rollouts.len() == 1 {
            out.push_str(&format!("Rolls out: {}\n", rollout.told()));
        } else {
            out.push_str(&format!("LogSidecar {}/{} rolls out: {}\n", rollout.namespace, rollout.name, rollout.told()));
        }
    }
    out
}

fn workload(planned: &WorkloadPlan, paint: Paint) -> String {
    let title = title(planned);
    let mut out = match planned.result {
        PlanResult::Change => {
            let head = paint.bold(&format!("{title}  {}", price(planned)));
            format!("{head}\n{}", difference(planned, paint))
        }
        PlanResult::Unchanged => format!("{title}  Unchanged\n"),
        PlanResult::Blocked => format!("{title}  Blocked: {}\n", said(&planned.reason, &planned.message)),
        PlanResult::LeftAlone => format!("{title}  LeftAlone: {}\n", said(&planned.reason, &planned.message)),
    };
    // The first of the refusals of a blocked one is in its title.
    let told = usize::from(planned.result == PlanResult::Blocked);
    for refused in planned.refused.iter().skip(told) {
        out.push_str(&format!("blocked: LogSidecar {}: {}\n", refused.sidecar, said(&refused.reason, &refused.message)));
    }
    for warning in &planned.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    out
}

/// `Deployment shop/web  (LogSidecar web-logs)`
fn title(planned: &WorkloadPlan) -> String {
    let sidecars = match planned.sidecars.as_slice() {
        [] => String::new(),
        [one] => format!("  (LogSidecar {one})"),
        all => format!("  (LogSidecars {})", all.join(", ")),
    };
    format!("{}{sidecars}", planned.workload)
}

/// `1 rollout, 3 pods, cpu +15m, memory +48Mi`
fn price(planned: &WorkloadPlan) -> String {
    let pods = counted(usize::try_from(planned.pods).unwrap_or(usize::MAX), "pod");
    let parts = [counted(usize::from(planned.rolls), "rollout"), pods].into_iter().chain(told(planned.cost));
    parts.collect::<Vec<_>>().join(", ")
}

/// The reason `Blocked` has been said already.
fn said(reason: &str, message: &str) -> String {
    match (reason, message) {
        (reason, "") => reason.to_owned(),
        ("Blocked", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn difference(planned: &WorkloadPlan, paint: Paint) -> String {
    let (before, after) = shortened(&planned.before, &planned.template);
    let (before, after) = (manifest::write(&before), manifest::write(&after));
    if before == after {
        return "only the annotation logsidecar.dev/injected would change\n".to_owned();
    }
    let difference = TextDiff::from_lines(&before, &after).unified_diff().context_radius(CONTEXT).to_string();
    difference.lines().map(|line| paint.line(line) + "\n").collect()
}

fn summary(summary: &Summary) -> String {
    let Summary { changed, rollouts, pods, unchanged, blocked, cost } = *summary;
    if (changed, unchanged, blocked) == (0, 0, 0) {
        return "Plan: no workload is concerned.".to_owned();
    }
    let change = if changed == 0 {
        "nothing would change".to_owned()
    } else {
        let pods = counted(usize::try_from(pods).unwrap_or(usize::MAX), "pod");
        format!("{changed} would change ({}, {pods})", counted(rollouts, "rollout"))
    };
    let stay = match unchanged {
        0 => String::new(),
        1 => ", 1 stays as it is".to_owned(),
        more => format!(", {more} stay as they are"),
    };
    let blocked = if blocked == 0 { String::new() } else { format!(", {blocked} blocked") };
    let cost = told(cost).map(|cost| format!(" Cost: {cost}.")).unwrap_or_default();
    format!("Plan: {change}{stay}{blocked}.{cost}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
            soak: Duration::from_secs(15),
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
                soak: Duration::from_millis(1500),
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
        let text =
            PlanReport { workloads: vec![planned("web", PlanResult::Change)], rollouts: Vec::new() }.text(Paint::Coloured);
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
}
