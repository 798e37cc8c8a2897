//! The one decision about a workload: [`Observation`] in, [`Decision`] out. The controller carries it out, the commands print it; no
//! rule about what to do is anywhere else. Pure: it asks by returning a [`question::Question`], and is called again with the [`Answers`].
//!
//! ```text
//! observation ─→ claims ─→ confirmed ─→ recovered after a failure ─→ planned ─→ admitted ─→ Write
//!                            │ ask          │ ask                       │ ask      │ ask
//!                            └──────────────┴───── Question ────────────┴──────────┘
//! ```
//!
//! * [`observation`]: what is known; [`log_sidecar`]: a `LogSidecar`, parsed; [`memory`]: what earlier decisions left
//! * [`question`]: what may have to be asked; [`decision`]: what comes out
//! * `claims`, `recovery`: what the LogSidecars intend, and what a failed rollout makes of that
//! * `attempt`, `admission`: plan, and whether the plan may be carried out now
//! * [`outcome`]: what is reported; [`record`]: what is recorded when a write was answered

mod admission;
mod attempt;
mod claims;
pub mod decision;
pub mod log_sidecar;
pub mod memory;
pub mod observation;
pub mod outcome;
pub mod question;
pub mod record;
mod recovery;

pub use self::{decision::Decision, observation::Observation, question::Answers};

use self::attempt::Attempt;

/// Decides what to do about a workload.
///
/// # Guarantees
/// * The same observation and answers give the same decision.
/// * Items are removed only on evidence: absence from the observation is confirmed by a question first.
/// * Nothing is written to a converged workload. A write that replaces pods needs a granted turn.
/// * A decision asks each question at most once, and the observation after its write leads to no second write.
#[must_use]
pub fn decide(observation: &Observation<'_>, answers: &Answers) -> Decision {
    if let Some(error) = &observation.unreadable {
        return outcome::refuse_unreadable(observation, error);
    }
    match Attempt::begin(observation, answers).and_then(Attempt::run) {
        Ok(decision) | Err(decision) => *decision,
    }
}

/// A step of a decision: an error ends it early, most often with a question.
type Step<T> = Result<T, Box<Decision>>;

#[cfg(test)]
pub(crate) mod tests;
