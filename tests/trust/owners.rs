//! What the owners of a workload do to it while we are in it. Each of them gets through with his command, the workload becomes
//! what its LogSidecar asks for with at most one rollout more than his own, and taking the LogSidecar away leaves just what the
//! same commands leave where there never was one: in a second namespace, without us, the same is done for comparison.
//!
//! `docs/owners.md` is written from what this suite has seen (`UPDATE=1`).

use std::{
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::{Value, json};

use crate::{
    proxy::Request,
    stage::{SIDECAR, Stage},
};

/// What an owner does.
#[derive(Clone, Copy)]
pub struct Action {
    pub what: &'static str,
    /// How he made the workload; a script.
    pub made: &'static str,
    /// What he does while a sidecar is in it; a script.
    pub does: &'static str,
    /// Why the API server refuses that, and the script that does what he wants all the same.
    pub refused: Option<(&'static str, &'static str)>,
    /// What leaves the same state where there is no LogSidecar, if that is not the same script.
    alone: Option<&'static str>,
    /// Rollouts more than his own.
    ours: usize,
    /// What he does after the LogSidecar is gone.
    pub later: Option<&'static str>,
}

/// Waits for Kubernetes' own controller, which writes into the object, too, and keeps the history.
const AT_REST: &str = "kubectl rollout status deployment/web --timeout=180s";
const APPLY: &str = "kubectl apply -f web.yaml";
const APPLY_SERVER_SIDE: &str = "kubectl apply --server-side -f web.yaml";
const HELM: &str = "mkdir -p chart/templates
    echo '{apiVersion: v2, name: chart, version: 1.0.0}' > chart/Chart.yaml
    echo 'tag: \"1.36\"' > chart/values.yaml
    sed 's/busybox:1.36/busybox:{{ .Values.tag }}/' web.yaml > chart/templates/web.yaml
    helm install web ./chart";

/// An action that the API server takes and that needs nothing of us.
const fn harmless(what: &'static str, made: &'static str, does: &'static str) -> Action {
    Action { what, made, does, refused: None, alone: None, ours: 0, later: None }
}

/// An action after which we have to come once more.
const fn repaired(what: &'static str, made: &'static str, does: &'static str) -> Action {
    Action { ours: 1, ..harmless(what, made, does) }
}

/// An action on what is ours: without us there is nothing that it could be done to.
const fn on_ours(action: Action) -> Action {
    Action { alone: Some("true"), ..action }
}

pub const ACTIONS: &[Action] = &[
    harmless("applies his manifest again, unchanged", APPLY, APPLY),
    harmless("the same, server side", APPLY_SERVER_SIDE, APPLY_SERVER_SIDE),
    harmless("looks at what applying would change: nothing", APPLY, "kubectl diff -f web.yaml"),
    harmless("applies a new image", APPLY, "sed -i 's/busybox:1.36/busybox:1.37.0/' web.yaml; kubectl apply -f web.yaml"),
    harmless(
        "the same, server side",
        APPLY_SERVER_SIDE,
        "sed -i 's/busybox:1.36/busybox:1.37.0/' web.yaml; kubectl apply --server-side -f web.yaml",
    ),
    harmless(
        "lets a GitOps tool apply by force, again and again",
        "kubectl apply --server-side --force-conflicts --field-manager=kustomize-controller -f web.yaml",
        "for i in 1 2 3 4 5; do kubectl apply --server-side --force-conflicts --field-manager=kustomize-controller -f web.yaml; done",
    ),
    harmless("upgrades his Helm release", HELM, "helm upgrade web ./chart --set tag=1.37.0"),
    harmless(
        "the same, with client-side patches as Helm 3 made them",
        HELM,
        "helm upgrade web ./chart --set tag=1.37.0 --server-side=false",
    ),
    harmless(
        "rolls his Helm release back",
        "mkdir -p chart/templates
    echo '{apiVersion: v2, name: chart, version: 1.0.0}' > chart/Chart.yaml
    echo 'tag: \"1.36\"' > chart/values.yaml
    sed 's/busybox:1.36/busybox:{{ .Values.tag }}/' web.yaml > chart/templates/web.yaml
    helm install web ./chart; helm upgrade web ./chart --set tag=1.37.0",
        "helm rollback web 1",
    ),
    harmless("sets an image", APPLY, "kubectl set image deployment/web app=busybox:1.37.0"),
    harmless("sets a variable", APPLY, "kubectl set env deployment/web -c app LEVEL=debug"),
    harmless("restarts the pods", APPLY, "kubectl rollout restart deployment/web"),
    harmless("scales", APPLY, "kubectl scale deployment/web --replicas=2"),
    harmless(
        "lets an autoscaler scale",
        APPLY,
        "kubectl scale deployment/web --replicas=1; kubectl autoscale deployment web --min=2 --max=3 --cpu=80%
    kubectl wait deployment/web --for=jsonpath='{.spec.replicas}'=2 --timeout=180s",
    ),
    harmless(
        "pauses, sets an image, resumes",
        APPLY,
        "kubectl rollout pause deployment/web; kubectl set image deployment/web app=busybox:1.37.0; kubectl rollout resume deployment/web",
    ),
    harmless(
        "labels and annotates",
        APPLY,
        "kubectl label deployment/web tier=front; kubectl annotate deployment/web owner=me",
    ),
    harmless(
        "undoes a rollout of his own",
        APPLY,
        "kubectl set image deployment/web app=busybox:1.37.0; kubectl rollout status deployment/web --timeout=180s; kubectl rollout undo deployment/web",
    ),
    on_ours(repaired("goes back to before the sidecar", APPLY, "kubectl rollout undo deployment/web --to-revision=1")),
    Action {
        later: Some("kubectl rollout undo deployment/web --to-revision=2"),
        ..on_ours(harmless("goes back to the sidecar when its LogSidecar is gone: it is taken out again", APPLY, "true"))
    },
    repaired("replaces the object", APPLY, "kubectl replace -f web.yaml"),
    repaired("deletes the Deployment and makes it anew", APPLY, "kubectl delete deployment web; kubectl apply -f web.yaml"),
    repaired(
        "renames the container",
        APPLY,
        "sed -i 's/default-container: app/default-container: main/; s/- name: app/- name: main/' web.yaml; kubectl apply -f web.yaml",
    ),
    repaired(
        "the same, server side",
        APPLY_SERVER_SIDE,
        "sed -i 's/default-container: app/default-container: main/; s/- name: app/- name: main/' web.yaml; kubectl apply --server-side -f web.yaml",
    ),
    harmless(
        "adds a container",
        APPLY,
        "sed -i 's/^      containers:/&\\n      - {name: new, image: busybox:1.36}/' web.yaml; kubectl apply -f web.yaml",
    ),
    harmless(
        "the same, server side",
        APPLY_SERVER_SIDE,
        "sed -i 's/^      containers:/&\\n      - {name: new, image: busybox:1.36}/' web.yaml; kubectl apply --server-side -f web.yaml",
    ),
    harmless("removes a container", APPLY, "sed -i '/- name: helper/,+1d' web.yaml; kubectl apply -f web.yaml"),
    harmless(
        "the same, server side",
        APPLY_SERVER_SIDE,
        "sed -i '/- name: helper/,+1d' web.yaml; kubectl apply --server-side -f web.yaml",
    ),
    repaired(
        "removes all his init containers (the patch takes the whole list away, and ours with it)",
        APPLY,
        "sed -i '/initContainers:/,+2d' web.yaml; kubectl apply -f web.yaml",
    ),
    harmless(
        "the same, server side",
        APPLY_SERVER_SIDE,
        "sed -i '/initContainers:/,+2d' web.yaml; kubectl apply --server-side -f web.yaml",
    ),
    Action {
        refused: Some((
            "Not found",
            "sed -i 's/^      containers:/      volumes: []\\n&/' web.yaml; sed -i 's/^        env:/        volumeMounts: []\\n&/' web.yaml; kubectl apply -f web.yaml",
        )),
        ..harmless(
            "removes all his volumes and mounts (the patch takes the whole lists away, and what our container mounts)",
            APPLY,
            "sed -i '/volumeMounts:/,+1d; /^      volumes:/,$d' web.yaml; kubectl apply -f web.yaml",
        )
    },
    harmless(
        "the same, server side",
        APPLY_SERVER_SIDE,
        "sed -i '/volumeMounts:/,+1d; /^      volumes:/,$d' web.yaml; kubectl apply --server-side -f web.yaml",
    ),
    repaired(
        "mounts a volume of his own at our path",
        APPLY,
        "sed -i 's/^        volumeMounts:/&\\n        - {name: data, mountPath: \\/var\\/log\\/app}/' web.yaml; kubectl apply -f web.yaml",
    ),
    Action {
        refused: Some(("conflict with \"logsidecar\"", "kubectl apply --server-side --force-conflicts -f web.yaml")),
        ..repaired(
            "the same, server side",
            APPLY_SERVER_SIDE,
            "sed -i 's/^        volumeMounts:/&\\n        - {name: data, mountPath: \\/var\\/log\\/app}/' web.yaml; kubectl apply --server-side -f web.yaml",
        )
    },
    Action {
        alone: Some(
            r#"kubectl patch deployment web -p '{"spec": {"template": {"spec": {"volumes": [{"name": "data"}, {"name": "logs-app-var-log-app", "emptyDir": {}}], "containers": [{"name": "helper", "volumeMounts": [{"name": "logs-app-var-log-app", "mountPath": "/logs"}]}]}}}}'"#,
        ),
        ..harmless(
            "mounts our volume elsewhere (it is his from then on)",
            APPLY,
            r#"kubectl patch deployment web -p '{"spec": {"template": {"spec": {"containers": [{"name": "helper", "volumeMounts": [{"name": "logs-app-var-log-app", "mountPath": "/logs"}]}]}}}}'"#,
        )
    },
    repaired(
        "has a volume of his own under the name of ours: the sidecar is taken out, and the LogSidecar says `VolumeNameTaken`",
        APPLY,
        "sed -i 's/^      volumes:/&\\n      - {name: logs-app-var-log-app, configMap: {name: his}}/' web.yaml; kubectl apply -f web.yaml",
    ),
    Action {
        refused: Some((
            "may not specify more than 1 volume type",
            "kubectl label deployment/web logsidecar.dev/inject=false; kubectl wait deployment/web --for=jsonpath='{.spec.template.spec.volumes[*].name}'=data --timeout=180s; kubectl apply --server-side -f web.yaml",
        )),
        alone: Some(
            "kubectl label deployment/web logsidecar.dev/inject=false; sed -i 's/^      volumes:/&\\n      - {name: logs-app-var-log-app, configMap: {name: his}}/' web.yaml; kubectl apply --server-side -f web.yaml",
        ),
        ours: 1,
        ..harmless(
            "the same, server side",
            APPLY_SERVER_SIDE,
            "sed -i 's/^      volumes:/&\\n      - {name: logs-app-var-log-app, configMap: {name: his}}/' web.yaml; kubectl apply --server-side -f web.yaml",
        )
    },
    on_ours(harmless(
        "exports the live object and applies it by force, with everything of ours in it",
        APPLY,
        "kubectl get deployment web -o yaml > live.yaml; kubectl apply --server-side --force-conflicts -f live.yaml",
    )),
    harmless(
        "makes a copy of the Deployment from its live YAML",
        APPLY,
        "kubectl get deployment web -o yaml | sed 's/^  name: web$/  name: copy/' | kubectl apply -f -",
    ),
    on_ours(repaired("sets the image of our container", APPLY, "kubectl set image deployment/web ship=busybox:1.36")),
    on_ours(repaired(
        "sets the resources of our container",
        APPLY,
        r#"kubectl patch deployment web -p '{"spec": {"template": {"spec": {"initContainers": [{"name": "ship", "resources": {"limits": {"memory": "128Mi"}}}]}}}}'"#,
    )),
    on_ours(repaired(
        "deletes our container",
        APPLY,
        r#"kubectl patch deployment web -p '{"spec": {"template": {"spec": {"initContainers": [{"name": "ship", "$patch": "delete"}]}}}}'"#,
    )),
    on_ours(repaired(
        "deletes our mount",
        APPLY,
        r#"kubectl patch deployment web -p '{"spec": {"template": {"spec": {"containers": [{"name": "app", "volumeMounts": [{"mountPath": "/var/log/app", "$patch": "delete"}]}]}}}}'"#,
    )),
    Action {
        refused: Some(("Not found", "kubectl label deployment/web logsidecar.dev/inject=false")),
        alone: Some("kubectl label deployment/web logsidecar.dev/inject=false"),
        ours: 1,
        ..harmless(
            "deletes our volume alone",
            APPLY,
            r#"kubectl patch deployment web -p '{"spec": {"template": {"spec": {"volumes": [{"name": "logs-app-var-log-app", "$patch": "delete"}]}}}}'"#,
        )
    },
    on_ours(repaired(
        "deletes our container, mount and volume",
        APPLY,
        r#"kubectl patch deployment web -p '{"spec": {"template": {"spec": {"volumes": [{"name": "logs-app-var-log-app", "$patch": "delete"}], "containers": [{"name": "app", "volumeMounts": [{"mountPath": "/var/log/app", "$patch": "delete"}]}], "initContainers": [{"name": "ship", "$patch": "delete"}]}}}}'"#,
    )),
    on_ours(harmless("deletes our annotation", APPLY, "kubectl annotate deployment/web logsidecar.dev/injected-")),
    harmless(
        "strips managedFields",
        APPLY,
        r#"kubectl patch deployment web --type=merge -p '{"metadata": {"managedFields": [{}]}}'"#,
    ),
];

/// What was seen of an action.
struct Seen {
    /// Rollouts of the owner's own, and ours on top of them.
    rollouts: (usize, usize),
}

/// The parts of a workload that its owner answers for, without what can never be the same twice.
pub fn left(stage: &Stage) -> Value {
    let object = stage.namespace.json(&["get", "deployment", "web"]);
    let kept = json!([object["metadata"]["labels"], object["metadata"]["annotations"], object["spec"]]);
    let mut text = kept.to_string().replace(&stage.namespace.name, "NAMESPACE");
    if let Some(at) = text.find("restartedAt\":\"") {
        let at = at + "restartedAt\":\"".len();
        text.replace_range(at..at + "2026-01-01T00:00:00Z".len(), "NOW");
    }
    let mut kept: Value = serde_json::from_str(&text).expect("JSON");
    if kept[1].is_null() {
        kept[1] = json!({});
    }
    let annotations = kept[1].as_object_mut().expect("annotations");
    // The first counts our rollouts, too; the second repeats what the owner has sent.
    annotations.remove("deployment.kubernetes.io/revision");
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    if let Some(Value::String(text)) = annotations.get_mut("logsidecar.dev/injected") {
        let mut ledger: Value = serde_json::from_str(text).expect("a ledger");
        ledger["workload"] = "UID".into();
        for entry in ledger["sidecars"].as_array_mut().into_iter().flatten() {
            entry["uid"] = "UID".into();
            // How the workload did at that moment is nobody's work here.
            entry.as_object_mut().expect("an entry").remove("before");
        }
        *text = ledger.to_string();
    }
    kept
}

fn perform(action: &Action) -> Seen {
    // Without us.
    let alone = Stage::new("owner-alone");
    alone.run(action.made);
    alone.run(AT_REST);
    alone.run(action.alone.unwrap_or(action.does));

    // With us.
    let stage = Stage::new("owner");
    stage.run(action.made);
    stage.run(AT_REST);
    let controller = stage.controller();
    controller.start();
    stage.inject(SIDECAR);
    stage.run(AT_REST);
    let (before, writes) = (stage.templates(), controller.proxy.count(Request::changes_template));
    let result = stage.shell(action.does);
    match (&result, action.refused) {
        (Ok(_), None) => {}
        (Err(said), Some((why, remedy))) => {
            assert!(said.contains(why), "refused with another reason: {said}");
            stage.run(remedy);
        }
        (Ok(_), Some(_)) => panic!("the API server takes it: the table says that it does not"),
        (Err(said), None) => panic!("refused: {said}"),
    }
    stage.converges();
    let after = stage.templates();
    let ours = controller.proxy.count(Request::changes_template) - writes;
    let own = after - before - ours;
    stage.uninject();
    let mut rest = 1;
    if let Some(later) = action.later {
        stage.run(later);
        crate::kubernetes::eventually("it to be taken out again", || (left(&stage) == left(&alone)).then_some(()));
        rest += 2;
    }
    let last = stage.templates();
    assert_eq!(left(&stage), left(&alone), "what is left differs from what the same commands leave without a LogSidecar");
    assert!(last - after <= rest, "{} rollouts to take it out", last - after);
    assert_eq!(ours, action.ours, "rollouts on top of the owner's own {own}");
    let writes = controller.proxy.count(Request::writes_workload);
    assert!(writes <= 3 + ours + usize::from(action.later.is_some()), "{writes} writes");
    Seen { rollouts: (own, ours) }
}

#[test]
fn owners_keep_working() {
    const AT_ONCE: usize = 4;
    let only = std::env::var("ONLY").unwrap_or_default();
    let chosen: Vec<&Action> =
        ACTIONS.iter().filter(|action| action.does.contains(&only) || action.what.contains(&only)).collect();
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Option<Seen>)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(action) = chosen.get(at) else { return };
                    let seen = catch_unwind(AssertUnwindSafe(|| perform(action)));
                    if seen.is_err() {
                        eprintln!("FAILED: an owner {} ({})", action.what, action.does);
                    }
                    rows.lock().expect("no panic").push((at, seen.ok()));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no panic");
    rows.sort_by_key(|(at, _)| *at);
    let failed: Vec<&str> = rows.iter().filter(|(_, seen)| seen.is_none()).map(|(at, _)| chosen[*at].what).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), chosen.len());
    if only.is_empty() {
        document(&rows);
    }
}

fn document(rows: &[(usize, Option<Seen>)]) {
    let mut text = String::from(include_str!("owners.md"));
    let cell = |script: &str| {
        let lines: Vec<&str> = script.lines().map(str::trim).collect();
        format!("`{}`", lines.join("; ").replace('|', "\\|"))
    };
    for (action, (_, seen)) in ACTIONS.iter().zip(rows) {
        let Some(Seen { rollouts: (own, ours) }) = seen else { continue };
        let answer = match action.refused {
            None => "accepted".to_owned(),
            Some((why, remedy)) => format!("**refused** (`{why}`); instead: {}", cell(remedy)),
        };
        let does = if action.does == "true" { action.later.unwrap_or_default() } else { action.does };
        writeln!(text, "| {} | {} | {answer} | {own} | {ours} |", action.what, cell(does)).expect("text");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/owners.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).expect("written");
    } else {
        assert_eq!(std::fs::read_to_string(path).expect("docs/owners.md"), text, "run `make generate-docs`");
    }
}
