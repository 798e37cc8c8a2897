//! A workload as the cache keeps it: what planning and status need of it, and no more.
//!
//! A Deployment of 6 KiB takes 50 KiB as a typed object, mostly `managedFields`; at ten thousand of them that matters. So
//! ownership is reduced to the keys of our items, and the template is kept packed.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry};
use kube::{ResourceExt, api::DynamicObject, core::Selector};
use serde_json::{Value, json};

use super::packed::Packed;
use crate::{
    api::{LEDGER_ANNOTATION, MANAGER},
    plan::{self, Setting, Subject, claim::Known},
    preflight::{Change, Pods},
    status::Target,
    workload::{
        kind::Kind,
        ledger::{Ledger, Origin},
        owned::Owned,
        status::WorkloadStatus,
    },
};

/// The address of a workload. Ordered by namespace first, so that a namespace is a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WorkloadKey {
    pub namespace: String,
    pub target: Target,
}

impl std::fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.target.kind, self.namespace, self.target.name)
    }
}

/// One version of a workload.
#[derive(Debug, PartialEq)]
pub(super) struct Workload {
    pub key: WorkloadKey,
    pub uid: String,
    /// `metadata.resourceVersion`: what every write is guarded by.
    pub version: String,
    /// A tree of them would take ten times as much.
    labels: Box<[(Box<str>, Box<str>)]>,
    /// The ledger annotation.
    pub ledger: Option<Box<str>>,
    /// Whether `metadata.annotations` exists, as a JSON patch has to know.
    pub has_annotations: bool,
    /// The pod template.
    template: Packed,
    pub owned: Owned,
    /// `Kind name` of the controller that renders this workload.
    pub controller: Option<String>,
    /// The field manager, other than ours, that last wrote the template, and when.
    pub last_writer: Option<Writer>,
    /// Which pods are its own, as a list of them takes it.
    pub selector: Box<str>,
    /// How its pods are doing.
    pub standing: WorkloadStatus,
}

impl Workload {
    /// Takes from an object what is needed. `None` for an object without name, uid or template, which no API server sends.
    pub fn observe(kind: Kind, object: &DynamicObject) -> Option<Self> {
        let template = object.data.pointer(kind.template())?;
        let metadata = &object.metadata;
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        Some(Self {
            key: WorkloadKey { namespace: object.namespace()?, target: Target { kind, name: metadata.name.clone()? } },
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.clone()?,
            labels: metadata.labels.iter().flatten().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
            ledger: object.annotations().get(LEDGER_ANNOTATION).map(|text| text.as_str().into()),
            has_annotations: metadata.annotations.is_some(),
            template: Packed::new(template),
            owned: Owned::read(object.managed_fields(), kind.template()),
            controller: owner.map(|owner| format!("{} {}", owner.kind, owner.name)),
            last_writer: last_writer(object.managed_fields(), kind.template()),
            selector: selector(&object.data, template).into(),
            standing: standing(kind, object),
        })
    }

    /// The ledger that was on it, if its annotation is gone and something of ours is still in.
    pub fn recover(&self, known: &[Known<'_>]) -> Option<Ledger> {
        let was_ours = known.iter().filter_map(|known| known.created).any(|created| self.owned.is_written_since(created));
        if was_ours { plan::recover(&self.uid, &self.template(), &self.owned, known) } else { None }
    }

    /// The ledger that is on it, in which what policies have put in is ours.
    pub fn take_over(&self, ledger: &Ledger, known: &[Known<'_>], setting: Setting<'_>) -> Option<Ledger> {
        if ledger.sidecars.iter().all(|entry| entry.origin != Origin::Policy) {
            return Some(ledger.clone());
        }
        let template = &self.template();
        let before = self.standing.before();
        let subject = Subject { uid: Some(&self.uid), template, ledger: Some(ledger), owned: &self.owned, before, setting };
        plan::take_over(&subject, known)
    }

    /// A change of its template, as preflight looks at it.
    pub fn change<'a>(&'a self, before: &'a Value, after: &'a Value) -> Change<'a> {
        let pods = Pods { wanted: self.standing.pods.into(), surges: self.standing.surges };
        Change { kind: self.key.target.kind, name: &self.key.target.name, before, after, pods }
    }

    /// Its own labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|(key, value)| (String::from(&**key), String::from(&**value))).collect()
    }

    /// The pod template.
    pub fn template(&self) -> Value {
        self.template.value()
    }
}

/// `spec.selector`, or what labels the pods have where there is none.
fn selector(object: &Value, template: &Value) -> String {
    let written = serde_json::from_value::<LabelSelector>(object["spec"]["selector"].clone()).ok();
    let written = written.filter(|selector| *selector != LabelSelector::default());
    let labels = || LabelSelector {
        match_labels: serde_json::from_value(template["metadata"]["labels"].clone()).ok(),
        match_expressions: None,
    };
    let selector = Selector::try_from(written.unwrap_or_else(labels));
    selector.map(|selector| selector.to_string()).unwrap_or_default()
}

/// The metadata of an object are in another place than the rest.
fn standing(kind: Kind, object: &DynamicObject) -> WorkloadStatus {
    let part = |field: &str| object.data.get(field).cloned().unwrap_or_default();
    let mut spec = part("spec");
    // The template says nothing about it, and is most of the object.
    spec.as_object_mut().into_iter().for_each(|spec| drop(spec.remove("template")));
    let generation = json!({"generation": object.metadata.generation});
    WorkloadStatus::of(kind, &json!({"metadata": generation, "spec": spec, "status": part("status")}))
}

/// A field manager, and the second in which it last wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub manager: Box<str>,
    /// In seconds since 1970, by the clock of the API server.
    pub at: i64,
}

/// Who wrote the template last, apart from us. Whoever only takes something away does not show.
fn last_writer(managed_fields: &[ManagedFieldsEntry], template: &str) -> Option<Writer> {
    let writes_template = |entry: &ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        template.split('/').skip(1).try_fold(fields?, |at, step| at.get(format!("f:{step}"))).map(|_| ())
    };
    let writer = |entry: &ManagedFieldsEntry| {
        writes_template(entry)?;
        let manager = entry.manager.as_deref().filter(|manager| *manager != MANAGER)?;
        Some(Writer { manager: manager.into(), at: entry.time.as_ref()?.0.as_second() })
    };
    managed_fields.iter().filter_map(writer).max_by_key(|writer| writer.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_writer_is_the_last_that_wrote_the_template_and_not_us() {
        let entry = |manager: &str, second: u8, fields: Value| json!({"manager": manager, "time": format!("2026-01-01T00:00:0{second}Z"), "fieldsV1": fields});
        let template = json!({"f:spec": {"f:template": {"f:spec": {}}}});
        let entries = json!([
            entry("kubectl", 1, template.clone()),
            entry("operator", 2, template.clone()),
            entry(MANAGER, 3, template),
            entry("kube-controller-manager", 4, json!({"f:metadata": {}})),
        ]);
        let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(entries).expect("entries");
        let last = last_writer(&entries, "/spec/template").expect("two have written");
        assert_eq!((&*last.manager, last.at), ("operator", 1_767_225_602));
        assert_eq!(last_writer(&entries[2..], "/spec/template"), None);
    }
}
