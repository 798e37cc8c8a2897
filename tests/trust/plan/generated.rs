//! Workloads and LogSidecars that nobody has thought of, always the same ones: what is planned for them, before they are there, when
//! they change and when they go, is what becomes of them.

use std::fmt::Write;

use logsidecar::workload::kind::Kind;
use serde_json::{Value, json};

use crate::{controller::Controller, stage::Stage};

/// How many workloads there are.
const CASES: usize = 50;

/// Splitmix64: a few lines, and the same numbers everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("small")
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

const DIRECTORIES: [&str; 4] = ["/var/log/app", "/logs", "/data/logs", "/srv/log/audit"];
const KINDS: [Kind; 6] =
    [Kind::Deployment, Kind::Deployment, Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::CronJob];

fn container(dice: &mut Dice, name: &str) -> Value {
    let mut container = json!({"name": name, "image": "busybox:1.36"});
    if dice.one_in(2) {
        container["env"] =
            json!([{"name": "A", "value": "on"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    }
    if dice.one_in(2) {
        container["resources"] = json!({"requests": {"cpu": "0.010", "memory": "16Mi"}});
    }
    if dice.one_in(3) {
        container["securityContext"] = json!({"runAsUser": 1000});
    }
    let mut mounts = Vec::new();
    if dice.one_in(2) {
        // Perhaps above one of the directories, perhaps read-only.
        mounts.push(json!({"name": "data", "mountPath": "/data", "readOnly": dice.one_in(4)}));
    }
    if dice.one_in(4) {
        mounts.push(json!({"name": "config", "mountPath": "/etc/app"}));
    }
    if !mounts.is_empty() {
        container["volumeMounts"] = mounts.into();
    }
    container
}

fn workload(dice: &mut Dice, number: usize) -> (Kind, Value) {
    let kind = dice.pick(&KINDS);
    let name = format!("w{number}");
    let containers: Vec<Value> =
        ["app", "helper", "third"][..=dice.below(3)].iter().map(|name| container(dice, name)).collect();
    let mut template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": containers, "volumes": [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "c"}}]},
    });
    if dice.one_in(3) {
        template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "app"});
    }
    if dice.one_in(3) {
        template["spec"]["initContainers"] = json!([container(dice, "prepare")]);
    }
    if dice.one_in(3) {
        template["spec"]["securityContext"] = json!({"runAsUser": 2000, "fsGroup": 3000});
    }
    let selector = json!({"matchLabels": {"app": name}});
    let spec = match kind {
        Kind::StatefulSet => json!({"replicas": 0, "serviceName": "none", "selector": selector, "template": template}),
        Kind::DaemonSet => json!({"selector": selector, "template": template}),
        Kind::CronJob => {
            template["spec"]["restartPolicy"] = "OnFailure".into();
            json!({"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template": template}}})
        }
        _ => json!({"replicas": 0, "selector": selector, "template": template}),
    };
    let tier = dice.pick(&["front", "back"]);
    let object = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": name, "labels": {"app": name, "tier": tier}}, "spec": spec});
    (kind, object)
}

fn log(dice: &mut Dice, name: &str, directory: &str) -> Value {
    let mut log = json!({"name": name, "directory": directory});
    if !dice.one_in(4) {
        log["container"] = "app".into();
    }
    match dice.below(5) {
        0 => log["volume"] = json!({"emptyDir": {"sizeLimit": "64Mi"}}),
        1 => log["volume"] = json!({"name": "our-logs", "emptyDir": {"medium": "Memory"}}),
        2 => log["sidecarDirectory"] = format!("/in/{name}").into(),
        3 => log["files"] = json!(["*.log", "audit/*.json"]),
        _ => {}
    }
    log
}

fn spec(dice: &mut Dice, target: &Value) -> Value {
    let mut directories = DIRECTORIES.to_vec();
    let mut logs = Vec::new();
    for at in 0..=dice.below(2) {
        let directory = directories.remove(dice.below(directories.len()));
        logs.push(log(dice, &format!("log{at}"), directory));
    }
    let mut spec = json!({"target": target, "logs": logs});
    let port = json!([{"containerPort": 24224}]);
    let limits = json!({"limits": {"cpu": "1000m"}});
    let own = json!({"image": "agent:1", "command": ["run"], "env": [{"name": "B", "value": "12:30"}], "ports": port});
    match dice.below(4) {
        0 => spec["sidecar"] = json!({"container": own}),
        1 => spec["sidecar"] = json!({"tail": {}, "placement": "Container", "container": {"resources": limits}}),
        2 => spec["sidecar"] = json!({"tail": {}, "container": {"image": "mirror/busybox:1"}}),
        _ => {}
    }
    spec
}

/// One for each workload, for some a second one, and one for all Deployments of a tier.
fn sidecars(dice: &mut Dice, workloads: &[(Kind, Value)]) -> Vec<Value> {
    let sidecar = |name: String, spec: Value| json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": name}, "spec": spec});
    let mut all = Vec::new();
    for (kind, workload) in workloads {
        let target = json!({"kind": kind.name(), "name": workload["metadata"]["name"]});
        let name = workload["metadata"]["name"].as_str().expect("a name");
        all.push(sidecar(format!("{name}-a"), spec(dice, &target)));
        if dice.one_in(3) {
            all.push(sidecar(format!("{name}-b"), spec(dice, &target)));
        }
    }
    all.push(sidecar("tier".to_owned(), spec(dice, &json!({"selector": {"matchLabels": {"tier": "front"}}}))));
    all
}

/// The next version of each: another spec, none of its business any more, suspended, or as before.
fn changed(dice: &mut Dice, sidecars: &[Value]) -> Vec<Value> {
    let mut changed = sidecars.to_vec();
    for sidecar in &mut changed {
        let target = sidecar["spec"]["target"].clone();
        match dice.below(5) {
            0 => sidecar["spec"]["target"] = json!({"name": "nobody"}),
            1 => sidecar["spec"]["suspend"] = true.into(),
            2 | 3 => sidecar["spec"] = spec(dice, &target),
            _ => {}
        }
    }
    changed
}

fn text(objects: &[Value]) -> String {
    objects.iter().fold(String::new(), |mut text, object| {
        writeln!(text, "---\n{object}").expect("a string");
        text
    })
}

/// What is planned for each workload; where it says nothing, what is there.
fn planned(stage: &Stage, workloads: &[(Kind, Value)], arguments: &[&str]) -> Vec<String> {
    let answer = stage.plan(arguments);
    assert!(matches!(answer.code, Some(1 | 2)), "{}", answer.stderr);
    let plan = answer.json();
    let planned = plan["workloads"].as_array().expect("a list");
    let mut templates = as_they_are(stage, workloads);
    for ((kind, workload), template) in workloads.iter().zip(&mut templates) {
        let is_it = |planned: &&Value| planned["kind"] == kind.name() && planned["name"] == workload["metadata"]["name"];
        if let Some(planned) = planned.iter().find(is_it) {
            *template = planned["template"].to_string();
        }
    }
    templates
}

/// The templates in the bytes of the API server, by one list of each kind.
fn as_they_are(stage: &Stage, workloads: &[(Kind, Value)]) -> Vec<String> {
    let list = |kind: &Kind| -> Vec<Value> {
        let (version, plural, namespace) = (kind.api_version(), kind.resource().plural, &stage.namespace.name);
        let list = stage.run(&format!("kubectl get --raw /apis/{version}/namespaces/{namespace}/{plural}"));
        serde_json::from_str::<Value>(&list).expect("JSON")["items"].as_array().expect("a list").clone()
    };
    let lists: Vec<(Kind, Vec<Value>)> = Kind::IN_CLUSTER.iter().map(|kind| (*kind, list(kind))).collect();
    let template = |(kind, workload): &(Kind, Value)| {
        let items = &lists.iter().find(|(listed, _)| listed == kind).expect("a kind").1;
        let item = items.iter().find(|item| item["metadata"]["name"] == workload["metadata"]["name"]).expect("it is there");
        item.pointer(kind.template()).expect("a template").to_string()
    };
    workloads.iter().map(template).collect()
}

/// Waits until all of them are as planned.
fn become_so(stage: &Stage, workloads: &[(Kind, Value)], templates: &[String]) {
    let start = std::time::Instant::now();
    loop {
        let live = as_they_are(stage, workloads);
        let Some(at) = live.iter().zip(templates).position(|(live, planned)| live != planned) else { return };
        let (name, planned, live) = (&workloads[at].1["metadata"]["name"], &templates[at], &live[at]);
        assert!(start.elapsed().as_secs() < 300, "{name} does not become as planned:\n{planned}\nbut\n{live}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// Plans files, has them applied, and sees what becomes of it.
fn bring_in(stage: &Stage, controller: &Controller, workloads: &[(Kind, Value)], sidecars: &[Value]) {
    stage.write("sidecars.yaml", &text(sidecars));
    let before = as_they_are(stage, workloads);
    let templates = planned(stage, workloads, &["-f", "sidecars.yaml"]);
    let moving = templates.iter().zip(&before).filter(|(one, other)| one != other).count();
    assert!(moving > 5, "it changes only {moving}");
    // They are all there when it looks, as they are in the plan.
    controller.proxy.kill();
    stage.namespace.apply(&text(sidecars));
    controller.start();
    become_so(stage, workloads, &templates);
    // Nothing comes after it.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(as_they_are(stage, workloads), templates);
    let rest = stage.plan(&[]).json();
    assert_eq!(rest["summary"]["changed"], 0, "{}", rest["summary"]);
}

#[test]
fn what_is_planned_is_what_becomes_of_fifty_workloads() {
    let stage = Stage::new("plan");
    let mut dice = Dice(20_261_126);
    let workloads: Vec<(Kind, Value)> = (0..CASES).map(|number| workload(&mut dice, number)).collect();
    let objects: Vec<Value> = workloads.iter().map(|(_, object)| object.clone()).collect();
    stage.namespace.apply(&text(&objects));
    let clean = as_they_are(&stage, &workloads);
    let sidecars = sidecars(&mut dice, &workloads);
    let controller = stage.controller();
    controller.start();

    // Of two that are new on one workload the one that gets its finalizer first comes first, which no plan can know.
    let is = |end: &'static str| {
        move |sidecar: &&Value| sidecar["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(end))
    };
    for end in ["-a", "-b", "tier"] {
        let some: Vec<Value> = sidecars.iter().filter(is(end)).cloned().collect();
        bring_in(&stage, &controller, &workloads, &some);
    }
    for _ in 0..2 {
        bring_in(&stage, &controller, &workloads, &changed(&mut dice, &sidecars));
    }

    controller.proxy.kill();
    stage.run("kubectl delete logsidecars --all --wait=false");
    let templates = planned(&stage, &workloads, &[]);
    assert_eq!(templates, clean);
    controller.start();
    become_so(&stage, &workloads, &templates);
    stage.uninject();
}
