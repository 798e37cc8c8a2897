//! Why one workload is as it is.

use kube::{
    ResourceExt,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};

use super::{
    super::{
        account::summary,
        cache::Sidecar,
        connection::{Connection, Error},
        rollout::entry,
        surroundings,
    },
    Content, Survey, Surveyor,
    listed::{Listed, is_meant},
    look::{Look, Seen, Whose},
    state::state,
};
use crate::{
    api::LogSidecar,
    plan::claim::Labelled,
    report::{
        self,
        explain::{Block, Explained, Item, State},
        mismatch, remedy,
    },
    shipper::Images,
    workload::{
        key::Key,
        kind::{Kind, Kinds},
        normal::digest,
    },
};

/// How many owners of owners are looked at: a `Pod` has a `ReplicaSet` or a `Job`, that has a `Deployment` or a `CronJob`.
const OWNERS: usize = 3;

/// Explains an object of the connection's namespace.
pub(crate) async fn explain(
    connection: Connection,
    images: Images,
    kinds: &Kinds,
    (kind, name): (Kind, &str),
) -> Result<(Explained, Vec<String>), Error> {
    let namespace = connection.namespace.clone();
    let object = connection.get(&kind.resource(), &namespace, name).await?;
    let workload = report::Workload::new(kind, &namespace, name);
    if !kinds.in_cluster().any(|known| known == kind) {
        let notes = untouched(&connection, kinds, kind, &object).await;
        return Ok((Explained { workload, standing: String::new(), notes, sidecars: Vec::new() }, Vec::new()));
    }
    let resource = ApiResource::erase::<LogSidecar>(&());
    let sidecars = connection.list(&resource, Some(&namespace)).await?;
    let sidecars: Vec<Sidecar> =
        sidecars.into_iter().filter_map(|object| Sidecar::observe(&super::bound(object), &images)).collect();
    let Some(listed) = Listed::observe(kind, &object) else {
        let notes = vec![format!("it has no pod template at {}", kind.template())];
        return Ok((Explained { workload, standing: String::new(), notes, sidecars: Vec::new() }, Vec::new()));
    };
    let content = Content { sidecars, workloads: Vec::new() };
    let survey = Survey { surveyor: Surveyor { connection, images }, namespaces: [].into() };
    let mut seen = survey.look(&content).at(&listed.workload, Whose::Everybodys);
    let mut warnings = Vec::new();
    if seen.plan.template != seen.template {
        match surroundings::fetch(&survey.surveyor.connection.client, &namespace).await {
            Ok(found) => {
                let look = Look { surroundings: Some(&found), ..survey.look(&content) };
                seen = look.at(&listed.workload, Whose::Everybodys);
            }
            Err(error) => warnings.push(format!("{error}: what quotas, limits and policies say is not considered")),
        }
    }
    let mut blocks: Vec<Block> = content.sidecars.iter().map(|sidecar| block(sidecar, &listed, &seen)).collect();
    blocks.sort_by_key(|block| (block.reason.is_empty(), !block.matches, block.sidecar.clone()));
    let notes = notes(&namespace, &content, &seen);
    let standing = listed.workload.standing.told();
    Ok((Explained { workload, standing, notes, sidecars: blocks }, warnings))
}

fn block(sidecar: &Sidecar, listed: &Listed, seen: &Seen) -> Block {
    let workload = &listed.workload;
    let name = &sidecar.key.name;
    let target = &workload.key.target;
    let labels = workload.labels();
    let labelled = Labelled { kind: target.kind, name: &target.name, labels: &labels };
    let (matches, differs) = match &sidecar.spec {
        Ok(spec) => (is_meant(spec, workload), mismatch(&spec.target, labelled).unwrap_or_default()),
        Err(error) => (false, format!("its spec cannot be read: {error}")),
    };
    let state = state(sidecar, workload, seen);
    let moves = seen.movers.contains(name);
    let items = seen.ledger.as_ref().and_then(|ledger| ledger.entry(name, Some(&sidecar.uid))).map(|entry| &entry.items);
    let revision = entry(workload, sidecar).and_then(|entry| entry.revision).unwrap_or_default();
    Block {
        sidecar: name.clone(),
        matches,
        mismatch: differs,
        reason: state.as_ref().map(|state| state.reason.to_string()).unwrap_or_default(),
        message: state.as_ref().map(|state| state.message.clone()).unwrap_or_default(),
        items: items.into_iter().flatten().map(|(key, digest)| item(key, digest, seen)).collect(),
        is_current: revision == sidecar.revision,
        revision,
        change: if moves && seen.plan.template != seen.template { summary(&seen.template, &seen.plan) } else { String::new() },
        remedy: state.map(|state| remedy(state.reason).to_owned()).unwrap_or_default(),
    }
}

fn item(key: &Key, expected: &str, seen: &Seen) -> Item {
    let state = match key.get(&seen.template) {
        Some(item) if digest(key, item) == expected => State::AsPutIn,
        Some(_) => State::Changed,
        None => State::Missing,
    };
    Item { key: key.to_string(), state }
}

fn notes(namespace: &str, content: &Content, seen: &Seen) -> Vec<String> {
    let mut notes = Vec::new();
    if content.sidecars.is_empty() {
        notes.push(format!("There is no LogSidecar in namespace {namespace}."));
    }
    let is_gone = |name: &str, uid: Option<&str>| {
        !content.sidecars.iter().any(|sidecar| sidecar.key.name == name && uid.is_none_or(|uid| uid == sidecar.uid))
    };
    let entries = seen.ledger.iter().flat_map(|ledger| &ledger.sidecars);
    for entry in entries.filter(|entry| is_gone(&entry.name, entry.uid.as_deref())) {
        let next = match entry.uid {
            Some(_) => "the controller takes it out",
            None => "it came with the manifest, and stays",
        };
        notes.push(format!("It carries what LogSidecar {} has put in, which is not in this namespace: {next}.", entry.name));
    }
    notes
}

/// Whoever is made by another workload is explained there.
async fn untouched(connection: &Connection, kinds: &Kinds, kind: Kind, object: &DynamicObject) -> Vec<String> {
    let what = match kind {
        Kind::Pod => "A Pod cannot be changed once it runs",
        Kind::Job => "The template of a Job cannot be changed",
        _ => "A change of its template replaces no pods",
    };
    let mut notes = vec![format!("{what}: the controller does not touch it.")];
    let namespace = object.namespace().unwrap_or_default();
    let mut owner = controller(object);
    for _ in 0..OWNERS {
        let Some((resource, name)) = owner else { break };
        if let Some(kind) =
            kinds.in_cluster().find(|kind| kind.name() == resource.kind && kind.api_version() == resource.api_version)
        {
            notes.push(format!(
                "It belongs to {kind} {name}: `logsidecar explain {}/{name} -n {namespace}`",
                kind.resource().plural
            ));
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

fn controller(object: &DynamicObject) -> Option<(ApiResource, String)> {
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    let (group, version) = owner.api_version.split_once('/').unwrap_or(("", &owner.api_version));
    Some((ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &owner.kind)), owner.name.clone()))
}
