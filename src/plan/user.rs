//! The security context of a shipper: as strict as it can be and still read the files.

use serde_json::{Value, json};

use super::Warning;
use crate::workload::key;

/// Everything that a shipper can do without, as Pod Security level `restricted` demands it.
///
/// The shipper gets the effective user and group of the application, because log files are often readable by their owner
/// alone. Where the template does not set a user, the image decides and may run the application as anybody: then the
/// shipper runs as its own image does, which is root, with the one capability that reads other users' files (which level
/// `baseline` allows), unless the pod forbids root. Where not all images of the shipper run as root, it has to be `said`.
pub(super) fn security_context(pod: &Value, writers: &[&str], said: bool) -> (Value, Vec<Warning>) {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let mut warnings = Vec::new();
    let users: Vec<_> = writers.iter().map(|name| effective(pod, name, "runAsUser")).collect();
    let groups: Vec<_> = writers.iter().map(|name| effective(pod, name, "runAsGroup")).collect();
    let first = users.first().cloned().flatten();
    if users.iter().any(|user| *user != first) {
        warnings.push(Warning(format!(
            "the containers {} run as different users: the sidecar runs as that of {} and may be unable to read the files of the others",
            writers.join(", "),
            writers.first().copied().unwrap_or_default(),
        )));
    }
    let writer = writers.first().copied().unwrap_or_default();
    let must_not_be_root = effective(pod, writer, "runAsNonRoot") == Some(Value::Bool(true));
    // Where the pod forbids root and its application is excepted, its sidecar has to be excepted, too, or it never starts.
    if pod.pointer("/spec/securityContext/runAsNonRoot") == Some(&Value::Bool(true)) && !must_not_be_root {
        context["runAsNonRoot"] = false.into();
    }
    match first {
        Some(user) => {
            if user == 0 {
                context["capabilities"]["add"] = json!(["DAC_OVERRIDE"]);
            }
            context["runAsUser"] = user;
            if let Some(group) = groups.into_iter().next().flatten() {
                context["runAsGroup"] = group;
            }
            if must_not_be_root {
                context["runAsNonRoot"] = true.into();
            }
        }
        None if must_not_be_root => {
            context["runAsNonRoot"] = true.into();
            context["runAsUser"] = 65532.into();
            warnings.push(Warning(
                "the pod sets runAsNonRoot but no runAsUser: the sidecar runs as user 65532 and reads only files that everybody may read; set sidecar.container.securityContext.runAsUser to the application's user".to_owned(),
            ));
        }
        None => {
            context["capabilities"]["add"] = json!(["DAC_OVERRIDE"]);
            if said {
                context["runAsUser"] = 0.into();
            }
        }
    }
    (context, warnings)
}

/// A field of the container's security context, else of the pod's.
fn effective(pod: &Value, container: &str, field: &str) -> Option<Value> {
    let own = key::container(pod, container).and_then(|container| container.get("securityContext")?.get(field));
    let pods = || pod.get("spec")?.get("securityContext")?.get(field);
    own.filter(|value| !value.is_null()).or_else(pods).filter(|value| !value.is_null()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(pod: &Value, container: &Value) -> (Value, usize) {
        let pod = json!({"spec": {"securityContext": pod, "containers": [{"name": "app", "securityContext": container}]}});
        let (context, warnings) = security_context(&pod, &["app"], false);
        let user = json!({"user": context["runAsUser"], "group": context["runAsGroup"], "nonRoot": context["runAsNonRoot"],
            "add": context["capabilities"]["add"]});
        (user, warnings.len())
    }

    #[test]
    fn the_sidecar_runs_as_the_user_that_can_read_the_files() {
        let dac = json!(["DAC_OVERRIDE"]);
        let table = [
            (json!({}), json!({}), json!({"user": null, "group": null, "nonRoot": null, "add": dac}), 0),
            (
                json!({}),
                json!({"runAsUser": 1000, "runAsGroup": 2}),
                json!({"user": 1000, "group": 2, "nonRoot": null, "add": null}),
                0,
            ),
            (json!({"runAsUser": 7}), json!({}), json!({"user": 7, "group": null, "nonRoot": null, "add": null}), 0),
            (
                json!({"runAsUser": 7}),
                json!({"runAsUser": 0}),
                json!({"user": 0, "group": null, "nonRoot": null, "add": dac}),
                0,
            ),
            (
                json!({"runAsNonRoot": true, "runAsUser": 7}),
                json!({}),
                json!({"user": 7, "group": null, "nonRoot": true, "add": null}),
                0,
            ),
            (
                json!({"runAsNonRoot": true}),
                json!({"runAsNonRoot": false, "runAsUser": 0}),
                json!({"user": 0, "group": null, "nonRoot": false, "add": dac}),
                0,
            ),
            (
                json!({"runAsNonRoot": true}),
                json!({"runAsNonRoot": false}),
                json!({"user": null, "group": null, "nonRoot": false, "add": dac}),
                0,
            ),
            (json!({"runAsNonRoot": true}), json!({}), json!({"user": 65532, "group": null, "nonRoot": true, "add": null}), 1),
        ];
        for (pod, container, expected, warnings) in table {
            assert_eq!(context(&pod, &container), (expected, warnings), "{pod} {container}");
        }
    }
}
