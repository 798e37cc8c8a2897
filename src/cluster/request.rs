//! The limits of requests: time, and objects in memory at once. All requests use them, except those for the Lease, which have a
//! shorter time limit (`operator/lease.rs`).

use std::{fmt::Debug, ops::ControlFlow, time::Duration};

use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, ObjectList, PartialObjectMeta},
};
use serde::de::DeserializeOwned;

/// No request takes longer; the client itself has no limit for the time until an answer.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The number of objects in a page of a list. It bounds peak memory: a decoded object takes about 50 KiB.
pub const PAGE: u32 = 100;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No answer in time.
    #[error("no answer from the API server within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// An answer that is an error, or none at all. Its text leaves out the API server's own, which may repeat what is in an object.
    #[error("{}", brief(.0))]
    Kube(kube::Error),
}

impl RequestError {
    /// The HTTP status, if the API server has answered.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Kube(_) | Self::Timeout => None,
        }
    }

    /// Whether the API server forbids the request.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.code() == Some(403)
    }

    /// Whether the object is not there, or the resource is not served.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether another write was faster, or the object exists already.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }
}

fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answers {} {}", status.code, status.reason),
        other => other.to_string(),
    }
}

/// Sends a request with the time limit.
///
/// # Errors
/// What the request fails with, or that it takes too long.
pub async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, RequestError> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(answer) => answer.map_err(RequestError::Kube),
        Err(_) => Err(RequestError::Timeout),
    }
}

/// The objects of a resource in one namespace, or in all.
#[must_use]
pub fn objects(client: &kube::Client, namespace: Option<&str>, resource: &ApiResource) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Lists everything, page by page, and keeps of each object what `keep` makes of it.
///
/// # Errors
/// See [`bounded`].
pub async fn list_map<K: Clone + Debug + DeserializeOwned, T>(
    api: &Api<K>,
    params: ListParams,
    keep: impl Fn(K) -> T,
) -> Result<Vec<T>, RequestError> {
    collect(|params: ListParams| async move { api.list(&params).await }, params, keep).await
}

/// Lists everything, page by page.
///
/// # Errors
/// See [`bounded`].
pub async fn list<K: Clone + Debug + DeserializeOwned>(api: &Api<K>, params: ListParams) -> Result<Vec<K>, RequestError> {
    list_map(api, params, |object| object).await
}

/// Lists the metadata of everything, page by page: the objects themselves are not sent.
///
/// # Errors
/// See [`bounded`].
pub async fn list_metadata<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    params: ListParams,
) -> Result<Vec<PartialObjectMeta<K>>, RequestError> {
    collect(|params: ListParams| async move { api.list_metadata(&params).await }, params, |object| object).await
}

/// Reads page after page, and keeps of each object what `keep` makes of it.
async fn collect<K: Clone, T, F: Future<Output = kube::Result<ObjectList<K>>>>(
    page: impl Fn(ListParams) -> F,
    params: ListParams,
    keep: impl Fn(K) -> T,
) -> Result<Vec<T>, RequestError> {
    let mut all = Vec::new();
    pages(page, params, |is_first, items| {
        if is_first {
            // The list began anew.
            all.clear();
        }
        all.extend(items.into_iter().map(&keep));
        ControlFlow::Continue(())
    })
    .await?;
    Ok(all)
}

/// Whether any object satisfies a predicate: reads page by page and stops at the first. After a list that took too long, the predicate
/// sees objects a second time.
///
/// # Errors
/// See [`bounded`].
pub async fn any<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    params: ListParams,
    mut predicate: impl FnMut(&K) -> bool,
) -> Result<bool, RequestError> {
    let mut found = false;
    let page = |params: ListParams| async move { api.list(&params).await };
    pages(page, params, |_, items| {
        found |= items.iter().any(&mut predicate);
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    Ok(found)
}

/// Reads page after page; `visit` gets each with whether it is the first of a list.
async fn pages<T: Clone, F: Future<Output = kube::Result<ObjectList<T>>>>(
    page: impl Fn(ListParams) -> F,
    params: ListParams,
    mut visit: impl FnMut(bool, Vec<T>) -> ControlFlow<()>,
) -> Result<(), RequestError> {
    let mut params = params.limit(PAGE);
    let mut is_first = true;
    loop {
        let answer = match bounded(page(params.clone())).await {
            // The list has taken so long that the API server has forgotten the version that it began with: begin anew, all at once.
            Err(error) if error.code() == Some(410) && params.continue_token.is_some() => {
                (params.continue_token, params.limit, is_first) = (None, None, true);
                bounded(page(params.clone())).await?
            }
            answer => answer?,
        };
        let token = answer.metadata.continue_.filter(|token| !token.is_empty());
        if visit(std::mem::replace(&mut is_first, false), answer.items).is_break() || token.is_none() {
            return Ok(());
        }
        params.continue_token = token;
    }
}

#[cfg(test)]
mod tests;
