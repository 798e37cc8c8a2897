//! The command line as scripts and pipes use it: what is on stdout and stderr, exit codes, and what `inject` and `uninject`
//! do to files. The input is good here; the broken one belongs into [`crate::bad_input`].

use std::{
    fmt::{Debug, Display},
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::logsidecar::{Run, run};

const SIDECAR: &str = "apiVersion: logsidecar.dev/v1alpha1
kind: LogSidecar
metadata:
  name: ship
spec:
  target:
    name: web
  logs:
  - name: app
    directory: /var/log/app
  sidecar:
    container:
      image: busybox:1.37.0
";

/// In the format that the program prints.
const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: app
        image: nginx:1.27
";

const NO_SIDECAR: &str = "warning: no LogSidecar in these files: nothing to inject\n";

#[test]
fn help_is_data_and_shows_an_example() {
    all_equal(["run", "inject", "uninject", "validate", "plan", "explain", "status", "crd", "version", "completions", ""].map(
        |command| {
            let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
            let Run { stdout, stderr, code } = run(&arguments, b"");
            let example =
                stdout.split_once("\nExample:\n").map(|(_, example)| example.contains(&format!("logsidecar {command}")));
            (command, (example, stderr, code), (Some(true), String::new(), Some(0)))
        },
    ));
}

#[test]
fn the_example_in_the_help_of_validate_works_here() {
    let help = run(&["validate", "--help"], b"").stdout;
    let example = help.lines().find_map(|line| line.trim().strip_prefix("logsidecar ")).expect("an example");
    let Run { stdout, stderr, code } = run(&example.split(' ').collect::<Vec<_>>(), b"");
    assert_eq!((stderr.as_str(), code, stdout.is_empty()), ("", Some(0), false));
}

#[test]
fn the_version_is_data() {
    let stdout = format!("logsidecar {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        assert_eq!(run(&[flag], b""), done(&stdout, ""));
    }
}

#[test]
fn wrong_usage_is_told_on_stderr_with_code_2() {
    let table: [&[&str]; 11] = [
        &[],
        &["explode"],
        &["--explode"],
        &["inject"],
        &["inject", "-f"],
        &["inject", "-f", "-", "-n"],
        &["inject", "deployment.yaml"],
        &["uninject", "-f", "-", "--tail-image", "busybox"],
        &["validate"],
        &["crd", "-f", "-"],
        &["run", "-f", "-"],
    ];
    for arguments in table {
        let Run { stdout, stderr, code } = run(arguments, SIDECAR.as_bytes());
        assert_eq!((stdout.as_str(), code), ("", Some(2)), "{arguments:?}");
        assert!(stderr.contains("--help"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let table: [&[&str]; 6] =
        [&["inject", "-f", "-"], &["uninject", "-f", "-"], &["validate", "-f", "-"], &["crd"], &["--help"], &["--version"]];
    all_equal(table.map(|arguments| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        (arguments.join(" "), run_into(writer.into(), arguments), (String::new(), Some(0)))
    }));
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_a_failure() {
    for arguments in [&["inject", "-f", "-"][..], &["crd"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let told = "error: cannot write the output: No space left on device (os error 28)\n";
        assert_eq!(run_into(full.into(), arguments), (told.to_owned(), Some(1)), "{arguments:?}");
    }
}

#[test]
fn files_directories_and_standard_input_are_read_in_the_order_of_the_arguments() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("made");
        fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let json = "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"json\"}}\n";
    let first = write("z.yaml", &format!("{}---\n{}", map("a"), map("b")));
    write("all/2.yml", DEPLOYMENT);
    write("all/10.yaml", &map("c"));
    write("all/3.json", json);
    write("all/notes.txt", "no: [yaml");
    let last = write("sidecar", SIDECAR);
    let all = directory.path().join("all");
    let arguments = ["inject", "-f", &first, "--filename", all.to_str().expect("UTF-8"), "-f", "-", "-f", &last];
    let expected = [&map("a"), &map("b"), &map("c"), &injected(DEPLOYMENT), json, &map("d")].map(String::from).join("---\n");
    assert_eq!(run(&arguments, map("d").as_bytes()), done(&expected, ""));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    let (missing, other, empty, broken) = (path("missing.yaml"), path("other.yaml"), path("empty"), path("broken"));
    fs::create_dir(&empty).expect("made");
    fs::create_dir(&broken).expect("made");
    std::os::unix::fs::symlink("nowhere", Path::new(&broken).join("link.yaml")).expect("linked");
    let gone = "cannot read: No such file or directory (os error 2)";
    let cases = ["validate", "inject", "uninject"].map(|command| {
        let both = run(&[command, "-f", &missing, "-f", "-", "-f", &other], SIDECAR.as_bytes());
        [
            (command, both, failed(&format!("{missing}: {gone}\n{other}: {gone}"))),
            (
                command,
                run(&[command, "-f", &empty], b""),
                failed(&format!("{empty}: cannot read: the directory has no .yaml, .yml or .json file")),
            ),
            (command, run(&[command, "-f", &broken], b""), failed(&format!("{broken}/link.yaml: {gone}"))),
        ]
    });
    all_equal(cases.into_iter().flatten());
}

#[test]
fn validate_prints_a_line_for_each_object_that_it_knows() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
    let text = format!("{service}---\n{DEPLOYMENT}---\n{SIDECAR}");
    let lines = "-:16: LogSidecar prod/ship: valid\n-:5: Deployment prod/web: valid\n";
    assert_eq!(run(&["validate", "-n", "prod", "-f", "-"], text.as_bytes()), done(lines, ""));
    let warning = "warning: neither a LogSidecar nor a workload in these files\n";
    assert_eq!(run(&["validate", "-f", "-"], service.as_bytes()), done("", warning));
}

#[test]
fn a_field_without_value_is_absent_as_it_is_for_an_api_server() {
    let table = [
        ("    directory: /var/log/app\n", "    directory: /var/log/app\n    files:\n    container:\n    volume: ~\n"),
        ("spec:\n", "spec:\n  suspend:\n"),
        ("spec:\n", "spec:\n  deletionPolicy:\n"),
        ("    name: web\n", "    name: web\n    kind:\n    selector:\n"),
        ("      image", "      name:\n      image"),
    ];
    all_equal(table.map(|(from, to)| {
        let sidecar = SIDECAR.replace(from, to);
        (to, inject(&format!("{DEPLOYMENT}---\n{sidecar}")), done(&injected(DEPLOYMENT), ""))
    }));
}

#[test]
fn a_size_limit_may_be_any_quantity_that_an_api_server_takes() {
    let limits = ["512Mi", "1.5Gi", "\"1000000000\"", "1000000000", "5000000000"];
    all_equal(limits.map(|limit| {
        let volume = format!("    directory: /var/log/app\n    volume: {{emptyDir: {{sizeLimit: {limit}}}}}\n");
        let sidecar = SIDECAR.replace("    directory: /var/log/app\n", &volume);
        let Run { stdout, stderr, code } = inject(&format!("{DEPLOYMENT}---\n{sidecar}"));
        let found =
            values(&stdout).first().and_then(|object| object.pointer("/spec/template/spec/volumes/0/emptyDir")).cloned();
        let expected: Value = serde_saphyr::from_str(limit).expect("YAML");
        (limit, (found, stderr, code), (Some(json!({"sizeLimit": expected})), String::new(), Some(0)))
    }));
}

#[test]
fn plain_words_and_numbers_are_read_as_kubectl_reads_them() {
    // What `kubectl label --local` of version 1.32 makes of them.
    let words =
        "[y, N, yes, off, TRUE, ~, 0644, 0899, 0o17, 0x1F, 0b101, 1_000, 12:30, 1e3, .5, 1.0, 1.10, -0, +1, 08, 2001-01-01, =]";
    let expected = json!([
        true,
        false,
        true,
        false,
        true,
        null,
        420,
        899,
        15,
        31,
        5,
        1000,
        "12:30",
        1000,
        0.5,
        1,
        1.1,
        0,
        1,
        8,
        "2001-01-01",
        "="
    ]);
    let injected = inject(&format!("{DEPLOYMENT}words: {words}\n---\n{SIDECAR}"));
    let found = values(&injected.stdout).remove(0)["words"].take();
    let pairs = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let words = words.trim_matches(['[', ']']).split(", ");
    all_equal(
        words.zip(pairs(&found).into_iter().zip(pairs(&expected))).map(|(word, (found, expected))| (word, found, expected)),
    );
    assert_eq!(pairs(&found).len(), pairs(&expected).len());
}

#[test]
fn documents_of_other_kinds_pass_through_as_they_were_written() {
    let documents = [
        "# licence\napiVersion: v1\nkind: Service   # spaced\nmetadata: {name: web,   labels: {a: 'on'}}\n\n",
        "apiVersion: example.org/v1\nkind: Rollout\nspec: {template: [no, pod]}\nmode: 0644\n",
        "apiVersion: apps/v1beta1\nkind: Deployment # of old\nspec: 5\n",
        "# a comment, and nothing else\n",
        DEPLOYMENT,
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  script: |\n    ---- \n    --- no marker\n    \tend  \n  folded: >-\n    a\n\n    b\n",
        "{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"x\": [1.0, 1e3]}\n",
        "apiVersion: v1\r\nkind: Secret\r\nx: &a 1\r\ny: *a\r\n",
    ];
    let text = documents.join("---\n");
    assert_eq!(inject(&text), done(&text, NO_SIDECAR));
    assert_eq!(run(&["uninject", "-f", "-"], text.as_bytes()), done(&text, ""));
    assert_eq!(inject(&format!("{SIDECAR}---\n{text}")), done(&text.replace(DEPLOYMENT, &injected(DEPLOYMENT)), ""));
}

#[test]
fn what_surrounds_a_single_document_passes_through_too() {
    let table = [
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  clipped: |\n    no line break at the end of the file",
        "# licence\n%YAML 1.2\n---\napiVersion: v1\nkind: Service\n",
    ];
    all_equal(table.map(|text| (text, inject(text), done(text, NO_SIDECAR))));
}

#[test]
fn what_inject_does_not_know_of_a_workload_is_kept() {
    let text = format!(
        "# a comment\n{DEPLOYMENT}        future: {{list: [1, 2.5, null, true, []], mode: 0644}}\n      later: 1_000\n    other: {{}}\n  more: ~\nstatus: {{replicas: 3}}\n"
    );
    let before = values(&text).remove(0);
    let after = values(&inject(&format!("{text}---\n{SIDECAR}")).stdout).remove(0);
    let kept = |object: &Value| {
        [
            "/spec/template/spec/containers/0/future",
            "/spec/template/spec/later",
            "/spec/template/other",
            "/spec/more",
            "/status",
        ]
        .map(|pointer| object.pointer(pointer).cloned())
    };
    assert_eq!(kept(&after), kept(&before));
    assert_eq!(kept(&after)[0], Some(json!({"list": [1, 2.5, null, true, []], "mode": 420})));
}

#[test]
fn in_a_list_the_workloads_are_changed_and_the_logsidecars_left_out() {
    let item = |text: &str| format!("- {}", text.trim_end().replace('\n', "\n  ")) + "\n";
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
    let second = SIDECAR.replace("name: ship", "name: other").replace("/var/log/app", "/data");
    let items = [SIDECAR, service, DEPLOYMENT, &second, service].map(item).concat();
    let list = format!("apiVersion: v1\nkind: List\nmetadata: {{resourceVersion: \"\"}}\nitems:\n{items}");
    let both = inject(&format!("{DEPLOYMENT}---\n{SIDECAR}---\n{second}"));
    let Run { stdout, stderr, code } = inject(&list);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}});
    let items = json!([service, values(&both.stdout)[0], service]);
    let expected = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items});
    assert_eq!((values(&stdout), stderr.as_str(), code), (vec![expected], "", Some(0)));
    let clean = values(&run(&["uninject", "-f", "-"], stdout.as_bytes()).stdout);
    assert_eq!(clean[0]["items"], json!([service, values(DEPLOYMENT)[0], service]));
}

#[test]
fn every_kind_with_a_pod_template_is_injected_and_cleaned() {
    let table = [
        ("Pod", "v1", ""),
        ("PodTemplate", "v1", "template"),
        ("ReplicationController", "v1", "spec template"),
        ("Deployment", "apps/v1", "spec template"),
        ("StatefulSet", "apps/v1", "spec template"),
        ("DaemonSet", "apps/v1", "spec template"),
        ("ReplicaSet", "apps/v1", "spec template"),
        ("Job", "batch/v1", "spec template"),
        ("CronJob", "batch/v1", "spec jobTemplate spec template"),
    ];
    assert_eq!(table.len(), logsidecar::workload::kind::Kind::BUILT_IN.len());
    let mount = json!([{"name": "logs-app-var-log-app", "mountPath": "/var/log/app"}]);
    let expected = json!({
        "containers": [
            {"name": "app", "image": "nginx:1.27", "volumeMounts": mount},
            {"name": "ship", "image": "busybox:1.37.0", "volumeMounts": mount},
        ],
        "volumes": [{"name": "logs-app-var-log-app", "emptyDir": {}}],
    });
    for (kind, version, path) in table {
        let pod = json!({"spec": {"containers": [{"name": "app", "image": "nginx:1.27"}]}});
        let mut object = path.split_whitespace().rev().fold(pod, |inner, step| json!({step: inner}));
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({"name": "web", "labels": {"app": "web"}});
        let sidecar = SIDECAR.replace("    name: web", &format!("    name: web\n    kind: {kind}"));
        let Run { stdout, stderr, code } = inject(&format!("{object}\n---\n{sidecar}"));
        let is_job = matches!(kind, "Job" | "CronJob");
        assert_eq!((stderr.contains("the Job never completes"), code), (is_job, Some(0)), "{kind}: {stderr}");
        let found = values(&stdout).remove(0);
        let spec = path.split_whitespace().fold(&found, |object, step| &object[step]).get("spec");
        assert_eq!(spec, Some(&expected), "{kind}");
        let clean = run(&["uninject", "-f", "-"], stdout.as_bytes());
        assert_eq!((values(&clean.stdout), clean.stderr.as_str()), (vec![object], ""), "{kind}");
    }
}

/// Deployments in the format that the program prints, with everything that is hard to put back as it was.
fn awkward() -> Vec<String> {
    let containers = "      containers:\n";
    let container = "      - name: app\n";
    let metadata = "  name: web\n";
    let after = |anchor: &str, text: &str| DEPLOYMENT.replace(anchor, &format!("{anchor}{text}"));
    let before = |anchor: &str, text: &str| DEPLOYMENT.replace(anchor, &format!("{text}{anchor}"));
    let mount = "        volumeMounts:\n        - name: data\n          mountPath: /data\n";
    let volume = "      volumes:\n      - name: data\n        emptyDir: {}\n";
    vec![
        DEPLOYMENT.to_owned(),
        after(metadata, "  annotations: {}\n"),
        after(metadata, "  annotations: null\n"),
        after(metadata, "  annotations:\n    team: a\n  labels:\n    app: web\n"),
        before(metadata, "  annotations: {}\n"),
        format!("{DEPLOYMENT}      volumes: []\n"),
        format!("{DEPLOYMENT}      volumes: null\n      initContainers: null\n"),
        format!("{DEPLOYMENT}      initContainers: []\n"),
        before(containers, "      initContainers: null\n      volumes: []\n"),
        format!("{DEPLOYMENT}        volumeMounts: []\n        env: []\n"),
        after(container, "        volumeMounts: null\n"),
        format!("{DEPLOYMENT}{mount}{volume}"),
        before(containers, volume).replace("        image", &format!("{mount}        image")),
        format!("{DEPLOYMENT}{mount}{volume}").replace("/data", "/var/log"),
        format!("{DEPLOYMENT}      initContainers:\n      - name: first\n        image: busybox:1.37.0\n{volume}"),
    ]
}

#[test]
fn uninject_gives_back_every_byte_and_inject_twice_is_inject_once() {
    let tail = SIDECAR.replace("    container:\n      image: busybox:1.37.0\n", "    tail: {}\n");
    let both = format!("{SIDECAR}---\n{}", tail.replace("name: ship", "name: tail").replace("/var/log/app", "/other"));
    let sidecars = [SIDECAR, &tail, &both];
    all_equal(awkward().into_iter().flat_map(|text| {
        sidecars.map(|sidecars| {
            let once = inject(&format!("{text}---\n{sidecars}"));
            assert_eq!((once.code, once.stdout == text), (Some(0), false), "{text}{}", once.stderr);
            let twice = inject(&format!("{}---\n{sidecars}", once.stdout));
            assert_eq!(twice, once);
            (sidecars, run(&["uninject", "-f", "-"], once.stdout.as_bytes()), done(&text, ""))
        })
    }));
}

#[test]
fn uninject_gives_back_the_values_of_what_was_written_in_another_style() {
    let table = [
        values(DEPLOYMENT)[0].to_string(),
        DEPLOYMENT.replace("name: web", "name: 'web' # the shop\n  annotations: # none\n"),
        format!("%YAML 1.1\n---\n{DEPLOYMENT}      volumes: [ ]\n      hostNetwork: off\n      priority: 0644\n"),
        format!("{DEPLOYMENT}        resources: &small {{limits: {{cpu: .5, memory: 1Gi}}}}\n      x: {{<<: *small, z: 1}}\n"),
        DEPLOYMENT.replace('\n', "\r\n"),
    ];
    for text in table {
        let injected = inject(&format!("{text}\n---\n{SIDECAR}"));
        assert_eq!((injected.stderr.as_str(), injected.code), ("", Some(0)), "{text}");
        let back = run(&["uninject", "-f", "-"], injected.stdout.as_bytes());
        assert_eq!((values(&back.stdout), back.stderr.as_str()), (values(&text), ""), "{text}");
    }
}

#[test]
fn strings_survive_as_the_strings_that_they_are() {
    let strings = [
        "",
        " ",
        "on",
        "Off",
        "y",
        "no",
        "true",
        "null",
        "~",
        "0644",
        "0o17",
        "0x1F",
        "12:30",
        "1e3",
        ".5",
        "1_000",
        "+1",
        ".inf",
        ".NaN",
        "2001-01-01",
        "=",
        "<<",
        "-",
        "- a",
        "a: b",
        "a #b",
        "# a",
        "@a",
        "`a`",
        "%a",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
        "'",
        "\"",
        "\\",
        "{}",
        "[]",
        ",",
        "?",
        "---",
        "...",
        "a\tb",
        " a ",
        "\n",
        "a\n",
        "a\n\n",
        "\n  a",
        "a\r\nb",
        "\u{7}\u{1b}[0m",
        "\u{feff}",
        "\u{85}\u{2028}",
        "😀",
        "#!/bin/sh\nset -eu\nif true; then\n\techo \"a: $A\"   \n\n  exec tail -f *.log\nfi\n",
    ];
    let long = "word ".repeat(100);
    let strings: Vec<&str> = strings.into_iter().chain([long.as_str()]).collect();
    let env: Vec<Value> = strings.iter().enumerate().map(|(n, text)| json!({"name": format!("E{n}"), "value": text})).collect();
    let mut deployment = values(DEPLOYMENT).remove(0);
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = env.clone().into();
    deployment["metadata"]["annotations"] = strings.iter().map(|text| (format!("k{text}"), json!(text))).collect();
    let injected = inject(&format!("{deployment}\n---\n{SIDECAR}"));
    assert_eq!((injected.stderr.as_str(), injected.code), ("", Some(0)));
    let found = values(&injected.stdout).remove(0);
    assert_eq!(found["spec"]["template"]["spec"]["containers"][0]["env"], Value::from(env));
    let back = run(&["uninject", "-f", "-"], injected.stdout.as_bytes());
    assert_eq!(values(&back.stdout), [deployment]);
}

#[test]
fn a_logsidecar_matches_in_its_own_namespace_only() {
    let none = "warning: -:LINE: LogSidecar NAMESPACE/ship matches no workload in these files\n";
    let table: [(&str, &str, &[&str], Option<&str>); 9] = [
        ("", "", &[], None),
        ("", "", &["-n", "prod"], None),
        ("prod", "prod", &[], None),
        ("prod", "", &["-n", "prod"], None),
        ("", "prod", &["--namespace", "prod"], None),
        ("", "default", &[], None),
        ("", "\"\"", &[], None),
        ("prod", "", &[], Some("default")),
        ("", "prod", &["-n", "test"], Some("prod")),
    ];
    all_equal(table.map(|(workload, sidecar, arguments, unmatched)| {
        let namespaced = |text: &str, namespace: &str| match namespace {
            "" => text.to_owned(),
            namespace => text.replacen("metadata:\n", &format!("metadata:\n  namespace: {namespace}\n"), 1),
        };
        let deployment = namespaced(DEPLOYMENT, workload);
        let text = format!("{deployment}---\n{}", namespaced(SIDECAR, sidecar));
        let found = run(&[&["inject", "-f", "-"], arguments].concat(), text.as_bytes());
        let expected = match unmatched {
            None => done(&namespaced(&injected(DEPLOYMENT), workload), ""),
            Some(namespace) => {
                let line = (deployment.lines().count() + 2).to_string();
                done(&deployment, &none.replace("LINE", &line).replace("NAMESPACE", namespace))
            }
        };
        (format!("workload in {workload:?}, LogSidecar in {sidecar:?}, {arguments:?}"), found, expected)
    }));
}

#[test]
fn a_logsidecar_that_matches_nothing_is_told_and_changes_nothing() {
    let table = [
        ("name: web", "name: shop"),
        ("name: web", "name: web\n    kind: StatefulSet"),
        ("name: web", "selector: {matchLabels: {app: web}}"),
    ];
    for (from, to) in table {
        let text = format!("{}---\n# kept\n{DEPLOYMENT}", SIDECAR.replace(from, to));
        let warning = "warning: -:1: LogSidecar default/ship matches no workload in these files\n";
        assert_eq!(inject(&text), done(&format!("# kept\n{DEPLOYMENT}"), warning), "{to}");
    }
}

#[test]
fn a_plan_that_is_refused_prints_nothing_and_says_what_to_do() {
    let two = "        image: nginx:1.27\n      - name: ship\n        image: busybox:1.37.0\n";
    let mounted = |volume: &str, mount: &str| {
        format!(
            "        image: nginx:1.27\n        volumeMounts:\n        - name: data\n          mountPath: {mount}\n      volumes:\n      - name: data\n        {volume}\n"
        )
    };
    let writable = |mount: &str| mounted("emptyDir: {}", mount);
    let one = || "        image: nginx:1.27\n".to_owned();
    let table: [(String, &str, &str); 11] = [
        (
            one(),
            "container: nginx",
            "ContainerNotFound: the pod has no container nginx: write one of app in logs[app].container",
        ),
        (
            two.replace("ship", "second"),
            "",
            "ContainerAmbiguous: the pod has several containers: write one of app, second in logs[app].container",
        ),
        (
            two.to_owned(),
            "container: app",
            "ContainerNameTaken: the pod already has a container ship: write another sidecar.container.name",
        ),
        (
            writable("/data"),
            "volume: {name: data, emptyDir: {medium: Memory}}",
            "VolumeNameTaken: the pod already has another volume data: set logs[app].volume.name, or volume.existing to use that one",
        ),
        (
            one(),
            "volume: {existing: {name: data}}",
            "VolumeNotFound: the pod has no volume data: correct logs[app].volume.existing, or leave it out",
        ),
        (
            writable("/var/log\n          readOnly: true"),
            "",
            "VolumeReadOnly: container app mounts volume data at /var/log, which it cannot write to: name another directory in logs[app].directory",
        ),
        (
            mounted("configMap: {name: data}", "/var/log/app"),
            "",
            "VolumeReadOnly: container app mounts volume data at /var/log/app, which it cannot write to: name another directory in logs[app].directory",
        ),
        (
            mounted("secret: {secretName: data}", "/data"),
            "volume: {existing: {name: data}}",
            "VolumeReadOnly: volume data cannot be written to: name another one in logs[app].volume.existing",
        ),
        (
            writable("/var/log"),
            "volume: {persistentVolumeClaim: {claimName: logs}}",
            "DirectoryMounted: container app already mounts volume data at /var/log, and mounting another over it would hide its files: leave logs[app].volume out to use that volume",
        ),
        (
            writable("/var/log/app\n          subPathExpr: $(POD)"),
            "",
            "EnvNotFound: the mount of container app uses $(POD), which is not in its env: add it there, so that the sidecar can be given the same",
        ),
        (
            one(),
            "sidecarDirectory: /logs\n  - {name: b, directory: /b, sidecarDirectory: /logs}",
            "MountPathTaken: two entries of logs would be seen at one path of the sidecar: write another logs[b].sidecarDirectory",
        ),
    ];
    all_equal(table.map(|(container, log, told)| {
        let deployment = DEPLOYMENT.replace("        image: nginx:1.27\n", &container);
        let sidecar = SIDECAR.replace("directory: /var/log/app\n", &format!("directory: /var/log/app\n    {log}\n"));
        // The second one could be served.
        let other = DEPLOYMENT.replace("name: web", "name: other\n  labels: {app: other}");
        let text = format!("{deployment}---\n{other}---\n{sidecar}");
        (text.clone(), inject(&text), failed(&format!("-:6: Deployment default/web: LogSidecar ship: {told}")))
    }));
}

#[test]
fn every_plan_that_is_refused_is_told() {
    let sidecar = SIDECAR
        .replace("name: web", "selector: {matchExpressions: [{key: x, operator: DoesNotExist}]}")
        .replace("    directory", "    container: nginx\n    directory");
    let text = format!("{DEPLOYMENT}---\n{}---\n{sidecar}", DEPLOYMENT.replace("name: web", "name: shop"));
    let told = "LogSidecar ship: ContainerNotFound: the pod has no container nginx: write one of app in logs[app].container";
    let expected = failed(&format!("-:6: Deployment default/web: {told}\n-:17: Deployment default/shop: {told}"));
    assert_eq!(inject(&text), expected);
}

fn inject(text: &str) -> Run {
    run(&["inject", "-f", "-"], text.as_bytes())
}

/// What the plainest use of [`SIDECAR`] makes of a workload.
fn injected(workload: &str) -> String {
    let Run { stdout, stderr, code } = inject(&format!("{workload}---\n{SIDECAR}"));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    stdout
}

fn values(text: &str) -> Vec<Value> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_multiple_with_options(text, options).expect("YAML")
}

fn done(stdout: &str, stderr: &str) -> Run {
    Run { stdout: stdout.to_owned(), stderr: stderr.to_owned(), code: Some(0) }
}

fn failed(told: &str) -> Run {
    Run { stdout: String::new(), stderr: format!("error: {told}\n"), code: Some(1) }
}

/// Compares all cases, each with what to call it, before it fails for any.
fn all_equal<T: Debug + PartialEq>(cases: impl IntoIterator<Item = (impl Display, T, T)>) {
    let wrong: Vec<String> = cases
        .into_iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(case, found, expected)| format!("{case}\nfound    {found:?}\nexpected {expected:?}\n"))
        .collect();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs with another standard output; gives standard error and the exit code.
fn run_into(stdout: Stdio, arguments: &[&str]) -> (String, Option<i32>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logsidecar"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts");
    // Some commands read nothing, and may have ended.
    drop(child.stdin.take().expect("piped").write_all(format!("{DEPLOYMENT}---\n{SIDECAR}").as_bytes()));
    let output = child.wait_with_output().expect("the executable ends");
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code())
}
