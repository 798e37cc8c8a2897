//! One workload: observe, plan, apply, note the outcome.

use std::sync::Arc;

use serde_json::Value;

use super::{
    apply::{self, Mode, apply},
    cache::Sidecar,
    context::Context,
    memory::{Contest, Memory, REFUSED_FOR},
    queue::Next,
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::{LEDGER_ANNOTATION, OPT_OUT_LABEL, Reason},
    plan::{
        self, Claim, Effect, Evidence, Key, Ledger, Plan, Refusal, Stance, Subject, Verdict, Warning,
        claim::{Known, Labelled, claims},
        fingerprint,
    },
    status::Outcome,
};

/// Brings one workload to what its LogSidecars ask for.
pub(super) async fn reconcile(context: &Arc<Context>, key: &WorkloadKey) -> Next {
    let known = context.cache.sidecars_in(&key.namespace);
    let Some(workload) = context.cache.workload(key) else {
        known.iter().for_each(|sidecar| context.note(sidecar, key, None));
        return Next::Await;
    };
    let all: Vec<Known<'_>> = known.iter().map(|sidecar| sidecar.known()).collect();
    let (written, unreadable) = match workload.ledger.as_deref().map(Ledger::parse).transpose() {
        Ok(ledger) => (ledger, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let ledger = match &written {
        None if unreadable.is_none() => workload.recover(&all),
        None => None,
        Some(written) => workload.take_over(written, &all, context.setting(key.target.kind)),
    };
    let labelled = Labelled { kind: key.target.kind, name: &key.target.name, labels: &workload.labels() };
    let seen = ledger.as_ref().map(|ledger| ledger.seen_from(Some(&workload.uid)));
    let mut claims = claims(labelled, &all, seen.as_ref());
    if let Some(error) = unreadable {
        let message = format!("{error}: correct it, or remove it and what was put in");
        return refuse_all(context, &known, &workload, &claims, &Refusal::new(Reason::LedgerUnreadable, message));
    }
    leave_to_its_controller(&workload, &mut claims);
    let Confirmed { complete } = confirm(context, &workload, &mut claims).await;
    let next = Look { context, known: &known, workload, written: written.as_ref(), ledger: ledger.as_ref(), claims: &claims };
    let next = next.run().await;
    if complete { next } else { Next::Backoff }
}

/// Workloads that another controller renders are its business: it would revert every change. What is to be taken out is.
fn leave_to_its_controller(workload: &Workload, claims: &mut [Claim<'_>]) {
    let wanting = claims.iter_mut().filter(|claim| matches!(claim.stance, Stance::Apply(_)));
    if workload.controller.is_some() {
        wanting.for_each(|claim| claim.stance = Stance::Keep(Reason::ManagedByController));
    }
}

fn refuse_all(context: &Context, known: &[Arc<Sidecar>], workload: &Workload, claims: &[Claim<'_>], refusal: &Refusal) -> Next {
    for sidecar in known {
        let claimed = claims.iter().any(|claim| claim.uid == Some(sidecar.uid.as_str()));
        let outcome = Outcome { reason: refusal.reason, message: refusal.message.clone(), injected: false };
        context.note(sidecar, &workload.key, claimed.then_some(outcome));
    }
    Next::Await
}

/// Whether every claim could be confirmed.
struct Confirmed {
    complete: bool,
}

/// Absence is not evidence: a claim to take something out because of what the cache does *not* show is confirmed by asking
/// the API server, and is kept back until it is.
async fn confirm(context: &Context, workload: &Workload, claims: &mut [Claim<'_>]) -> Confirmed {
    let mut confirmed = Confirmed { complete: true };
    for claim in claims {
        let Stance::Remove(evidence) = claim.stance else { continue };
        let holds = match evidence {
            Evidence::Deleting | Evidence::OptedOut => true,
            Evidence::Unmatched => context.is_current(&workload.key.namespace, claim.name).await,
            Evidence::Missing => context.is_gone(&workload.key.namespace, claim.name, claim.uid).await,
        };
        if !holds {
            claim.stance = Stance::Keep(Reason::Pending);
            confirmed.complete = false;
        }
    }
    confirmed
}

/// Everything that one look at a workload knows.
struct Look<'a> {
    context: &'a Arc<Context>,
    known: &'a [Arc<Sidecar>],
    workload: Arc<Workload>,
    /// The ledger that is on the workload.
    written: Option<&'a Ledger>,
    /// The ledger that counts: one that is lost may have been recovered, and what policies have put in is ours in it.
    ledger: Option<&'a Ledger>,
    claims: &'a [Claim<'a>],
}

impl Look<'_> {
    async fn run(self) -> Next {
        let template = self.workload.template();
        let plan = self.plan(&self.workload, &template, self.ledger);
        let same_ledger = plan.ledger.as_ref() == self.written;
        if plan.template == template && same_ledger {
            self.note_all(&plan, &self.workload, None);
            return Next::Await;
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
                    self.note_all(&plan, &self.workload, None);
                    return Next::Await;
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
        match apply(&self.context.client, &self.workload, &plan, Mode::Write).await {
            Ok(answer) => {
                let writer = self.workload.last_writer.clone();
                self.context.contests().entry(answer.uid.clone()).or_default().wrote(&contest, writer);
                self.written(&plan, answer)
            }
            Err(error) => {
                if matches!(error, apply::Error::Refused(_)) {
                    self.without_newcomers(&template).await;
                }
                self.failed(&plan, error, state)
            }
        }
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
        self.note_all(plan, &self.workload, Some(&Refusal::new(Reason::Contested, message)));
        Next::After(pause)
    }

    /// What a newcomer asks for is refused: what the others ask for, above all to be taken out, does not wait for it.
    async fn without_newcomers(&self, template: &Value) {
        let is_in = |claim: &Claim<'_>| self.ledger.is_some_and(|ledger| ledger.entry(claim.name, claim.uid).is_some());
        let others: Vec<Claim<'_>> = self.claims.iter().copied().filter(is_in).collect();
        if others.len() == self.claims.len() {
            return;
        }
        let rest = Look {
            context: self.context,
            known: self.known,
            workload: self.workload.clone(),
            written: self.written,
            ledger: self.ledger,
            claims: &others,
        };
        let plan = rest.plan(&self.workload, template, self.ledger);
        if plan.template == *template && plan.ledger.as_ref() == self.ledger {
            return;
        }
        match apply(&self.context.client, &self.workload, &plan, Mode::Write).await {
            Ok(answer) => drop(rest.written(&plan, answer)),
            Err(error) => tracing::debug!(workload = %self.workload.key, "without the newcomers: {error}"),
        }
    }

    fn plan(&self, workload: &Workload, template: &Value, ledger: Option<&Ledger>) -> Plan {
        let setting = self.context.setting(workload.key.target.kind);
        let subject = Subject { uid: Some(&workload.uid), template, ledger, owned: &workload.owned, setting };
        plan::plan(&subject, self.claims)
    }

    fn recall(&self, plan: &Plan, same_ledger: bool, state: &str) -> Option<Next> {
        let memories = self.context.memories();
        match memories.get(&self.workload.uid)? {
            Memory::Settled(settled) if same_ledger && settled == state => {
                drop(memories);
                self.note_all(plan, &self.workload, None);
                Some(Next::Await)
            }
            Memory::Refused(refused, refusal, at) if refused == state && at.elapsed() < REFUSED_FOR => {
                let (refusal, wait) = (refusal.clone(), REFUSED_FOR.saturating_sub(at.elapsed()));
                drop(memories);
                self.note_all(plan, &self.workload, Some(&refusal));
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
        self.tell(plan);
        self.note_all(plan, &answer, refusal.as_ref());
        self.context.cache.keep_answer(answer);
        if dropped { Next::After(REFUSED_FOR) } else { Next::Await }
    }

    fn failed(&self, plan: &Plan, error: apply::Error, state: String) -> Next {
        let key = &self.workload.key;
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
                self.note_all(plan, &self.workload, Some(&refusal));
                self.remember(Memory::Refused(state, refusal, tokio::time::Instant::now()));
                Next::After(REFUSED_FOR)
            }
            apply::Error::Timeout | apply::Error::Failed(_) => {
                tracing::warn!(workload = %key, reason = %Reason::Retrying, "{error}");
                self.note_all(plan, &self.workload, Some(&Refusal::new(Reason::Retrying, error.to_string())));
                Next::Backoff
            }
        }
    }

    /// Notes the outcome for every `LogSidecar` of the namespace; `stopped` if the plan could not be carried out.
    fn note_all(&self, plan: &Plan, workload: &Workload, stopped: Option<&Refusal>) {
        for sidecar in self.known {
            let verdict = plan.verdicts.iter().find(|verdict| verdict.uid.as_deref() == Some(sidecar.uid.as_str()));
            let ledger = if stopped.is_some() { self.ledger } else { plan.ledger.as_ref() };
            let injected = ledger.is_some_and(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).is_some());
            // A patch that is refused for what one asks for says nothing about another that has what it asks for already.
            let entry = |ledger: Option<&Ledger>| {
                ledger.and_then(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).cloned())
            };
            let untouched = injected && entry(self.ledger) == entry(plan.ledger.as_ref());
            let stopped = stopped.filter(|refusal| refusal.reason != Reason::Rejected || !untouched);
            let outcome = verdict.and_then(|verdict| outcome(verdict, workload, injected, stopped));
            self.context.note(sidecar, &workload.key, outcome);
        }
    }

    /// One Event and one line of log for each `LogSidecar` whose items changed.
    fn tell(&self, plan: &Plan) {
        if self.written.is_some() && self.written != self.ledger {
            tracing::info!(workload = %self.workload.key, "took over what a policy has put in");
        }
        let items = |ledger: Option<&Ledger>, verdict: &Verdict| {
            ledger.and_then(|ledger| ledger.entry(&verdict.name, verdict.uid.as_deref())).map(|entry| entry.items.clone())
        };
        let template = self.workload.template();
        for verdict in &plan.verdicts {
            let (reason, note) = match (items(self.ledger, verdict), items(plan.ledger.as_ref(), verdict)) {
                (None, Some(_)) => (Reason::Injected, String::new()),
                (Some(_), None) if matches!(verdict.result, Ok(Effect::Removed)) => (Reason::Removed, String::new()),
                (Some(_), None) => (Reason::HandedOver, String::new()),
                (Some(before), Some(after)) if before != after => (Reason::Updated, String::new()),
                (Some(_), Some(items)) => {
                    let drifted = items.keys().filter(|key| key.get(&template) != key.get(&plan.template));
                    let drifted: Vec<String> = drifted.map(Key::to_string).collect();
                    if drifted.is_empty() {
                        continue;
                    }
                    (Reason::Updated, format!("somebody had changed or removed it, put back: {}", drifted.join(", ")))
                }
                (None, None) => continue,
            };
            tracing::info!(workload = %self.workload.key, sidecar = verdict.name, %reason, note, "patched");
            self.context.tell(&self.workload, &verdict.name, reason, note);
        }
        if !plan.handed_over.is_empty() {
            let keys: Vec<String> = plan.handed_over.iter().map(Key::to_string).collect();
            let note = format!("left in the template, as somebody else has changed or uses it: {}", keys.join(", "));
            tracing::info!(workload = %self.workload.key, reason = %Reason::HandedOver, "{note}");
            self.context.tell(&self.workload, "", Reason::HandedOver, note);
        }
    }
}

/// By what a memory is known again: this plan on this template.
fn state(template: &Value, plan: &Plan) -> String {
    format!("{} {}", fingerprint(template), fingerprint(&plan.template))
}

/// Whether everything that a ledger names is in a template, and native sidecars are what makes them so: an API server that
/// does not know `restartPolicy` drops it, and the application would never start.
fn is_complete(ledger: Option<&Ledger>, template: &Value) -> bool {
    let mut items = ledger.into_iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys());
    items.all(|key| {
        let item = key.get(template);
        item.is_some_and(|item| !matches!(key, Key::InitContainer(_)) || item["restartPolicy"] == "Always")
    })
}

fn outcome(verdict: &Verdict, workload: &Workload, injected: bool, stopped: Option<&Refusal>) -> Option<Outcome> {
    let told = |refusal: &Refusal| Outcome { reason: refusal.reason, message: refusal.message.clone(), injected };
    match (&verdict.result, stopped) {
        (Err(refusal), _) | (Ok(Effect::Applied(_)), Some(refusal)) => Some(told(refusal)),
        (Ok(Effect::Applied(warnings)), None) => {
            let warnings: Vec<String> = warnings.iter().map(Warning::to_string).collect();
            Some(Outcome { reason: workload.rollout, message: warnings.join("; "), injected })
        }
        (Ok(Effect::Kept(Reason::ManagedByController)), _) => {
            let owner = workload.controller.as_deref().unwrap_or("another controller");
            let message = format!("{owner} renders this workload and would revert the change: configure the sidecar there");
            Some(Outcome { reason: Reason::ManagedByController, message, injected })
        }
        (Ok(Effect::Kept(reason)), _) => Some(Outcome::new(*reason, injected)),
        (Ok(Effect::Removed), Some(refusal)) if injected => Some(told(refusal)),
        (Ok(Effect::Removed | Effect::Orphaned), _) => None,
    }
}
