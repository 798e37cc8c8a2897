//! Work that is done once for each key, however many workers need it at the same moment: one does it, the others wait for the result.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OnceCell;

/// What has been done, by key.
#[derive(Debug)]
pub(super) struct Once<K>(Mutex<HashMap<K, Arc<OnceCell<()>>>>);

impl<K> Default for Once<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + std::hash::Hash> Once<K> {
    fn cells(&self) -> MutexGuard<'_, HashMap<K, Arc<OnceCell<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does the work for a key, unless it is done: then the future is dropped unpolled. After an error, the next caller tries again.
    ///
    /// # Errors
    /// That of the work.
    pub async fn run<E>(&self, key: &K, work: impl Future<Output = Result<(), E>>) -> Result<(), E> {
        let cell = self.cells().entry(key.clone()).or_default().clone();
        cell.get_or_try_init(|| work).await.copied()
    }

    /// Forgets what has been done for keys that do not satisfy a predicate.
    pub fn retain(&self, mut keep: impl FnMut(&K) -> bool) {
        self.cells().retain(|key, _| keep(key));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_is_done_once_for_many_and_again_after_an_error() {
        let (once, count) = (Once::default(), AtomicUsize::new(0));
        let work = async || {
            tokio::task::yield_now().await;
            if count.fetch_add(1, Ordering::SeqCst) == 0 { Err("no") } else { Ok(()) }
        };
        assert_eq!(once.run(&1, work()).await, Err("no"));
        let (one, two) = tokio::join!(once.run(&1, work()), once.run(&1, work()));
        assert_eq!((one, two, count.load(Ordering::SeqCst)), (Ok(()), Ok(()), 2));
        once.retain(|key| *key != 1);
        assert_eq!(once.run(&1, work()).await, Ok(()));
        assert_eq!(count.load(Ordering::SeqCst), 3);
    }
}
