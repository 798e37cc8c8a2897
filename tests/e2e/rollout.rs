//! Rolled out safely, with real pods: never more at a time than allowed, and a bad sidecar harms exactly the canary, while somebody
//! asks every Service for a page, again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::cluster::{Namespace, eventually, is_under_way, kubectl, tell, try_kubectl, within};

/// A web server, and the Service of it.
fn web(name: &str, replicas: u32) -> [Value; 2] {
    let labels = json!({"app": name});
    let app = json!({"name": "app", "image": "busybox:1.36", "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "mkdir -p /www && echo ok > /www/index.html && exec httpd -f -p 8080 -h /www"],
        "readinessProbe": {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1},
        // Whoever still has its address gets an answer.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "3"]}}}});
    let spec = json!({"terminationGracePeriodSeconds": 4, "containers": [app]});
    [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"ship": "yes"}}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
            "selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}}),
    ]
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("web-{number:02}")).collect()
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

const GOOD: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// A LogSidecar whose container runs that command.
fn sidecar(command: &str, rollout: &Value) -> String {
    let container = json!({"image": "busybox:1.36", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]});
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"selector": {"matchLabels": {"ship": "yes"}}}, "logs": [{"name": "app", "directory": "/logs"}],
        "sidecar": {"placement": "Native", "container": container}, "rollout": rollout}})
    .to_string()
}

fn all_available(namespace: &Namespace) {
    eventually("all to be available", || {
        let items = namespace.json(&["get", "deployments"])["items"].as_array()?.clone();
        items.iter().all(|item| !is_under_way(item)).then_some(())
    });
}

/// As when its node loses power.
fn kill_the_controller() {
    kubectl(
        &[
            "-n",
            "logsidecar-system",
            "delete",
            "pods",
            "-l",
            "app.kubernetes.io/name=logsidecar",
            "--force",
            "--grace-period=0",
        ],
        "",
    );
}

fn condition(namespace: &Namespace, kind: &str) -> (String, String, String) {
    let all = namespace.json(&["get", "logsidecar", "ship"])["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Somebody who watches the Deployments from outside.
struct Watch {
    seen: Arc<Mutex<Seen>>,
    child: Child,
}

#[derive(Default)]
struct Seen {
    templates: BTreeMap<String, Value>,
    under_way: BTreeSet<String>,
    most: usize,
    rollouts: usize,
}

impl Watch {
    fn of(namespace: &Namespace) -> Self {
        let mut child = Command::new("kubectl")
            .args(["-n", &namespace.name, "get", "deployments", "--watch", "-o", "json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl");
        let out = child.stdout.take().expect("piped");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let notes = seen.clone();
        thread::spawn(move || {
            for object in serde_json::Deserializer::from_reader(out).into_iter::<Value>().map_while(Result::ok) {
                notes.lock().expect("no panic").note(&object);
            }
        });
        Self { seen, child }
    }

    /// At most so many under way at a time, and so many rollouts in all.
    fn counted(&self) -> (usize, usize) {
        let seen = self.seen.lock().expect("no panic");
        (seen.most, seen.rollouts)
    }
}

impl Seen {
    /// A change of the template that our container comes or goes with is a rollout of ours, until all pods are new and available.
    fn note(&mut self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let template = object["spec"]["template"].clone();
        let ours = |template: &Value| template["spec"]["initContainers"].clone();
        let before = self.templates.insert(name.clone(), template.clone());
        if before.is_some_and(|before| ours(&before) != ours(&template)) {
            self.rollouts += 1;
            self.under_way.insert(name);
        } else if !is_under_way(object) {
            self.under_way.remove(&name);
        }
        self.most = self.most.max(self.under_way.len());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn thirty_deployments_five_at_a_time() {
    const COUNT: usize = 30;
    let namespace = Namespace::new("budget");
    namespace.apply(&list(&names(COUNT).iter().map(|name| web(name, 1)[0].clone()).collect::<Vec<_>>()));
    all_available(&namespace);
    let watch = Watch::of(&namespace);
    let start = Instant::now();
    namespace.apply(&sidecar(GOOD, &json!({"maxConcurrent": 5, "soak": "1s"})));
    let busy = Arc::new(AtomicBool::new(true));
    let others = thread::spawn({
        let (busy, name) = (busy.clone(), namespace.name.clone());
        move || {
            for round in (0usize..).take_while(|_| busy.load(Ordering::Relaxed)) {
                let run = |arguments: &[&str]| drop(try_kubectl(&[&["-n", &name], arguments].concat(), ""));
                let of = format!("deployment/web-{:02}", round * 7 % COUNT);
                run(&["scale", &of, &format!("--replicas={}", 1 + round % 2)]);
                run(&["annotate", "--overwrite", &of, &format!("round={round}")]);
                if round == 20 {
                    drop(try_kubectl(&["-n", &name, "apply", "-f", "-"], &web("web-late", 1)[0].to_string()));
                }
                thread::sleep(Duration::from_millis(500));
            }
        }
    });
    for killed_at in [6, 15] {
        let injected = || namespace.json(&["get", "logsidecar", "ship"])["status"]["injected"].as_u64().unwrap_or_default();
        eventually("the rollout to have come so far", || (injected() >= killed_at).then_some(()));
        kill_the_controller();
    }
    // On a small machine a pod takes a few seconds to start.
    within(Duration::from_secs(600), "all to have it", || {
        let status = namespace.json(&["get", "logsidecar", "ship"])["status"].clone();
        (status["injected"].as_u64()? >= COUNT as u64 && status["matched"] == status["injected"]).then_some(())
    });
    namespace.wait_ready("ship");
    busy.store(false, Ordering::Relaxed);
    others.join().expect("the others end");
    let (most, rollouts) = watch.counted();
    tell(&format!(
        "thirty_deployments: at most {most} under way at a time, {rollouts} rollouts in {} s",
        start.elapsed().as_secs()
    ));
    assert!((2..=5).contains(&most), "{most} under way at a time");
    // The one that came later may have been given its sidecar before the watch told of it.
    assert!((COUNT..=COUNT + 1).contains(&rollouts), "{rollouts} rollouts");
}

/// Asks Services for a page over fresh connections, from inside the cluster.
struct Client<'a> {
    namespace: &'a Namespace,
    start: Instant,
}

impl<'a> Client<'a> {
    fn of(namespace: &'a Namespace, services: &[String]) -> Self {
        let address = |name: &String| {
            let service = namespace.json(&["get", "service", name]);
            format!("{name}={}", service["spec"]["clusterIP"].as_str().expect("an address"))
        };
        let services: Vec<String> = services.iter().map(address).collect();
        // One process for each Service asks for one page after the other; what it says goes to a stream that is not buffered.
        let script = "for service in $SERVICES; do
            curl -s -m 3 --rate 40/s -H 'Connection: close' -o /dev/null -w '%{stderr}%{http_code}\\n' \
                \"http://${service#*=}/?[1-1000000]\" 2> /tmp/${service%=*} & echo $! >> /tmp/pids
        done
        wait
        for service in $SERVICES; do
            answers=/tmp/${service%=*}
            echo \"${service%=*} $(grep -c '^200$' $answers) $(grep -vc '^200$' $answers)\"
        done
        echo end; sleep 3600";
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "client", "image": "nginx:latest", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script],
                "env": [{"name": "SERVICES", "value": services.join(" ")}]}]}});
        namespace.apply(&pod.to_string());
        namespace.wait("pod/client", "condition=Ready");
        Self { namespace, start: Instant::now() }
    }

    /// Waits until every Service has answered so many requests from now on.
    fn goes_on(&self, answers: usize) {
        let count = || -> Vec<usize> {
            let told = self.namespace.kubectl(&[
                "exec",
                "client",
                "--",
                "sh",
                "-c",
                "for s in $SERVICES; do cat /tmp/${s%=*} 2> /dev/null | wc -l; done",
            ]);
            told.lines().map(|line| line.trim().parse().expect("a number")).collect()
        };
        let before = count();
        eventually("answers of every Service", || {
            count().iter().zip(&before).all(|(now, before)| *now >= before + answers).then_some(())
        });
    }

    /// Good and bad answers of each Service, and how many a second there were in all.
    fn stop(self) -> (BTreeMap<String, (u64, u64)>, f64) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.namespace.kubectl(&["exec", "client", "--", "sh", "-c", "kill $(cat /tmp/pids)"]);
        let log = eventually("the client to end", || {
            let log = self.namespace.kubectl(&["logs", "client"]);
            log.lines().any(|line| line == "end").then_some(log)
        });
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
        };
        let answers: BTreeMap<String, (u64, u64)> = log.lines().filter_map(line).collect();
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let rate = answers.values().map(|(good, bad)| good + bad).sum::<u64>() as f64 / seconds;
        (answers, rate)
    }
}

/// A sidecar that crashes: only the canary is touched, nobody else's requests fail, and a corrected spec resumes.
fn a_bad_sidecar(case: &str, command: &str, rollout: &Value) {
    const COUNT: usize = 4;
    let namespace = Namespace::new(case);
    namespace.apply(&list(&names(COUNT).iter().flat_map(|name| web(name, 2)).collect::<Vec<_>>()));
    all_available(&namespace);
    let templates = || names(COUNT).iter().map(|name| namespace.template(name)).collect::<Vec<_>>();
    let before = templates();
    let client = Client::of(&namespace, &names(COUNT));
    client.goes_on(10);
    namespace.apply(&sidecar(command, rollout));
    eventually("the canary", || (namespace.template("web-00") != before[0]).then_some(()));
    kill_the_controller();
    eventually("the rollout to be halted", || {
        let (stalled, reason, _) = condition(&namespace, "Stalled");
        (stalled == "True" && reason == "Halted").then_some(())
    });
    let (_, _, message) = condition(&namespace, "Stalled");
    assert!(message.starts_with("halted at Deployment web-00: container ship in pod web-00-"), "{message}");
    if rollout["onFailure"] == "Rollback" {
        eventually("the canary to be as before", || (templates() == before).then_some(()));
        namespace.kubectl(&["rollout", "status", "deployment/web-00", "--timeout=180s"]);
    } else {
        let now = templates();
        assert_eq!((now[0] != before[0], &now[1..]), (true, &before[1..]));
    }
    // Requests were made before, and are still made after: how many is a matter of the machine.
    client.goes_on(10);
    let (answers, rate) = client.stop();
    tell(&format!("{case}: {rate:.0} requests/s; good and bad answers: {answers:?}"));
    for name in &names(COUNT)[1..] {
        assert!(matches!(answers[name], (good, 0) if good > 0), "{name}: {answers:?}");
    }
    for name in names(COUNT) {
        let expected = match (name.as_str(), rollout["onFailure"] == "Rollback") {
            ("web-00", true) => 2..=3,
            ("web-00", false) => 2..=2,
            _ => 1..=1,
        };
        assert!(expected.contains(&namespace.rollouts(&name)), "{name} has had {} templates", namespace.rollouts(&name));
    }
    namespace.apply(&sidecar(GOOD, &json!({"soak": "1s", "maxConcurrent": 4})));
    namespace.wait_ready("ship");
    assert!(templates().iter().all(|template| template["spec"]["initContainers"][0]["name"] == "ship"));
}

#[test]
fn a_sidecar_that_crashes_at_once_harms_exactly_the_canary() {
    a_bad_sidecar("crash", "exit 1", &json!({"soak": "5s"}));
}

#[test]
fn one_that_crashes_after_a_minute_does_so_too_and_is_taken_back() {
    a_bad_sidecar("crash-late", "sleep 60; exit 1", &json!({"soak": "75s", "onFailure": "Rollback"}));
}
