//! Who goes first: whoever can tell, and has not failed to be served.

use kube::core::{Selector, SelectorExt};

use super::{
    cache::Sidecar,
    context::Context,
    look::Look,
    rollout::entry,
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::OPT_OUT_LABEL,
    plan::{
        Effect, Plan,
        claim::{Labelled, matches},
    },
    rollout::{
        settings::{Canaries, Settings},
        waves::{Candidate, Flight},
    },
    workload::{
        ledger::{Before, Ledger},
        status::Progress,
    },
};

/// Who may go first, and how many do.
pub(super) fn candidates(context: &Context, sidecar: &Sidecar) -> (Vec<Candidate<WorkloadKey>>, usize) {
    let Ok(spec) = &sidecar.spec else { return (Vec::new(), 0) };
    let rule = Settings::of(spec.rollout.as_ref()).canary;
    let workloads = context.cache.workloads_in(&sidecar.key.namespace);
    let candidate = |workload: &Workload| {
        let labels = workload.labels();
        let target = &workload.key.target;
        let labelled = Labelled { kind: target.kind, name: &target.name, labels: &labels };
        let is_opted_out = labels.get(OPT_OUT_LABEL).is_some_and(|value| value == "false");
        let is_damaged = || workload.ledger.as_deref().is_some_and(|text| Ledger::parse(text).is_err());
        if !matches(&spec.target, labelled) || workload.controller.is_some() || is_opted_out || is_damaged() {
            return None;
        }
        let has_it = || entry(workload, sidecar).is_some_and(|entry| entry.revision.as_ref() == Some(&sidecar.revision));
        let is_selected = match &rule {
            Canaries::Selected(selector) => {
                Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(&labels))
            }
            Canaries::Count(_) => false,
        };
        Some(Candidate {
            workload: workload.key.clone(),
            has_it: workload.standing.pods > 0 && !matches!(workload.standing.progress, Progress::Held(_)) && has_it(),
            is_telling: workload.standing.is_telling(),
            is_ready: workload.standing.progress == Progress::Done,
            recreates: workload.standing.recreates,
            is_selected,
        })
    };
    let count = match rule {
        Canaries::Count(count) => count,
        Canaries::Selected(_) => 1,
    };
    (workloads.iter().filter_map(|workload| candidate(workload)).collect(), count)
}

impl Look<'_> {
    /// A canary that has what is asked for is followed like one that was just given it; one that cannot be served, or would say
    /// nothing, is passed over.
    pub fn tend_canaries(&self, plan: &Plan) {
        let key = &self.workload.key;
        let mut waves = self.context.rollouts.waves();
        for sidecar in self.known.iter().filter(|sidecar| waves.is_due_canary(&sidecar.key, key)).collect::<Vec<_>>() {
            let verdict = plan.verdicts.iter().find(|verdict| verdict.uid.as_deref() == Some(sidecar.uid.as_str()));
            let is_served = verdict.is_some_and(|verdict| matches!(verdict.result, Ok(Effect::Applied(_))));
            let is_telling = self.workload.standing.pods > 0 && !matches!(self.workload.standing.progress, Progress::Held(_));
            if !is_served || !is_telling {
                waves.pass_over(&sidecar.key, key);
            } else if self.has_what_it_gets(plan, sidecar) {
                let entry = entry(&self.workload, sidecar);
                let before = entry.map_or(Before::Well, |entry| entry.before);
                waves.find(
                    &sidecar.key,
                    key,
                    &Flight { written: true, before, ..self.context.rollouts.flight(&self.workload) },
                );
            }
        }
    }

    /// Whether a plan changes nothing for a `LogSidecar`, though it may for another.
    fn has_what_it_gets(&self, plan: &Plan, sidecar: &Sidecar) -> bool {
        let entry =
            |ledger: Option<&Ledger>| ledger.and_then(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).cloned());
        entry(self.ledger).is_some() && entry(self.ledger) == entry(plan.ledger.as_ref())
    }

    /// It cannot be tried first.
    pub fn pass_over(&self) {
        let mut waves = self.context.rollouts.waves();
        self.known.iter().for_each(|sidecar| waves.pass_over(&sidecar.key, &self.workload.key));
    }
}
