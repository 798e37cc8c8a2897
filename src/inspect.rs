//! What the commands do with a cluster: they read it with the credentials of the caller, and show what the controller would decide. Nothing
//! here writes, and nothing here decides: see [`crate::decide`].
//!
//! * [`connection`]: which cluster, and its errors
//! * `observe`: a workload and its LogSidecars → an observation, and answers to the questions of a decision
//! * `plan`, `explain`, `status`: the three commands

pub(crate) mod connection;
mod explain;
mod observe;
mod plan;
mod status;
mod warnings;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    ResourceExt,
    api::DynamicObject,
    core::{ApiResource, Selector},
};
use serde_json::Value;

pub(crate) use self::explain::explain;
use self::{
    connection::{Connection, InspectError},
    observe::{Inspector, ListedWorkload},
};
use crate::{
    api::{FINALIZER, LogSidecar},
    decide::log_sidecar::{LogSidecarKey, ValidatedLogSidecar},
    report::plan::RolloutPlan,
    rollout::settings::CanarySelection,
    shipper::Images,
    workload::kind::Kinds,
};

/// The namespaces that are inspected.
#[derive(Clone, Debug)]
pub(crate) enum InspectScope {
    All,
    In(BTreeSet<String>),
}

/// What was in the cluster when it was read.
pub(crate) struct Inspection {
    inspector: Inspector,
    namespaces: BTreeMap<String, NamespaceObjects>,
}

/// What is in one namespace.
#[derive(Default)]
struct NamespaceObjects {
    log_sidecars: Vec<Arc<ValidatedLogSidecar>>,
    workloads: Vec<ListedWorkload>,
}

impl Inspection {
    /// Reads the cluster. The workloads come first: a `LogSidecar` that is created meanwhile is seen with them at worst, and never
    /// missed by a workload that has it already.
    pub async fn read(
        connection: Connection,
        images: Images,
        kinds: &Kinds,
        scope: &InspectScope,
    ) -> Result<Self, InspectError> {
        let mut namespaces: BTreeMap<String, NamespaceObjects> = BTreeMap::new();
        let scopes: Vec<Option<&str>> = match scope {
            InspectScope::All => vec![None],
            InspectScope::In(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        };
        for namespace in scopes.iter().copied() {
            for kind in kinds.in_cluster() {
                let objects = connection.workloads(kind, namespace).await?;
                for listed in objects.iter().filter_map(|object| ListedWorkload::observe(kind, object)) {
                    let namespace = listed.workload.key.namespace.clone();
                    namespaces.entry(namespace).or_default().workloads.push(listed);
                }
            }
        }
        for namespace in scopes {
            for sidecar in read_log_sidecars(&connection, namespace, &images).await? {
                namespaces.entry(sidecar.key.namespace.clone()).or_default().log_sidecars.push(sidecar);
            }
        }
        Ok(Self { inspector: Inspector { connection, images, kinds: kinds.clone() }, namespaces })
    }

    /// Takes a `LogSidecar` of a file for one that has been applied.
    pub fn assume(&mut self, namespace: &str, object: &Value) -> Option<LogSidecarKey> {
        let mut object: DynamicObject = serde_json::from_value(object.clone()).ok()?;
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.uid = Some(format!("not-applied-yet-{}", object.name_any()));
        object.metadata.resource_version = Some(String::new());
        object.metadata.creation_timestamp = Some(Time(Timestamp::now()));
        object.metadata.generation = Some(1);
        object.metadata.deletion_timestamp = None;
        object.data.as_object_mut()?.remove("status");
        let mut sidecar = ValidatedLogSidecar::observe(&with_finalizer(object), &self.inspector.images)?;
        let key = sidecar.key.clone();
        let log_sidecars = &mut self.namespaces.entry(namespace.to_owned()).or_default().log_sidecars;
        if let Some(live) = log_sidecars.iter().position(|live| live.key == sidecar.key) {
            let live = log_sidecars.swap_remove(live);
            // Any change of the spec is another attempt for what has been halted.
            let is_changed = live.spec.as_ref().map(|spec| spec.spec()) != sidecar.spec.as_ref().map(|spec| spec.spec());
            sidecar = ValidatedLogSidecar {
                generation: live.generation + i64::from(is_changed),
                deletion: sidecar.deletion,
                spec: sidecar.spec,
                settings: sidecar.settings,
                ..(*live).clone()
            };
        }
        log_sidecars.push(Arc::new(sidecar));
        Some(key)
    }

    /// The address of a `LogSidecar`, if it is there.
    pub fn find(&self, namespace: &str, name: &str) -> Option<LogSidecarKey> {
        let key = LogSidecarKey { namespace: namespace.to_owned(), name: name.parse().ok()? };
        self.log_sidecar(&key).map(|sidecar| sidecar.key.clone())
    }

    fn log_sidecar(&self, key: &LogSidecarKey) -> Option<&Arc<ValidatedLogSidecar>> {
        self.namespaces.get(&key.namespace)?.log_sidecars.iter().find(|sidecar| sidecar.key == *key)
    }

    /// How a `LogSidecar` rolls out.
    fn rollout_plan(&self, key: &LogSidecarKey) -> Option<RolloutPlan> {
        let sidecar = self.log_sidecar(key)?;
        let spec = sidecar.spec.as_ref().ok()?;
        let settings = &sidecar.settings;
        let workloads = &self.namespaces.get(&key.namespace)?.workloads;
        let targets = workloads.iter().filter(|listed| listed.is_target(spec)).count();
        Some(RolloutPlan {
            namespace: key.namespace.clone(),
            name: key.name.to_string(),
            canary: match settings.canary {
                CanarySelection::Count(count) => count.to_string(),
                CanarySelection::Selected(ref selector) => {
                    Selector::try_from(selector.clone()).map(|selector| selector.to_string()).unwrap_or_default()
                }
            },
            max_concurrent: settings.limit(targets),
            soak: settings.soak,
            on_failure: settings.on_failure,
            mode: settings.mode,
        })
    }
}

/// The LogSidecars of a namespace, or of all.
async fn read_log_sidecars(
    connection: &Connection,
    namespace: Option<&str>,
    images: &Images,
) -> Result<Vec<Arc<ValidatedLogSidecar>>, InspectError> {
    let objects = connection.list(&ApiResource::erase::<LogSidecar>(&()), namespace).await?;
    let observed = objects.into_iter().filter_map(|object| ValidatedLogSidecar::observe(&with_finalizer(object), images));
    Ok(observed.map(Arc::new).collect())
}

/// As the controller will see it: before it changes any workload it adds its finalizer.
fn with_finalizer(mut object: DynamicObject) -> DynamicObject {
    let finalizers = object.finalizers_mut();
    if !finalizers.iter().any(|name| name == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    object
}

/// The observation of a command, for the property that the controller decides alike.
#[cfg(test)]
pub(crate) mod parity {
    use super::*;
    use crate::{
        decide::{
            Observation,
            question::{Answer, Question},
        },
        workload::kind::Kind,
    };

    /// Runs a decision on what a command observes of these objects; whose turn it is is answered as a command knows it.
    pub fn decide<T>(
        workload: &DynamicObject,
        log_sidecars: &[DynamicObject],
        run: impl FnOnce(&Observation<'_>, &dyn Fn(&Question) -> Option<Answer>) -> T,
    ) -> T {
        let listed = ListedWorkload::observe(Kind::Deployment, workload).expect("a workload");
        let images = Images::default();
        let observe = |object: &DynamicObject| ValidatedLogSidecar::observe(&with_finalizer(object.clone()), &images);
        let log_sidecars: Vec<_> = log_sidecars.iter().filter_map(observe).map(Arc::new).collect();
        let scheduler = observe::scheduler(&log_sidecars, &Kinds::default());
        let observation = observe::observe(&listed.workload, &log_sidecars, scheduler.view(&listed.workload.key), None);
        run(&observation, &|question| match question {
            Question::Turn(requests) => Some(Answer::Turn(observe::turn(&scheduler, requests))),
            _ => None,
        })
    }
}
