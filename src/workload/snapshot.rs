//! One version of a workload, reduced to what planning and status need.
//!
//! A Deployment of 6 KiB takes 50 KiB as a typed object, mostly `managedFields`; at ten thousand of them that matters. So ownership is
//! reduced to the keys of our items, and the template is kept compressed.

use std::collections::BTreeMap;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry},
    jiff::Timestamp,
};
use kube::{ResourceExt, api::DynamicObject, core::Selector};
use serde_json::{Value, json};

use super::{
    id::{WorkloadId, WorkloadKey},
    kind::Kind,
    ledger::StoredLedger,
    owned::Owned,
    packed::Packed,
    status::{Progress, WorkloadStatus},
};
use crate::api::{LEDGER_ANNOTATION, MANAGER, OPT_OUT_LABEL, Reason};

/// One version of a workload.
#[derive(Debug, PartialEq)]
pub struct Workload {
    /// Its address.
    pub key: WorkloadKey,
    /// Its uid.
    pub uid: String,
    /// `metadata.resourceVersion`: the guard of every write.
    pub version: String,
    /// A tree of them would take ten times as much memory.
    labels: Box<[(Box<str>, Box<str>)]>,
    /// The ledger annotation.
    pub ledger: Option<StoredLedger>,
    /// Whether `metadata.annotations` exists, as a JSON patch has to know.
    pub has_annotations: bool,
    template: Packed,
    /// What its `managedFields` say that we own.
    pub owned: Owned,
    /// `Kind name` of the controller that renders this workload.
    pub controller: Option<String>,
    /// The last write of its template by another field manager.
    pub last_writer: Option<Writer>,
    /// The label selector of its pods.
    pub selector: Box<str>,
    /// How its pods are doing.
    pub status: WorkloadStatus,
}

/// A field manager, and the second in which it last wrote by the clock of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The name of the field manager.
    pub manager: Box<str>,
    /// The time of the write.
    pub at: Timestamp,
}

impl Workload {
    /// Reads an object. `None` for an object without name, uid or template, which no API server sends.
    #[must_use]
    pub fn observe(kind: Kind, object: &DynamicObject) -> Option<Self> {
        let template = object.data.pointer(kind.template())?;
        let metadata = &object.metadata;
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let uid = metadata.uid.clone()?;
        let ledger = object.annotations().get(LEDGER_ANNOTATION);
        Some(Self {
            key: WorkloadKey {
                namespace: object.namespace()?,
                id: WorkloadId { kind, name: metadata.name.as_deref()?.parse().ok()? },
            },
            version: metadata.resource_version.clone()?,
            labels: metadata.labels.iter().flatten().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
            ledger: ledger.map(|text| StoredLedger::read(text, &uid)),
            has_annotations: metadata.annotations.is_some(),
            template: Packed::new(template),
            owned: Owned::read(object.managed_fields(), kind.template()),
            controller: owner.map(|owner| format!("{} {}", owner.kind, owner.name)),
            last_writer: last_writer(object.managed_fields(), kind.template()),
            selector: selector(&object.data, template).into(),
            status: status(kind, object),
            uid,
        })
    }

    /// Its own labels.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().map(|(key, value)| (String::from(&**key), String::from(&**value))).collect()
    }

    /// Whether its owner has opted it out.
    #[must_use]
    pub fn is_opted_out(&self) -> bool {
        self.labels.iter().any(|(key, value)| &**key == OPT_OUT_LABEL && &**value == "false")
    }

    /// Its pod template.
    #[must_use]
    pub fn template(&self) -> Value {
        self.template.value()
    }

    /// Whether a change of the template makes it replace pods now.
    #[must_use]
    pub fn replaces_pods(&self) -> bool {
        let waits_for_its_owner = matches!(self.status.progress, Progress::Held(Reason::Paused | Reason::OnDelete));
        self.key.id.kind != Kind::CronJob && !waits_for_its_owner
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

/// The metadata of an object is in another place than the rest.
fn status(kind: Kind, object: &DynamicObject) -> WorkloadStatus {
    let part = |field: &str| object.data.get(field).cloned().unwrap_or_default();
    // The template says nothing about it, and is most of the object: it is not copied.
    let spec: serde_json::Map<String, Value> =
        object.data.get("spec").and_then(Value::as_object).map_or_else(Default::default, |spec| {
            spec.iter()
                .filter(|(field, _)| *field != "template" && *field != "jobTemplate")
                .map(|(field, value)| (field.clone(), value.clone()))
                .collect()
        });
    let generation = json!({"generation": object.metadata.generation});
    WorkloadStatus::of(kind, &json!({"metadata": generation, "spec": spec, "status": part("status")}))
}

/// The last write of the template by another manager. A manager that only removes fields does not show.
fn last_writer(managed_fields: &[ManagedFieldsEntry], template: &str) -> Option<Writer> {
    let writes_template = |entry: &ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        template.split('/').skip(1).try_fold(fields?, |at, step| at.get(format!("f:{step}"))).map(|_| ())
    };
    let writer = |entry: &ManagedFieldsEntry| {
        writes_template(entry)?;
        let manager = entry.manager.as_deref().filter(|manager| *manager != MANAGER)?;
        Some(Writer { manager: manager.into(), at: entry.time.as_ref()?.0 })
    };
    managed_fields.iter().filter_map(writer).max_by_key(|writer| writer.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn last_writer_is_the_last_other_manager_of_the_template() {
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
        assert_eq!((&*last.manager, last.at.as_second()), ("operator", 1_767_225_602));
        assert_eq!(last_writer(&entries[2..], "/spec/template"), None);
    }
}
