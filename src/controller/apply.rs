//! The one way in which workloads are written: a JSON patch of the difference between the template that was planned on and
//! the one that was planned, guarded by the version of the former. Why a JSON patch and not server-side apply: an apply makes
//! us co-owner of the application's container, and its owner could not rename it any more.

use std::time::Duration;

use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::Status,
};
use serde_json::{Value, json};

use super::workload::Workload;
use crate::{
    api::{LEDGER_ANNOTATION, MANAGER, Reason},
    plan::{Plan, Refusal, difference::difference},
    workload::key::{containers, list},
};

/// No request takes longer; the client itself has no limit for the time until an answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Whether the API server keeps what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It only says what it would keep.
    DryRun,
    /// It does.
    Write,
}

/// Why a patch was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Somebody else was faster: look again.
    #[error("the workload has changed meanwhile")]
    Conflict,
    /// The workload is gone.
    #[error("the workload is gone")]
    Gone,
    /// The API server refuses the result, and would again.
    #[error("{0}")]
    Refused(Refusal),
    /// No answer in time.
    #[error("no answer from the API server within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Anything else: worth another try.
    #[error("the API server did not take the patch: {0}")]
    Failed(String),
}

/// Sends the patch; returns the object as the API server has it now.
pub(super) async fn apply(client: &Client, workload: &Workload, plan: &Plan, mode: Mode) -> Result<Workload, Error> {
    let kind = workload.key.target.kind;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &workload.key.namespace, &kind.resource());
    let params = PatchParams {
        dry_run: mode == Mode::DryRun,
        force: false,
        field_manager: Some(MANAGER.to_owned()),
        field_validation: Some(ValidationDirective::Strict),
    };
    let patch: Patch<()> = Patch::Json(json_patch::Patch(operations(workload, plan)));
    let answer = tokio::time::timeout(TIMEOUT, api.patch(&workload.key.target.name, &params, &patch)).await;
    let object = answer.map_err(|_| Error::Timeout)?.map_err(|error| explain(error, &Secrets::of(&plan.template)))?;
    Workload::observe(kind, &object).ok_or_else(|| Error::Failed("its answer is not a workload".to_owned()))
}

/// The patch.
pub(super) fn operations(workload: &Workload, plan: &Plan) -> Vec<PatchOperation> {
    // The version first: the API server answers 409 to a patch that was planned on another one, whatever follows.
    let version = ReplaceOperation { path: pointer("/metadata/resourceVersion"), value: workload.version.clone().into() };
    let mut operations = vec![PatchOperation::Replace(version)];
    let ledger = plan.ledger.as_ref().and_then(crate::workload::ledger::Ledger::text);
    let path = pointer(&format!("/metadata/annotations/{}", LEDGER_ANNOTATION.replace('/', "~1")));
    match (workload.ledger.as_deref(), ledger) {
        (Some(before), Some(after)) if before == after => {}
        (_, Some(after)) if workload.has_annotations => {
            operations.push(PatchOperation::Add(AddOperation { path, value: after.into() }));
        }
        (_, Some(after)) => operations.push(PatchOperation::Add(AddOperation {
            path: pointer("/metadata/annotations"),
            value: json!({ LEDGER_ANNOTATION: after }),
        })),
        (Some(_), None) => operations.push(PatchOperation::Remove(RemoveOperation { path })),
        (None, None) => {}
    }
    operations.extend(difference(&pointer(workload.key.target.kind.template()), &workload.template(), &plan.template));
    operations
}

fn pointer(text: &str) -> PointerBuf {
    // The texts are constants of this file and of `Kind`.
    PointerBuf::parse(text).unwrap_or_default()
}

fn explain(error: kube::Error, secrets: &Secrets) -> Error {
    match error {
        kube::Error::Api(status) => from_status(&status, secrets),
        other => Error::Failed(other.to_string()),
    }
}

/// What the API server says in full may hold the environment of somebody's container, so only parts of it are passed on, and
/// those without any value of it.
fn from_status(status: &Status, secrets: &Secrets) -> Error {
    let details = status.details.as_ref();
    let names_kind = details.is_some_and(|details| !details.kind.is_empty());
    match status.code {
        409 => Error::Conflict,
        // Without details it is a path that the API server does not serve, which says nothing about the object.
        404 if names_kind => Error::Gone,
        403 => Error::Refused(Refusal::new(
            Reason::Forbidden,
            format!("the API server forbids the patch: {}", short(&secrets.hide(&status.message))),
        )),
        // The patch does not fit the object: the API server applies it to the newest version before it sees that another was
        // meant.
        422 if details.is_some_and(|details| details.causes.iter().any(|cause| cause.field == "patch")) => Error::Conflict,
        422 | 400 | 413 => Error::Refused(Refusal::new(Reason::Rejected, rejection(status, secrets))),
        code => Error::Failed(format!("{code} {}", status.reason)),
    }
}

fn rejection(status: &Status, secrets: &Secrets) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes).map(|cause| {
        let said =
            if cause.field.contains(".env") { String::new() } else { format!(" {}", short(&secrets.hide(&cause.message))) };
        format!("{} ({}){said}", cause.field, cause.reason)
    });
    let causes: Vec<String> = causes.collect();
    let told = if causes.is_empty() { status.reason.clone() } else { causes.join("; ") };
    format!("the API server refuses the template with the sidecar: {told}")
}

fn short(message: &str) -> String {
    message.chars().take(300).collect()
}

/// The values that the environments of a template hold in plain text, the longer ones first.
struct Secrets(Vec<String>);

impl Secrets {
    /// Very short values are words of every sentence.
    const SHORTEST: usize = 4;

    fn of(template: &Value) -> Self {
        let values = containers(template).flat_map(|container| list(container, "env")).filter_map(|env| env["value"].as_str());
        // As it is, and as it looks inside of quotes.
        let spellings = values.flat_map(|value| [value.to_owned(), value.escape_debug().to_string()]);
        let mut values: Vec<String> = spellings.filter(|value| value.len() >= Self::SHORTEST).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    fn hide(&self, message: &str) -> String {
        self.0.iter().fold(message.to_owned(), |message, value| message.replace(value, "…"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_without_the_values_of_the_environment() {
        let template = json!({"spec": {
            "containers": [{"name": "app", "env": [{"name": "A", "value": "pass"}, {"name": "B", "value": "password\"1"}, {"name": "C", "value": "no"}]}],
            "initContainers": [{"name": "init", "env": [{"name": "D", "value": "initial"}, {"name": "E", "valueFrom": {}}]}],
        }});
        let secrets = Secrets::of(&template);
        assert_eq!(secrets.hide(r#"no: password"1, "password\"1", initial, passes"#), r#"no: …, "…", …, …es"#);
    }
}
