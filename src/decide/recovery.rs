//! What is done at a workload at which a rollout has failed: it stays as it is, or gets back what it had before.
//!
//! The order matters: that the rollout was halted is recorded first. A controller that starts after that knows that nothing more is to
//! be tried; one that starts before finds the failure again.

use super::{
    Answers, Observation, Step,
    decision::Decision,
    log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    question::{KeptSpec, Question},
};
use crate::{
    api::{OnFailure, Reason},
    plan::{Claim, Intent, Refusal, ResolvedSpec, claim::Evidence},
    rollout::scheduler::Halt,
    workload::{id::WorkloadKey, ledger::EntrySummary},
};

/// What is done about a rollout that has failed at a workload.
#[derive(Debug, PartialEq)]
pub(super) enum RecoveryAction<'a> {
    /// Nothing, as `onFailure` is `Halt`, or the failed revision put in nothing new.
    Stay,
    /// Nothing yet: the halt could not be recorded, or what was there before could not be read.
    Postpone,
    /// There was nothing before: the items are removed.
    Remove,
    /// The spec of this revision is put back.
    PutBack(&'a ResolvedSpec, &'a str),
    /// It has been put back already.
    Done,
    /// What was there before is not known.
    Unknown,
}

impl RecoveryAction<'_> {
    /// Whether the action changes the workload back to its state before the failed revision.
    pub const fn restores(&self) -> bool {
        matches!(self, Self::Remove | Self::PutBack(..))
    }

    fn report(&self, cause: &str) -> Refusal {
        let (reason, more) = match self {
            Self::Stay | Self::Postpone => (Reason::RolloutFailed, ""),
            Self::Unknown => (Reason::RolloutFailed, "; what was here before is not known any more, and not given back"),
            Self::Remove => (Reason::RolledBack, "; taken out again"),
            Self::PutBack(..) | Self::Done => (Reason::RolledBack, "; given back what was here before"),
        };
        Refusal::new(reason, format!("{cause}{more}"))
    }
}

/// Changes a claim of a `LogSidecar` whose rollout has failed at the workload. Returns the action and what to report instead of the
/// state of the pods.
pub(super) fn recover<'a>(
    observation: &'a Observation<'_>,
    answers: &'a Answers,
    claim: &mut Claim<'a>,
) -> Step<Option<(RecoveryAction<'a>, Refusal)>> {
    let Some(sidecar) = observation.log_sidecar(claim.uid) else { return Ok(None) };
    let halts = &observation.knowledge.rollout.halts;
    let Some((key, halt)) = halts.iter().find(|(key, _)| *key == sidecar.key) else { return Ok(None) };
    let action = action(observation, answers, sidecar, (key, halt))?;
    if !matches!(claim.intent, Intent::Apply(_)) {
        return Ok(None);
    }
    match action {
        RecoveryAction::Stay => {}
        RecoveryAction::Postpone | RecoveryAction::Unknown => claim.intent = Intent::Keep(Reason::Halted),
        RecoveryAction::Remove => claim.intent = Intent::Remove(Evidence::Failed),
        RecoveryAction::PutBack(spec, revision) => {
            (claim.intent, claim.revision) = (Intent::Apply(spec), Some(revision));
        }
        RecoveryAction::Done => claim.intent = Intent::Keep(Reason::RolledBack),
    }
    let report = action.report(&halt.cause);
    Ok(Some((action, report)))
}

fn action<'a>(
    observation: &'a Observation<'_>,
    answers: &'a Answers,
    sidecar: &ValidatedLogSidecar,
    (key, halt): (&LogSidecarKey, &Halt<WorkloadKey>),
) -> Step<RecoveryAction<'a>> {
    if !halt.recorded {
        match answers.is_halt_recorded(key) {
            None => return Err(Box::new(Decision::ask(Question::RecordHalt(key.clone())))),
            Some(false) => return Ok(RecoveryAction::Postpone),
            Some(true) => {}
        }
    }
    if sidecar.spec.is_err() || sidecar.settings.on_failure == OnFailure::Halt {
        return Ok(RecoveryAction::Stay);
    }
    let stored = observation.workload.ledger.as_ref();
    let Some(entry) = stored.and_then(|ledger| ledger.entry(&sidecar.key.name, &sidecar.uid)) else {
        return Ok(RecoveryAction::Done);
    };
    let is_current = |revision: &Option<Box<str>>| revision.as_deref() == Some(sidecar.revision());
    match (&entry.revision, &entry.previous) {
        // What is in a manifest has no revision.
        (None, _) => Ok(RecoveryAction::Unknown),
        (revision, None) if is_current(revision) => Ok(RecoveryAction::Remove),
        (revision, Some(_)) if is_current(revision) => put_back(answers, key, entry),
        (_, previous) if is_current(previous) => Ok(RecoveryAction::Done),
        // The revision that failed found its items there already.
        _ => Ok(RecoveryAction::Stay),
    }
}

fn put_back<'a>(answers: &'a Answers, key: &LogSidecarKey, entry: &'a EntrySummary) -> Step<RecoveryAction<'a>> {
    let previous = entry.previous.as_deref().unwrap_or_default();
    match answers.kept_spec(key, previous) {
        None => Err(Box::new(Decision::ask(Question::KeptSpec(key.clone(), previous.to_owned())))),
        Some(KeptSpec::Found(spec)) => Ok(RecoveryAction::PutBack(spec, previous)),
        Some(KeptSpec::Unknown) => Ok(RecoveryAction::Unknown),
        Some(KeptSpec::Unavailable) => Ok(RecoveryAction::Postpone),
    }
}
