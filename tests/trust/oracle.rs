//! Whether a namespace is as its LogSidecars ask for: judged from what the API server has, by the planner itself and by two
//! questions that do not trust the planner.

use std::collections::BTreeMap;

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
};
use logsidecar::{
    api::{FINALIZER, LEDGER_ANNOTATION, LogSidecar},
    plan::{
        self, Effect, PlanInput, ResolvedSpec,
        claim::{Lifecycle, LogSidecarView, claims},
        target::WorkloadLabels,
    },
    shipper::Images,
    workload::{
        kind::Kind,
        ledger::{Before, Ledger},
        owned::Owned,
    },
};
use serde_json::Value;

use crate::proxy::runtime;

/// What is wrong, if anything: something that the controller still has to do.
pub fn wrong(client: &Client, namespace: &str) -> Option<String> {
    runtime().block_on(async {
        let sidecars: Api<LogSidecar> = Api::namespaced(client.clone(), namespace);
        let sidecars = sidecars.list(&ListParams::default()).await.expect("LogSidecars").items;
        let workloads: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &Kind::Deployment.resource());
        let workloads = workloads.list(&ListParams::default()).await.expect("Deployments").items;
        let unfinished = sidecars.iter().find(|sidecar| {
            let bound = sidecar.finalizers().iter().any(|name| name == FINALIZER);
            !bound || sidecar.metadata.deletion_timestamp.is_some()
        });
        if let Some(sidecar) = unfinished {
            return Some(format!("LogSidecar {} has no finalizer, or is being deleted", sidecar.name_any()));
        }
        workloads.iter().find_map(|workload| differs(&sidecars, workload))
    })
}

fn differs(sidecars: &[LogSidecar], workload: &DynamicObject) -> Option<String> {
    let (name, uid) = (workload.name_any(), workload.metadata.uid.clone().unwrap_or_default());
    let template = &workload.data["spec"]["template"];
    let written = workload.annotations().get(LEDGER_ANNOTATION).map(|text| Ledger::parse(text).expect("a ledger"));
    let owned = Owned::read(workload.managed_fields(), Kind::Deployment.template());
    let created: Vec<String> = sidecars
        .iter()
        .map(|sidecar| sidecar.creation_timestamp().map(|time| time.0.to_string()).unwrap_or_default())
        .collect();
    let uids: Vec<String> = sidecars.iter().map(|sidecar| sidecar.uid().unwrap_or_default()).collect();
    let names: Vec<String> = sidecars.iter().map(ResourceExt::name_any).collect();
    let images = Images::default();
    let resolve = |sidecar: &LogSidecar| ResolvedSpec::new(&sidecar.name_any(), sidecar.spec.clone(), &images);
    let specs: Vec<ResolvedSpec> = sidecars.iter().map(resolve).collect();
    let known: Vec<LogSidecarView<'_>> = sidecars
        .iter()
        .enumerate()
        .map(|(at, sidecar)| LogSidecarView {
            name: &names[at],
            uid: Some(&uids[at]),
            created: Some(&created[at]),
            revision: Some(specs[at].revision()),
            spec: Some(&specs[at]),
            deletion: sidecar.spec.deletion_policy,
            lifecycle: Lifecycle::Live,
        })
        .collect();
    let ledger = written.clone().or_else(|| plan::recover(&uid, template, &owned, &known));
    let empty = BTreeMap::new();
    let labels = workload.metadata.labels.as_ref().unwrap_or(&empty);
    let seen = ledger.as_ref().map(|ledger| ledger.seen_from(Some(&uid)));
    let claims = claims(WorkloadLabels { kind: Kind::Deployment, name: &name, labels }, &known, seen.as_ref());
    let kind = Kind::Deployment;
    let input = PlanInput { uid: Some(&uid), template, ledger: ledger.as_ref(), owned: &owned, before: Before::Well, kind };
    let plan = plan::plan(&input, &claims);
    if plan.template != *template || plan.ledger != written {
        return Some(format!("Deployment {name} is not as planned"));
    }
    let applied = plan.results.iter().filter(|verdict| matches!(verdict.result, Ok(Effect::Applied(_))));
    for verdict in applied {
        let spec = &sidecars[names.iter().position(|name| *name == verdict.name).expect("known")].spec;
        for log in &spec.logs {
            if !is_served(template, &log.directory, &verdict.name) {
                return Some(format!("Deployment {name}: {} does not see {}", verdict.name, log.directory));
            }
        }
    }
    None
}

/// Whether a container other than the sidecar mounts a volume at or above the directory, which the sidecar mounts too and which
/// exists: what the product is for, in words that know nothing of plans.
fn is_served(template: &Value, directory: &str, sidecar: &str) -> bool {
    let spec = &template["spec"];
    let list = |holder: &Value, field: &str| holder[field].as_array().cloned().unwrap_or_default();
    let containers = [list(spec, "containers"), list(spec, "initContainers")].concat();
    let covers = |mount: &Value| directory.starts_with(mount["mountPath"].as_str().unwrap_or("/none"));
    let volumes =
        |container: &Value| list(container, "volumeMounts").into_iter().filter(covers).map(|mount| mount["name"].clone());
    let (ours, others): (Vec<_>, Vec<_>) = containers.into_iter().partition(|container| container["name"] == sidecar);
    let written: Vec<Value> = others.iter().flat_map(volumes).collect();
    let exists = |name: &Value| list(spec, "volumes").iter().any(|volume| volume["name"] == *name);
    ours.len() == 1 && ours.iter().flat_map(volumes).any(|name| written.contains(&name) && exists(&name))
}
