//! One workload: observe, plan, apply, note the outcome.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    apply::{self, Mode, apply},
    cache::{Sidecar, SidecarKey},
    context::Context,
    memory::{Contest, Memory, REFUSED_FOR},
    queue::Next,
    recovery::{self, Recovery, Way},
    rollout,
    workload::{Workload, WorkloadKey},
};
use crate::{
    api::{LEDGER_ANNOTATION, OPT_OUT_LABEL, Reason, RolloutMode},
    plan::{
        self, Before, Claim, Effect, Evidence, Key, Ledger, Plan, Refusal, Setting, Stance, Subject, Verdict, Warning,
        claim::{Known, Labelled, claims},
        fingerprint,
    },
    preflight,
    rollout::{
        progress::Progress,
        settings::Settings,
        waves::{Flight, Request, Wait},
    },
    status::Outcome,
};

/// Brings one workload to what its LogSidecars ask for, as far as it is its turn.
pub(super) async fn reconcile(context: &Arc<Context>, key: &WorkloadKey) -> Next {
    let next = look_at(context, key).await;
    let woken = {
        let mut waves = context.rollouts.waves();
        waves.looked_at(key);
        waves.wake()
    };
    woken.into_iter().for_each(|key| context.workloads.add(key));
    next
}

async fn look_at(context: &Arc<Context>, key: &WorkloadKey) -> Next {
    let known = context.cache.sidecars_in(&key.namespace);
    let Some(workload) = context.cache.workload(key) else {
        known.iter().for_each(|sidecar| context.note(sidecar, key, None));
        return Next::Await;
    };
    rollout::revise(context, &known);
    let again = rollout::follow(context, &workload, &known).await;
    let all: Vec<Known<'_>> = known.iter().map(|sidecar| sidecar.known()).collect();
    let (ledger, unreadable) = match workload.ledger.as_deref().map(Ledger::parse).transpose() {
        Ok(ledger) => (ledger.or_else(|| workload.recover(&all)), None),
        Err(error) => (None, Some(error.to_string())),
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
    let halts = recovery::at(context, &workload, &known).await;
    let mut look = Look {
        context,
        known: &known,
        workload: workload.clone(),
        ledger: ledger.as_ref(),
        claims,
        restoring: BTreeSet::new(),
        told: BTreeMap::new(),
    };
    halts.iter().for_each(|halt| look.recover_from(halt));
    let next = look.run().await;
    let recorded = halts.iter().all(|halt| halt.way != Way::NotRecorded);
    if complete && recorded { next.within(again) } else { Next::Backoff }
}

/// Workloads that another controller renders are its business: it would revert every change. What is to be taken out is.
pub(super) fn leave_to_its_controller(workload: &Workload, claims: &mut [Claim<'_>]) {
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
            Evidence::Deleting | Evidence::OptedOut | Evidence::Failed => true,
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
    ledger: Option<&'a Ledger>,
    claims: Vec<Claim<'a>>,
    /// The LogSidecars whose rollout has failed here, and that get back what was here before.
    restoring: BTreeSet<&'a str>,
    /// What there is to tell of a `LogSidecar` instead of how the pods are doing.
    told: BTreeMap<&'a str, Refusal>,
}

/// Whether a plan may be carried out.
enum Admission {
    /// Now.
    Go,
    /// Not as it is: some claims are kept back, and there has to be another plan.
    Again,
    /// It is not its turn.
    Wait,
}

impl<'a> Look<'a> {
    async fn run(mut self) -> Next {
        let template = self.workload.template();
        loop {
            let plan = self.plan(&self.workload, &template, self.ledger);
            // One that was recovered is not on the workload.
            let same_ledger = plan.ledger.as_ref() == self.ledger.filter(|_| self.workload.ledger.is_some());
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
                // Every time there is one claim less.
                Admission::Again => {}
                Admission::Wait => {
                    self.tend_canaries(&plan, false);
                    self.note_all(&plan, &self.workload, None, false);
                    return Next::Await;
                }
            }
        }
    }

    async fn write(&self, template: &Value, plan: &Plan, state: String, contest: &str) -> Next {
        match apply(&self.context.client, &self.workload, plan, Mode::Write).await {
            Ok(answer) => {
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

    /// Everything is as planned.
    fn settled(&self, plan: &Plan) -> Next {
        self.rollout_written();
        self.tend_canaries(plan, true);
        self.note_all(plan, &self.workload, None, true);
        let is_under_way = self.context.rollouts.waves().flights(&self.workload.key).any(|(_, flight)| flight.counts);
        let is_blocked = self.told.values().any(|told| told.reason == Reason::Blocked);
        if is_under_way {
            Next::After(rollout::PROBE)
        } else if is_blocked {
            // Nothing tells when there is room in a quota.
            Next::After(REFUSED_FOR)
        } else {
            Next::Await
        }
    }

    /// What was allowed is in the workload, whether the answer has come or not.
    fn rollout_written(&self) {
        let key = &self.workload.key;
        let mut waves = self.context.rollouts.waves();
        let begun: Vec<SidecarKey> =
            waves.flights(key).filter(|(_, flight)| !flight.written).map(|(sidecar, _)| sidecar.clone()).collect();
        begun.iter().for_each(|sidecar| waves.update(sidecar, key, |flight| flight.written = true));
    }

    /// A canary that has what is asked for is followed like one that was just given it; one that cannot be served, or would say
    /// nothing, is passed over.
    fn tend_canaries(&self, plan: &Plan, is_settled: bool) {
        let key = &self.workload.key;
        let mut waves = self.context.rollouts.waves();
        for sidecar in self.known.iter().filter(|sidecar| waves.is_due_canary(&sidecar.key, key)).collect::<Vec<_>>() {
            let verdict = plan.verdicts.iter().find(|verdict| verdict.uid.as_deref() == Some(sidecar.uid.as_str()));
            let is_served = verdict.is_some_and(|verdict| matches!(verdict.result, Ok(Effect::Applied(_))));
            let is_telling = self.workload.standing.pods > 0 && !matches!(self.workload.standing.progress, Progress::Held(_));
            if !is_served || !is_telling {
                waves.pass_over(&sidecar.key, key);
            } else if is_settled {
                let entry = rollout::entry(&self.workload, sidecar);
                let before = entry.map_or(Before::Well, |entry| entry.before);
                waves.find(
                    &sidecar.key,
                    key,
                    &Flight { written: true, before, ..self.context.rollouts.flight(&self.workload) },
                );
            }
        }
    }

    /// Whose rollout has failed here: what it had before comes back, or all stays as it is.
    fn recover_from(&mut self, halt: &'a Recovery) {
        let is_its = |claim: &&mut Claim<'_>| claim.uid == Some(halt.uid.as_str()) && matches!(claim.stance, Stance::Apply(_));
        let Some(claim) = self.claims.iter_mut().find(is_its) else { return };
        let cause = &halt.cause;
        let (reason, message) = match &halt.way {
            Way::Stay => (Reason::RolloutFailed, cause.clone()),
            Way::NotRecorded => {
                claim.stance = Stance::Keep(Reason::Halted);
                (Reason::RolloutFailed, cause.clone())
            }
            Way::Unknown => {
                claim.stance = Stance::Keep(Reason::Halted);
                (Reason::RolloutFailed, format!("{cause}; what was here before is not known any more, and not given back"))
            }
            Way::Nothing => {
                claim.stance = Stance::Remove(Evidence::Failed);
                self.restoring.insert(claim.name);
                (Reason::RolledBack, format!("{cause}; taken out again"))
            }
            Way::Back(spec, revision) => {
                (claim.stance, claim.revision) = (Stance::Apply(spec), Some(revision.as_str()));
                self.restoring.insert(claim.name);
                (Reason::RolledBack, format!("{cause}; given back what was here before"))
            }
            Way::Done => {
                claim.stance = Stance::Keep(Reason::RolledBack);
                (Reason::RolledBack, format!("{cause}; given back what was here before"))
            }
        };
        self.told.insert(claim.name, Refusal::new(reason, message));
    }

    /// The claims that a plan changes something for, by their index.
    fn movers(&self, template: &Value, plan: &Plan) -> Vec<usize> {
        let items = |ledger: Option<&Ledger>, claim: &Claim<'_>| {
            ledger.and_then(|ledger| ledger.entry(claim.name, claim.uid)).map(|entry| entry.items.clone()).unwrap_or_default()
        };
        let moves = |claim: &Claim<'_>| {
            let (before, after) = (items(self.ledger, claim), items(plan.ledger.as_ref(), claim));
            before != after || after.keys().any(|key| key.get(template) != key.get(&plan.template))
        };
        let active = |claim: &Claim<'_>| matches!(claim.stance, Stance::Apply(_) | Stance::Remove(_));
        let all: Vec<usize> = (0..self.claims.len()).filter(|index| active(&self.claims[*index])).collect();
        let moving: Vec<usize> = all.iter().copied().filter(|index| moves(&self.claims[*index])).collect();
        if moving.is_empty() { all } else { moving }
    }

    fn sidecar(&self, claim: &Claim<'_>) -> Option<&'a Arc<Sidecar>> {
        self.known.iter().find(|sidecar| claim.uid == Some(sidecar.uid.as_str()))
    }

    /// Keeps a claim back, and says why.
    fn hold_back(&mut self, index: usize, refusal: Refusal) {
        let claim = &mut self.claims[index];
        claim.stance = Stance::Keep(refusal.reason);
        self.told.insert(claim.name, refusal);
    }

    /// Whether a plan may be carried out now. Whoever only gets another ledger does not replace his pods.
    async fn admit(&mut self, template: &Value, plan: &Plan) -> Admission {
        if plan.template == *template {
            return Admission::Go;
        }
        let movers = self.movers(template, plan);
        if let Some((index, refusal)) = self.blocked(&movers, template, plan).await {
            self.hold_back(index, refusal);
            return Admission::Again;
        }
        if self.only_plans(&movers, template, plan) {
            return Admission::Again;
        }
        for index in &movers {
            if let (Stance::Apply(_), Some(sidecar)) = (self.claims[*index].stance, self.sidecar(&self.claims[*index])) {
                self.context.revisions.keep(&self.context.client, sidecar, &self.context.images).await;
            }
        }
        self.ask(&movers)
    }

    /// Whose change the new pods would not survive, and why. What is given back after a failure was there before.
    async fn blocked(&self, movers: &[usize], template: &Value, plan: &Plan) -> Option<(usize, Refusal)> {
        let applies = |index: &&usize| {
            let claim = &self.claims[**index];
            matches!(claim.stance, Stance::Apply(_)) && !self.restoring.contains(claim.name)
        };
        let applying: Vec<usize> = movers.iter().filter(applies).copied().collect();
        let last = *applying.last()?;
        let surroundings = self.context.neighbourhood.of(&self.context.client, &self.workload.key.namespace).await.ok()?;
        let blockers = |after: &Value| preflight::blockers(&self.workload.change(template, after), &surroundings);
        let all = blockers(&plan.template).into_iter().next()?;
        // Of several, the one that would be blocked alone; if it is only too much together, the newest.
        let alone = |index: usize| {
            let mut claims = self.claims.clone();
            for other in applying.iter().filter(|other| **other != index) {
                claims[*other].stance = Stance::Keep(Reason::Pending);
            }
            blockers(&self.plan_for(&self.workload, template, self.ledger, &claims).template).into_iter().next()
        };
        let guilty = applying.iter().find_map(|index| Some((*index, alone(*index)?)));
        Some(guilty.unwrap_or((last, all)))
    }

    /// Keeps back whoever only wants to know what would be changed.
    fn only_plans(&mut self, movers: &[usize], template: &Value, plan: &Plan) -> bool {
        let mut any = false;
        for index in movers {
            let claim = self.claims[*index];
            let plans = |sidecar: &&Arc<Sidecar>| {
                let rollout = sidecar.spec.as_ref().ok().and_then(|spec| spec.rollout.as_ref());
                Settings::of(rollout).mode == RolloutMode::Plan
            };
            // A deletion takes out what was put in, whatever else was wanted.
            if !matches!(claim.stance, Stance::Remove(Evidence::Deleting))
                && self.sidecar(&claim).is_some_and(|sidecar| plans(&sidecar))
            {
                let message = summary(template, plan);
                self.hold_back(*index, Refusal::new(Reason::Planned, message));
                any = true;
            }
        }
        any
    }

    fn ask(&mut self, movers: &[usize]) -> Admission {
        let (key, standing) = (&self.workload.key, &self.workload.standing);
        let requests: Vec<Request<SidecarKey>> = movers
            .iter()
            .map(|index| {
                let claim = &self.claims[*index];
                let restoring = self.restoring.contains(claim.name);
                let removing = restoring || matches!(claim.stance, Stance::Remove(_));
                Request {
                    sidecar: SidecarKey { namespace: key.namespace.clone(), name: claim.name.to_owned() },
                    removing,
                    at_once: removing && (restoring || standing.progress != Progress::Done),
                }
            })
            .collect();
        let flight = self.context.rollouts.flight(&self.workload);
        let candidates = |sidecar: &SidecarKey| {
            let sidecar = self.context.cache.sidecar(sidecar);
            sidecar.map(|sidecar| rollout::candidates(self.context, &sidecar)).unwrap_or_default()
        };
        let answer = self.context.rollouts.waves().ask(key, &requests, &flight, candidates);
        let Err(waits) = answer else { return Admission::Go };
        let is_taken_out =
            requests.iter().any(|request| request.removing && !waits.iter().any(|(who, _)| *who == request.sidecar));
        let is_halted = waits.iter().any(|(_, wait)| matches!(wait, Wait::Halted(_)));
        for (at, request) in requests.iter().enumerate() {
            let index = movers[at];
            let wait = waits.iter().find(|(who, _)| *who == request.sidecar).map(|(_, wait)| wait);
            match wait {
                Some(Wait::Halted(halt)) => {
                    let message = format!("left as it is: the rollout was halted at {}: {}", halt.at.target, halt.cause);
                    self.hold_back(index, Refusal::new(Reason::Halted, message));
                }
                // What is taken out, and what is not halted, does not wait for the rest. What it waits for changes with time: status
                // has the words.
                Some(_) if is_taken_out && !request.removing => self.hold_back(index, Refusal::new(Reason::Queued, "")),
                Some(_) => drop(self.told.insert(self.claims[index].name, Refusal::new(Reason::Queued, ""))),
                None if is_halted || is_taken_out => {}
                None => {
                    let message = "waits for its turn with another LogSidecar, so that its pods are replaced only once";
                    self.told.insert(self.claims[index].name, Refusal::new(Reason::Queued, message));
                }
            }
        }
        if is_halted || is_taken_out { Admission::Again } else { Admission::Wait }
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
        self.note_all(plan, &self.workload, Some(&Refusal::new(Reason::Contested, message)), false);
        Next::After(pause)
    }

    /// It cannot be tried first.
    fn pass_over(&self) {
        let mut waves = self.context.rollouts.waves();
        self.known.iter().for_each(|sidecar| waves.pass_over(&sidecar.key, &self.workload.key));
    }

    /// What was allowed has not been done.
    fn abandon(&self) {
        let mut waves = self.context.rollouts.waves();
        let begun = waves.flights(&self.workload.key).filter(|(_, flight)| !flight.written);
        let begun: Vec<SidecarKey> = begun.map(|(sidecar, _)| sidecar.clone()).collect();
        begun.iter().for_each(|sidecar| waves.abandon(sidecar, &self.workload.key));
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
        match apply(&self.context.client, &self.workload, &plan, Mode::Write).await {
            Ok(answer) => drop(rest.written(&plan, answer)),
            Err(error) => tracing::debug!(workload = %self.workload.key, "without the newcomers: {error}"),
        }
    }

    fn plan(&self, workload: &Workload, template: &Value, ledger: Option<&Ledger>) -> Plan {
        self.plan_for(workload, template, ledger, &self.claims)
    }

    fn plan_for(&self, workload: &Workload, template: &Value, ledger: Option<&Ledger>, claims: &[Claim<'_>]) -> Plan {
        let setting = Setting {
            kind: workload.key.target.kind,
            images: &self.context.images,
            native_sidecars: self.context.native_sidecars,
        };
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
            Memory::Refused(refused, refusal, at) if refused == state && at.elapsed() < REFUSED_FOR => {
                let (refusal, wait) = (refusal.clone(), REFUSED_FOR.saturating_sub(at.elapsed()));
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
        self.context.cache.keep_answer(answer);
        // The watch tells of most of what happens now, but not of how the sidecars are doing.
        if dropped { Next::After(REFUSED_FOR) } else { Next::After(rollout::PROBE) }
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
                self.abandon();
                self.pass_over();
                self.note_all(plan, &self.workload, Some(&refusal), false);
                self.remember(Memory::Refused(state, refusal, tokio::time::Instant::now()));
                Next::After(REFUSED_FOR)
            }
            apply::Error::Timeout | apply::Error::Failed(_) => {
                tracing::warn!(workload = %key, reason = %Reason::Retrying, "{error}");
                self.note_all(plan, &self.workload, Some(&Refusal::new(Reason::Retrying, error.to_string())), false);
                Next::Backoff
            }
        }
    }

    /// Notes the outcome for every `LogSidecar` of the namespace; `stopped` if the plan could not be carried out.
    fn note_all(&self, plan: &Plan, workload: &Workload, stopped: Option<&Refusal>, is_done: bool) {
        for sidecar in self.known {
            let verdict = plan.verdicts.iter().find(|verdict| verdict.uid.as_deref() == Some(sidecar.uid.as_str()));
            let ledger = if is_done && stopped.is_none() { plan.ledger.as_ref() } else { self.ledger };
            let injected = ledger.is_some_and(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).is_some());
            // A patch that is refused for what one asks for says nothing about another that has what it asks for already.
            let entry = |ledger: Option<&Ledger>| {
                ledger.and_then(|ledger| ledger.entry(&sidecar.key.name, Some(&sidecar.uid)).cloned())
            };
            let untouched = injected && entry(self.ledger) == entry(plan.ledger.as_ref());
            let stopped = stopped.filter(|refusal| refusal.reason != Reason::Rejected || !untouched);
            let is_soaking = self.context.rollouts.waves().flights(&workload.key).any(|(key, _)| *key == sidecar.key);
            let view = View { workload, injected, is_soaking, told: self.told.get(sidecar.key.name.as_str()) };
            let outcome = verdict.and_then(|verdict| outcome(verdict, &view, stopped));
            self.context.note(sidecar, &workload.key, outcome);
        }
    }

    /// One Event and one line of log for each `LogSidecar` whose items changed.
    fn tell(&self, plan: &Plan) {
        let items = |ledger: Option<&Ledger>, verdict: &Verdict| {
            ledger.and_then(|ledger| ledger.entry(&verdict.name, verdict.uid.as_deref())).map(|entry| entry.items.clone())
        };
        let template = self.workload.template();
        for verdict in &plan.verdicts {
            let restored = self.told.get(verdict.name.as_str()).filter(|_| self.restoring.contains(verdict.name.as_str()));
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
            let (reason, note) = restored.map_or((reason, note), |told| (told.reason, told.message.clone()));
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
pub(super) fn is_complete(ledger: Option<&Ledger>, template: &Value) -> bool {
    let mut items = ledger.into_iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys());
    items.all(|key| {
        let item = key.get(template);
        item.is_some_and(|item| !matches!(key, Key::InitContainer(_)) || item["restartPolicy"] == "Always")
    })
}

/// What a workload looks like to one `LogSidecar`.
pub(super) struct View<'a> {
    pub workload: &'a Workload,
    pub injected: bool,
    /// Whether it is under way.
    pub is_soaking: bool,
    /// What there is to tell instead of how the pods are doing.
    pub told: Option<&'a Refusal>,
}

pub(super) fn outcome(verdict: &Verdict, view: &View<'_>, stopped: Option<&Refusal>) -> Option<Outcome> {
    let View { workload, injected, is_soaking, told } = *view;
    let tell = |refusal: &Refusal| Outcome { reason: refusal.reason, message: refusal.message.clone(), injected };
    match (&verdict.result, stopped, told) {
        (Err(refusal), _, _) | (Ok(Effect::Applied(_)), Some(refusal), _) => Some(tell(refusal)),
        (Ok(Effect::Kept(Reason::ManagedByController)), _, _) => {
            let owner = workload.controller.as_deref().unwrap_or("another controller");
            let message = format!("{owner} renders this workload and would revert the change: configure the sidecar there");
            Some(Outcome { reason: Reason::ManagedByController, message, injected })
        }
        (Ok(Effect::Applied(_) | Effect::Kept(_)), _, Some(told)) => Some(tell(told)),
        (Ok(Effect::Applied(warnings)), None, None) => {
            let reason = match workload.standing.reason() {
                Reason::Available if is_soaking && workload.standing.pods > 0 => Reason::Soaking,
                reason => reason,
            };
            let told = Some(workload.standing.told()).filter(|told| !told.is_empty());
            let messages: Vec<String> = told.into_iter().chain(warnings.iter().map(Warning::to_string)).collect();
            Some(Outcome { reason, message: messages.join("; "), injected })
        }
        (Ok(Effect::Kept(reason)), _, None) => Some(Outcome::new(*reason, injected)),
        (Ok(Effect::Removed), Some(refusal), _) if injected => Some(tell(refusal)),
        (Ok(Effect::Removed), None, Some(told)) if injected || told.reason == Reason::RolledBack => Some(tell(told)),
        (Ok(Effect::Removed | Effect::Orphaned), _, _) => None,
    }
}

/// What a plan would change, for people.
pub(super) fn summary(template: &Value, plan: &Plan) -> String {
    let keys = |ledger: Option<&Ledger>| -> BTreeSet<Key> {
        ledger.into_iter().flat_map(|ledger| &ledger.sidecars).flat_map(|entry| entry.items.keys().cloned()).collect()
    };
    let after = keys(plan.ledger.as_ref());
    let told = after.iter().filter_map(|key| match (key.get(template), key.get(&plan.template)) {
        (None, Some(_)) => Some(format!("+{key}")),
        (Some(before), Some(after)) if before != after => Some(format!("~{key}")),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "it would be taken out".to_owned() } else { format!("would be changed: {}", told.join(", ")) }
}
