//! JSON as the store keeps it: compressed, because there is one for every workload of the cluster, and they are much alike.

use std::sync::LazyLock;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde_json::{Value, json};

/// What is in most templates: what we put in, and what the API server fills in. With it, a template of 5 KiB takes less than 1.
static COMMON: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // The script of the `tail` shipper is the largest text that many templates have in common.
    let ours = json!({"name": "logs", "image": "busybox:1.37.0", "command": ["sh", "-c", include_str!("../shipper/tail.sh"), "tail"], "args": ["/var/log/app/*.log"]});
    let probe = json!({"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
    let template = json!({
        "metadata": {"labels": {"app.kubernetes.io/name": ""}, "annotations": {}},
        "spec": {
            "volumes": [{"name": "logs", "emptyDir": {}}, {"name": "config", "configMap": {"name": "", "defaultMode": 420}}],
            "initContainers": [ours],
            "containers": [{
                "name": "app",
                "image": "",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "env": [{"name": "", "value": ""}, {"name": "", "valueFrom": {"secretKeyRef": {"name": "", "key": "password"}}}],
                "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
                "volumeMounts": [{"name": "logs", "mountPath": "/var/log/app"}, {"name": "", "readOnly": true, "mountPath": "/etc/"}],
                "livenessProbe": probe,
                "readinessProbe": probe,
                "restartPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
                "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsUser": 1000, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false},
            }],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    });
    template.to_string().into_bytes()
});

/// A JSON value, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// Compresses a value.
    #[must_use]
    pub fn new(value: &Value) -> Self {
        Self(compress_prepend_size_with_dict(value.to_string().as_bytes(), &COMMON).into())
    }

    /// Returns the value as it was.
    ///
    /// # Panics
    /// Never: only `new` makes one.
    #[must_use]
    pub fn value(&self) -> Value {
        let text = decompress_size_prepended_with_dict(&self.0, &COMMON).expect("`new` has compressed it");
        serde_json::from_slice(&text).expect("`new` has written it as JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_survives_compression_and_shrinks() {
        let container = json!({"name": "ship", "image": "busybox", "env": [{"name": "ÄÖ", "value": "\u{1f600}\n\""}]});
        let script = include_str!("../shipper/tail.sh");
        let spec = json!({"name": "ship", "command": ["sh", "-c", script, "tail"], "args": ["/l/*.log"]});
        for value in
            [Value::Null, json!({}), container.clone(), json!({"spec": {"containers": [container], "initContainers": [spec]}})]
        {
            let packed = Packed::new(&value);
            assert_eq!(packed.value(), value);
            let size = value.to_string().len();
            assert!(size < 2000 || packed.0.len() < size / 5, "{} of {size}", packed.0.len());
        }
    }
}
