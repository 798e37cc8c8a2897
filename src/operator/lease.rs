//! Who of several controllers works: the one that holds a Lease.
//!
//! The rules are those of Kubernetes' own components (client-go's `leaderelection`): whether a Lease has run out is judged by how long
//! *we* have seen it unchanged, so that clocks of other nodes do not matter; and the holder gives up, by his own clock, well before anybody
//! else may take it. Whoever waits watches the Lease, so that one that is given back is taken at once.

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

/// How long the holder goes on without having renewed it. The difference is for requests that are still under way.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often it is renewed, and how long a request for that may take.
const PERIOD: Duration = Duration::from_secs(2);

/// How long whoever waits trusts a watch to tell him of a change.
const LOOK: Duration = Duration::from_secs(30);

/// A place among those who may lead.
pub(super) struct Candidate {
    api: Api<Lease>,
    name: String,
    /// Who we are: no two processes have the same.
    identity: String,
}

/// The Lease is ours.
pub(super) struct Leadership {
    candidate: Candidate,
    lease: Lease,
    /// When the last renewal that succeeded was sent.
    renewed: Instant,
}

/// What whoever waits has last seen, and since when.
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
        // With the version that was read: whoever else has been faster makes this a conflict.
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

    /// Waits until the Lease has another holder, has run out, or until it is better to look for oneself.
    async fn until_changed(&self, observed: &mut Option<Observed>) {
        let Some(observed) = observed else { return sleep(PERIOD).await };
        let version = observed.lease.resource_version().unwrap_or_default();
        let params = WatchParams::default().fields(&format!("metadata.name={}", self.name));
        let start = Instant::now();
        let Ok(Ok(events)) = timeout(PERIOD, self.api.watch(&params, &version)).await else { return sleep(PERIOD).await };
        let mut events = events.boxed();
        loop {
            let patience = observed.remaining().min(LOOK.saturating_sub(start.elapsed()));
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
    /// How long it counts from now on.
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

    /// Whether it is still ours.
    async fn renew(&mut self) -> kube::Result<bool> {
        let candidate = &self.candidate;
        if let Some(spec) = &mut self.lease.spec {
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        match bounded(candidate.api.replace(&candidate.name, &params(), &self.lease)).await {
            Ok(lease) => self.lease = lease,
            // Somebody has labelled it, or an answer to us was lost.
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

    /// Gives it back, so that nobody has to wait until it runs out. Nothing may be under way any more.
    pub async fn release(mut self) {
        if let Some(spec) = &mut self.lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        let candidate = &self.candidate;
        if let Err(error) = bounded(candidate.api.replace(&candidate.name, &params(), &self.lease)).await {
            tracing::warn!(lease = candidate.name, "the lease could not be given back, and runs out: {error}");
        }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Somebody else was faster: that is no error.
fn won(answer: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

/// No answer in time is an error, too.
async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    timeout(PERIOD, request).await.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
}
