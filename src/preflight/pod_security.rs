//! Pod Security: what the level that a namespace enforces forbids to a container or a volume.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, and the rules in code:
//! <https://github.com/kubernetes/kubernetes/tree/v1.35.0/staging/src/k8s.io/pod-security-admission/policy>
//!
//! The newest version of each rule counts, whatever `enforce-version` says. What a pod sets for all of its containers is its
//! owner's; here it only counts as what a container inherits. The API server's own configuration, such as a level for
//! namespaces without a label, cannot be seen from here.

use serde_json::Value;

use super::{
    Finding, name,
    pod::{Container, Pod},
};
use crate::workload::key::list;

/// What containers may add to their capabilities at level `baseline`.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Volumes that level `restricted` allows.
const VOLUMES: [&str; 9] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"];

const PROFILES: [&str; 2] = ["RuntimeDefault", "Localhost"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Baseline,
    Restricted,
}

/// What the containers and volumes of a pod do that the namespace forbids.
pub(super) fn unmet(pod: &Pod<'_>, namespace: &Value) -> Vec<Finding> {
    let (level, word) = match namespace.pointer("/metadata/labels/pod-security.kubernetes.io~1enforce").and_then(Value::as_str)
    {
        Some(word @ "baseline") => (Level::Baseline, word),
        Some(word @ "restricted") => (Level::Restricted, word),
        _ => return Vec::new(),
    };
    let enforces = format!("namespace {} enforces Pod Security level {word}", name(namespace));
    let mut findings = Vec::new();
    for container in &pod.containers {
        findings.extend(advice(container, pod.spec, level).into_iter().map(|(field, advice)| Finding {
            key: format!("pod security {} {field} {advice}", container.name),
            subject: format!("{enforces}, which {} does not meet", container.name),
            advice: format!("sidecar.container.{field}: {advice}"),
        }));
    }
    for volume in list(pod.spec, "volumes").filter(|volume| !allows_volume(level, volume)) {
        let volume = volume["name"].as_str().unwrap_or_default();
        findings.push(Finding {
            key: format!("pod security volume {volume}"),
            subject: format!("{enforces}, which does not allow the type of volume {volume}"),
            advice: "use emptyDir or persistentVolumeClaim in logs[].volume".to_owned(),
        });
    }
    findings
}

fn allows_volume(level: Level, volume: &Value) -> bool {
    let has = |source: &str| volume.get(source).is_some_and(|source| !source.is_null());
    match level {
        Level::Baseline => !has("hostPath"),
        Level::Restricted => VOLUMES.into_iter().any(has),
    }
}

/// The fields of a container that are not as they have to be, and what to write there.
fn advice(container: &Container<'_>, pod: &Value, level: Level) -> Vec<(&'static str, String)> {
    let mut advice = baseline(container.fields, level == Level::Baseline && has_own_users(pod));
    if level == Level::Restricted {
        advice.retain(|(field, _)| *field != "securityContext.capabilities.add");
        advice.extend(restricted(container.fields, pod));
    }
    advice
}

/// Whether the pod has users of its own, which rules about users make allowance for.
fn has_own_users(pod: &Value) -> bool {
    pod["hostUsers"] == false
}

fn baseline(container: &Value, any_proc_mount: bool) -> Vec<(&'static str, String)> {
    let context = &container["securityContext"];
    let mut advice = Vec::new();
    let mut demand = |holds: bool, field, write: &str| {
        if !holds {
            advice.push((field, write.to_owned()));
        }
    };
    demand(context["privileged"] != true, "securityContext.privileged", "write false");
    demand(context["windowsOptions"]["hostProcess"] != true, "securityContext.windowsOptions.hostProcess", "write false");
    let ports = list(container, "ports").filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0);
    let ports: Vec<String> = ports.map(|port| port.to_string()).collect();
    demand(ports.is_empty(), "ports[].hostPort", &format!("leave out {}", ports.join(", ")));
    demand(
        is_one_of(&context["appArmorProfile"]["type"], &PROFILES),
        "securityContext.appArmorProfile.type",
        "write RuntimeDefault",
    );
    demand(
        is_one_of(&context["seccompProfile"]["type"], &PROFILES),
        "securityContext.seccompProfile.type",
        "write RuntimeDefault",
    );
    let selinux = &context["seLinuxOptions"];
    demand(is_one_of(&selinux["type"], &SELINUX_TYPES), "securityContext.seLinuxOptions.type", "leave it out");
    demand(is_one_of(&selinux["user"], &[""]), "securityContext.seLinuxOptions.user", "leave it out");
    demand(is_one_of(&selinux["role"], &[""]), "securityContext.seLinuxOptions.role", "leave it out");
    let is_default = is_one_of(&context["procMount"], &["Default"]);
    demand(is_default || any_proc_mount, "securityContext.procMount", "leave it out");
    let added = added(context, &CAPABILITIES);
    demand(added.is_empty(), "securityContext.capabilities.add", &format!("leave out {}", added.join(", ")));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        demand(!names_host(&container[probe]), probe, "leave out host");
    }
    let lifecycle = &container["lifecycle"];
    demand(!names_host(&lifecycle["postStart"]), "lifecycle.postStart", "leave out host");
    demand(!names_host(&lifecycle["preStop"]), "lifecycle.preStop", "leave out host");
    advice
}

fn restricted(container: &Value, pod: &Value) -> Vec<(&'static str, String)> {
    let context = &container["securityContext"];
    let inherited = &pod["securityContext"];
    let effective = |field: &str| if context[field].is_null() { &inherited[field] } else { &context[field] };
    let mut advice = Vec::new();
    let mut demand = |holds: bool, field, write: &str| {
        if !holds {
            advice.push((field, write.to_owned()));
        }
    };
    if !has_own_users(pod) {
        demand(*effective("runAsNonRoot") == true, "securityContext.runAsNonRoot", "write true");
        demand(context["runAsUser"] != 0, "securityContext.runAsUser", "write another user than 0");
    }
    // Windows has none of the following; the API server refuses them there.
    if pod["os"]["name"] == "windows" {
        return advice;
    }
    demand(context["allowPrivilegeEscalation"] == false, "securityContext.allowPrivilegeEscalation", "write false");
    // One that is set wrongly is a matter of `baseline`.
    demand(!effective("seccompProfile")["type"].is_null(), "securityContext.seccompProfile.type", "write RuntimeDefault");
    let drops_all = list(&context["capabilities"], "drop").any(|dropped| dropped == "ALL");
    demand(drops_all, "securityContext.capabilities.drop", "write [ALL]");
    let added = added(context, &["NET_BIND_SERVICE"]);
    demand(added.is_empty(), "securityContext.capabilities.add", &format!("leave out {}", added.join(", ")));
    advice
}

/// Absent counts as one of them.
fn is_one_of(value: &Value, allowed: &[&str]) -> bool {
    value.is_null() || value.as_str().is_some_and(|value| allowed.contains(&value))
}

fn added<'a>(context: &'a Value, allowed: &[&str]) -> Vec<&'a str> {
    list(&context["capabilities"], "add").filter_map(Value::as_str).filter(|added| !allowed.contains(added)).collect()
}

fn names_host(handler: &Value) -> bool {
    ["httpGet", "tcpSocket"].iter().any(|action| handler[action]["host"].as_str().is_some_and(|host| !host.is_empty()))
}

#[cfg(test)]
mod tests;
