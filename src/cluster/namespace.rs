//! Reads what preflight judges by: a namespace and the quotas, limits and autoscalers in it.
//!
//! Preflight is advisory. A failed read is returned as an error, logged once, and delays nothing: the API server decides in the end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{LimitRange, Namespace, ResourceQuota},
};
use kube::{
    Client, Resource,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use serde_json::Value;
use tokio::time::Instant;

use super::request::{RequestError, TIMEOUT, bounded, list as list_all, objects};
use crate::preflight::NamespaceConstraints;

/// How long a read is cached: many workloads of a namespace are reconciled one after the other.
const FRESH: Duration = Duration::from_secs(10);

/// Why the constraints are not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The controller's role lacks a rule.
    #[error("not allowed to read {plural} of namespace {namespace}")]
    Forbidden {
        /// What was to be read.
        plural: String,
        /// Where.
        namespace: String,
    },
    /// No answer in time.
    #[error("no answer from the API server about namespace {0} within {seconds} s", seconds = TIMEOUT.as_secs())]
    Timeout(String),
    /// Anything else.
    #[error("cannot read {plural} of namespace {namespace}: {message}")]
    Failed {
        /// What was to be read.
        plural: String,
        /// Where.
        namespace: String,
        /// What the API server, or the way to it, says.
        message: String,
    },
}

/// Reads the constraints of the workloads in a namespace, in four requests at once.
///
/// # Errors
/// The first of the four that fails; nothing takes longer than [`TIMEOUT`].
pub async fn fetch(client: &Client, namespace: &str) -> Result<NamespaceConstraints, Error> {
    let all = async {
        tokio::try_join!(
            get_namespace(client, namespace),
            list::<ResourceQuota>(client, namespace),
            list::<LimitRange>(client, namespace),
            list::<HorizontalPodAutoscaler>(client, namespace),
        )
    };
    // On the heap: every future that waits for it would be as large.
    let (namespace, quotas, limit_ranges, autoscalers) = Box::pin(all).await?;
    Ok(NamespaceConstraints { namespace, quotas, limit_ranges, autoscalers })
}

async fn get_namespace(client: &Client, namespace: &str) -> Result<Value, Error> {
    let resource = ApiResource::erase::<Namespace>(&());
    let api = objects(client, None, &resource);
    let object = bounded(api.get(namespace)).await.map_err(|error| explain(error, &resource, namespace))?;
    Ok(value(object))
}

async fn list<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str) -> Result<Vec<Value>, Error> {
    let resource = ApiResource::erase::<K>(&());
    let api = objects(client, Some(namespace), &resource);
    let found = list_all(&api, ListParams::default()).await.map_err(|error| explain(error, &resource, namespace))?;
    Ok(found.into_iter().map(value).collect())
}

/// Returns the object as JSON, without `managedFields`.
fn value(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).unwrap_or_default()
}

fn explain(error: RequestError, resource: &ApiResource, namespace: &str) -> Error {
    let (plural, namespace) = (resource.plural.clone(), namespace.to_owned());
    match error {
        RequestError::Timeout => Error::Timeout(namespace),
        error if error.is_forbidden() => Error::Forbidden { plural, namespace },
        RequestError::Kube(error) => Error::Failed { plural, namespace, message: error.to_string() },
    }
}

/// What was read lately, by namespace.
#[derive(Default)]
pub struct NamespaceCache(Mutex<HashMap<String, Arc<Slot>>>);

/// Locked while it is being read, so that one asks and the others wait for the answer.
type Slot = tokio::sync::Mutex<Option<CachedRead>>;

struct CachedRead {
    at: Instant,
    found: Result<Arc<NamespaceConstraints>, Error>,
}

impl CachedRead {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

impl NamespaceCache {
    /// What was read within the last ten seconds, else what is read now; an error, too, stands for as long.
    ///
    /// # Errors
    /// See [`fetch`]. It is in the log already: once, until it is another one.
    pub async fn of(&self, client: &Client, namespace: &str) -> Result<Arc<NamespaceConstraints>, Error> {
        let slot = self.slot(namespace);
        let mut cached = slot.lock().await;
        if let Some(known) = cached.as_ref().filter(|cached| cached.is_fresh()) {
            return known.found.clone();
        }
        let found = fetch(client, namespace).await.map(Arc::new);
        if let Err(error) = &found
            && cached.as_ref().and_then(|before| before.found.as_ref().err()) != Some(error)
        {
            tracing::warn!(namespace, "writing without preflight: {error}");
        }
        *cached = Some(CachedRead { at: Instant::now(), found: found.clone() });
        found
    }

    /// Returns the slot of a namespace, and evicts stale entries when it is new. Errors stay: an evicted one would be logged again.
    fn slot(&self, namespace: &str) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(namespace) {
            return slot.clone();
        }
        slots.retain(|_, slot| {
            slot.try_lock()
                .map_or(true, |cached| cached.as_ref().is_none_or(|cached| cached.is_fresh() || cached.found.is_err()))
        });
        slots.entry(namespace.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests;
