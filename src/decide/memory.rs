//! What is remembered of a workload from one decision to the next, in memory only: what a restart loses costs one more request. Pure: the
//! caller says what time it is.

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::{Duration, Instant},
};

use crate::{api::Reason, plan::Refusal, workload::snapshot::Writer};

/// The pause before a refused patch is sent again, unless the template or the plan changes.
pub const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The pause after a refusal because of the author's own ConfigMap: it may be created at any moment, and reading it is cheap.
const CONFIG_REFUSED_FOR: Duration = Duration::from_secs(5);

/// The maximum number of refused plans that are remembered of one workload.
const MOST_REFUSED: usize = 8;

/// How often the same plan is written before the pauses begin.
const FREE_WRITES: u32 = 3;

/// The longest pause between two writes of the same plan.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// After what time a conflict is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(900);

/// The result of the last plan that changed something.
#[derive(Clone, Debug, PartialEq)]
pub enum Remembered {
    /// An admission plugin rewrites the injected items: writing this plan again would not change the template.
    Settled(PlanState),
    /// The API server refused these plans, the last one at the end: first the whole one, then the one without the LogSidecars that
    /// are not in the template yet.
    Refused(Vec<RefusedPlan>),
}

/// A plan that the API server refused.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedPlan {
    /// The plan, and the template that it was made for.
    pub state: PlanState,
    /// Why it was refused.
    pub refusal: Refusal,
    /// When it may be sent again.
    pub until: Instant,
}

/// A plan and the template that it was made for, by digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanState(pub String);

impl RefusedPlan {
    /// A plan that was refused now.
    #[must_use]
    pub fn new(state: PlanState, refusal: Refusal, now: Instant) -> Self {
        let pause = if refusal.reason == Reason::ConfigInvalid { CONFIG_REFUSED_FOR } else { REFUSED_FOR };
        Self { state, refusal, until: now + pause }
    }
}

impl Remembered {
    /// Adds a refused plan to what was remembered before. Those that may be sent again are forgotten.
    #[must_use]
    pub fn with_refused(before: Option<&Self>, plan: RefusedPlan, now: Instant) -> Self {
        let earlier = match before {
            Some(Self::Refused(plans)) => plans.as_slice(),
            Some(Self::Settled(_)) | None => &[],
        };
        let still = earlier.iter().filter(|earlier| earlier.until > now && earlier.state != plan.state).cloned();
        let mut plans: Vec<RefusedPlan> = still.collect();
        plans.push(plan);
        plans.drain(..plans.len().saturating_sub(MOST_REFUSED));
        Self::Refused(plans)
    }
}

/// The writes of one and the same plan, one after the other: another field manager reverts what we put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConflictHistory {
    /// A hash: there is one for every workload that was ever patched.
    plan: u64,
    count: u32,
    last: Option<Instant>,
    /// The last writer of the template before the first of these writes. A later writer is the one that reverts them.
    before: Option<Writer>,
    is_reported: bool,
}

impl ConflictHistory {
    /// How long to wait until the same plan may be written once more. The first few writes are free: an owner may apply a
    /// manifest a few times in a row.
    #[must_use]
    pub fn pause(&self, plan: &str, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.last?);
        if self.plan != hash(plan) || self.count < FREE_WRITES || since > FORGOTTEN {
            return None;
        }
        let pause = Duration::from_secs(1 << (self.count - FREE_WRITES).min(9)).min(LONGEST_PAUSE);
        pause.checked_sub(since).filter(|pause| !pause.is_zero())
    }

    /// Whether an Event has been emitted about it.
    #[must_use]
    pub const fn is_reported(&self) -> bool {
        self.is_reported
    }

    /// Notes that an Event has been emitted.
    pub const fn mark_reported(&mut self) {
        self.is_reported = true;
    }

    /// The manager that reverts our writes, given the last writer of the template.
    #[must_use]
    pub fn opponent<'a>(&self, last: Option<&'a Writer>) -> Option<&'a str> {
        last.filter(|last| self.before.as_ref() != Some(last)).map(|last| &*last.manager)
    }

    /// Notes a write, and the last writer before it.
    pub fn record_write(&mut self, plan: &str, before: Option<Writer>, now: Instant) {
        let plan = hash(plan);
        let is_forgotten = self.last.is_none_or(|last| now.saturating_duration_since(last) > FORGOTTEN);
        if self.plan != plan || is_forgotten {
            *self = Self { plan, count: 0, last: None, before, is_reported: false };
        }
        self.count += 1;
        self.last = Some(now);
    }
}

fn hash(plan: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_write_gets_slower_and_another_does_not() {
        let mut history = ConflictHistory::default();
        let mut pauses = Vec::new();
        let mut now = Instant::now();
        for _ in 0..14 {
            let pause = history.pause("plan", now).unwrap_or_default();
            pauses.push(pause.as_secs());
            now += pause;
            history.record_write("plan", None, now);
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(history.pause("another", now), None);
        assert_eq!(history.pause("plan", now + FORGOTTEN + Duration::from_secs(1)), None);
    }
}
