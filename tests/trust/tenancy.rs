//! Who may have what done: nobody can have the controller do to a workload what he may not do to it himself.

use crate::{
    kubernetes::eventually,
    stage::{SIDECAR, Stage},
};

/// A stage on which `mallory` may do everything with LogSidecars, and nothing else.
fn stage(case: &str) -> Stage {
    let stage = Stage::new(case);
    stage.run(
        "kubectl apply -f web.yaml
         kubectl create role logsidecars --verb='*' --resource=logsidecars.logsidecar.dev
         kubectl create rolebinding logsidecars --role=logsidecars --user=mallory",
    );
    std::fs::write(stage.folder().join("all.yaml"), SIDECAR.replace("{name: web}", "{selector: {matchLabels: {any: one}}}"))
        .expect("written");
    stage
}

/// Whether `mallory` would get through; the API server's sentence if not. Roles and policies take a moment to be known.
fn tries(stage: &Stage, arguments: &str) -> Result<String, String> {
    stage.shell(&format!("kubectl --as=mallory {arguments} --dry-run=server"))
}

#[test]
fn who_may_not_patch_a_workload_cannot_have_it_patched() {
    let stage = stage("tenancy");
    let refusal = |what: &str| {
        format!(
            "user mallory may not patch {what} in namespace {}, which is what a LogSidecar for them does",
            stage.namespace.name
        )
    };
    let refused = |arguments: &str, what: &str| {
        eventually(&format!("{arguments} to be refused"), || {
            tries(&stage, arguments).err().filter(|said| said.contains(&refusal(what)))
        });
    };
    refused("create -f ship.yaml", "deployments web");
    refused("create -f all.yaml", "all deployments");

    // He may patch one of them: that one, and no other, by name, and not by labels.
    stage.run(
        "kubectl create role web --verb=patch --resource=deployments.apps --resource-name=web
         kubectl create rolebinding web --role=web --user=mallory",
    );
    eventually("what he may", || tries(&stage, "create -f ship.yaml").ok());
    refused("create -f all.yaml", "all deployments");
    stage.run("kubectl --as=mallory create -f ship.yaml");
    refused(r#"patch logsidecar ship --type=merge -p '{"spec": {"target": {"name": "other"}}}'"#, "deployments other");
    refused(
        r#"patch logsidecar ship --type=merge -p '{"spec": {"target": {"name": null, "selector": {"matchLabels": {"a": "b"}}}}}'"#,
        "all deployments",
    );
    tries(&stage, "label logsidecar ship a=b").expect("labels are not what it does");

    stage.run(
        "kubectl create role all --verb=patch --resource=deployments.apps
         kubectl create rolebinding all --role=all --user=mallory",
    );
    eventually("what he may now", || {
        tries(&stage, r#"patch logsidecar ship --type=merge -p '{"spec": {"target": {"name": null, "selector": {"matchLabels": {"a": "b"}}}}}'"#).ok()
    });

    // A namesake of another group is another kind.
    stage.run(
        "kubectl create role sets --verb=patch --resource=statefulsets.apps
         kubectl create rolebinding sets --role=sets --user=mallory",
    );
    let sets = |group: &str| {
        format!(
            r#"patch logsidecar ship --type=merge -p '{{"spec": {{"target": {{"name": "web", "selector": null, "kind": "StatefulSet", "apiGroup": "{group}"}}}}}}'"#
        )
    };
    eventually("what he may patch of StatefulSets", || tries(&stage, &sets("apps")).ok());
    refused(&sets("apps.kruise.io"), "statefulsets web");

    // What is allowed is done, and undone, with the controller's own permissions.
    let controller = stage.controller();
    controller.start();
    stage.converges();
    stage.run("kubectl --as=mallory delete logsidecar ship --timeout=180s");
    assert_eq!(stage.templates(), 3);
}

#[test]
fn a_namespace_can_be_deleted_with_everything_in_it_and_made_anew() {
    let stage = stage("tenancy-gone");
    let controller = stage.controller();
    controller.start();
    stage.inject(SIDECAR);
    stage.run(
        "kubectl delete namespace $NAMESPACE --timeout=180s; kubectl create namespace $NAMESPACE; kubectl apply -f web.yaml",
    );
    let before = stage.template();
    stage.inject(SIDECAR);
    assert_ne!(stage.template(), before);
    stage.uninject();
    assert_eq!(stage.template(), before);
}
