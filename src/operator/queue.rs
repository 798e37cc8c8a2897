//! A queue of keys that have to be reconciled.
//!
//! Why not `kube::runtime::Controller`: one queue has to serve several kinds of workload, a key that fails must back off
//! without slowing the others down, and deletion has to know when everything that started earlier has ended.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::decide::decision::Next;

/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A work queue.
///
/// # Guarantees
/// * A key is handed to one worker at a time, and again after any `add` that came while it was worked on.
/// * Many `add`s of a waiting key are one piece of work.
#[derive(Debug)]
pub(super) struct Queue<K> {
    state: Mutex<State<K>>,
    /// Something became ready.
    ready: Notify,
    /// Something ended.
    ended: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    waiting: HashSet<K>,
    /// Keys with a time before which they are not due, and the same by key.
    later: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    /// What is being worked on: its ticket, and whether it was added meanwhile.
    running: HashMap<K, (u64, bool)>,
    failures: HashMap<K, u32>,
    ticket: u64,
    closed: bool,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            running: HashMap::new(),
            failures: HashMap::new(),
            ticket: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), ready: Notify::new(), ended: Notify::new() }
    }

    /// The state stays usable when a worker panics: every change of it is complete before anything can.
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a key to be worked on now.
    pub fn add(&self, key: K) {
        self.state().add(key);
        self.ready.notify_one();
    }

    /// Asks for a key to be worked on after some time, or earlier if that was asked for already.
    pub fn add_after(&self, key: K, pause: Duration) {
        self.state().add_at(key, Instant::now() + pause);
        self.ready.notify_one();
    }

    /// Waits for the next key. Each one has to be given back by [`Queue::done`].
    pub async fn next(&self) -> K {
        loop {
            let deadline = {
                let mut state = self.state();
                state.move_due(Instant::now());
                if let Some(key) = state.start() {
                    // Another worker has to take the next one, or wait for the time at which it is due.
                    if !state.ready.is_empty() || !state.later.is_empty() {
                        self.ready.notify_one();
                    }
                    return key;
                }
                state.later.keys().next().map(|(at, _)| *at)
            };
            match deadline {
                Some(at) => drop(tokio::time::timeout_at(at, self.ready.notified()).await),
                None => self.ready.notified().await,
            }
        }
    }

    /// Gives a key back.
    pub fn done(&self, key: K, next: Next) {
        self.state().done(key, next);
        self.ready.notify_one();
        self.ended.notify_waiters();
    }

    /// Hands out no more keys.
    pub fn close(&self) {
        self.state().closed = true;
    }

    /// Waits until everything that is being worked on now has ended.
    pub async fn quiesce(&self) {
        let horizon = self.state().ticket;
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.state().running.values().all(|(ticket, _)| *ticket > horizon) {
                return;
            }
            ended.await;
        }
    }

    /// The keys that are ready to be worked on.
    pub fn pending(&self) -> Vec<K> {
        self.state().ready.iter().cloned().collect()
    }

    /// How much is waiting to be done now.
    pub fn depth(&self) -> usize {
        self.state().ready.len()
    }

    /// Whether there is more to do than is being done right now.
    pub fn has_more(&self) -> bool {
        !self.state().ready.is_empty()
    }

    /// Whether there is nothing to do and nothing being done right now.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.ready.is_empty() && state.running.is_empty()
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if let Some((_, again)) = self.running.get_mut(&key) {
            *again = true;
            return;
        }
        if let Some(at) = self.due.remove(&key) {
            self.later.remove(&at);
        }
        if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: K, at: Instant) {
        if self.waiting.contains(&key) || self.due.get(&key).is_some_and(|(due, _)| *due <= at) {
            return;
        }
        if let Some(later) = self.due.remove(&key) {
            self.later.remove(&later);
        }
        self.ticket += 1;
        self.due.insert(key.clone(), (at, self.ticket));
        self.later.insert((at, self.ticket), key);
    }

    fn move_due(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn start(&mut self) -> Option<K> {
        if self.closed {
            return None;
        }
        let key = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.ticket += 1;
        self.running.insert(key.clone(), (self.ticket, false));
        Some(key)
    }

    fn done(&mut self, key: K, next: Next) {
        let again = self.running.remove(&key).is_some_and(|(_, again)| again);
        let pause = match next {
            Next::Backoff => {
                let failures = self.failures.entry(key.clone()).or_default();
                *failures += 1;
                Some(FIRST_PAUSE.saturating_mul(1 << (*failures - 1).min(16)).min(LONGEST_PAUSE))
            }
            Next::After(pause) => {
                self.failures.remove(&key);
                Some(pause)
            }
            Next::Await => {
                self.failures.remove(&key);
                None
            }
        };
        match (next, pause) {
            // A failing key waits even if it changed meanwhile: what makes it fail may be what makes it change.
            (Next::Backoff, Some(pause)) => self.add_at(key, Instant::now() + pause),
            (_, _) if again => self.add(key),
            (_, Some(pause)) => self.add_at(key, Instant::now() + pause),
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    async fn is_empty(queue: &Queue<u8>) -> bool {
        timeout(Duration::from_millis(1), queue.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_at_a_time_and_again_if_it_was_added_meanwhile() {
        let queue = Queue::new();
        queue.add(1);
        queue.add(1);
        assert_eq!(queue.next().await, 1);
        assert!(is_empty(&queue).await);
        queue.add(1);
        assert!(is_empty(&queue).await);
        queue.done(1, Next::Await);
        assert_eq!(queue.next().await, 1);
        queue.done(1, Next::Await);
        assert!(is_empty(&queue).await);
        assert!(queue.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_with_failures_and_end_with_a_success() {
        let queue = Queue::new();
        queue.add(1);
        let mut pauses = Vec::new();
        for next in [Next::Backoff, Next::Backoff, Next::Backoff, Next::After(Duration::ZERO), Next::Backoff, Next::Await] {
            let before = Instant::now();
            let key = queue.next().await;
            pauses.push(before.elapsed().as_millis());
            queue.done(key, next);
        }
        assert_eq!(pauses, [0, 200, 400, 800, 0, 200]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_times_counts() {
        let queue = Queue::new();
        queue.add_after(1, Duration::from_secs(10));
        queue.add_after(1, Duration::from_secs(1));
        queue.add_after(1, Duration::from_secs(5));
        let before = Instant::now();
        assert_eq!(queue.next().await, 1);
        assert_eq!(before.elapsed().as_secs(), 1);
        queue.done(1, Next::Await);
        assert!(is_empty(&queue).await);
    }

    #[tokio::test(start_paused = true)]
    async fn quiescing_waits_for_what_runs_and_not_for_what_starts_later() {
        let queue = Queue::new();
        queue.add(1);
        queue.add(2);
        assert_eq!(queue.next().await, 1);
        let quiesced = queue.quiesce();
        tokio::pin!(quiesced);
        assert!(timeout(Duration::from_millis(1), &mut quiesced).await.is_err());
        assert_eq!(queue.next().await, 2);
        queue.done(1, Next::Await);
        assert!(timeout(Duration::from_millis(1), &mut quiesced).await.is_ok());
    }
}
