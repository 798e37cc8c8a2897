//! The one way in which workloads are written: a JSON patch of the difference between the template that was planned on and the one that
//! was planned, guarded by the version of the former. Why a JSON patch and not server-side apply: an apply makes us co-owner of the
//! application's container, and its owner could not rename it any more.

use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::{Value, json};

use super::{Plan, difference::difference};
use crate::{
    api::LEDGER_ANNOTATION,
    workload::{
        ledger::{Ledger, StoredLedger},
        snapshot::Workload,
    },
};

/// The guarded patch that carries out a plan on a workload with this template.
///
/// # Panics
/// Never: the pointer of a kind is checked when the kind is read.
#[must_use]
pub fn operations(workload: &Workload, template: &Value, plan: &Plan) -> Vec<PatchOperation> {
    // The version first: the API server answers 409 to a patch that was planned on another one, whatever follows.
    let version = ReplaceOperation { path: pointer(["metadata", "resourceVersion"]), value: workload.version.clone().into() };
    let mut operations = vec![PatchOperation::Replace(version)];
    let ledger = plan.ledger.as_ref().and_then(Ledger::text);
    let path = pointer(["metadata", "annotations", LEDGER_ANNOTATION]);
    match (workload.ledger.as_ref().map(StoredLedger::text), ledger) {
        (Some(before), Some(after)) if before == after => {}
        (_, Some(after)) if workload.has_annotations => {
            operations.push(PatchOperation::Add(AddOperation { path, value: after.into() }));
        }
        (_, Some(after)) => operations.push(PatchOperation::Add(AddOperation {
            path: pointer(["metadata", "annotations"]),
            value: json!({ LEDGER_ANNOTATION: after }),
        })),
        (Some(_), None) => operations.push(PatchOperation::Remove(RemoveOperation { path })),
        (None, None) => {}
    }
    let at = PointerBuf::parse(workload.key.id.kind.template()).expect("a kind is read only with a valid pointer");
    operations.extend(difference(&at, template, &plan.template));
    operations
}

/// A pointer made of unescaped steps.
fn pointer<'a>(steps: impl IntoIterator<Item = &'a str>) -> PointerBuf {
    PointerBuf::from_tokens(steps)
}
