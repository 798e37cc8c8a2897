//! Sends the guarded patch of a workload, or its dry run, and says why it was not taken.

use json_patch::PatchOperation;
use kube::{
    Client,
    api::{Patch, PatchParams, ValidationDirective},
    core::Status,
};
use serde_json::Value;

use super::request::{RequestError, TIMEOUT, bounded, objects};
use crate::{
    api::{MANAGER, Reason},
    decide::question::WriteError,
    plan::{Plan, Refusal},
    workload::{
        key::{containers, list},
        snapshot::Workload,
    },
};

/// Whether the API server keeps what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It only answers what it would keep.
    DryRun,
    /// It keeps it.
    Write,
}

/// Sends the patch of a plan; returns the workload as the API server has it now.
///
/// # Errors
/// Why it was not taken, without any value of an environment.
pub async fn apply(
    client: &Client,
    workload: &Workload,
    (plan, patch): (&Plan, Vec<PatchOperation>),
    mode: Mode,
) -> Result<Workload, WriteError> {
    let kind = workload.key.id.kind;
    let api = objects(client, Some(&workload.key.namespace), &kind.resource());
    let params = PatchParams {
        dry_run: mode == Mode::DryRun,
        force: false,
        field_manager: Some(MANAGER.to_owned()),
        field_validation: Some(ValidationDirective::Strict),
    };
    let patch: Patch<()> = Patch::Json(json_patch::Patch(patch));
    let answer = bounded(api.patch(&workload.key.id.name, &params, &patch)).await;
    let object = answer.map_err(|error| write_error(error, &Secrets::of(&plan.template)))?;
    Workload::observe(kind, &object).ok_or_else(|| WriteError::Failed("its answer is not a workload".to_owned()))
}

fn write_error(error: RequestError, secrets: &Secrets) -> WriteError {
    match error {
        RequestError::Timeout => WriteError::Timeout(TIMEOUT.as_secs()),
        RequestError::Kube(kube::Error::Api(status)) => from_status(&status, secrets),
        RequestError::Kube(other) => WriteError::Failed(other.to_string()),
    }
}

/// The full message of the API server may contain environment values of a container. Only parts are passed on, with such values hidden.
fn from_status(status: &Status, secrets: &Secrets) -> WriteError {
    let details = status.details.as_ref();
    let names_kind = details.is_some_and(|details| !details.kind.is_empty());
    match status.code {
        409 => WriteError::Conflict,
        // Without details it is a path that the API server does not serve, which says nothing about the object.
        404 if names_kind => WriteError::Gone,
        403 => WriteError::Refused(Refusal::new(
            Reason::Forbidden,
            format!("the API server forbids the patch: {}", short(&secrets.hide(&status.message))),
        )),
        // The patch does not fit the object: the API server applies it to the newest version before it sees that another was
        // meant.
        422 if details.is_some_and(|details| details.causes.iter().any(|cause| cause.field == "patch")) => WriteError::Conflict,
        422 | 400 | 413 => WriteError::Refused(Refusal::new(Reason::Rejected, rejection(status, secrets))),
        code => WriteError::Failed(format!("{code} {}", status.reason)),
    }
}

fn rejection(status: &Status, secrets: &Secrets) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes).map(|cause| {
        let message =
            if cause.field.contains(".env") { String::new() } else { format!(" {}", short(&secrets.hide(&cause.message))) };
        format!("{} ({}){message}", cause.field, cause.reason)
    });
    let causes: Vec<String> = causes.collect();
    let what = if causes.is_empty() { status.reason.clone() } else { causes.join("; ") };
    format!("the API server refuses the template with the sidecar: {what}")
}

fn short(message: &str) -> String {
    message.chars().take(300).collect()
}

/// The values that the environments of a template hold in plain text, the longer ones first.
struct Secrets(Vec<String>);

impl Secrets {
    /// The length from which a value is hidden: shorter ones occur in any message.
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
    use serde_json::json;

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
