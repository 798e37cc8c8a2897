//! What is remembered of a workload between two looks, in memory only: what a restart loses costs one more request.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;

use super::workload::Writer;
use crate::{api::Reason, plan::Refusal};

/// How long a patch that the API server refuses is not sent again, unless template or plan change.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The same for one refusal: a config of the user's own that is not there yet costs no more than a look.
pub(super) fn refused_for(refusal: &Refusal) -> Duration {
    if refusal.reason == Reason::ConfigInvalid { Duration::from_secs(5) } else { REFUSED_FOR }
}

/// How often the same plan is written before pauses begin, how long they become, and when all is forgotten.
const FREE_WRITES: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const FORGOTTEN: Duration = Duration::from_secs(900);

/// What came of the last plan that was more than nothing.
#[derive(Debug)]
pub(super) enum Memory {
    /// An admission plugin rewrites what we put in: this plan on this template is as good as it gets.
    Settled(String),
    /// The API server refused this plan on this template.
    Refused(String, Refusal, Instant),
}

/// Memories by the uid of the workload.
pub(super) type Memories = Mutex<HashMap<String, Memory>>;

/// Writes of one and the same plan, one after the other: somebody takes back what we put in.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// A hash: there is one for every workload that was ever patched.
    plan: u64,
    count: u32,
    last: Option<Instant>,
    /// Who had written the template before all of it: whoever writes it since then is the opponent.
    before: Option<Writer>,
    /// Whether people have been told.
    told: bool,
}

/// Contests by the uid of the workload.
pub(super) type Contests = Mutex<HashMap<String, Contest>>;

impl Contest {
    /// How long to leave a workload alone before the same plan is written to it once more. The first few are free: an owner
    /// may well apply his manifest a few times in a row.
    pub fn pause(&self, plan: &str) -> Option<Duration> {
        let since = self.last?.elapsed();
        if self.plan != hash(plan) || self.count < FREE_WRITES || since > FORGOTTEN {
            return None;
        }
        let pause = Duration::from_secs(1 << (self.count - FREE_WRITES).min(9)).min(LONGEST_PAUSE);
        pause.checked_sub(since).filter(|pause| !pause.is_zero())
    }

    /// Whether people have not been told of it yet; asking is telling.
    pub fn is_news(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// The manager that takes things back, given who wrote the template last.
    pub fn opponent<'a>(&self, last: Option<&'a Writer>) -> Option<&'a str> {
        last.filter(|last| self.before.as_ref() != Some(last)).map(|last| &*last.manager)
    }

    /// Notes a write, and who had written before it.
    pub fn wrote(&mut self, plan: &str, before: Option<Writer>) {
        let plan = hash(plan);
        if self.plan != plan || self.last.is_none_or(|last| last.elapsed() > FORGOTTEN) {
            *self = Self { plan, count: 0, last: None, before, told: false };
        }
        self.count += 1;
        self.last = Some(Instant::now());
    }
}

fn hash(plan: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_write_again_and_again_gets_slower_and_another_one_does_not() {
        let mut contest = Contest::default();
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let pause = contest.pause("plan").unwrap_or_default();
            pauses.push(pause.as_secs());
            tokio::time::advance(pause).await;
            contest.wrote("plan", None);
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(contest.pause("another"), None);
        tokio::time::advance(FORGOTTEN + Duration::from_secs(1)).await;
        assert_eq!(contest.pause("plan"), None);
    }
}
