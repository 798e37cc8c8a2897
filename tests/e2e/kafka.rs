//! Lines arrive in Kafka: in librdkafka's mock of it (from `PyPI`), as a process in the network of the bare-machine cluster's node.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    cluster::{Namespace, has_image, left_out, logsidecar},
    lines::apply,
};

struct Kafka(Child);

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts it; why not, if it cannot be had.
fn kafka() -> Result<Kafka, String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if !std::env::var("LOGSIDECAR_IMAGES").is_ok_and(|images| images.contains("otelcol")) {
        return Err("the mock listens on the node's loopback, which only the bare-machine cluster lets us reach".to_owned());
    }
    let folder = root.join("target/kafka");
    let install = ["-m", "pip", "install", "--quiet", "--target"];
    let pip = Command::new("python3").args(install).arg(&folder).arg("confluent-kafka==2.16.1").output();
    let pip = pip.map_err(|error| error.to_string())?;
    if !pip.status.success() {
        return Err(format!("confluent-kafka is not to be had: {}", String::from_utf8_lossy(&pip.stderr).trim()));
    }
    let mut command = Command::new(root.join("tests/cluster/bare"));
    command
        .args(["exec", "env"])
        .arg(format!("PYTHONPATH={}", folder.display()))
        .arg("python3")
        .arg(root.join("tests/e2e/kafka.py"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map(Kafka).map_err(|error| error.to_string())
}

#[test]
fn lines_arrive_in_kafka() {
    if !has_image("otelcol") {
        return left_out("lines_arrive_in_kafka", "no image of the collector can be had here");
    }
    let mut kafka = match kafka() {
        Ok(kafka) => kafka,
        Err(why) => return left_out("lines_arrive_in_kafka", &why),
    };
    let lines = BufReader::new(kafka.0.stdout.take().expect("piped")).lines();
    let (sender, told) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || told.recv_timeout(Duration::from_secs(120)).map_err(|error| error.to_string());
    let broker = next().expect("an address");
    let mut sidecar = json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"}, "spec": {
        "target": {"name": "app"}, "logs": [{"name": "app", "directory": "/logs"}],
        "outputs": [{"name": "o", "kafka": {"brokers": [broker], "topic": "logs"}}], "sidecar": {"otelCollector": {}}}});
    // What is rendered, and one line more: the mock does not understand how the collector's client asks a broker for its version.
    let rendered = logsidecar(&["render", "-f", "-"], &sidecar.to_string());
    let config = rendered.replacen("    brokers:", "    protocol_version: 2.1.0\n    brokers:", 1);
    assert_ne!(config, rendered);
    sidecar["spec"]["sidecar"]["otelCollector"]["config"] = config.into();
    sidecar["spec"].as_object_mut().expect("an object").shift_remove("outputs");
    let namespace = Namespace::new("kafka");
    let script = "for i in $(seq 1000); do echo line-$i-end >> /logs/app.log; done; sleep 100000";
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {
        "selector": {"matchLabels": {"app": "app"}}, "template": {"metadata": {"labels": {"app": "app"}}, "spec": {
            "hostNetwork": true, "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "app", "image": "busybox:1.36", "command": ["sh", "-c", script]}]}}}});
    apply(&namespace, &sidecar, &deployment);
    namespace.kubectl(&["rollout", "status", "deployment/app", "--timeout=180s"]);
    let mut missing: std::collections::BTreeSet<String> = (1..=1000).map(|number| format!("line-{number}-end")).collect();
    while !missing.is_empty() {
        let message = next().unwrap_or_else(|why| panic!("{} lines are missing: {why}", missing.len()));
        let records: Value = serde_json::from_str(&message).expect("OTLP as JSON");
        let text = records.to_string();
        missing.retain(|line| !text.contains(&format!("\"{line}\"")));
    }
}
