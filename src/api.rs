//! The contract with users: the `LogSidecar` object, its status, the words that they read and the names that we write.
//!
//! Everything that a schema or a CEL rule can state is stated here and refused by the API server; the command line
//! evaluates the same generated schema offline ([`crate::validate`]), so both refuse the same objects with the same
//! sentence. Nothing in this module decides anything: planning starts in [`crate::plan`].

mod container;
mod crd;
mod credentials;
mod destination;
mod features;
mod output;
mod parse;
mod reason;
mod rollout;
mod rules;
mod shipper;
mod status;

pub use container::PartialContainer;
pub use crd::definition;
pub(crate) use crd::schema;
pub use credentials::{Auth, Basic, Header, SecretKey, Tls};
pub use destination::{
    Compression, Credentials, DestinationSettings, Forward, Http, Kafka, Loki, Mechanism, Otlp, S3, Sasl, Search, Stdout,
};
use features::join;
pub use features::{ShipperFeatures, ShipperName};
pub use output::{Destination, Output, OutputKind};
pub use parse::{Format, Language, Multiline, Parser};
pub use reason::{ParseReasonError, Reason, ReasonClass};
pub use rollout::{Canary, OnFailure, Rollout, RolloutMode};
pub use shipper::{ConfigMapKey, Engine, Tail};
pub use status::{HaltedTarget, LogSidecarStatus, RolloutStatus, Stage, TargetStatus, condition};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The field manager of every write, and so the owner that `managedFields` names. It can never change: ownership
/// recorded under an old name would be lost. (It must not start with `kubectl`: Flux takes such managers over.)
pub const MANAGER: &str = "logsidecar";

/// The annotation on a workload that records what was put into it; see [`crate::workload::ledger::Ledger`].
pub const LEDGER_ANNOTATION: &str = "logsidecar.dev/injected";

/// The label on a workload that opts it out with the value `"false"`. A label, because `kubectl rollout undo` restores a
/// Deployment's old annotations and would make an opt-out annotation vanish.
pub const OPT_OUT_LABEL: &str = "logsidecar.dev/inject";

/// The label on what belongs to a `LogSidecar`: its name.
pub const SIDECAR_LABEL: &str = "logsidecar.dev/name";

/// The finalizer on every `LogSidecar` that the controller acts upon.
pub const FINALIZER: &str = "logsidecar.dev/release";

/// Which workload writes which files, and what ships them.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "logsidecar.dev",
    version = "v1alpha1",
    kind = "LogSidecar",
    plural = "logsidecars",
    shortname = "lsc",
    category = "logging",
    namespaced,
    status = "LogSidecarStatus",
    derive = "PartialEq",
    doc = "LogSidecar says which workload writes which log files and which sidecar container ships them.",
    printcolumn(name = "Matched", type_ = "integer", json_path = ".status.matched"),
    printcolumn(name = "Injected", type_ = "integer", json_path = ".status.injected"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.available"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 57 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be at most 57 lower-case letters, digits and '-', starting with a letter: the sidecar container is named after it")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSidecarSpec {
    /// Leaves everything as it is: nothing of this `LogSidecar` is put in, changed or taken out while it is true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// The workloads to change, in the namespace of the `LogSidecar`.
    pub target: Target,
    /// The log files, one entry for each directory of a container.
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
        validation = Rule::new("self.all(a, self.exists_one(b, b.directory == a.directory && (has(b.container) ? b.container : '') == (has(a.container) ? a.container : '') && (has(b.files) ? b.files[0] : '*.log') == (has(a.files) ? a.files[0] : '*.log')))").message("two entries of logs have the same container and directory and begin with the same of files: write one entry with all of them, or no file in two")
    )]
    #[schemars(length(min = 1, max = 16))]
    pub logs: Vec<Log>,
    /// Where the lines go. Default: standard output of the sidecar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".into()]),
    )]
    #[schemars(length(min = 1, max = 8))]
    pub outputs: Vec<Output>,
    /// The container that ships the files. Default: `tail: {}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
    /// How the workloads are changed: how many at a time, and what stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What happens to the workloads when the `LogSidecar` is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl LogSidecarSpec {
    /// What the author has written of the sidecar container.
    #[must_use]
    pub fn own_container(&self) -> Option<&PartialContainer> {
        self.sidecar.as_ref()?.container.as_ref()
    }
}

/// The workloads that a `LogSidecar` is for: one by name, or all with certain labels.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.name) != has(self.selector)")
    .message("write exactly one of name and selector"))]
#[x_kube(validation = Rule::new("self.kind in ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet', 'ReplicationController', 'CronJob', 'Job', 'Pod', 'PodTemplate'] || (has(self.apiGroup) && !(self.apiGroup in ['', 'apps', 'batch']))")
    .message("kind must be one of Deployment, StatefulSet, DaemonSet, CronJob, ReplicaSet, ReplicationController, Job, Pod, PodTemplate; for any other write its apiGroup, too").field_path(".kind"))]
#[x_kube(validation = Rule::new("!has(self.apiGroup) || !(self.apiGroup in ['', 'apps', 'batch']) || self.apiGroup == (self.kind in ['Job', 'CronJob'] ? 'batch' : self.kind in ['Pod', 'PodTemplate', 'ReplicationController'] ? '' : 'apps')")
    .message("apiGroup is not the group of this kind: leave apiGroup out").field_path(".apiGroup"))]
pub struct Target {
    /// The API group of `kind`. It follows from `kind` where that is one of Kubernetes' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub api_group: Option<String>,
    /// The kind of workload. The controller acts on `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob` and the kinds that it is
    /// set up for (`--workload-kind`); `logsidecar inject` takes every kind with a pod template.
    #[serde(default = "deployment")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The name of one workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Labels of the workload itself (not of its pods).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)")
        .message("an empty selector would match every workload: write matchLabels or matchExpressions"))]
    #[x_kube(validation = Rule::new("!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])")
        .message("operator must be one of In, NotIn, Exists, DoesNotExist"))]
    #[x_kube(validation = Rule::new("!has(self.matchExpressions) || self.matchExpressions.all(e, !(e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist']) || (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))")
        .message("operators In and NotIn need values; Exists and DoesNotExist take none"))]
    pub selector: Option<LabelSelector>,
}

fn deployment() -> String {
    "Deployment".to_owned()
}

/// Log files in one directory of one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// What this entry is called in messages and configs; unique within `logs`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The container that writes the files. Default: the pod's only container, or the one that the pod's annotation
    /// `kubectl.kubernetes.io/default-container` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub container: Option<String>,
    /// The absolute path of the directory that the container writes its log files to.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^(/[^/]+)+$') && !self.matches('/[.][.]?(/|$)')")
        .message("write an absolute path without '..', '//' or a trailing '/', such as /var/log/app"))]
    #[x_kube(validation = Rule::new("!self.matches('^/(etc|usr|var|bin|sbin|lib[^/]*)$') && !self.matches('^/(proc|sys|dev)(/|$)')")
        .message("a volume mounted here would hide what the container needs to run: let the application write to a directory of its own, such as /var/log/app"))]
    #[x_kube(validation = Rule::new("!self.contains(':')").message("a mount path cannot contain ':'"))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("a mount path cannot contain line breaks and other control characters"))]
    pub directory: String,
    /// Names of the files, as shell patterns below `directory`.
    #[serde(default = "all_logs")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 256), regex(pattern = r"^[^/\s\\]+(/[^/\s\\]+)*$")))]
    #[x_kube(validation = Rule::new("self.all(f, !f.matches('(^|/)[.][.]?(/|$)'))")
        .message("files are patterns below directory, such as *.log or audit/*.json: '.' and '..' cannot be part of them"))]
    pub files: Vec<String>,
    /// Where the sidecar sees `directory`. Default: at the same path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^(/[^/]+)+$') && !self.matches('/[.][.]?(/|$)')")
        .message("write an absolute path without '..', '//' or a trailing '/', such as /logs"))]
    #[x_kube(validation = Rule::new("!self.matches('^/(etc|usr|var|bin|sbin|lib[^/]*)$') && !self.matches('^/(proc|sys|dev)(/|$)')")
        .message("a volume mounted here would hide what the sidecar needs to run: choose a directory such as /logs"))]
    #[x_kube(validation = Rule::new("!self.contains(':')").message("a mount path cannot contain ':'"))]
    #[x_kube(validation = Rule::new("!self.matches('[[:cntrl:]]')").message("a mount path cannot contain line breaks and other control characters"))]
    pub sidecar_directory: Option<String>,
    /// The volume that both containers see. Default: `emptyDir: {}`. Where the container already mounts a volume at or
    /// above `directory`, that one is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<LogVolume>,
    /// How lines become fields. Default: they are passed on as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parser: Option<Parser>,
    /// Which lines belong together. Default: each is on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<Multiline>,
}

fn all_logs() -> Vec<String> {
    vec!["*.log".to_owned()]
}

/// The volume that carries log files from the application to the sidecar.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.emptyDir), has(self.persistentVolumeClaim), has(self.existing)].filter(x, x).size() <= 1")
    .message("write at most one of emptyDir, persistentVolumeClaim and existing"))]
#[x_kube(validation = Rule::new("!(has(self.existing) && has(self.name))")
    .message("an existing volume has its name already: leave volume.name out").field_path(".name"))]
pub struct LogVolume {
    /// The name of the volume in the pod. Default: made from the container and the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// The folder inside the volume that is mounted. Default: the volume's root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^/]+(/[^/]+)*$') && !self.matches('(^|/)[.][.]?(/|$)')")
        .message("write a relative path without '..', such as logs/app"))]
    pub sub_path: Option<String>,
    /// A volume that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// A claim in the namespace of the workload; what it holds outlives the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<VolumeClaim>,
    /// A volume that the pod template already has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
}

/// `v1.EmptyDirVolumeSource`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmptyDir {
    /// `Memory` for a tmpfs, which counts against the memory limits of the containers. Default: the node's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in ['', 'Memory'] || self.startsWith('HugePages')").message("medium must be \"\" or Memory"))]
    #[schemars(length(max = 64))]
    pub medium: Option<String>,
    /// The pod is evicted when the files outgrow this size, for example `512Mi`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "quantity")]
    pub size_limit: Option<serde_json::Value>,
}

/// A quantity. By a pattern, as the API server allows a CEL rule on every one of 16 volumes too little time for `isQuantity`.
fn quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "The pod is evicted when the files outgrow this size, for example 512Mi. Default: no limit.",
        "x-kubernetes-int-or-string": true,
        "minimum": 0,
        "maxLength": 32,
        "pattern": "^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?$",
    })
}

/// `v1.PersistentVolumeClaimVolumeSource`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeClaim {
    /// The name of a `PersistentVolumeClaim`.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}

/// A volume of the pod template.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Existing {
    /// The name of the volume.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}

/// The container that ships the files: a shipper that we know how to set up, or the user's own container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new(rules::is_something()).message("write a shipper (tail: {}), or a container with an image"))]
#[x_kube(validation = Rule::new(rules::is_one_shipper()).message(rules::is_one_shipper_message().as_str()))]
#[x_kube(validation = Rule::new("!has(self.placement) || self.placement != 'Native' || !has(self.container) || !has(self.container.restartPolicy) || self.container.restartPolicy == 'Always'")
    .message("placement Native means restartPolicy: Always: leave restartPolicy out").field_path(".container.restartPolicy"))]
pub struct Sidecar {
    /// Prints the lines of all files on the sidecar's standard output, for `kubectl logs` and node agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// Fluent Bit: small, and for every destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fluent_bit: Option<Engine>,
    /// Fluentd: where there are plugins and filters for it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fluentd: Option<Engine>,
    /// The OpenTelemetry Collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel_collector: Option<Engine>,
    /// `Native`: an init container that runs beside the application; it starts before and
    /// ends after the application, and lets Jobs complete. `Container`: an ordinary container. Default: `Native` for a
    /// shipper, `Container` for a container of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// A partial `v1.Container`. With a shipper it is laid over the shipper's own; without one it is the sidecar,
    /// exactly as written. Default name: that of the `LogSidecar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<PartialContainer>,
}

impl Sidecar {
    /// Returns the shipper that it asks for with its settings, if it is not a container of the author's own.
    #[must_use]
    pub fn shipper(&self) -> Option<(ShipperName, Option<&Engine>)> {
        let Self { tail, fluent_bit, fluentd, otel_collector, placement: _, container: _ } = self;
        let with_config = [
            (ShipperName::FluentBit, fluent_bit),
            (ShipperName::Fluentd, fluentd),
            (ShipperName::OtelCollector, otel_collector),
        ];
        let tail = tail.as_ref().map(|_| (ShipperName::Tail, None));
        tail.or_else(|| with_config.into_iter().find_map(|(name, engine)| Some((name, Some(engine.as_ref()?)))))
    }
}

/// Where in the pod the sidecar runs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In `initContainers`, with `restartPolicy: Always`.
    Native,
    /// In `containers`.
    Container,
}

/// What happens to the workloads of a deleted `LogSidecar`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// What was put in is taken out; each workload rolls out once.
    #[default]
    Remove,
    /// What was put in stays and belongs to the owner of the workload from then on.
    Orphan,
}
