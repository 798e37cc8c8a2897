//! Every version that the Deployments of a namespace ever had, in their order: what an API server's watch guarantees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use logsidecar::workload::kind::Kind;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{kubernetes::is_under_way, proxy::runtime};

/// The templates that each Deployment had, without repetitions: every further one is a rollout.
type Templates = BTreeMap<String, Vec<Value>>;

/// Which rollouts of ours are under way: a change of a template that the ledger goes with, until all pods are new and available.
#[derive(Default)]
struct Count {
    under_way: BTreeSet<String>,
    most: usize,
    rollouts: usize,
}

pub struct Witness {
    templates: Arc<Mutex<Templates>>,
    count: Arc<Mutex<Option<Count>>>,
    task: JoinHandle<()>,
}

impl Count {
    /// `before` is the template that the Deployment had, if it has another one now.
    fn see(&mut self, name: &str, object: &DynamicObject, before: Option<&Value>) {
        let whole = json!({"metadata": {"generation": object.metadata.generation}, "spec": object.data["spec"], "status": object.data["status"]});
        let has = |template: &Value| template["spec"]["initContainers"].as_array().is_some_and(|list| !list.is_empty());
        if before.is_some_and(|before| has(before) || has(&object.data["spec"]["template"])) {
            self.rollouts += 1;
            self.under_way.insert(name.to_owned());
        } else if !is_under_way(&whole) {
            self.under_way.remove(name);
        }
        self.most = self.most.max(self.under_way.len());
    }
}

impl Witness {
    pub fn of(client: &Client, namespace: &str) -> Self {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &Kind::Deployment.resource());
        let templates: Arc<Mutex<Templates>> = Arc::default();
        let notes = templates.clone();
        let count: Arc<Mutex<Option<Count>>> = Arc::default();
        let counted = count.clone();
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
                        let seen = notes.entry(name.clone()).or_default();
                        let template = object.data["spec"]["template"].clone();
                        let before = seen.last().filter(|before| **before != template).cloned();
                        if let Some(count) = counted.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                            count.see(&name, &object, before.as_ref());
                        }
                        if seen.last() != Some(&template) {
                            seen.push(template);
                        }
                    }
                }
            }
        });
        Self { templates, count, task }
    }

    /// Begins to count rollouts of ours.
    pub fn starts_counting(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) = Some(Count::default());
    }

    /// How many rollouts of ours were under way at the same time at most, and how many there were.
    pub fn most_under_way(&self) -> (usize, usize) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.as_ref().map(|count| (count.most, count.rollouts)).unwrap_or_default()
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
