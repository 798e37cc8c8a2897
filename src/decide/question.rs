//! What a decision may have to ask before it is made, and the answers. A decision never asks itself: the caller does.

use std::{collections::BTreeMap, sync::Arc};

use super::{log_sidecar::LogSidecarKey, memory::PlanState};
use crate::{
    plan::{Plan, Refusal, ResolvedSpec},
    preflight::NamespaceConstraints,
    rollout::scheduler::{TurnRequest, Wait},
    workload::id::WorkloadKey,
};

/// Something that has to be known before the decision can go on.
#[derive(Clone, Debug)]
pub enum Question {
    /// Does the API server have just the version of this `LogSidecar` that was observed? Answer: [`Answer::Confirmed`].
    IsCurrent(LogSidecarKey),
    /// Does the API server have no `LogSidecar` of this name and uid? Answer: [`Answer::Confirmed`].
    IsGone(LogSidecarKey, Option<String>),
    /// Record in the status of this `LogSidecar` that its rollout was halted. Answer: [`Answer::Confirmed`].
    RecordHalt(LogSidecarKey),
    /// Which spec did this `LogSidecar` have at that revision? Answer: [`Answer::KeptSpec`].
    KeptSpec(LogSidecarKey, String),
    /// Which quotas, limits and policies do new pods of the namespace have to meet? Answer: [`Answer::Constraints`].
    Constraints,
    /// Which template does a dry run of this plan return? Answer: [`Answer::DryRun`].
    DryRun(Arc<Plan>, PlanState),
    /// May the workload be changed now, for all of these LogSidecars at once? Answer: [`Answer::Turn`].
    Turn(Vec<TurnRequest<LogSidecarKey>>),
}

/// The answer to a [`Question`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// Whether it is so. An unanswered request proves nothing: `false`.
    Confirmed(bool),
    /// The spec of an earlier revision.
    KeptSpec(KeptSpec),
    /// What new pods have to meet; `None` if that cannot be read.
    Constraints(Option<Arc<NamespaceConstraints>>),
    /// What a dry run returned.
    DryRun(DryRun),
    /// Whether it is the workload's turn.
    Turn(Turn),
}

/// The spec of an earlier revision.
#[derive(Clone, Debug)]
pub enum KeptSpec {
    /// It was kept.
    Found(Arc<ResolvedSpec>),
    /// It was not kept, or was deleted.
    Unknown,
    /// The request failed: ask again later.
    Unavailable,
}

/// What a dry run returned.
#[derive(Clone, Debug)]
pub enum DryRun {
    /// The template that the workload has already: an admission plugin rewrites what is put in.
    Unchanged,
    /// Another template.
    Changed,
    /// No dry run was made.
    Unknown,
    /// The API server did not take it.
    Failed(WriteError),
}

/// Whether it is the workload's turn.
#[derive(Clone, Debug)]
pub enum Turn {
    /// It is, and it counts as in flight from now on.
    Granted,
    /// A newer spec is known already: the workload is reconciled again.
    Stale,
    /// It is not.
    Denied {
        /// For each `LogSidecar` that does not allow it, why.
        waits: Vec<(LogSidecarKey, Wait<WorkloadKey>)>,
        /// Whether the workload is a canary of one of them.
        is_canary: bool,
    },
}

/// Why a patch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The workload has changed meanwhile: observe it again.
    #[error("the workload has changed meanwhile")]
    Conflict,
    /// The workload is gone.
    #[error("the workload is gone")]
    Gone,
    /// The API server refuses the result, and would again.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer in time.
    #[error("no answer from the API server within {0} s")]
    Timeout(u64),
    /// Anything else: worth another attempt.
    #[error("the API server did not take the patch: {0}")]
    Failed(String),
}

/// The answers that one decision has collected so far.
#[derive(Debug, Default)]
pub struct Answers {
    current: BTreeMap<LogSidecarKey, bool>,
    gone: BTreeMap<(LogSidecarKey, Option<String>), bool>,
    recorded: BTreeMap<LogSidecarKey, bool>,
    kept: BTreeMap<(LogSidecarKey, String), KeptSpec>,
    constraints: Constraints,
    dry_runs: BTreeMap<PlanState, DryRun>,
    turns: BTreeMap<Vec<TurnRequest<LogSidecarKey>>, Turn>,
}

/// What is known of what new pods have to meet.
#[derive(Debug, Default)]
pub(super) enum Constraints {
    /// It has not been asked for.
    #[default]
    NotAsked,
    /// It cannot be read.
    Unreadable,
    /// The constraints.
    Read(Arc<NamespaceConstraints>),
}

impl Answers {
    /// Adds an answer. One that does not fit its question is ignored: the decision asks again.
    pub fn add(&mut self, question: Question, answer: Answer) {
        match (question, answer) {
            (Question::IsCurrent(key), Answer::Confirmed(yes)) => drop(self.current.insert(key, yes)),
            (Question::IsGone(key, uid), Answer::Confirmed(yes)) => drop(self.gone.insert((key, uid), yes)),
            (Question::RecordHalt(key), Answer::Confirmed(yes)) => drop(self.recorded.insert(key, yes)),
            (Question::KeptSpec(key, revision), Answer::KeptSpec(kept)) => drop(self.kept.insert((key, revision), kept)),
            (Question::Constraints, Answer::Constraints(found)) => {
                self.constraints = found.map_or(Constraints::Unreadable, Constraints::Read);
            }
            (Question::DryRun(_, state), Answer::DryRun(result)) => drop(self.dry_runs.insert(state, result)),
            (Question::Turn(requests), Answer::Turn(turn)) => drop(self.turns.insert(requests, turn)),
            (
                Question::IsCurrent(_)
                | Question::IsGone(..)
                | Question::RecordHalt(_)
                | Question::KeptSpec(..)
                | Question::Constraints
                | Question::DryRun(..)
                | Question::Turn(_),
                _,
            ) => {}
        }
    }

    pub(super) fn is_current(&self, key: &LogSidecarKey) -> Option<bool> {
        self.current.get(key).copied()
    }

    pub(super) fn is_gone(&self, key: &LogSidecarKey, uid: Option<&str>) -> Option<bool> {
        self.gone.get(&(key.clone(), uid.map(str::to_owned))).copied()
    }

    pub(super) fn is_halt_recorded(&self, key: &LogSidecarKey) -> Option<bool> {
        self.recorded.get(key).copied()
    }

    pub(super) fn kept_spec(&self, key: &LogSidecarKey, revision: &str) -> Option<&KeptSpec> {
        self.kept.get(&(key.clone(), revision.to_owned()))
    }

    pub(super) const fn constraints(&self) -> &Constraints {
        &self.constraints
    }

    pub(super) fn dry_run(&self, state: &PlanState) -> Option<&DryRun> {
        self.dry_runs.get(state)
    }

    pub(super) fn turn(&self, requests: &[TurnRequest<LogSidecarKey>]) -> Option<&Turn> {
        self.turns.get(requests)
    }

    /// The LogSidecars for which the workload was granted its turn.
    pub(super) fn granted(&self) -> impl Iterator<Item = &LogSidecarKey> {
        let granted = self.turns.iter().filter(|(_, turn)| matches!(turn, Turn::Granted));
        granted.flat_map(|(requests, _)| requests.iter().map(|request| &request.sidecar))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger may name two LogSidecars of one name: the one that was deleted, and the one that was made anew.
    #[test]
    fn answer_about_one_uid_says_nothing_about_another() {
        let key = LogSidecarKey { namespace: "shop".into(), name: "ship".into() };
        let mut answers = Answers::default();
        answers.add(Question::IsGone(key.clone(), Some("before".into())), Answer::Confirmed(true));
        assert_eq!((answers.is_gone(&key, Some("before")), answers.is_gone(&key, Some("now"))), (Some(true), None));
    }
}
