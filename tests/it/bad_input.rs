//! What people get to read for input that cannot be used: LogSidecars, workloads and texts that are no manifests at all.
//!
//! Every case states all of standard error, so a message that gets worse, or a second one for the same mistake, is a
//! failure. Plans that are refused for good input belong into [`crate::cli`].

use crate::logsidecar::{Run, run};

const LOG_SIDECAR: &str = r#"apiVersion: logsidecar.dev/v1alpha1
kind: LogSidecar
metadata:
  name: web
  labels: {team: a}
spec:
  target:
    kind: Deployment
    name: shop
  logs:
  - name: access
    container: app
    directory: /var/log/app
    files: ["*.log"]
    volume:
      name: logs
      emptyDir: {sizeLimit: 1Gi}
  sidecar:
    tail: {}
    container:
      env:
      - name: LEVEL
        value: info
      resources: {limits: {cpu: 100m}}
  deletionPolicy: Remove
"#;

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    metadata:
      labels: {app: shop}
    spec:
      containers:
      - name: app
        image: nginx:1.27
        volumeMounts:
        - name: data
          mountPath: /data
      volumes:
      - name: data
        emptyDir: {}
";

/// What is replaced in the good object, by what, and the lines that tell of it as `LINE: FIELD: MESSAGE`.
///
/// What ends in `…` goes from there to the end of the text.
type Edit = (&'static str, &'static str, &'static str);

const METADATA: &[Edit] = &[
    ("  name: web\n", "  nme: web\n", "3: metadata.name: required, but missing\n4: metadata.nme: unknown field"),
    ("  name: web\n  labels: {team: a}\n", "  - web\n", "3: metadata: must be an object, not a list"),
    ("metadata:\n  name: web\n  labels: {team: a}\n", "metadata: web\n", "3: metadata: must be an object, not \"web\""),
    ("metadata:\n  name: web\n  labels: {team: a}\n", "", "1: metadata.name: required, but missing"),
    ("name: web", "generateName: web-", "3: metadata.name: required, but missing"),
    ("name: web", "name: \"\"", "4: metadata.name: must not be empty"),
    ("name: web", "name: 5", "4: metadata.name: must be a string, not 5: put it in quotes"),
    ("name: web", "name: on", "4: metadata.name: must be a string, not true: put it in quotes"),
    ("name: web", "name: 0644", "4: metadata.name: must be a string, not 420: put it in quotes"),
    ("name: web", "name: 1e3", "4: metadata.name: must be a string, not 1000: put it in quotes"),
    ("{team: a}", "[team]", "5: metadata.labels: must be an object, not a list"),
    ("{team: a}", "{team: yes}", "5: metadata.labels.team: must be a string, not true: put it in quotes"),
    ("{team: a}", "{a.b/team: 1}", "5: metadata.labels[a.b/team]: must be a string, not 1: put it in quotes"),
    ("labels", "label", "5: metadata.label: unknown field"),
];

const SPEC: &[Edit] = &[
    ("v1alpha1", "v2", "1: apiVersion: must be \"logsidecar.dev/v1alpha1\", not \"logsidecar.dev/v2\""),
    ("logsidecar.dev/", "logsidecar/", "1: apiVersion: must be \"logsidecar.dev/v1alpha1\", not \"logsidecar/v1alpha1\""),
    ("\nspec:…", "\n", "1: spec: required, but missing"),
    ("\nspec:…", "\nspec: web\n", "6: spec: must be an object, not \"web\""),
    ("\nspec:…", "\nspec: {}\n", "6: spec.logs: required, but missing\n6: spec.target: required, but missing"),
    ("\nspec:", "\nspecs:", "1: spec: required, but missing\n6: specs: unknown field"),
    ("deletionPolicy", "deletePolicy", "25: spec.deletePolicy: unknown field"),
    ("Remove", "delete", "25: spec.deletionPolicy: must be \"Remove\" or \"Orphan\", not \"delete\""),
    ("Remove", "yes", "25: spec.deletionPolicy: must be \"Remove\" or \"Orphan\", not true"),
    ("deletionPolicy: Remove", "suspend: \"yes\"", "25: spec.suspend: must be a boolean, not \"yes\""),
    ("deletionPolicy: Remove", "suspend: 1", "25: spec.suspend: must be a boolean, not 1"),
    ("  deletionPolicy: Remove", "data: 1", "25: data: unknown field"),
];

const TARGET: &[Edit] = &[
    ("    kind: Deployment\n    name: shop\n", "  - shop\n", "7: spec.target: must be an object, not a list"),
    (":\n    kind: Deployment\n    name: shop\n", ": shop\n", "7: spec.target: must be an object, not \"shop\""),
    (":\n    kind: Deployment\n    name: shop\n", ": {}\n", "7: spec.target: write exactly one of name and selector"),
    ("name: shop", "nmae: shop", "9: spec.target.nmae: unknown field"),
    ("name: shop", "namespace: shop", "9: spec.target.namespace: unknown field"),
    ("name: shop", "name: on", "9: spec.target.name: must be a string, not true: put it in quotes"),
    ("name: shop", "name: 0644", "9: spec.target.name: must be a string, not 420: put it in quotes"),
    ("name: shop", "name: 1e3", "9: spec.target.name: must be a string, not 1000: put it in quotes"),
    ("name: shop", "name: [shop]", "9: spec.target.name: must be a string, not a list"),
    ("name: shop", "name: \"\"", "9: spec.target.name: must not be empty"),
    ("name: shop", "name: shop\n    selector: {matchLabels: {a: b}}", "7: spec.target: write exactly one of name and selector"),
    (
        "kind: Deployment",
        "kind: Rollout",
        "8: spec.target.kind: kind must be one of Deployment, StatefulSet, DaemonSet, CronJob, ReplicaSet, ReplicationController, Job, Pod, PodTemplate; for any other write its apiGroup, too",
    ),
    (
        "kind: Deployment",
        "apiGroup: batch",
        "8: spec.target.apiGroup: apiGroup is not the group of this kind: leave apiGroup out",
    ),
    (
        "name: shop",
        "selector: {}",
        "9: spec.target.selector: an empty selector would match every workload: write matchLabels or matchExpressions",
    ),
    (
        "name: shop",
        "selector: {matchLabels: {}}",
        "9: spec.target.selector: an empty selector would match every workload: write matchLabels or matchExpressions",
    ),
    ("name: shop", "selector: {app: shop}", "9: spec.target.selector.app: unknown field"),
    ("name: shop", "selector: {matchLabels: [shop]}", "9: spec.target.selector.matchLabels: must be an object, not a list"),
    (
        "name: shop",
        "selector:\n      matchLabels:\n        canary: off",
        "11: spec.target.selector.matchLabels.canary: must be a string, not false: put it in quotes",
    ),
    (
        "name: shop",
        "selector:\n      matchExpressions: app=shop",
        "10: spec.target.selector.matchExpressions: must be an array, not \"app=shop\"",
    ),
    (
        "name: shop",
        "selector: {matchExpressions: [{key: a, operator: Equals, values: [b]}]}",
        "9: spec.target.selector: operator must be one of In, NotIn, Exists, DoesNotExist",
    ),
    (
        "name: shop",
        "selector: {matchExpressions: [{key: a, operator: In}]}",
        "9: spec.target.selector: operators In and NotIn need values; Exists and DoesNotExist take none",
    ),
    (
        "name: shop",
        "selector:\n      matchExpressions:\n      - {key: a}",
        "11: spec.target.selector.matchExpressions[0].operator: required, but missing",
    ),
];

const LOGS: &[Edit] = &[
    ("  logs:…", "", "6: spec.logs: required, but missing"),
    ("  logs:…", "  logs: []\n", "10: spec.logs: must have at least 1 entry"),
    ("  logs:…", "  logs: {}\n", "10: spec.logs: must be an array, not an object"),
    ("  logs:…", "  logs: access\n", "10: spec.logs: must be an array, not \"access\""),
    ("  logs:…", "  logs:\n  - access\n", "11: spec.logs[0]: must be an object, not \"access\""),
    (
        "  logs:…",
        "  logs:\n  - {name: a, directory: /a}\n  - {name: a, directory: /b}\n",
        "10: spec.logs: two entries have the name \"a\"",
    ),
    (
        "  logs:…",
        "  logs:\n  - {name: a, directory: /a}\n  - {name: b, directory: /a}\n",
        "10: spec.logs: two entries of logs have the same container and directory and begin with the same of files: write one entry with all of them, or no file in two",
    ),
    ("name: access", "nam: access", "11: spec.logs[0].nam: unknown field\n11: spec.logs[0].name: required, but missing"),
    ("name: access", "name: 5", "11: spec.logs[0].name: must be a string, not 5: put it in quotes"),
    ("name: access", "name: Access", "11: spec.logs[0].name: \"Access\" must be lower-case letters, digits and '-'"),
    ("name: access", "name: \"\"", "11: spec.logs[0].name: must not be empty"),
    ("container: app", "container: 1", "12: spec.logs[0].container: must be a string, not 1: put it in quotes"),
    ("container: app", "containers: app", "12: spec.logs[0].containers: unknown field"),
    (
        "directory: /var/log/app",
        "directoy: /var/log/app",
        "11: spec.logs[0].directory: required, but missing\n13: spec.logs[0].directoy: unknown field",
    ),
    ("directory: /var/log/app", "directory:", "13: spec.logs[0].directory: required, but missing"),
    ("directory: /var/log/app", "directory: \"\"", "13: spec.logs[0].directory: must not be empty"),
    ("directory: /var/log/app", "directory: [/a]", "13: spec.logs[0].directory: must be a string, not a list"),
    ("directory: /var/log/app", "directory: 5", "13: spec.logs[0].directory: must be a string, not 5: put it in quotes"),
    ("directory: /var/log/app", "directory: /a:b", "13: spec.logs[0].directory: a mount path cannot contain ':'"),
    (
        "directory: /var/log/app",
        "directory: 12:30",
        "13: spec.logs[0].directory: a mount path cannot contain ':'\n13: spec.logs[0].directory: write an absolute path without '..', '//' or a trailing '/', such as /var/log/app",
    ),
    (
        "container: app",
        "sidecarDirectory: logs",
        "12: spec.logs[0].sidecarDirectory: write an absolute path without '..', '//' or a trailing '/', such as /logs",
    ),
    (
        "container: app",
        "sidecarDirectory: /etc",
        "12: spec.logs[0].sidecarDirectory: a volume mounted here would hide what the sidecar needs to run: choose a directory such as /logs",
    ),
    ("files: [\"*.log\"]", "file: [\"*.log\"]", "14: spec.logs[0].file: unknown field"),
    ("[\"*.log\"]", "\"*.log\"", "14: spec.logs[0].files: must be an array, not \"*.log\""),
    ("[\"*.log\"]", "[]", "14: spec.logs[0].files: must have at least 1 entry"),
    ("[\"*.log\"]", "[5]", "14: spec.logs[0].files[0]: must be a string, not 5: put it in quotes"),
    ("[\"*.log\"]", "[a, \"\"]", "14: spec.logs[0].files[1]: must not be empty"),
];

const VOLUME: &[Edit] = &[
    (
        ":\n      name: logs\n      emptyDir: {sizeLimit: 1Gi}",
        ": logs",
        "15: spec.logs[0].volume: must be an object, not \"logs\"",
    ),
    ("emptyDir: {sizeLimit: 1Gi}", "emptydir: {}", "17: spec.logs[0].volume.emptydir: unknown field"),
    ("emptyDir: {sizeLimit: 1Gi}", "hostPath: {path: /a}", "17: spec.logs[0].volume.hostPath: unknown field"),
    ("emptyDir: {sizeLimit: 1Gi}", "emptyDir: yes", "17: spec.logs[0].volume.emptyDir: must be an object, not true"),
    (
        "emptyDir: {sizeLimit: 1Gi}",
        "emptyDir: {}\n      persistentVolumeClaim: {claimName: a}",
        "15: spec.logs[0].volume: write at most one of emptyDir, persistentVolumeClaim and existing",
    ),
    (
        "emptyDir: {sizeLimit: 1Gi}",
        "existing: {name: logs}",
        "16: spec.logs[0].volume.name: an existing volume has its name already: leave volume.name out",
    ),
    (
        "emptyDir: {sizeLimit: 1Gi}",
        "persistentVolumeClaim: {}",
        "17: spec.logs[0].volume.persistentVolumeClaim.claimName: required, but missing",
    ),
    (
        "emptyDir: {sizeLimit: 1Gi}",
        "persistentVolumeClaim: {claimName: 5}",
        "17: spec.logs[0].volume.persistentVolumeClaim.claimName: must be a string, not 5: put it in quotes",
    ),
    (
        "emptyDir: {sizeLimit: 1Gi}",
        "subPath: a/../b",
        "17: spec.logs[0].volume.subPath: write a relative path without '..', such as logs/app",
    ),
    ("name: logs", "name: Logs", "16: spec.logs[0].volume.name: \"Logs\" must be lower-case letters, digits and '-'"),
    ("sizeLimit: 1Gi", "sizelimit: 1Gi", "17: spec.logs[0].volume.emptyDir.sizelimit: unknown field"),
    ("sizeLimit: 1Gi", "medium: memory", "17: spec.logs[0].volume.emptyDir.medium: medium must be \"\" or Memory"),
    ("1Gi", "1GB", "17: spec.logs[0].volume.emptyDir.sizeLimit: \"1GB\" must be a quantity such as 512Mi"),
    ("1Gi", "-1", "17: spec.logs[0].volume.emptyDir.sizeLimit: must be a quantity such as 512Mi, not -1"),
    ("1Gi", "1.5", "17: spec.logs[0].volume.emptyDir.sizeLimit: must be a quantity such as 512Mi, not 1.5"),
    ("1Gi", "on", "17: spec.logs[0].volume.emptyDir.sizeLimit: must be a quantity such as 512Mi, not true"),
];

const SIDECAR: &[Edit] = &[
    ("  sidecar:…", "  sidecar: tail\n", "18: spec.sidecar: must be an object, not \"tail\""),
    ("  sidecar:…", "  sidecar: {}\n", "18: spec.sidecar: write a shipper (tail: {}), or a container with an image"),
    ("    tail: {}\n", "", "18: spec.sidecar: write a shipper (tail: {}), or a container with an image"),
    ("tail: {}", "tail: {}\n    vector: {}", "20: spec.sidecar.vector: unknown field"),
    ("tail: {}", "vector: {}", "19: spec.sidecar.vector: unknown field"),
    ("tail: {}", "tail: true", "19: spec.sidecar.tail: must be an object, not true"),
    ("tail: {}", "tail: {files: [a]}", "19: spec.sidecar.tail.files: unknown field"),
    ("tail: {}", "tail: {}\n    image: busybox", "20: spec.sidecar.image: unknown field"),
    (
        "tail: {}",
        "tail: {}\n    placement: native",
        "20: spec.sidecar.placement: must be \"Native\" or \"Container\", not \"native\"",
    ),
    ("    container:\n…", "    container: busybox\n", "20: spec.sidecar.container: must be an object, not \"busybox\""),
    ("    container:\n…", "    container: {imag: busybox}\n", "20: spec.sidecar.container.imag: unknown field"),
    (
        "    container:\n…",
        "    container: {command: tail -f}\n",
        "20: spec.sidecar.container.command: must be an array, not \"tail -f\"",
    ),
    (
        "    container:\n…",
        "    container:\n      args: [-n, 5]\n",
        "21: spec.sidecar.container.args[1]: must be a string, not 5: put it in quotes",
    ),
    (
        "    container:\n…",
        "    container:\n      securityContext:\n        runAsUser: \"0\"\n",
        "22: spec.sidecar.container.securityContext.runAsUser: must be an integer, not \"0\"",
    ),
    (
        "    container:\n…",
        "    container: {restartPolicy: Never}\n    placement: Native\n",
        "20: spec.sidecar.container.restartPolicy: placement Native means restartPolicy: Always: leave restartPolicy out",
    ),
    (
        "      - name: LEVEL\n        value: info\n",
        "        LEVEL: info\n",
        "21: spec.sidecar.container.env: must be an array, not an object",
    ),
    ("value: info", "valu: info", "23: spec.sidecar.container.env[0].valu: unknown field"),
    ("value: info", "value: 1e3", "23: spec.sidecar.container.env[0].value: must be a string, not 1000: put it in quotes"),
    ("- name: LEVEL\n        ", "- ", "22: spec.sidecar.container.env[0].name: required, but missing"),
    ("limits:", "limit:", "24: spec.sidecar.container.resources.limit: unknown field"),
    (
        "{cpu: 100m}",
        "{cpu: [1]}",
        "24: spec.sidecar.container.resources.limits.cpu: must be a quantity such as 512Mi, not a list",
    ),
];

#[test]
fn a_broken_logsidecar_is_refused() {
    let tables = [METADATA, SPEC, TARGET, LOGS, VOLUME, SIDECAR];
    each_is_refused(tables.concat().into_iter().map(|(from, to, told)| {
        let text = edited(LOG_SIDECAR, from, to);
        let name = if text.contains("\n  name: web\n") { "web" } else { "(no name)" };
        (text.into_bytes(), titled(&format!("LogSidecar default/{name}"), told))
    }));
}

#[test]
fn a_logsidecar_with_too_much_of_something_is_refused() {
    let logs: String = (0..17).map(|n| format!("  - {{name: l{n}, directory: /l/{n}}}\n")).collect();
    let long = "a".repeat(58);
    let name = "metadata.name: must be at most 57 lower-case letters, digits and '-', starting with a letter: the sidecar container is named after it";
    each_is_refused([
        (
            edited(LOG_SIDECAR, "  logs:…", &format!("  logs:\n{logs}")).into(),
            "-:10: LogSidecar default/web: spec.logs: must have at most 16 entries".to_owned(),
        ),
        (edited(LOG_SIDECAR, "name: web", &format!("name: {long}")).into(), format!("-:4: LogSidecar default/{long}: {name}")),
        (edited(LOG_SIDECAR, "name: web", "name: Web").into(), format!("-:4: LogSidecar default/Web: {name}")),
        (edited(LOG_SIDECAR, "name: web", "name: 0web").into(), format!("-:4: LogSidecar default/0web: {name}")),
    ]);
}

#[test]
fn a_directory_that_cannot_carry_logs_is_refused() {
    let absolute = "write an absolute path without '..', '//' or a trailing '/', such as /var/log/app";
    let hides = "a volume mounted here would hide what the container needs to run: let the application write to a directory of its own, such as /var/log/app";
    let control = "a mount path cannot contain line breaks and other control characters";
    let table = [
        ("log/app", absolute),
        ("./log", absolute),
        ("/", absolute),
        ("/log/", absolute),
        ("/log//app", absolute),
        ("//log", absolute),
        ("/log/../etc", absolute),
        ("/log/..", absolute),
        ("/log/./app", absolute),
        ("/etc", hides),
        ("/usr", hides),
        ("/var", hides),
        ("/bin", hides),
        ("/lib64", hides),
        ("/proc/x", hides),
        ("/sys", hides),
        ("/dev/shm", hides),
        ("|\n      /var/log/app", control),
        ("\"/var/log\\0/app\"", control),
    ];
    each_is_refused(table.into_iter().map(|(directory, told)| {
        let text = edited(LOG_SIDECAR, "directory: /var/log/app", &format!("directory: {directory}"));
        (text.into_bytes(), format!("-:13: LogSidecar default/web: spec.logs[0].directory: {told}"))
    }));
}

#[test]
fn a_file_pattern_that_leaves_its_directory_is_refused() {
    let dots = "files are patterns below directory, such as *.log or audit/*.json: '.' and '..' cannot be part of them";
    let table = [("../a", true), (".", true), ("a/../b", true), ("/a", false), ("a/", false), ("a//b", false), ("a b", false)];
    each_is_refused(table.into_iter().map(|(pattern, has_dots)| {
        let told = if has_dots {
            format!("files: {dots}")
        } else {
            format!(
                "files[0]: \"{pattern}\" must be a pattern below directory without blanks or '\\', such as *.log or audit/*.json"
            )
        };
        let text = edited(LOG_SIDECAR, "*.log", pattern);
        (text.into_bytes(), format!("-:14: LogSidecar default/web: spec.logs[0].{told}"))
    }));
}

const WORKLOAD: &[Edit] = &[
    ("metadata:\n  name: shop\n", "metadata: shop\n", "3: metadata: must be an object, not \"shop\""),
    ("metadata:\n  name: shop\n", "", "1: metadata.name: required, but missing"),
    ("  name: shop\n", "  name: 5\n", "4: metadata.name: must be a string, not 5: put it in quotes"),
    ("  name: shop\n", "  name: 12_30\n", "4: metadata.name: must be a string, not 1230: put it in quotes"),
    ("  name: shop\n", "  name: shop\n  namespace: 5\n", "5: metadata.namespace: must be a string, not 5: put it in quotes"),
    ("  name: shop\n", "  name: shop\n  labels: [a]\n", "5: metadata.labels: must be an object, not a list"),
    ("  name: shop\n", "  name: shop\n  annotations: a\n", "5: metadata.annotations: must be an object, not \"a\""),
    ("\nspec:…", "\n", "1: spec.template: required: a Deployment has its pod template here"),
    ("\nspec:…", "\nspec: {}\n", "5: spec.template: required: a Deployment has its pod template here"),
    ("\nspec:…", "\nspec: shop\n", "5: spec: must be an object, not \"shop\""),
    ("  template:…", "  tmplate: {}\n", "5: spec.template: required: a Deployment has its pod template here"),
    ("  template:…", "  template: []\n", "6: spec.template: must be an object, not a list"),
    ("  template:…", "  template: {}\n", "6: spec.template.spec: required: the spec of the pods"),
    ("  template:…", "  template:\n    spec: []\n", "7: spec.template.spec: must be an object, not a list"),
    ("{app: shop}", "[app]", "8: spec.template.metadata.labels: must be an object, not a list"),
    ("      containers:…", "      volumes: []\n", "9: spec.template.spec.containers: required, but missing"),
    ("      containers:…", "      containers: []\n", "10: spec.template.spec.containers: must have at least 1 entry"),
    ("      containers:…", "      containers: [app]\n", "10: spec.template.spec.containers[0]: must be an object, not \"app\""),
    (
        "      - name: app\n        image: nginx:1.27\n",
        "        app:\n          image: nginx:1.27\n",
        "10: spec.template.spec.containers: must be an array, not an object",
    ),
    ("- name: app\n        image", "- image", "11: spec.template.spec.containers[0].name: required, but missing"),
    ("- name: app\n", "- name: \"\"\n", "11: spec.template.spec.containers[0].name: must not be empty"),
    (
        "- name: app\n",
        "- name: a:b\n",
        "11: spec.template.spec.containers[0].name: must be at most 63 lower-case letters, digits and '-', not \"a:b\"",
    ),
    (
        "- name: app\n",
        "- name: off\n",
        "11: spec.template.spec.containers[0].name: must be a string, not false: put it in quotes",
    ),
    (
        "- name: app\n",
        "- name: app\n      - name: app\n",
        "10: spec.template.spec.containers: two entries have the name \"app\"",
    ),
    (
        "      volumes:\n",
        "      initContainers:\n      - name: app\n      volumes:\n",
        "17: spec.template.spec.initContainers[0].name: \"app\" is the name of another container of the pod",
    ),
    (
        "image: nginx:1.27",
        "env:\n        - name: A\n          value: 5",
        "14: spec.template.spec.containers[0].env[0].value: must be a string, not 5: put it in quotes",
    ),
    (
        "image: nginx:1.27",
        "securityContext: {runAsUser: root}",
        "12: spec.template.spec.containers[0].securityContext.runAsUser: must be an integer, not \"root\"",
    ),
    (
        "\n        - name: data\n          mountPath: /data\n",
        " data\n",
        "13: spec.template.spec.containers[0].volumeMounts: must be an array, not \"data\"",
    ),
    (
        "          mountPath: /data\n",
        "",
        "14: spec.template.spec.containers[0].volumeMounts[0].mountPath: required, but missing",
    ),
    (
        "          mountPath: /data\n",
        "          mountPath: /data\n        - name: x\n          mountPath: /data\n",
        "13: spec.template.spec.containers[0].volumeMounts: two entries have the mountPath \"/data\"",
    ),
    ("      volumes:…", "      volumes: {data: {}}\n", "16: spec.template.spec.volumes: must be an array, not an object"),
    (
        "      volumes:…",
        "      volumes:\n      - {name: data}\n      - {name: data}\n",
        "16: spec.template.spec.volumes: two entries have the name \"data\"",
    ),
    ("      - name: data\n        empty", "      - empty", "17: spec.template.spec.volumes[0].name: required, but missing"),
    ("emptyDir: {}", "emptyDir: on", "18: spec.template.spec.volumes[0].emptyDir: must be an object, not true"),
];

#[test]
fn a_broken_workload_is_refused() {
    each_is_refused(WORKLOAD.iter().map(|(from, to, told)| {
        let text = edited(DEPLOYMENT, from, to);
        let name = if text.contains("\n  name: shop\n") { "shop" } else { "(no name)" };
        (text.into_bytes(), titled(&format!("Deployment default/{name}"), told))
    }));
}

#[test]
fn a_ledger_that_cannot_be_read_is_refused_by_everything_that_needs_it() {
    let unreadable = "the annotation logsidecar.dev/injected is not readable: correct it, or take out by hand what was put in";
    let newer = "the annotation logsidecar.dev/injected has version 2, this program knows 1: use a newer logsidecar";
    let entry = r#"{"name":"a","origin":"file","renderer":1,"items":{"nonsense":"x"}}"#;
    let table = [
        (String::new(), unreadable),
        ("{".to_owned(), unreadable),
        ("[]".to_owned(), unreadable),
        (r#"{"version":1}"#.to_owned(), unreadable),
        (format!(r#"{{"version":1,"sidecars":[{entry}]}}"#), unreadable),
        (r#"{"version":2,"sidecars":[]}"#.to_owned(), newer),
    ];
    for (ledger, told) in table {
        let annotations = format!("  name: shop\n  annotations:\n    logsidecar.dev/injected: '{ledger}'\n");
        let text = edited(DEPLOYMENT, "  name: shop\n", &annotations);
        for command in ["inject", "uninject"] {
            let run = run(&[command, "-f", "-"], text.as_bytes());
            assert_eq!(run, refused(&format!("-:6: Deployment default/shop: {told}")), "{command} {ledger}");
        }
    }
}

#[test]
fn what_is_not_a_kubernetes_object_is_refused() {
    let object = "every Kubernetes object has apiVersion and kind, as text";
    let without = |edits: &[(&str, &str)]| {
        edits.iter().fold(LOG_SIDECAR.to_owned(), |text, (from, to)| edited(&text, from, to)).into_bytes()
    };
    each_is_refused([
        (Vec::new(), "-: no Kubernetes object in it".to_owned()),
        (b"\n \n".to_vec(), "-: no Kubernetes object in it".to_owned()),
        (b"# nothing\n---\n# at all\n".to_vec(), "-: no Kubernetes object in it".to_owned()),
        (b"null\n".to_vec(), "-: no Kubernetes object in it".to_owned()),
        (b"# a page\n<html>404</html>\n".to_vec(), format!("-:2: a document without kind: {object}")),
        (b"42\n".to_vec(), format!("-:1: a document without kind: {object}")),
        (b"- apiVersion: v1\n  kind: Pod\n".to_vec(), format!("-:1: a document without kind: {object}")),
        (b"{}\n".to_vec(), format!("-:1: an object without kind: {object}")),
        (without(&[("kind: LogSidecar\n", "")]), format!("-:1: an object without kind: {object}")),
        (without(&[("kind: LogSidecar", "kind: 5")]), format!("-:2: an object without kind: {object}")),
        (without(&[("kind: LogSidecar", "kind: [LogSidecar]")]), format!("-:2: an object without kind: {object}")),
        (without(&[("apiVersion: logsidecar.dev/v1alpha1\n", "")]), format!("-:1: an object without apiVersion: {object}")),
        (without(&[("logsidecar.dev/v1alpha1", "1")]), format!("-:1: an object without apiVersion: {object}")),
        (
            without(&[("kind: LogSidecar", "kind: Logsidecar")]),
            "-:2: Logsidecar default/web: kind: must be \"LogSidecar\", not \"Logsidecar\"".to_owned(),
        ),
    ]);
}

#[test]
fn what_is_not_yaml_is_refused_with_its_line() {
    let table: &[(&[u8], &str)] = &[
        (b"a: 1\nb: 2\na: 3\n", "3: duplicate mapping key: a"),
        (b"a:\n- b:\n    c: 1\n    c: 2\n", "4: duplicate mapping key: c"),
        (b"---\na: 1\n---\n# two\nb: [\n", "5: unclosed bracket '['"),
        (b"{\"a\": {\"b\": 1}", "1: unclosed bracket '{'"),
        (b"a:\n\tb: 1\n", "2: tabs disallowed within this context (block indentation)"),
        (b"a:\n  b: 1\n c: 2\n", "3: while parsing a block mapping, did not find expected key"),
        (b"a: b: c\n", "1: mapping values are not allowed in this context"),
        (b"a: \"\\q\"\n", "1: while parsing a quoted scalar, found unknown escape character"),
        (b"a: @b\n", "1: unexpected character: `@'"),
        (b"a: 1\nb: *nobody\n", "2: alias references unknown anchor"),
        (b"a: 1\nb: &b [*b]\n", "2: an anchor cannot be used inside itself"),
        (b"a: &a [1]\nb: {<<: *a}\n", "1: YAML merge value must be mapping or sequence of mappings"),
        (b"a: 1\n~: 2\n", "2: a key must be text, not null"),
        (b"a: 1\n? [b]\n: c\n", "2: a key must be text, not a list"),
        (b"a: 1\nname: {{ .Values.name }}\n", "2: a key must be text, not an object"),
        (b"a: 1\n...\nb: 2\n", "3: write --- before the next document"),
    ];
    each_is_refused(table.iter().map(|(text, told)| {
        let (line, message) = told.split_once(": ").expect("a line");
        (text.to_vec(), format!("-:{line}: not valid YAML: {message}"))
    }));
}

#[test]
fn what_is_not_text_is_refused() {
    let utf16: Vec<u8> = "\u{feff}kind: Pod".encode_utf16().flat_map(u16::to_le_bytes).collect();
    each_is_refused([
        (b"kind: \xff\n".to_vec(), "-: not a text file (byte 6 is not UTF-8)".to_owned()),
        (b"kind: a\0b\n".to_vec(), "-: not a text file (byte 7 is not UTF-8)".to_owned()),
        (utf16, "-: not a text file (byte 0 is not UTF-8)".to_owned()),
    ]);
}

#[test]
fn what_would_exhaust_the_machine_is_refused_quickly() {
    let head = "apiVersion: v1\nkind: A\n";
    let aliases = |name: &str, times: usize| vec![format!("*{name}"); times].join(",");
    let bomb: String = (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", aliases(&format!("a{}", n - 1), 10))).collect();
    each_is_refused([
        (vec![b'a'; 50_000_000], "-: larger than 32 MiB: split it into several files".to_owned()),
        (
            format!("{head}a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n{bomb}").into(),
            "-:8: not valid YAML: aliases expand to too much: write out what they stand for".to_owned(),
        ),
        (
            format!("{head}a: &a {}\nb: [{}]\n", "x".repeat(50_000), aliases("a", 2_000)).into(),
            "-:4: not valid YAML: aliases expand to too much: write out what they stand for".to_owned(),
        ),
        (
            format!("{head}a: {}{}\n", "[".repeat(20_000), "]".repeat(20_000)).into(),
            "-:3: not valid YAML: nested too deeply".to_owned(),
        ),
        (format!("{head}a:\n{}\n", "- ".repeat(2_000)).into(), "-:4: not valid YAML: nested too deeply".to_owned()),
        (
            format!("{head}a: {}{}\n", "[".repeat(250), "]".repeat(250)).into(),
            "-:3: not valid YAML: nested too deeply".to_owned(),
        ),
    ]);
}

#[test]
fn every_problem_of_all_documents_is_told_at_its_line() {
    let several = edited(LOG_SIDECAR, "[\"*.log\"]", "{}");
    let sidecar = edited(LOG_SIDECAR, "/var/log/app", "app");
    let deployment = edited(DEPLOYMENT, "nginx:1.27", "5");
    let item = |text: &str| format!("- {}", text.trim_end().replace('\n', "\n  ")) + "\n";
    let list = |items: &str| format!("apiVersion: v1\nkind: List\nitems:\n{items}");
    let directory = "LogSidecar default/web: spec.logs[0].directory: write an absolute path without '..', '//' or a trailing '/', such as /var/log/app";
    let image = "Deployment default/shop: spec.template.spec.containers[0].image: must be a string, not 5: put it in quotes";
    each_is_refused([
        (
            format!("{}---\n# a comment\n{deployment}", edited(&several, "{team: a}", "{team: 1}")).into(),
            format!(
                "-:5: LogSidecar default/web: metadata.labels.team: must be a string, not 1: put it in quotes\n-:14: LogSidecar default/web: spec.logs[0].files: must be an array, not an object\n-:39: {image}"
            ),
        ),
        (format!("{DEPLOYMENT}---\n---\n{sidecar}").into(), format!("-:33: {directory}")),
        (sidecar.replace('\n', "\r\n").into(), format!("-:13: {directory}")),
        (format!("\u{feff}{sidecar}").into(), format!("-:13: {directory}")),
        (list(&(item(DEPLOYMENT) + &item(&sidecar))).into(), format!("-:34: {directory}")),
        (list(&(item(LOG_SIDECAR) + &item(&deployment))).into(), format!("-:40: {image}")),
        (
            list("- apiVersion: v1\n  kind: Service\n- web\n").into(),
            "-:6: a document without kind: every Kubernetes object has apiVersion and kind, as text".to_owned(),
        ),
        (
            "apiVersion: v1\nkind: List\nitems: {a: b}\n".into(),
            "-:3: List default/(no name): items: must be an array, not an object".to_owned(),
        ),
        (
            format!("{LOG_SIDECAR}---\n{LOG_SIDECAR}").into(),
            "-:27: LogSidecar default/web: given twice: also at -:1: LogSidecar default/web".to_owned(),
        ),
        (
            format!("{LOG_SIDECAR}---\n{}", edited(LOG_SIDECAR, "name: web", "name: web\n  namespace: default")).into(),
            "-:27: LogSidecar default/web: given twice: also at -:1: LogSidecar default/web".to_owned(),
        ),
    ]);
}

#[test]
fn a_problem_is_one_line_whatever_the_input_contains() {
    each_is_refused([
        (
            edited(LOG_SIDECAR, "deletionPolicy", "\"deletion\\nPolicy\"").into(),
            "-:25: LogSidecar default/web: spec.deletion\\nPolicy: unknown field".to_owned(),
        ),
        (
            edited(&edited(DEPLOYMENT, "name: shop\n", "name: \"a\\n\\e[31mb\"\n"), "nginx:1.27", "5").into(),
            "-:12: Deployment default/a\\n\\u{1b}[31mb: spec.template.spec.containers[0].image: must be a string, not 5: put it in quotes"
                .to_owned(),
        ),
    ]);
}

/// Runs each input through `validate` and `inject`; all that went wrong is told at once.
fn each_is_refused(cases: impl IntoIterator<Item = (Vec<u8>, String)>) {
    let mut wrong = Vec::new();
    for (input, told) in cases {
        let expected = refused(&told);
        for command in ["validate", "inject"] {
            let found = run(&[command, "-f", "-"], &input);
            if found != expected {
                let input = shortened(&String::from_utf8_lossy(&input));
                let found = shortened(&format!("{found:?}"));
                wrong.push(format!("{command}:\n{input}\nexpected {expected:?}\nfound    {found}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn shortened(text: &str) -> String {
    text.chars().take(1000).collect()
}

fn refused(told: &str) -> Run {
    Run { stdout: String::new(), stderr: format!("error: {told}\n"), code: Some(1) }
}

/// From `LINE: FIELD: MESSAGE` to `-:LINE: TITLE: FIELD: MESSAGE`, for each line.
fn titled(title: &str, told: &str) -> String {
    let lines = told.lines().map(|told| {
        let (line, message) = told.split_once(": ").expect("a line");
        format!("-:{line}: {title}: {message}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn edited(text: &str, from: &str, to: &str) -> String {
    let passage = from.strip_suffix('…').unwrap_or(from);
    assert_eq!(text.matches(passage).count(), 1, "{passage:?} is in the text exactly once");
    let (before, after) = text.split_once(passage).expect("it is there");
    let after = if from.ends_with('…') { "" } else { after };
    format!("{before}{to}{after}")
}
