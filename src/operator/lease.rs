//! Leader election: of several replicas, the one that holds the Lease works.
//!
//! The rules are those of Kubernetes' own components (client-go's `leaderelection`): whether a Lease has run out is judged by how long
//! *this* process has seen it unchanged, so clocks of other nodes do not matter. The holder stops, by its own clock, well before another
//! replica may acquire the Lease. A standby watches the Lease, and acquires a released one at once.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams, WatchEvent, WatchParams},
};
use tokio::time::{Instant, sleep, timeout};

use crate::api::MANAGER;

/// How long a Lease counts that is not renewed.
const DURATION: Duration = Duration::from_secs(15);

/// How long the holder works without a successful renewal. The difference to [`DURATION`] is for requests in flight.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often it is renewed, and how long a request for that may take.
const PERIOD: Duration = Duration::from_secs(2);

/// How long a standby relies on one watch before it reads the Lease again.
const WATCH_LIMIT: Duration = Duration::from_secs(30);

/// A replica that takes part in the election.
pub(super) struct Candidate {
    api: Api<Lease>,
    name: String,
    /// The identity of this process, unique among all.
    identity: String,
}

/// The Lease, held by this process.
pub(super) struct Leadership {
    candidate: Candidate,
    lease: Lease,
    /// When the last renewal that succeeded was sent.
    renewed: Instant,
}

/// The Lease as a standby has last seen it, and since when.
struct Observed {
    lease: Lease,
    since: Instant,
}

impl Candidate {
    pub fn new(client: Client, namespace: &str, name: String) -> Self {
        let host = std::env::var("POD_NAME").unwrap_or_else(|_| "logsidecar".to_owned());
        let identity = format!("{host}_{}_{}", std::process::id(), Timestamp::now().as_nanosecond());
        Self { api: Api::namespaced(client, namespace), name, identity }
    }

    /// Waits until the Lease is ours.
    pub async fn lead(self) -> Leadership {
        let mut observed: Option<Observed> = None;
        let mut told = String::new();
        loop {
            let sent = Instant::now();
            match self.attempt(&mut observed).await {
                Ok(Some(lease)) => {
                    tracing::info!(lease = self.name, identity = self.identity, "leading");
                    return Leadership { candidate: self, lease, renewed: sent };
                }
                Ok(None) => {
                    let holder = observed.as_ref().map(|observed| holder(&observed.lease).to_owned()).unwrap_or_default();
                    if holder != told {
                        tracing::info!(lease = self.name, holder, "waiting: another one leads");
                        told = holder;
                    }
                    self.until_changed(&mut observed).await;
                }
                Err(error) => {
                    tracing::warn!(lease = self.name, "cannot become the leader: {error}");
                    sleep(PERIOD).await;
                }
            }
        }
    }

    /// Takes the Lease if it is free.
    async fn attempt(&self, observed: &mut Option<Observed>) -> kube::Result<Option<Lease>> {
        let Some(found) = bounded(self.api.get_opt(&self.name)).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.claim(None)),
            };
            return won(bounded(self.api.create(&params(), &lease)).await);
        };
        let is_unchanged = observed.as_ref().is_some_and(|observed| observed.lease.spec == found.spec);
        if !is_unchanged {
            *observed = Some(Observed { lease: found.clone(), since: Instant::now() });
        }
        if observed.as_ref().is_some_and(|observed| !observed.remaining().is_zero()) {
            return Ok(None);
        }
        let mut lease = found;
        lease.spec = Some(self.claim(lease.spec.as_ref()));
        // With the version that was read: a faster replica makes this a conflict.
        won(bounded(self.api.replace(&self.name, &params(), &lease)).await)
    }

    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(before.map_or(0, |before| before.lease_transitions.unwrap_or_default() + 1)),
            ..LeaseSpec::default()
        }
    }

    /// Waits until the Lease has another holder or has expired, at most for [`WATCH_LIMIT`].
    async fn until_changed(&self, observed: &mut Option<Observed>) {
        let Some(observed) = observed else { return sleep(PERIOD).await };
        let version = observed.lease.resource_version().unwrap_or_default();
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        let start = Instant::now();
        let Ok(Ok(events)) = timeout(PERIOD, self.api.watch(&params, &version)).await else { return sleep(PERIOD).await };
        let mut events = events.boxed();
        loop {
            let patience = observed.remaining().min(WATCH_LIMIT.saturating_sub(start.elapsed()));
            match timeout(patience, events.try_next()).await {
                // The holder renews it.
                Ok(Ok(Some(WatchEvent::Modified(lease)))) if holder(&lease) == holder(&observed.lease) => {
                    *observed = Observed { lease, since: Instant::now() };
                }
                Ok(Ok(Some(WatchEvent::Bookmark(_)))) => {}
                Ok(Ok(Some(WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_)))) | Err(_) => return,
                // Not again and again at once.
                Ok(Ok(Some(WatchEvent::Error(_)) | None) | Err(_)) => return sleep(PERIOD).await,
            }
        }
    }
}

impl Observed {
    /// The time until the Lease expires; zero if it has no holder.
    fn remaining(&self) -> Duration {
        if holder(&self.lease).is_empty() {
            return Duration::ZERO;
        }
        let spec = self.lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(DURATION, Duration::from_secs).saturating_sub(self.since.elapsed())
    }
}

impl Leadership {
    /// Renews the Lease for as long as that is possible.
    pub async fn hold(&mut self) {
        loop {
            sleep(PERIOD.saturating_sub(self.renewed.elapsed())).await;
            let sent = Instant::now();
            match self.renew().await {
                Ok(true) => self.renewed = sent,
                Ok(false) => {
                    tracing::error!(lease = self.candidate.name, "another one has taken the lease");
                    return;
                }
                Err(error) => {
                    tracing::warn!(lease = self.candidate.name, "cannot renew the lease: {error}");
                    if self.renewed.elapsed() + PERIOD > DEADLINE {
                        return;
                    }
                    sleep(PERIOD / 4).await;
                }
            }
        }
    }

    /// Renews the Lease. Returns `false` if another replica holds it.
    async fn renew(&mut self) -> kube::Result<bool> {
        let candidate = &self.candidate;
        if let Some(spec) = &mut self.lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        match bounded(candidate.api.replace(&candidate.name, &params(), &self.lease)).await {
            Ok(lease) => self.lease = lease,
            // Its metadata was changed, or an answer was lost.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let found = bounded(candidate.api.get(&candidate.name)).await?;
                if holder(&found) != candidate.identity {
                    return Ok(false);
                }
                self.lease = found;
                return Err(kube::Error::Api(status));
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Releases the Lease, so that a standby need not wait until it expires. No request may be in flight.
    pub async fn release(mut self) {
        let mut released = self.replace_holder().await;
        if matches!(&released, Err(kube::Error::Api(status)) if status.code == 409) {
            // The shutdown has cut off a renewal that arrived.
            released = match self.renew().await {
                Ok(false) => return,
                Ok(true) | Err(_) => self.replace_holder().await,
            };
        }
        if let Err(error) = released {
            tracing::warn!(lease = self.candidate.name, "the lease could not be given back, and runs out: {error}");
        }
    }

    /// Writes the Lease without a holder.
    async fn replace_holder(&self) -> kube::Result<()> {
        let mut lease = self.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        bounded(self.candidate.api.replace(&self.candidate.name, &params(), &lease)).await.map(drop)
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Maps a conflict to `None`: another replica was faster.
fn won(answer: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a request with the time limit [`PERIOD`].
async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    timeout(PERIOD, request).await.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
}
