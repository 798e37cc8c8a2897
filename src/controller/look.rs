//! One look at a workload: plan, and carry the plan out if it is its turn; what comes of it is noted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    admission::Admission,
    apply::{self, Mode, apply},
    cache::Sidecar,
    configs,
    context::Context,
    follow::poll,
    memory::{Contest, Memory, REFUSED_FOR, refused_for},
    own_config,
    queue::Next,
    workload::Workload,
};
use crate::{
    api::{LEDGER_ANNOTATION, OPT_OUT_LABEL, Reason},
    plan::{self, Claim, ConfigMap, Effect, Plan, Refusal, Stance, Subject},
    workload::{key::Key, ledger::Ledger, normal::fingerprint},
};

/// Everything that one look at a workload knows.
pub(super) struct Look<'a> {
    pub context: &'a Arc<Context>,
    pub known: &'a [Arc<Sidecar>],
    pub workload: Arc<Workload>,
    /// The ledger that is on the workload.
    pub written: Option<&'a Ledger>,
    /// The ledger that counts: one that is lost may have been recovered, and what policies have put in is ours in it.
    pub ledger: Option<&'a Ledger>,
    pub claims: Vec<Claim<'a>>,
    /// The LogSidecars whose rollout has failed here, and that get back what was here before.
    pub restoring: BTreeSet<&'a str>,
    /// What there is to tell of a `LogSidecar` instead of how the pods are doing.
    pub told: BTreeMap<&'a str, Refusal>,
}

impl Look<'_> {
    pub async fn run(mut self) -> Next {
        let template = self.workload.template();
        // Each time round there is one claim less.
        for _ in 0..=self.claims.len() {
            let plan = self.plan(&self.workload, &template, self.ledger);
            let same_ledger = plan.ledger.as_ref() == self.written;
            if plan.template == template && same_ledger {
                return self.settled(&plan);
            }
            let state = state(&template, &plan);
            if let Some(next) = self.recall(&plan, same_ledger, &state) {
                return next;
            }
            // The ledger says that we put in just this, and it is there, but looks otherwise: either somebody changed it, or an
            // admission plugin rewrites it and would again. A dry-run tells.
            if same_ledger && is_complete(self.ledger, &template) {
                match apply(&self.context.client, &self.workload, &plan, Mode::DryRun).await {
                    Ok(answer) if answer.template() == template => {
                        self.remember(Memory::Settled(state));
                        return self.settled(&plan);
                    }
                    Ok(_) => {}
                    Err(error) => return self.failed(&plan, error, state),
                }
            }
            // What we put in, and not the whole template, which whoever takes it back may change each time.
            let contest = plan.ledger.as_ref().and_then(Ledger::text).unwrap_or_default();
            let pause = self.context.contests().get(&self.workload.uid).and_then(|before| before.pause(&contest));
            if let Some(pause) = pause {
                return self.contested(&plan, pause);
            }
            match self.admit(&template, &plan).await {
                Admission::Go => return self.write(&template, &plan, state, &contest).await,
                Admission::Again => {}
                // Another worker knows a newer spec already, which puts the workload into the queue again.
                Admission::Stale => return Next::Backoff,
                Admission::Wait => {
                    // What was allowed earlier may have been written although no answer came; if not, its pods are soon seen to be
                    // well, and the place is given back.
                    self.rollout_written();
                    self.tend_canaries(&plan);
                    self.note_all(&plan, &self.workload, None, false);
                    return self.rest();
                }
            }
        }
        Next::Backoff
    }

    async fn write(&self, template: &Value, plan: &Plan, state: String, contest: &str) -> Next {
        match self.apply(plan).await {
            Ok(answer) => {
                self.context.metrics.wrote("written");
                let writer = self.workload.last_writer.clone();
                self.context.contests().entry(answer.uid.clone()).or_default().wrote(contest, writer);
                self.written(plan, answer)
            }
            Err(error) => {
                if matches!(error, apply::Error::Refused(_)) {
                    self.without_newcomers(template).await;
                }
                self.failed(plan, error, state)
            }
        }
    }

    /// Writes the configs that the new template refers to, and then the template.
    async fn apply(&self, plan: &Plan) -> Result<Workload, apply::Error> {
        for (claim, verdict) in self.claims.iter().zip(&plan.verdicts) {
            let (Stance::Apply(spec), Ok(Effect::Applied(_))) = (claim.stance, &verdict.result) else { continue };
            let Some(sidecar) = self.known.iter().find(|sidecar| Some(sidecar.uid.as_str()) == claim.uid) else { continue };
            if let Some(config) = ConfigMap::of(claim.name, spec, &self.context.images).ok().flatten() {
                configs::ensure(self.context, sidecar, &config).await?;
            }
            own_config::is_there(self.context, &sidecar.key.namespace, spec).await?;
        }
        apply(&self.context.client, &self.workload, plan, Mode::Write).await
    }

    /// Everything is as planned.
    fn settled(&self, plan: &Plan) -> Next {
        self.rollout_written();
        self.tend_canaries(plan);
        self.note_all(plan, &self.workload, None, true);
        self.rest()
    }

    /// When to look again.
    fn rest(&self) -> Next {
        let is_blocked = self.told.values().any(|told| told.reason == Reason::Blocked);
        // Nothing tells when there is room in a quota.
        let next = if is_blocked { Next::After(REFUSED_FOR) } else { Next::Await };
        next.within(poll(self.context, &self.workload))
    }

    /// What was allowed is in the workload, whether the answer has come or not.
    fn rollout_written(&self) {
        self.context.rollouts.waves().update_all(&self.workload.key, |flight| flight.written = true);
    }

    /// Somebody takes back what we put in: he is named, and not raced.
    fn contested(&self, plan: &Plan, pause: std::time::Duration) -> Next {
        let contests = self.context.contests();
        let contest = contests.get(&self.workload.uid);
        let opponent = contest.and_then(|contest| contest.opponent(self.workload.last_writer.as_ref()));
        let who = opponent.map_or_else(
            || "somebody who does not show in managedFields".to_owned(),
            |manager| format!("the field manager {manager}"),
        );
        drop(contests);
        let message = format!(
            "{who} takes back what is put in, again and again: make it leave alone what the annotation {LEDGER_ANNOTATION} names, or label the workload {OPT_OUT_LABEL}=false"
        );
        if self.context.contests().get_mut(&self.workload.uid).is_some_and(Contest::is_news) {
            tracing::warn!(workload = %self.workload.key, reason = %Reason::Contested, "{message}");
            for verdict in &plan.verdicts {
                self.context.tell(&self.workload, &verdict.name, Reason::Contested, message.clone());
            }
        }
        self.pass_over();
        self.blame_nobody();
        self.note_all(plan, &self.workload, Some(&Refusal::new(Reason::Contested, message)), false);
        Next::After(pause)
    }

    /// What is under way keeps its place until it is done, and says nothing: somebody takes it back meanwhile.
    fn blame_nobody(&self) {
        let mut waves = self.context.rollouts.waves();
        waves.update_all(&self.workload.key, |flight| (flight.removing, flight.written) = (true, true));
    }

    /// What was allowed has not been done.
    fn abandon(&self) {
        self.context.rollouts.waves().abandon_unwritten(&self.workload.key);
    }

    /// What a newcomer asks for is refused: what the others ask for, above all to be taken out, does not wait for it.
    async fn without_newcomers(&self, template: &Value) {
        let is_in = |claim: &Claim<'_>| self.ledger.is_some_and(|ledger| ledger.entry(claim.name, claim.uid).is_some());
        let others: Vec<Claim<'_>> = self.claims.iter().copied().filter(is_in).collect();
        if others.len() == self.claims.len() {
            return;
        }
        self.abandon();
        let mut rest = Look {
            context: self.context,
            known: self.known,
            workload: self.workload.clone(),
            written: self.written,
            ledger: self.ledger,
            claims: others,
            restoring: self.restoring.clone(),
            told: BTreeMap::new(),
        };
        let plan = rest.plan(&self.workload, template, self.ledger);
        if plan.template == *template && plan.ledger.as_ref() == self.ledger {
            return;
        }
        if !matches!(rest.admit(template, &plan).await, Admission::Go) {
            return;
        }
        match rest.apply(&plan).await {
            Ok(answer) => drop(rest.written(&plan, answer)),
            Err(error) => tracing::debug!(workload = %self.workload.key, "without the newcomers: {error}"),
        }
    }

    fn plan(&self, workload: &Workload, template: &Value, ledger: Option<&Ledger>) -> Plan {
        self.plan_for(workload, template, ledger, &self.claims)
    }

    pub fn plan_for(&self, workload: &Workload, template: &Value, ledger: Option<&Ledger>, claims: &[Claim<'_>]) -> Plan {
        let setting = self.context.setting(workload.key.target.kind);
        let subject = Subject {
            uid: Some(&workload.uid),
            template,
            ledger,
            owned: &workload.owned,
            before: workload.standing.before(),
            setting,
        };
        plan::plan(&subject, claims)
    }

    fn recall(&self, plan: &Plan, same_ledger: bool, state: &str) -> Option<Next> {
        let memories = self.context.memories();
        match memories.get(&self.workload.uid)? {
            Memory::Settled(settled) if same_ledger && settled == state => {
                drop(memories);
                Some(self.settled(plan))
            }
            Memory::Refused(refused, refusal, at) if refused == state && at.elapsed() < refused_for(refusal) => {
                let (refusal, wait) = (refusal.clone(), refused_for(refusal).saturating_sub(at.elapsed()));
                drop(memories);
                self.pass_over();
                self.note_all(plan, &self.workload, Some(&refusal), false);
                Some(Next::After(wait))
            }
            Memory::Settled(_) | Memory::Refused(..) => None,
        }
    }

    fn remember(&self, memory: Memory) {
        self.context.memories().insert(self.workload.uid.clone(), memory);
    }

    fn written(&self, plan: &Plan, answer: Workload) -> Next {
        let template = answer.template();
        let ledger = answer.ledger.as_deref().and_then(|text| Ledger::parse(text).ok());
        let again = self.plan(&answer, &template, ledger.as_ref());
        let dropped = !is_complete(plan.ledger.as_ref(), &template);
        let message = "the API server, or an admission plugin in it, takes out a part of what is put in: see who changes the template on the way";
        let refusal = dropped.then(|| Refusal::new(Reason::Rejected, message));
        if let Some(refusal) = &refusal {
            tracing::warn!(workload = %answer.key, reason = %refusal.reason, "{refusal}");
            self.remember(Memory::Refused(state(&template, &again), refusal.clone(), tokio::time::Instant::now()));
        } else if again.template == template {
            self.context.memories().remove(&answer.uid);
        } else {
            self.remember(Memory::Settled(state(&template, &again)));
        }
        self.rollout_written();
        self.tell(plan);
        self.note_all(plan, &answer, refusal.as_ref(), true);
        let next = Next::Await.within(poll(self.context, &answer));
        self.context.cache.keep_answer(answer);
        if dropped { Next::After(REFUSED_FOR) } else { next }
    }

    fn failed(&self, plan: &Plan, error: apply::Error, state: String) -> Next {
        let key = &self.workload.key;
        self.context.metrics.wrote(match &error {
            apply::Error::Conflict => "conflict",
            apply::Error::Gone => "gone",
            apply::Error::Refused(_) => "refused",
            apply::Error::Timeout | apply::Error::Failed(_) => "failed",
        });
        match error {
            // The watch brings the newer version and with it the next look; the pause is for when it already has.
            apply::Error::Conflict => {
                tracing::debug!(workload = %key, "{error}");
                Next::Backoff
            }
            apply::Error::Gone => {
                tracing::debug!(workload = %key, "{error}");
                self.context.workload_gone(key);
                Next::Await
            }
            apply::Error::Refused(refusal) => {
                tracing::warn!(workload = %key, reason = %refusal.reason, "{refusal}");
                self.abandon();
                self.pass_over();
                self.note_all(plan, &self.workload, Some(&refusal), false);
                let next = Next::After(refused_for(&refusal));
                self.remember(Memory::Refused(state, refusal, tokio::time::Instant::now()));
                next
            }
            apply::Error::Timeout | apply::Error::Failed(_) => {
                tracing::warn!(workload = %key, reason = %Reason::Retrying, "{error}");
                self.note_all(plan, &self.workload, Some(&Refusal::new(Reason::Retrying, error.to_string())), false);
                Next::Backoff
            }
        }
    }
}

/// By what a memory is known again: this plan on this template.
fn state(template: &Value, plan: &Plan) -> String {
    format!("{} {}", fingerprint(template), fingerprint(&plan.template))
}

/// Whether everything that a ledger names is in a template, and native sidecars are what makes them so: an API server that
/// does not know `restartPolicy` drops it, and the application would never start.
pub(super) fn is_complete(ledger: Option<&Ledger>, template: &Value) -> bool {
    let mut items = ledger.into_iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys());
    items.all(|key| {
        let item = key.get(template);
        item.is_some_and(|item| !matches!(key, Key::InitContainer(_)) || item["restartPolicy"] == "Always")
    })
}
