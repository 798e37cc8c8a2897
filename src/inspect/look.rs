//! What a workload is to become, as the controller would plan it: the same claims, the same planner, and what the controller
//! keeps back because a rollout has been halted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{inspect::connection::Connection, operator::{reconcile::leave_to_its_controller, rollout::entry, store::Sidecar}, workload::snapshot::Workload};
use crate::{
    api::{HaltedTarget, OnFailure, Reason, Stage},
    plan::{
        self, Claim, Effect, Evidence, Plan, Refusal, Setting, Stance, Subject, Verdict,
        claim::{Known, Labelled, Phase, claims},
    },
    preflight::{Surroundings, blockers},
    rollout::settings::Settings,
    shipper::Images,
    workload::ledger::{Entry, Ledger},
};

/// Who looks.
pub(super) struct Surveyor {
    pub connection: Connection,
    pub images: Images,
}

/// Whose wishes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Everybodys,
    /// Only of those that have put something in already: what the controller does when a patch is refused.
    WithoutNewcomers,
}

/// What a look at a workload has found.
pub(super) struct Seen {
    pub template: Value,
    pub ledger: Option<Ledger>,
    pub plan: Plan,
    /// Whether the ledger that is planned is the one that is on the workload.
    pub same_ledger: bool,
    /// The LogSidecars for which something is changed.
    pub movers: BTreeSet<String>,
    /// Why some are kept back, by the name of the `LogSidecar`.
    pub told: BTreeMap<String, Refusal>,
}

impl Seen {
    /// Whether the controller would write.
    pub fn changes(&self) -> bool {
        self.plan.template != self.template || !self.same_ledger
    }

    pub fn verdict(&self, sidecar: &Sidecar) -> Option<&Verdict> {
        self.plan.verdicts.iter().find(|verdict| verdict.uid.as_deref() == Some(sidecar.uid.as_str()))
    }
}

/// Where the rollout of a `LogSidecar` was halted, if it still is: any change of the spec is another try.
pub(super) fn halt(sidecar: &Sidecar) -> Option<&HaltedTarget> {
    let rollout = &sidecar.status.rollout;
    let is_current = rollout.revision == sidecar.revision && rollout.generation == sidecar.generation;
    rollout.halted_at.as_ref().filter(|_| rollout.stage == Stage::Halted && is_current)
}

/// Whether it was halted at that workload.
fn is_at(halt: &HaltedTarget, workload: &Workload) -> bool {
    let target = &workload.key.target;
    target.name == halt.name && target.kind.is_meant_by(Some(&halt.api_group), &halt.kind)
}

/// Who looks, and at what.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub surveyor: &'a Surveyor,
    /// All of the namespace.
    pub sidecars: &'a [Sidecar],
    /// What new pods have to meet there, if that is known.
    pub surroundings: Option<&'a Surroundings>,
}

impl Look<'_> {
    /// Plans a workload with all LogSidecars of its namespace.
    pub fn at(self, workload: &Workload, whose: Whose) -> Seen {
        let template = workload.template();
        let known: Vec<Known<'_>> = self.sidecars.iter().map(Sidecar::known).collect();
        let (ledger, unreadable) = match workload.ledger.as_deref().map(Ledger::parse).transpose() {
            Ok(ledger) => (ledger.or_else(|| workload.recover(&known)), None),
            Err(error) => (None, Some(error)),
        };
        let labels = workload.labels();
        let target = &workload.key.target;
        let labelled = Labelled { kind: target.kind, name: &target.name, labels: &labels };
        let seen_from = ledger.as_ref().map(|ledger| ledger.seen_from(Some(&workload.uid)));
        let mut claims = claims(labelled, &known, seen_from.as_ref());
        if let Some(error) = unreadable {
            let message = format!("{error}: correct it, or remove it and what was put in");
            return refused(template, &self.holders(workload, &claims), &Refusal::new(Reason::LedgerUnreadable, message));
        }
        leave_to_its_controller(workload, &mut claims);
        if whose == Whose::WithoutNewcomers {
            claims.retain(|claim| ledger.as_ref().is_some_and(|ledger| ledger.entry(claim.name, claim.uid).is_some()));
        }
        let mut told = BTreeMap::new();
        for claim in &mut claims {
            recover(self.sidecars, workload, claim, &mut told);
        }
        let on = On { look: self, workload, template: &template, ledger: ledger.as_ref() };
        let mut plan = on.plan(&claims);
        // Every time there is one claim less.
        while plan.template != template && on.hold_back(&mut claims, &plan, &mut told) {
            plan = on.plan(&claims);
        }
        let moving = claims.iter().filter(|claim| on.moves(claim, &plan));
        let movers = moving.map(|claim| claim.name.to_owned()).collect();
        // One that was recovered is not on the workload.
        let same_ledger = plan.ledger.as_ref() == ledger.as_ref().filter(|_| workload.ledger.is_some());
        Seen { template, ledger, plan, same_ledger, movers, told }
    }

    /// Whoever a ledger that cannot be read may be about: those with a claim, and those whose deletion waits for it.
    fn holders(&self, workload: &Workload, claims: &[Claim<'_>]) -> Vec<(String, Option<String>)> {
        let claiming = claims.iter().map(|claim| (claim.name.to_owned(), claim.uid.map(str::to_owned)));
        let is_named = |uid: &str| workload.ledger.as_ref().is_some_and(|text| text.contains(uid));
        let deleting = self.sidecars.iter().filter(|sidecar| sidecar.phase == Phase::Deleting && is_named(&sidecar.uid));
        claiming.chain(deleting.map(|sidecar| (sidecar.key.name.clone(), Some(sidecar.uid.clone())))).collect()
    }
}

/// A look at one workload.
struct On<'a> {
    look: Look<'a>,
    workload: &'a Workload,
    template: &'a Value,
    ledger: Option<&'a Ledger>,
}

impl On<'_> {
    fn plan(&self, claims: &[Claim<'_>]) -> Plan {
        let Surveyor { connection, images } = self.look.surveyor;
        let kind = self.workload.key.target.kind;
        let subject = Subject {
            uid: Some(&self.workload.uid),
            template: self.template,
            ledger: self.ledger,
            owned: &self.workload.owned,
            before: self.workload.standing.before(),
            setting: Setting { kind, images, native_sidecars: connection.native_sidecars },
        };
        plan::plan(&subject, claims)
    }

    /// Whether a plan changes anything for a claim.
    fn moves(&self, claim: &Claim<'_>, plan: &Plan) -> bool {
        let entry = |ledger: Option<&Ledger>| ledger.and_then(|ledger| ledger.entry(claim.name, claim.uid)).cloned();
        let (before, after) = (entry(self.ledger), entry(plan.ledger.as_ref()));
        let changed = |entry: &Entry| entry.items.keys().any(|key| key.get(self.template) != key.get(&plan.template));
        let is_news = before.as_ref().map(|entry| &entry.items) != after.as_ref().map(|entry| &entry.items);
        let is_active = matches!(claim.stance, Stance::Apply(_) | Stance::Remove(_) | Stance::Orphan);
        is_active && (is_news || after.as_ref().is_some_and(changed))
    }

    /// Keeps back whom the controller would: one whose new pods would not start, or all of those whose rollout was halted.
    fn hold_back(&self, claims: &mut [Claim<'_>], plan: &Plan, told: &mut BTreeMap<String, Refusal>) -> bool {
        let applies = |claim: &Claim<'_>| matches!(claim.stance, Stance::Apply(_)) && self.moves(claim, plan);
        let applying: Vec<usize> = (0..claims.len()).filter(|at| applies(&claims[*at])).collect();
        if let Some((at, refusal)) = self.blocked(claims, &applying, plan) {
            claims[at].stance = Stance::Keep(refusal.reason);
            told.insert(claims[at].name.to_owned(), refusal);
            return true;
        }
        let mut any = false;
        for at in applying {
            let claim = &mut claims[at];
            let Some(halt) = sidecar_of(self.look.sidecars, claim).and_then(halt) else { continue };
            let message = format!("left as it is: the rollout was halted at {} {}: {}", halt.kind, halt.name, halt.cause);
            claim.stance = Stance::Keep(Reason::Halted);
            told.entry(claim.name.to_owned()).or_insert_with(|| Refusal::new(Reason::Halted, message));
            any = true;
        }
        any
    }

    /// Whose change the new pods would not survive: of several, the one that would be blocked alone; if it is only too much
    /// together, the newest.
    fn blocked(&self, claims: &[Claim<'_>], applying: &[usize], plan: &Plan) -> Option<(usize, Refusal)> {
        let (surroundings, last) = (self.look.surroundings?, *applying.last()?);
        let blockers = |after: &Value| blockers(&self.workload.change(self.template, after), surroundings);
        let all = blockers(&plan.template).into_iter().next()?;
        let alone = |index: usize| {
            let mut claims = claims.to_vec();
            for other in applying.iter().filter(|other| **other != index) {
                claims[*other].stance = Stance::Keep(Reason::Pending);
            }
            blockers(&self.plan(&claims).template).into_iter().next()
        };
        let guilty = applying.iter().find_map(|index| Some((*index, alone(*index)?)));
        Some(guilty.unwrap_or((last, all)))
    }
}

fn refused(template: Value, holders: &[(String, Option<String>)], refusal: &Refusal) -> Seen {
    let verdict =
        |(name, uid): &(String, Option<String>)| Verdict { name: name.clone(), uid: uid.clone(), result: Err(refusal.clone()) };
    let plan = Plan {
        template: template.clone(),
        ledger: None,
        verdicts: holders.iter().map(verdict).collect(),
        handed_over: Vec::new(),
    };
    Seen { template, ledger: None, plan, same_ledger: true, movers: BTreeSet::new(), told: BTreeMap::new() }
}

fn sidecar_of<'a>(sidecars: &'a [Sidecar], claim: &Claim<'_>) -> Option<&'a Sidecar> {
    sidecars.iter().find(|sidecar| claim.uid == Some(sidecar.uid.as_str()))
}

/// What is done at the workload at which a rollout has failed; see `recovery`.
fn recover(sidecars: &[Sidecar], workload: &Workload, claim: &mut Claim<'_>, told: &mut BTreeMap<String, Refusal>) {
    let Some(sidecar) = sidecar_of(sidecars, claim) else { return };
    let (Stance::Apply(spec), Some(halt)) = (claim.stance, halt(sidecar).filter(|halt| is_at(halt, workload))) else { return };
    let entry = entry(workload, sidecar).filter(|entry| entry.revision.as_ref() == Some(&sidecar.revision));
    let (reason, more) = match (Settings::of(spec.rollout.as_ref()).on_failure, entry) {
        (OnFailure::Halt, _) => (Reason::RolloutFailed, ""),
        (OnFailure::Rollback, Some(entry)) if entry.previous.is_none() => {
            claim.stance = Stance::Remove(Evidence::Failed);
            (Reason::RolledBack, "; taken out again")
        }
        (OnFailure::Rollback, _) => {
            claim.stance = Stance::Keep(Reason::RolledBack);
            (Reason::RolledBack, "; given back what was here before")
        }
    };
    told.insert(claim.name.to_owned(), Refusal::new(reason, format!("{}{more}", halt.cause)));
}

/// Whether a verdict leaves everything as it is because somebody wants it so.
pub(super) fn kept(verdict: &Verdict) -> Option<Reason> {
    match verdict.result {
        Ok(Effect::Kept(reason)) => Some(reason),
        Ok(Effect::Applied(_) | Effect::Removed | Effect::Orphaned) | Err(_) => None,
    }
}
