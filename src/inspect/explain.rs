//! `logsidecar explain`: why one workload is as it is.

use std::sync::Arc;

use kube::{
    ResourceExt,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};

use super::{
    connection::{Connection, InspectError},
    observe::{DryRuns, Inspected, Inspector, LazyConstraints, ListedWorkload},
    plan::changed_names,
    read_log_sidecars,
    status::outcome,
};
use crate::{
    decide::{log_sidecar::ValidatedLogSidecar, outcome::summary, question::WriteError},
    plan::target::WorkloadLabels,
    report::{
        WorkloadRef,
        explain::{Explanation, InjectedItem, ItemState, LogSidecarExplanation},
        mismatch,
    },
    shipper::Images,
    workload::{
        key::Key,
        kind::{Kind, Kinds},
        name::ObjectName,
        normal::digest,
    },
};

/// How many owners of owners are followed: a `Pod` has a `ReplicaSet` or a `Job`, that has a `Deployment` or a `CronJob`.
const OWNERS: usize = 3;

/// How often the workload is read again because it has changed meanwhile.
const ATTEMPTS: usize = 5;

/// Explains an object of the connection's namespace; with it, what the user should know about the answer itself.
///
/// # Errors
/// What a request fails with.
pub(crate) async fn explain(
    connection: Connection,
    images: Images,
    kinds: &Kinds,
    (kind, name): (Kind, &ObjectName),
) -> Result<(Explanation, Vec<String>), InspectError> {
    let namespace = connection.namespace.clone();
    let workload = WorkloadRef::new(kind, &namespace, name);
    let only_notes = |notes| Explanation { workload: workload.clone(), standing: String::new(), notes, sidecars: Vec::new() };
    let mut object = connection.get(&kind.resource(), &namespace, name).await?;
    if !kinds.in_cluster().any(|known| known == kind) {
        return Ok((only_notes(untouched(&connection, kinds, kind, &object).await), Vec::new()));
    }
    let log_sidecars = read_log_sidecars(&connection, Some(&namespace), &images).await?;
    let inspector = Inspector { connection, images, kinds: kinds.clone() };
    let mut dry_runs = DryRuns::Make;
    for _ in 0..ATTEMPTS {
        let Some(listed) = ListedWorkload::observe(kind, &object) else {
            return Ok((only_notes(vec![format!("it has no pod template at {}", kind.template())]), Vec::new()));
        };
        let constraints = LazyConstraints::default();
        match inspector.decide(&listed.workload, &log_sidecars, None, &constraints, dry_runs).await {
            Ok(inspected) => {
                let unread = constraints.error();
                let warning = unread.map(|error| format!("{error}: what quotas, limits and policies say is not considered"));
                return Ok((report(workload, &listed, &log_sidecars, &inspected), warning.into_iter().collect()));
            }
            Err(WriteError::Conflict) => object = inspector.connection.get(&kind.resource(), &namespace, name).await?,
            // The caller may not patch, or there is no answer: what is injected counts as it is.
            Err(_) => dry_runs = DryRuns::Skip,
        }
    }
    Ok((only_notes(vec!["it changes all the time: try again".to_owned()]), Vec::new()))
}

fn report(
    workload: WorkloadRef,
    listed: &ListedWorkload,
    log_sidecars: &[Arc<ValidatedLogSidecar>],
    inspected: &Inspected<'_>,
) -> Explanation {
    let mut sidecars: Vec<LogSidecarExplanation> =
        log_sidecars.iter().map(|sidecar| explanation(sidecar, listed, inspected)).collect();
    sidecars.sort_by_key(|one| (one.reason.is_empty(), !one.matches, one.sidecar.clone()));
    let notes = notes(&workload.namespace, log_sidecars, inspected);
    Explanation { workload, standing: listed.workload.status.message(), notes, sidecars }
}

fn explanation(sidecar: &ValidatedLogSidecar, listed: &ListedWorkload, inspected: &Inspected<'_>) -> LogSidecarExplanation {
    let (workload, observation) = (&listed.workload, &inspected.observation);
    let name = &sidecar.key.name;
    let id = &workload.key.id;
    let labels = workload.labels();
    let labelled = WorkloadLabels { kind: id.kind, name: &id.name, labels: &labels };
    let (matches, differs) = match &sidecar.spec {
        Ok(spec) => (listed.is_target(spec), mismatch(&spec.spec().target, labelled).unwrap_or_default()),
        Err(error) => (false, format!("its spec cannot be read: {error}")),
    };
    let outcome = outcome(sidecar, inspected);
    let entry = observation.ledger.as_ref().and_then(|ledger| ledger.entry(name, Some(&sidecar.uid)));
    let stored = workload.ledger.as_ref().and_then(|ledger| ledger.entry(name, &sidecar.uid));
    let revision = stored.and_then(|entry| entry.revision.as_deref()).unwrap_or_default().to_owned();
    let items = entry.into_iter().flat_map(|entry| &entry.items);
    let change = inspected.write().filter(|write| changed_names(&write.plan, inspected).contains(name.as_str()));
    let change = change.filter(|write| write.plan.template != observation.template);
    LogSidecarExplanation {
        sidecar: name.to_string(),
        matches,
        mismatch: differs,
        reason: outcome.as_ref().map(|outcome| outcome.reason.to_string()).unwrap_or_default(),
        message: outcome.as_ref().map(|outcome| outcome.message.clone()).unwrap_or_default(),
        items: items.map(|(key, digest)| item(key, digest, inspected)).collect(),
        is_current: revision == sidecar.revision(),
        revision,
        change: change.map(|write| summary(&observation.template, &write.plan)).unwrap_or_default(),
        remedy: outcome.map(|outcome| outcome.reason.remedy().to_owned()).unwrap_or_default(),
    }
}

fn item(key: &Key, expected: &str, inspected: &Inspected<'_>) -> InjectedItem {
    let state = match key.get(&inspected.observation.template) {
        Some(item) if digest(key, item) == expected => ItemState::AsPutIn,
        Some(_) => ItemState::Changed,
        None => ItemState::Missing,
    };
    InjectedItem { key: key.to_string(), state }
}

fn notes(namespace: &str, log_sidecars: &[Arc<ValidatedLogSidecar>], inspected: &Inspected<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if log_sidecars.is_empty() {
        notes.push(format!("There is no LogSidecar in namespace {namespace}."));
    }
    let is_gone = |name: &str, uid: Option<&str>| {
        !log_sidecars.iter().any(|sidecar| sidecar.key.name == name && uid.is_none_or(|uid| uid == sidecar.uid))
    };
    let entries = inspected.observation.ledger.iter().flat_map(|ledger| &ledger.sidecars);
    for entry in entries.filter(|entry| is_gone(&entry.name, entry.uid.as_deref())) {
        let next = match entry.uid {
            Some(_) => "the controller takes it out",
            None => "it came with the manifest, and stays",
        };
        notes.push(format!("It carries what LogSidecar {} has put in, which is not in this namespace: {next}.", entry.name));
    }
    notes
}

/// An object that the controller does not touch is explained by what owns it.
async fn untouched(connection: &Connection, kinds: &Kinds, kind: Kind, object: &DynamicObject) -> Vec<String> {
    let what = match kind {
        Kind::Pod => "A Pod cannot be changed once it runs",
        Kind::Job => "The template of a Job cannot be changed",
        Kind::Deployment
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::CronJob
        | Kind::ReplicaSet
        | Kind::ReplicationController
        | Kind::PodTemplate
        | Kind::Custom(_) => "A change of its template replaces no pods",
    };
    let mut notes = vec![format!("{what}: the controller does not touch it.")];
    let namespace = object.namespace().unwrap_or_default();
    let mut owner = controller(object);
    for _ in 0..OWNERS {
        let Some((resource, name)) = owner else { break };
        let is_it = |kind: &Kind| kind.name() == resource.kind && kind.api_version() == resource.api_version;
        if let Some(kind) = kinds.in_cluster().find(is_it) {
            let plural = kind.resource().plural;
            notes.push(format!("It belongs to {kind} {name}: `logsidecar explain {plural}/{name} -n {namespace}`"));
            return notes;
        }
        match connection.get(&resource, &namespace, &name).await {
            Ok(object) => owner = controller(&object),
            Err(error) => {
                notes.push(format!("It belongs to {} {name}: {error}", resource.kind));
                return notes;
            }
        }
    }
    notes.push(
        "It belongs to no workload that the controller acts on: put the sidecar into its manifest with `logsidecar inject`."
            .to_owned(),
    );
    notes
}

/// The owner of an object. Who makes an object writes its owner references: what is no name leads nowhere.
fn controller(object: &DynamicObject) -> Option<(ApiResource, ObjectName)> {
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
    Some((ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &owner.kind)), owner.name.parse().ok()?))
}
