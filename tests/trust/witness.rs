//! Every version that the Deployments of a namespace ever had, in their order: what an API server's watch guarantees.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use logsidecar::kind::Kind;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::proxy::runtime;

/// The templates that each Deployment had, without repetitions: every further one is a rollout.
type Templates = BTreeMap<String, Vec<Value>>;

pub struct Witness {
    templates: Arc<Mutex<Templates>>,
    task: JoinHandle<()>,
}

impl Witness {
    pub fn of(client: &Client, namespace: &str) -> Self {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &Kind::Deployment.resource());
        let templates: Arc<Mutex<Templates>> = Arc::default();
        let notes = templates.clone();
        let from = runtime().block_on(api.list_metadata(&ListParams::default())).expect("a list");
        assert!(from.items.is_empty(), "a witness has to be there first");
        let mut version = from.metadata.resource_version.unwrap_or_default();
        let task = runtime().spawn(async move {
            loop {
                let Ok(events) = api.watch(&WatchParams::default(), &version).await else { continue };
                let mut events = events.boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                        version = object.metadata.resource_version.clone().unwrap_or(version);
                        let name = object.metadata.name.clone().unwrap_or_default();
                        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                        let seen = notes.entry(name).or_default();
                        let template = object.data["spec"]["template"].clone();
                        if seen.last() != Some(&template) {
                            seen.push(template);
                        }
                    }
                }
            }
        });
        Self { templates, task }
    }

    /// All templates that a Deployment had.
    pub fn templates(&self, deployment: &str) -> Vec<Value> {
        let templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        templates.get(deployment).cloned().unwrap_or_default()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
