//! How things stand: what the cluster shows, and of what only the controller knows (whose turn it is, what was halted, who soaks),
//! what it has written into the status of the `LogSidecar`.

use super::{
    super::{
        account::{View, outcome},
        cache::Sidecar,
        rollout::entry,
        workload::Workload,
    },
    Content, SidecarName, Survey,
    dry_run::concerned,
    look::{Seen, Whose, halt},
};
use crate::{
    api::{Reason, RolloutMode, Stage, TargetStatus},
    plan::claim::Phase,
    report,
    rollout::settings::Settings,
    status::{Outcome, class},
};

/// Reasons that do not show in the cluster itself.
const ONLY_THE_CONTROLLER_KNOWS: [Reason; 11] = [
    Reason::Queued,
    Reason::Soaking,
    Reason::Halted,
    Reason::RolledBack,
    Reason::RolloutFailed,
    Reason::Retrying,
    Reason::Contested,
    Reason::Planned,
    Reason::Forbidden,
    Reason::Rejected,
    Reason::Blocked,
];

/// What a look at a workload has found for a `LogSidecar`; `None` if it has nothing to do with it.
pub(super) fn state(sidecar: &Sidecar, workload: &Workload, seen: &Seen) -> Option<Outcome> {
    let verdict = seen.verdict(sidecar)?;
    let name = sidecar.key.name.as_str();
    let injected = seen.ledger.as_ref().is_some_and(|ledger| ledger.entry(name, Some(&sidecar.uid)).is_some());
    let written = written(sidecar, workload);
    let told = seen.told.get(name);
    if seen.movers.contains(name) && verdict.result.is_ok() {
        return Some(waiting(sidecar, written, injected));
    }
    let live = outcome(verdict, &View { workload, injected, is_soaking: false, told }, None)?;
    let written = written.filter(|(reason, _)| match reason {
        Reason::Soaking => live.reason == Reason::Available,
        Reason::RolledBack | Reason::RolloutFailed | Reason::Contested | Reason::Rejected | Reason::Halted => {
            matches!(live.reason, Reason::Available | Reason::RollingOut | Reason::RolloutFailed)
        }
        _ => false,
    });
    Some(written.map_or(live, |(reason, target)| Outcome { reason, message: target.message.clone(), injected }))
}

/// What the controller has written about a workload, if it is about the current spec.
fn written<'a>(sidecar: &'a Sidecar, workload: &Workload) -> Option<(Reason, &'a TargetStatus)> {
    let status = &sidecar.status;
    let target = &workload.key.target;
    let is_it = |written: &&TargetStatus| written.kind == target.kind.name() && written.name == target.name;
    let written = status.targets.iter().find(is_it).filter(|_| status.observed_generation == sidecar.generation)?;
    let reason = ONLY_THE_CONTROLLER_KNOWS.into_iter().find(|reason| reason.as_str() == written.reason)?;
    Some((reason, written))
}

/// A workload that is still to be changed.
fn waiting(sidecar: &Sidecar, written: Option<(Reason, &TargetStatus)>, injected: bool) -> Outcome {
    if sidecar.phase == Phase::Deleting {
        return Outcome::new(Reason::Removing, injected);
    }
    if let Some((reason, target)) = written.filter(|(reason, _)| *reason != Reason::Soaking) {
        return Outcome { reason, message: target.message.clone(), injected };
    }
    let rollout = sidecar.spec.as_ref().ok().and_then(|spec| spec.rollout.as_ref());
    if Settings::of(rollout).mode == RolloutMode::Plan {
        return Outcome { message: "it would be changed".to_owned(), ..Outcome::new(Reason::Planned, injected) };
    }
    Outcome { message: "still to be changed".to_owned(), ..Outcome::new(Reason::Pending, injected) }
}

impl Survey {
    /// How things stand with one `LogSidecar`, or with all.
    pub fn status(&self, about: Option<&SidecarName>) -> report::status::Status {
        let mut status = report::status::Status::default();
        let mut rows: Vec<(Reason, report::status::Target)> = Vec::new();
        for (namespace, content) in &self.namespaces {
            let is_meant =
                |sidecar: &Sidecar| about.is_none_or(|about| about.namespace == *namespace && about.name == sidecar.key.name);
            let before = rows.len();
            for listed in &content.workloads {
                let seen = self.look(content).at(&listed.workload, Whose::Everybodys);
                for sidecar in concerned(&content.sidecars, &seen).filter(|sidecar| is_meant(sidecar)) {
                    if let Some(state) = state(sidecar, &listed.workload, &seen) {
                        rows.push((state.reason, target(sidecar, &listed.workload, state)));
                    }
                }
            }
            status
                .sidecars
                .extend(heads(content, &rows[before..]).filter(|(sidecar, _)| is_meant(sidecar)).map(|(_, head)| head));
        }
        rows.sort_by(|(one, a), (other, b)| {
            let address = |target: &report::status::Target| {
                (target.namespace.clone(), target.sidecar.clone(), target.kind.clone(), target.name.clone())
            };
            class(*one).cmp(&class(*other)).then_with(|| address(a).cmp(&address(b)))
        });
        status.targets = rows.into_iter().map(|(_, target)| target).collect();
        status
    }
}

fn target(sidecar: &Sidecar, workload: &Workload, state: Outcome) -> report::status::Target {
    let key = &workload.key;
    report::status::Target {
        namespace: key.namespace.clone(),
        sidecar: sidecar.key.name.clone(),
        kind: key.target.kind.name().to_owned(),
        name: key.target.name.clone(),
        reason: state.reason.to_string(),
        injected: state.injected,
        available: workload.standing.available,
        pods: workload.standing.pods,
        revision: entry(workload, sidecar).and_then(|entry| entry.revision).unwrap_or_default(),
        message: state.message,
    }
}

fn heads<'a>(
    content: &'a Content,
    rows: &'a [(Reason, report::status::Target)],
) -> impl Iterator<Item = (&'a Sidecar, report::status::Sidecar)> {
    let mut sidecars: Vec<&Sidecar> = content.sidecars.iter().collect();
    sidecars.sort_by(|one, other| one.key.cmp(&other.key));
    sidecars.into_iter().map(|sidecar| {
        let of = || rows.iter().filter(|(_, row)| row.sidecar == sidecar.key.name);
        let conditions = sidecar.status.conditions.iter().map(|condition| report::status::Condition {
            kind: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        });
        let halted = halt(sidecar).map(|halt| format!("{} {}: {}", halt.kind, halt.name, halt.cause));
        let head = report::status::Sidecar {
            namespace: sidecar.key.namespace.clone(),
            name: sidecar.key.name.clone(),
            conditions: conditions.collect(),
            observed: sidecar.status.observed_generation == sidecar.generation,
            matched: of().count(),
            injected: of().filter(|(_, row)| row.injected).count(),
            available: of().filter(|(reason, _)| *reason == Reason::Available).count(),
            stage: match sidecar.status.rollout.stage {
                // Nobody has written any status yet.
                Stage::Canary if sidecar.status.conditions.is_empty() => "not begun",
                Stage::Canary => "Canary",
                Stage::Rolling => "Rolling",
                Stage::Halted => "Halted",
            }
            .to_owned(),
            halted: halted.unwrap_or_default(),
        };
        (sidecar, head)
    })
}
