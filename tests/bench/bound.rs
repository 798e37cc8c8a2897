//! The lower bound: the same client library sends the same patches to the same Deployments and does nothing else.

use std::{sync::Arc, time::Instant};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
};
use logsidecar::workload::kind::Kind;
use serde_json::Value;

use crate::{
    Result,
    audit::Request,
    cluster::{Cluster, TARGETS, Target, in_flight},
};

/// The patch that the system under test has sent for one Deployment.
pub struct Sample {
    target: Target,
    body: String,
    params: PatchParams,
}

impl Sample {
    pub fn new(target: &Target, sent: &Request) -> Result<Self> {
        let query = sent.uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let parameters: Vec<_> = query.split('&').filter_map(|parameter| parameter.split_once('=')).collect();
        let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let validation = match get("fieldValidation") {
            Some("Strict") => Some(ValidationDirective::Strict),
            Some("Warn") => Some(ValidationDirective::Warn),
            Some("Ignore") => Some(ValidationDirective::Ignore),
            _ => None,
        };
        let params = PatchParams {
            dry_run: false,
            force: get("force") == Some("true"),
            field_manager: get("fieldManager").map(str::to_owned),
            field_validation: validation,
        };
        let body = sent.body.as_ref().ok_or("a request without body")?.to_string();
        Ok(Self { target: target.clone(), body, params })
    }

    /// How many bytes it has.
    pub fn size(&self) -> usize {
        self.body.len()
    }

    /// The same patch for another Deployment.
    fn of(&self, target: &Target) -> Result<Patch<Value>> {
        let body = self.body.replace(&self.target.uid, &target.uid).replace(&self.target.name, &target.name);
        let version = |target: &Target| format!("\"{}\"", target.version);
        let body: Value = serde_json::from_str(&body.replace(&version(&self.target), &version(target)))?;
        Ok(match body {
            Value::Array(_) => Patch::Json(serde_json::from_value(body)?),
            body if body.get("apiVersion").is_some() => Patch::Apply(body),
            body => Patch::Merge(body),
        })
    }
}

/// One run of the bound.
pub struct Run {
    pub seconds: f64,
    /// What API server and etcd have spent on it, in seconds.
    pub server_cpu: f64,
}

/// Patches all targets with so many requests in flight.
pub async fn run(cluster: &Cluster, sample: &Sample, targets: &[Target], tasks: usize) -> Result<Run> {
    let patches = targets.iter().map(|target| Ok((target.name.clone(), sample.of(target)?))).collect::<Result<Vec<_>>>()?;
    let (patches, params) = (Arc::new(patches), Arc::new(sample.params.clone()));
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.account.clone(), TARGETS, &Kind::Deployment.resource());
    let cpu = cluster.server_cpu();
    let start = Instant::now();
    in_flight(targets.len(), tasks, move |index| {
        let (api, patches, params) = (api.clone(), patches.clone(), params.clone());
        async move {
            let (name, patch) = &patches[index];
            api.patch(name, &params, patch).await?;
            Ok(())
        }
    })
    .await?;
    let seconds = start.elapsed().as_secs_f64();
    // What the rollouts cost the API server is in the figure of the system, too.
    cluster.controllers_rest().await?;
    Ok(Run { seconds, server_cpu: cluster.server_cpu() - cpu })
}
