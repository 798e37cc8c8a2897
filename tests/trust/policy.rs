//! `logsidecar policy` on a real API server: what is created under a policy is what `inject` would have made of it, and what inject
//! would refuse is created as it is.

use logsidecar::{api::LEDGER_ANNOTATION, workload::kind::Kind};
use serde_json::{Value, json};

use crate::{
    kubernetes::example,
    policies::{Policies, converted, created, entries, in_force, ledger, logsidecar, object},
    stage::{SIDECAR, Stage, WORKLOAD},
};

/// The pod spec, and the annotations of the template; without what differs from one creation to the next.
fn template(kind: Kind, object: &Value) -> Value {
    let template = object.pointer(kind.template()).expect("a template");
    let mut annotations = template["metadata"]["annotations"].clone();
    if let (Kind::Pod, Some(annotations)) = (kind, annotations.as_object_mut()) {
        annotations.shift_remove(LEDGER_ANNOTATION);
    }
    let mut spec = template["spec"].clone();
    if kind == Kind::Pod {
        // The token of the service account comes before what a policy puts in, and after what is in the manifest.
        let by = |field: &'static str| move |item: &Value| item[field].as_str().unwrap_or_default().to_owned();
        let lists = ["containers", "initContainers"].into_iter();
        let containers = lists.filter_map(|list| spec[list].as_array().cloned().map(|all| (list, all))).collect::<Vec<_>>();
        for (list, mut all) in containers {
            let mounts = all.iter_mut().filter_map(|container| container["volumeMounts"].as_array_mut());
            mounts.for_each(|mounts| mounts.sort_by_key(by("mountPath")));
            spec[list] = all.into();
        }
    }
    let mut text = spec.to_string();
    if let Some(at) = text.find("kube-api-access-") {
        let random = text[at..at + "kube-api-access-".len() + 5].to_owned();
        text = text.replace(&random, "kube-api-access");
    }
    let mut spec: Value = serde_json::from_str(&text).expect("JSON");
    if let (Kind::Pod, Some(volumes)) = (kind, spec["volumes"].as_array_mut()) {
        volumes.sort_by_key(|volume| volume["name"].as_str().unwrap_or_default().to_owned());
    }
    json!({"annotations": annotations, "spec": spec})
}

/// What the API server stores of what `inject` makes of the object.
fn injected(stage: &Stage, sidecar: &Value, object: &Value) -> Value {
    let text = logsidecar(&["inject", "-f", "-"], &format!("{sidecar}\n---\n{object}"));
    created(stage, &self::object(&text))
}

/// Creates the object in these kinds, under policies, and compares with what `inject` makes of it.
fn is_as_injected(case: &str, kinds: &[Kind], sidecar: &Value, workload: &Value) {
    let stage = Stage::new(case);
    let of_kind = |kind: Kind| {
        let mut sidecar = sidecar.clone();
        let name = format!("{}-{}", sidecar["metadata"]["name"].as_str().expect("a name"), kind.name().to_lowercase());
        (sidecar["metadata"]["name"], sidecar["spec"]["target"]["kind"]) = (name.into(), kind.name().into());
        sidecar
    };
    let all: Vec<String> = kinds.iter().map(|kind| of_kind(*kind).to_string()).collect();
    let _policies = Policies::of(&stage, &all.join("\n---\n"));
    for kind in kinds.iter().copied() {
        let (sidecar, object) = (of_kind(kind), converted(workload, kind));
        let admitted = in_force(&stage, &object, 1);
        let injected = injected(&stage, &sidecar, &object);
        assert_eq!(template(kind, &admitted), template(kind, &injected), "{case}: {kind}");
    }
}

#[test]
fn every_example_is_created_as_inject_would_have_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut cases: Vec<String> = std::fs::read_dir(folder)
        .expect("examples")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    cases.sort();
    assert!(cases.len() >= 9, "only {cases:?}");
    for case in cases {
        let file = |name: &str| object(&example(&case, name).expect("a file of the example"));
        // A shipper has all that there is in a policy.
        let kinds = if case == "tail-builtin" { &Kind::BUILT_IN[..] } else { &[Kind::Deployment, Kind::Pod] };
        is_as_injected(&format!("policy-{case}"), kinds, &file("logsidecar.yaml"), &file("workload.yaml"));
    }
}

/// Text that would break out of a literal, a path or a pattern that is put together carelessly.
const HOSTILE: &str = "'\"\\ ${x} $(HOME) {{.}} `id` \" + object.metadata.name + \" %s \\u0041 é 😀 \u{202e}";

#[test]
fn no_text_breaks_out_of_an_expression() {
    let sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "web"},
        "logs": [{"name": "a", "directory": "/l/a.b[c](d|e)*+?{2}^$ '\"\\é😀", "files": ["'\"'${x}'%ü", "*.log"],
            "volume": {"name": "logs", "subPath": "a/'\"b"}}],
        "sidecar": {"tail": {}, "container": {
            "args": [HOSTILE, "a\nb\tc\r\n", ""],
            "env": [{"name": "A", "value": HOSTILE}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a.b/c']"}}}],
            "resources": {"requests": {"cpu": "0.5", "memory": 1_048_576}},
            "livenessProbe": {"exec": {"command": ["sh", "-c", HOSTILE]}, "periodSeconds": 7},
        }},
    }});
    let workload = object(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {spec: {containers: [{name: app, image: x}]}}}}",
    );
    is_as_injected("policy-hostile", &Kind::BUILT_IN, &sidecar, &workload);
}

#[test]
fn the_sidecar_is_the_user_that_can_read_the_files() {
    let stage = Stage::new("policy-user");
    let _policies = Policies::of(&stage, SIDECAR);
    let plain = object(WORKLOAD);
    let contexts = [json!({}), json!({"runAsUser": 0}), json!({"runAsUser": 7, "runAsGroup": 8}), json!({"runAsUser": 70000})];
    let roots = [json!({}), json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false})];
    let merged = |context: &Value, root: &Value| {
        let mut context = context.clone();
        context.as_object_mut().expect("a map").extend(root.as_object().cloned().expect("a map"));
        context
    };
    in_force(&stage, &plain, 1);
    for (context, root) in contexts.iter().flat_map(|context| roots.iter().map(move |root| (context, root))) {
        for (pods, own) in [
            (merged(context, root), json!({})),
            (root.clone(), context.clone()),
            (json!({"runAsNonRoot": true}), merged(context, root)),
        ] {
            let mut web = plain.clone();
            web["spec"]["template"]["spec"]["securityContext"] = pods.clone();
            web["spec"]["template"]["spec"]["containers"][0]["securityContext"] = own.clone();
            let (admitted, injected) = (created(&stage, &web), injected(&stage, &object(SIDECAR), &web));
            assert_eq!(template(Kind::Deployment, &admitted), template(Kind::Deployment, &injected), "{pods} {own}");
        }
    }
}

#[test]
fn what_inject_would_refuse_and_what_is_somebody_elses_is_created_as_it_is() {
    let stage = Stage::new("policy-left");
    let _policies = Policies::of(&stage, SIDECAR);
    let web = object(WORKLOAD);
    in_force(&stage, &web, 1);
    let spec = "/spec/template/spec";
    let table = [
        ("/metadata/labels", json!({"logsidecar.dev/inject": "false"})),
        ("/metadata/name", json!("other")),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": true}])),
        ("/metadata/annotations", json!({LEDGER_ANNOTATION: "{\"version\":1,\"sidecars\":[]}"})),
        ("/metadata/annotations", json!({LEDGER_ANNOTATION: ""})),
        (
            "/metadata/annotations",
            json!({LEDGER_ANNOTATION: "{\"version\":1,\"sidecars\":[{\"name\":\"ship\",\"origin\":\"policy\",\"renderer\":1,\"items\":{}}]}"}),
        ),
        ("/spec/template/metadata/annotations", json!({})),
        (&format!("{spec}/containers/1/name"), json!("ship")),
        (&format!("{spec}/initContainers/0/name"), json!("ship")),
        (&format!("{spec}/volumes/1"), json!({"name": "logs-app-var-log-app", "emptyDir": {}})),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/var/log/app")),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/var/log/app//")),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/var")),
        (&format!("{spec}/containers/0/volumeMounts/0/mountPath"), json!("/")),
        (&format!("{spec}/os"), json!({"name": "windows"})),
    ];
    for (pointer, value) in table {
        let mut web = web.clone();
        let (holder, field) = pointer.rsplit_once('/').expect("a pointer");
        match web.pointer_mut(holder).expect("a holder") {
            Value::Array(list) => list.insert(1.min(list.len()), value.clone()),
            holder => holder[field] = value.clone(),
        }
        let mut opted_out = web.clone();
        opted_out["metadata"]["labels"] = json!({"logsidecar.dev/inject": "false"});
        let (stored, plain) = (created(&stage, &web), created(&stage, &opted_out));
        assert_eq!(stored["spec"], plain["spec"], "{pointer} {value}");
        assert_eq!(stored["metadata"]["annotations"], plain["metadata"]["annotations"], "{pointer} {value}");
    }
    // What is no reason to leave it alone.
    for path in ["/var/lo", "/var/log/apps", "/var/log/app.d", "/var/log/app/below"] {
        let mut web = web.clone();
        web["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] = path.into();
        assert_eq!(entries(&created(&stage, &web)).len(), 1, "{path}");
    }
    let elsewhere = Stage::new("policy-elsewhere");
    assert_eq!(ledger(&created(&elsewhere, &web)), None);
}

#[test]
fn no_pod_becomes_impossible_because_the_sidecar_wants_more_time_than_it_has() {
    let stage = Stage::new("policy-end");
    let mut sidecar = object(SIDECAR);
    sidecar["spec"]["sidecar"] = json!({"otelCollector": {}});
    sidecar["spec"]["outputs"] = json!([{"name": "loki", "loki": {"url": "http://loki:3100"}}]);
    let _policies = Policies::of(&stage, &sidecar.to_string());
    let web = object(WORKLOAD);
    in_force(&stage, &web, 1);
    for (seconds, sidecars) in [(0, 0), (1, 0), (2, 1)] {
        let mut web = web.clone();
        web["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = seconds.into();
        assert_eq!(entries(&created(&stage, &web)).len(), sidecars, "{seconds}");
        // What the command line makes of it is accepted in any case.
        assert_eq!(entries(&injected(&stage, &sidecar, &web)).len(), 1, "{seconds}");
    }
}
