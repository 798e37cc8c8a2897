//! One look at a cluster, by somebody who wants to know and not to change: the same workloads, LogSidecars and plans that the
//! controller works with, read with the credentials of whoever asks. Nothing here writes.
//!
//! * `look`: what a workload is to become, as the controller would plan it
//! * `dry_run`: what the API server makes of that
//! * `state`: how things stand, for `logsidecar status`
//! * `explain`: the same for one workload, in full

mod dry_run;
mod explain;
mod listed;
mod look;
mod state;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use kube::{
    ResourceExt,
    api::DynamicObject,
    core::{ApiResource, Selector},
};
use serde_json::Value;

pub(crate) use self::explain::explain;
use self::{listed::Listed, look::Surveyor};
use super::{
    cache::Sidecar,
    connection::{Connection, Error},
};
use crate::{
    api::{FINALIZER, LogSidecar},
    report::plan::Rollout,
    rollout::settings::{Canaries, Settings},
    shipper::Images,
    workload::kind::Kinds,
};

/// Which namespaces are looked at.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    All,
    In(BTreeSet<String>),
}

/// What was there when it was looked at.
pub(crate) struct Survey {
    surveyor: Surveyor,
    namespaces: BTreeMap<String, Content>,
}

/// What is in one namespace.
#[derive(Default)]
struct Content {
    sidecars: Vec<Sidecar>,
    workloads: Vec<Listed>,
}

/// The name of a `LogSidecar`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SidecarName {
    pub namespace: String,
    pub name: String,
}

impl Survey {
    /// Looks. The workloads come first: a `LogSidecar` that is made meanwhile is seen with them at worst, and never missed by a
    /// workload that has it already.
    pub async fn of(connection: Connection, images: Images, kinds: &Kinds, scope: &Scope) -> Result<Self, Error> {
        let mut namespaces: BTreeMap<String, Content> = BTreeMap::new();
        let asked: Vec<Option<&str>> = match scope {
            Scope::All => vec![None],
            Scope::In(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        };
        for namespace in asked.iter().copied() {
            for kind in kinds.in_cluster() {
                let objects = connection.workloads(kind, namespace).await?;
                for listed in objects.iter().filter_map(|object| Listed::observe(kind, object)) {
                    namespaces.entry(listed.workload.key.namespace.clone()).or_default().workloads.push(listed);
                }
            }
        }
        let resource = ApiResource::erase::<LogSidecar>(&());
        for namespace in asked {
            for object in connection.list(&resource, namespace).await? {
                if let Some(sidecar) = Sidecar::observe(&bound(object), &images) {
                    namespaces.entry(sidecar.key.namespace.clone()).or_default().sidecars.push(sidecar);
                }
            }
        }
        Ok(Self { surveyor: Surveyor { connection, images }, namespaces })
    }

    /// Takes a `LogSidecar` of a file for one that has been applied.
    pub fn assume(&mut self, namespace: &str, object: &Value) -> Option<SidecarName> {
        let mut object: DynamicObject = serde_json::from_value(object.clone()).ok()?;
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.uid = Some(format!("not-applied-yet-{}", object.name_any()));
        object.metadata.resource_version = Some(String::new());
        object.metadata.creation_timestamp = Some(super::sidecar::now());
        object.metadata.generation = Some(1);
        object.metadata.deletion_timestamp = None;
        object.data.as_object_mut()?.remove("status");
        let mut sidecar = Sidecar::observe(&bound(object), &self.surveyor.images)?;
        let name = SidecarName { namespace: namespace.to_owned(), name: sidecar.key.name.clone() };
        let sidecars = &mut self.namespaces.entry(namespace.to_owned()).or_default().sidecars;
        if let Some(live) = sidecars.iter().position(|live| live.key == sidecar.key) {
            let live = sidecars.swap_remove(live);
            // Any change of the spec is another try for what has been halted.
            let changed = i64::from(live.spec != sidecar.spec);
            sidecar = Sidecar {
                key: live.key,
                uid: live.uid,
                version: live.version,
                generation: live.generation + changed,
                created: live.created,
                phase: live.phase,
                finalizers: live.finalizers,
                status: live.status,
                deletion: sidecar.deletion,
                revision: sidecar.revision,
                spec: sidecar.spec,
            };
        }
        sidecars.push(sidecar);
        Some(name)
    }

    /// The name of a `LogSidecar`, if it is there.
    pub fn named(&self, namespace: &str, name: &str) -> Option<SidecarName> {
        let name = SidecarName { namespace: namespace.to_owned(), name: name.to_owned() };
        self.sidecar(&name).map(|_| name.clone())
    }

    fn sidecar(&self, name: &SidecarName) -> Option<&Sidecar> {
        self.namespaces.get(&name.namespace)?.sidecars.iter().find(|sidecar| sidecar.key.name == name.name)
    }

    /// How a `LogSidecar` rolls out.
    pub fn rollout(&self, name: &SidecarName) -> Option<Rollout> {
        let sidecar = self.sidecar(name)?;
        let spec = sidecar.spec.as_ref().ok()?;
        let settings = Settings::of(spec.rollout.as_ref());
        let workloads = &self.namespaces.get(&name.namespace)?.workloads;
        let matched = workloads.iter().filter(|listed| listed::is_meant(spec, &listed.workload)).count();
        Some(Rollout {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            canary: match settings.canary {
                Canaries::Count(count) => count.to_string(),
                Canaries::Selected(ref selector) => {
                    Selector::try_from(selector.clone()).map(|selector| selector.to_string()).unwrap_or_default()
                }
            },
            at_a_time: settings.limit(matched),
            soak_millis: settings.soak,
            on_failure: settings.on_failure,
            mode: settings.mode,
        })
    }
}

/// As the controller will see it: before it touches any workload it puts its finalizer on.
fn bound(mut object: DynamicObject) -> DynamicObject {
    let finalizers = object.finalizers_mut();
    if !finalizers.iter().any(|name| name == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    object
}
