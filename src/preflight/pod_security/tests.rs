use serde_json::{Value, json};

use crate::preflight::tests::{Case, app, messages, sidecar_with};

/// What level `restricted` wants of every container.
fn meets_restricted() -> Value {
    json!({"securityContext": {
        "allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    }})
}

/// The container that meets it, but for one field.
fn but(pointer: &str, value: &Value) -> Value {
    let mut container = meets_restricted();
    let steps: Vec<&str> = pointer.split('.').collect();
    let (last, path) = steps.split_last().expect("a field");
    let at = path.iter().fold(&mut container, |at, step| &mut at[*step]);
    at[*last] = value.clone();
    container
}

/// What is told about the sidecar, without what is always said.
fn told(level: &str, pod: &Value, container: Value) -> Vec<String> {
    let mut template = app(json!({}));
    pod.as_object().expect("fields").iter().for_each(|(field, value)| template["spec"][field] = value.clone());
    let case = Case::puts_in(&template, &sidecar_with(container)).level(level);
    let subject = format!("namespace shop enforces Pod Security level {level}, which ship does not meet: sidecar.container.");
    messages(&case).iter().map(|message| message.strip_prefix(&subject).unwrap_or(message).to_owned()).collect()
}

#[test]
fn every_rule_of_level_baseline_is_told_with_its_field() {
    let table = [
        ("securityContext.privileged", json!(true), "write false"),
        ("securityContext.windowsOptions.hostProcess", json!(true), "write false"),
        ("securityContext.appArmorProfile.type", json!("Unconfined"), "write RuntimeDefault"),
        ("securityContext.seccompProfile.type", json!("Unconfined"), "write RuntimeDefault"),
        ("securityContext.seLinuxOptions.type", json!("spc_t"), "leave it out"),
        ("securityContext.seLinuxOptions.user", json!("system_u"), "leave it out"),
        ("securityContext.seLinuxOptions.role", json!("system_r"), "leave it out"),
        ("securityContext.procMount", json!("Unmasked"), "leave it out"),
        ("securityContext.capabilities.add", json!(["NET_RAW", "CHOWN", "SYS_ADMIN"]), "leave out NET_RAW, SYS_ADMIN"),
    ];
    for (field, value, advice) in table {
        assert_eq!(told("baseline", &json!({}), but(field, &value)), [format!("{field}: {advice}")], "{value}");
        assert_eq!(told("privileged", &json!({}), but(field, &value)), [""; 0]);
    }
    let probe = |action: &str, host: &str| json!({"livenessProbe": {action: {"port": 1, "host": host}}});
    assert_eq!(told("baseline", &json!({}), probe("httpGet", "10.0.0.1")), ["livenessProbe: leave out host"]);
    assert_eq!(told("baseline", &json!({}), probe("tcpSocket", "db")), ["livenessProbe: leave out host"]);
    assert_eq!(told("baseline", &json!({}), probe("httpGet", "")), [""; 0]);
    let hook = json!({"lifecycle": {"preStop": {"httpGet": {"host": "x"}}}});
    assert_eq!(told("baseline", &json!({}), hook), ["lifecycle.preStop: leave out host"]);
    let ports = json!({"ports": [{"containerPort": 1, "hostPort": 8080}, {"containerPort": 2, "hostPort": 0}]});
    assert_eq!(told("baseline", &json!({}), ports), ["ports[].hostPort: leave out 8080"]);
    assert_eq!(told("baseline", &json!({}), json!({})), [""; 0]);
    assert_eq!(told("baseline", &json!({"hostUsers": false}), but("securityContext.procMount", &json!("Unmasked"))), [""; 0]);
}

#[test]
fn every_rule_of_level_restricted_is_told_with_its_field() {
    let table = [
        ("securityContext.allowPrivilegeEscalation", Value::Null, "write false"),
        ("securityContext.allowPrivilegeEscalation", json!(true), "write false"),
        ("securityContext.runAsNonRoot", Value::Null, "write true"),
        ("securityContext.runAsNonRoot", json!(false), "write true"),
        ("securityContext.runAsUser", json!(0), "write another user than 0"),
        ("securityContext.seccompProfile.type", Value::Null, "write RuntimeDefault"),
        ("securityContext.seccompProfile.type", json!("Unconfined"), "write RuntimeDefault"),
        ("securityContext.capabilities.drop", json!(["NET_RAW"]), "write [ALL]"),
        ("securityContext.capabilities.add", json!(["DAC_OVERRIDE", "NET_BIND_SERVICE"]), "leave out DAC_OVERRIDE"),
        ("securityContext.capabilities.add", json!(["CHOWN", "SYS_ADMIN"]), "leave out CHOWN, SYS_ADMIN"),
        ("securityContext.privileged", json!(true), "write false"),
    ];
    for (field, value, advice) in table {
        assert_eq!(told("restricted", &json!({}), but(field, &value)), [format!("{field}: {advice}")], "{value}");
    }
    assert_eq!(told("restricted", &json!({}), meets_restricted()), [""; 0]);
    let all = "securityContext.runAsNonRoot: write true; sidecar.container.securityContext.allowPrivilegeEscalation: write false; sidecar.container.securityContext.seccompProfile.type: write RuntimeDefault; sidecar.container.securityContext.capabilities.drop: write [ALL]";
    assert_eq!(told("restricted", &json!({}), json!({})), [all]);
}

#[test]
fn what_a_pod_says_for_all_of_its_containers_counts() {
    let pod = json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 0}});
    let own = json!({"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    assert_eq!(told("restricted", &pod, own), [""; 0]);
    // The container's own word is the last.
    let own = but("securityContext.runAsNonRoot", &json!(false));
    assert_eq!(told("restricted", &pod, own), ["securityContext.runAsNonRoot: write true"]);
    let windows = json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}});
    assert_eq!(told("restricted", &windows, json!({})), [""; 0]);
    let own = but("securityContext.runAsUser", &json!(0));
    assert_eq!(told("restricted", &json!({"hostUsers": false}), own), [""; 0]);
}

#[test]
fn volumes_are_judged_by_their_type_and_what_its_owner_mounts_is_not_ours() {
    let with = |volume: Value| {
        let mut template = app(json!({}));
        template["spec"]["volumes"] = json!([volume]);
        template
    };
    let host = json!({"name": "v", "hostPath": {"path": "/var/log"}});
    let told = |level: &str, before: Value, after: Value| messages(&Case::replaces_all(&before, &after).level(level));
    let forbidden = "namespace shop enforces Pod Security level baseline, which does not allow the type of volume v: use emptyDir or persistentVolumeClaim in logs[].volume";
    assert_eq!(told("baseline", app(json!({})), with(host.clone())), [forbidden]);
    assert_eq!(told("baseline", with(host.clone()), with(json!({"name": "v", "hostPath": {"path": "/"}}))), [""; 0]);
    for (volume, allowed) in [(json!({"name": "v", "nfs": {}}), false), (json!({"name": "v", "emptyDir": {}}), true)] {
        assert_eq!(told("restricted", app(json!({})), with(volume.clone())).is_empty(), allowed, "{volume}");
        assert_eq!(told("baseline", app(json!({})), with(volume)), [""; 0]);
    }
}

#[test]
fn a_pod_that_was_not_allowed_before_is_its_owners_business() {
    let mut owners = app(json!({}));
    owners["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    let case = |container: Value| Case::puts_in(&owners, &sidecar_with(container)).level("restricted");
    assert_eq!(messages(&case(meets_restricted())), [""; 0]);
    assert_eq!(messages(&case(json!({}))).len(), 1);
    let update = Case::replaces(&owners, &sidecar_with(json!({"image": "a"})), &sidecar_with(json!({"image": "b"})));
    assert_eq!(messages(&update.level("restricted")), [""; 0]);
}
