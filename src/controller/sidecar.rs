//! One `LogSidecar`: its finalizer, its status, its end. Reads outcomes and decides nothing about workloads.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    apply::TIMEOUT,
    cache::{Sidecar, SidecarKey},
    configs,
    context::Context,
    queue::Next,
    rollout,
    workload::Workload,
};
use crate::{
    api::{DeletionPolicy, FINALIZER, LogSidecar, LogSidecarSpec, MANAGER},
    plan::claim::Phase,
    status::{self, Subject},
    workload::{
        kind::Kind,
        ledger::{Entry, Ledger, Origin},
    },
};

/// How long to wait until the next look at what is still to be taken out.
const STILL_THERE: Duration = Duration::from_secs(1);

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no answer from the API server within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Without the API server's own text, which may repeat what is in the object.
    #[error("the API server did not take it: {}", brief(.0))]
    Api(kube::Error),
}

fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.reason),
        other => other.to_string(),
    }
}

/// Brings one `LogSidecar` up to date.
pub(super) async fn reconcile(context: &Context, key: &SidecarKey) -> Next {
    let Some(sidecar) = context.cache.sidecar(key) else { return Next::Await };
    let result = match sidecar.phase {
        Phase::New => begin(context, &sidecar).await,
        Phase::Live => report(context, &sidecar).await,
        Phase::Deleting if sidecar.finalizers.iter().any(|name| name == FINALIZER) => end(context, &sidecar).await,
        Phase::Deleting => Ok(Next::Await),
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(sidecar = %key, "{error}");
        Next::Backoff
    })
}

/// The finalizer goes on before the first workload is touched: from then on a deletion cannot be missed.
async fn begin(context: &Context, sidecar: &Sidecar) -> Result<Next, Error> {
    if sidecar.spec.is_err() || !is_supported(context, sidecar) {
        return report(context, sidecar).await;
    }
    let add = if sidecar.finalizers.is_empty() {
        json!({"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]})
    } else {
        json!({"op": "add", "path": "/metadata/finalizers/-", "value": FINALIZER})
    };
    let object = patch(context, sidecar, add).await?;
    if let Some(sidecar) = object.as_ref().and_then(|object| Sidecar::observe(object, &context.images)) {
        context.sidecar_changed(sidecar);
    }
    Ok(Next::Await)
}

/// Writes the status if it is not what it should be.
async fn report(context: &Context, sidecar: &Sidecar) -> Result<Next, Error> {
    if !context.has_seen_all() {
        // After a restart the outcomes are still coming in: half of them would make a wrong status.
        return Ok(Next::After(Duration::from_millis(500)));
    }
    let spec = sidecar.spec.as_ref();
    let rollout = rollout::status(context, sidecar);
    let turn = rollout::turn(context, sidecar);
    let subject = Subject {
        turn: &turn,
        generation: sidecar.generation,
        kind: spec.map_or("", |spec| &spec.target.kind),
        is_supported: is_supported(context, sidecar),
        rollout: &rollout,
        target: spec.ok().and_then(|spec| spec.target.name.as_deref()),
        suspended: spec.is_ok_and(|spec| spec.suspend),
        deleting: sidecar.phase == Phase::Deleting,
        unreadable: spec.err().map(String::as_str),
    };
    let status = context.outcomes.sum_up(&sidecar.uid, |all| status::status(subject, all, &sidecar.status, &now()));
    if status == sidecar.status {
        return Ok(Next::Await);
    }
    // The version that was looked at: a rollout may have been halted meanwhile, and that must not be overwritten.
    let mut patch = json!({"metadata": {"resourceVersion": sidecar.version}, "status": status});
    if status.rollout.halted_at.is_none() {
        // What a merge patch does not mention stays.
        patch["status"]["rollout"]["haltedAt"] = Value::Null;
    }
    let api: Api<LogSidecar> = Api::namespaced(context.client.clone(), &sidecar.key.namespace);
    // A merge patch replaces lists as a whole, so conditions and targets are exactly those of `status`.
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let answer = tokio::time::timeout(TIMEOUT, api.patch_status(&sidecar.key.name, &params, &Patch::Merge(&patch))).await;
    match answer.map_err(|_| Error::Timeout)? {
        Ok(_) => Ok(Next::Await),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Next::Await),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Next::Backoff),
        Err(error) => Err(Error::Api(error)),
    }
}

/// Whether the controller acts on the kind that is meant. Of what it cannot read, it does not say otherwise.
fn is_supported(context: &Context, sidecar: &Sidecar) -> bool {
    let meant = |spec: &LogSidecarSpec| context.kinds.meant_by(spec.target.api_group.as_deref(), &spec.target.kind).is_some();
    sidecar.spec.as_ref().map_or(true, meant)
}

/// Takes everything out, makes sure of it, lets go.
async fn end(context: &Context, sidecar: &Sidecar) -> Result<Next, Error> {
    // Whatever was planned before the deletion was seen has been written now, or never will be.
    context.workloads.quiesce().await;
    let keys: Vec<_> = context
        .cache
        .workloads_in(&sidecar.key.namespace)
        .into_iter()
        .filter(|workload| holds(context, workload, sidecar))
        .map(|workload| workload.key.clone())
        .collect();
    if !keys.is_empty() {
        let waiting = context.rollouts.waves().waiting(&sidecar.key);
        keys.into_iter().filter(|key| !waiting.contains(key)).for_each(|key| context.workloads.add(key));
        report(context, sidecar).await?;
        return Ok(Next::After(STILL_THERE));
    }
    if is_in_cluster(context, sidecar).await? {
        return Ok(Next::Backoff);
    }
    let Some(index) = sidecar.finalizers.iter().position(|name| name == FINALIZER) else { return Ok(Next::Await) };
    if let Err(error) = configs::release(context, sidecar).await {
        tracing::warn!(sidecar = %sidecar.key, "{error}");
        return Ok(Next::Backoff);
    }
    patch(context, sidecar, json!({"op": "remove", "path": format!("/metadata/finalizers/{index}")})).await?;
    tracing::info!(sidecar = %sidecar.key, "released");
    context.outcomes.forget(&sidecar.uid);
    Ok(Next::Await)
}

/// Whether a workload has something that the controller has to take out: not what a manifest holds, not what came with a copy.
/// As long as a ledger that names the `LogSidecar` cannot be read, nobody knows.
fn holds(context: &Context, workload: &Workload, sidecar: &Sidecar) -> bool {
    let ledger = match workload.ledger.as_deref() {
        Some(text) => match Ledger::parse(text) {
            Ok(ledger) => {
                let known = context.cache.sidecars_in(&sidecar.key.namespace);
                let known: Vec<_> = known.iter().map(|sidecar| sidecar.known()).collect();
                let ledger = workload.take_over(&ledger, &known, context.setting(workload.key.target.kind)).unwrap_or(ledger);
                ledger.seen_from(Some(&workload.uid))
            }
            Err(_) => return text.contains(&sidecar.uid),
        },
        // What is left behind for good is in no ledger, and nothing has to be done about it.
        None if sidecar.known().deletion == DeletionPolicy::Orphan => return false,
        None => match workload.recover(&[sidecar.known()]) {
            Some(ledger) => ledger,
            None => return false,
        },
    };
    let is_its = |entry: &Entry| entry.origin == Origin::Controller && entry.uid.as_deref() == Some(sidecar.uid.as_str());
    ledger.sidecars.iter().any(is_its)
}

/// Asks the API server, not the cache.
async fn is_in_cluster(context: &Context, sidecar: &Sidecar) -> Result<bool, Error> {
    for kind in context.kinds.in_cluster() {
        let held =
            |item: &DynamicObject| Workload::observe(kind, item).is_some_and(|workload| holds(context, &workload, sidecar));
        let may_be_missing = matches!(kind, Kind::Custom(_));
        if is_any(context, &sidecar.key.namespace, &kind.resource(), may_be_missing, held).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether any object of a resource is such a one; asks the API server page by page, and stops at the first.
pub(super) async fn is_any(
    context: &Context,
    namespace: &str,
    resource: &ApiResource,
    may_be_missing: bool,
    mut is_such: impl FnMut(&DynamicObject) -> bool,
) -> Result<bool, Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, resource);
    let mut params = ListParams::default().limit(500);
    loop {
        let page = tokio::time::timeout(TIMEOUT, api.list(&params)).await;
        let page = match page.map_err(|_| Error::Timeout)? {
            Ok(page) => page,
            // Of a custom resource that is not served (any more) there is none.
            Err(kube::Error::Api(status)) if status.code == 404 && may_be_missing => return Ok(false),
            Err(error) => return Err(Error::Api(error)),
        };
        if page.items.iter().any(&mut is_such) {
            return Ok(true);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(false),
        }
    }
}

/// Changes the metadata of the version that was looked at, and no other.
async fn patch(context: &Context, sidecar: &Sidecar, operation: Value) -> Result<Option<DynamicObject>, Error> {
    let guard = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": sidecar.version});
    let patch: json_patch::Patch = serde_json::from_value(json!([guard, operation])).unwrap_or_default();
    let resource = ApiResource::erase::<LogSidecar>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &sidecar.key.namespace, &resource);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let answer = tokio::time::timeout(TIMEOUT, api.patch(&sidecar.key.name, &params, &Patch::Json::<()>(patch))).await;
    match answer.map_err(|_| Error::Timeout)? {
        Ok(object) => Ok(Some(object)),
        // Changed or gone meanwhile: the watch tells.
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(None),
        Err(error) => Err(Error::Api(error)),
    }
}

/// To the second, as conditions keep it.
pub(super) fn now() -> Time {
    let seconds = k8s_openapi::jiff::Timestamp::now().as_second();
    Time(k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap_or_default())
}
