//! A plan for people: a unified difference for each workload that would change, then what it comes to.

use similar::TextDiff;

use super::{PlanReport, PlanResult, Summary, WorkloadPlan, describe_cost, shortened::shortened};
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
            out.push_str(&format!("Rolls out: {}\n", rollout.describe()));
        } else {
            out.push_str(&format!("LogSidecar {}/{} rolls out: {}\n", rollout.namespace, rollout.name, rollout.describe()));
        }
    }
    out
}

fn workload(planned: &WorkloadPlan, paint: Paint) -> String {
    let title = title(planned);
    let mut out = match planned.result {
        PlanResult::Change => {
            let head = paint.bold(&format!("{title}  {}", totals(planned)));
            format!("{head}\n{}", difference(planned, paint))
        }
        PlanResult::Unchanged => format!("{title}  Unchanged\n"),
        PlanResult::Blocked => format!("{title}  Blocked: {}\n", describe_reason(&planned.reason, &planned.message)),
        PlanResult::LeftAlone => format!("{title}  LeftAlone: {}\n", describe_reason(&planned.reason, &planned.message)),
    };
    // The first of the refusals of a blocked one is in its title.
    let in_title = usize::from(planned.result == PlanResult::Blocked);
    for refused in planned.refused.iter().skip(in_title) {
        out.push_str(&format!(
            "blocked: LogSidecar {}: {}\n",
            refused.sidecar,
            describe_reason(&refused.reason, &refused.message)
        ));
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
fn totals(planned: &WorkloadPlan) -> String {
    let pods = counted(usize::try_from(planned.pods).unwrap_or(usize::MAX), "pod");
    let parts = [counted(usize::from(planned.rolls), "rollout"), pods].into_iter().chain(describe_cost(planned.cost));
    parts.collect::<Vec<_>>().join(", ")
}

/// The reason `Blocked` has been said already.
fn describe_reason(reason: &str, message: &str) -> String {
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
    let cost = describe_cost(cost).map(|cost| format!(" Cost: {cost}.")).unwrap_or_default();
    format!("Plan: {change}{stay}{blocked}.{cost}")
}

#[cfg(test)]
mod tests;
