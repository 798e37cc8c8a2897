//! Every example gives its `injected.yaml`, byte for byte, and back, and its `policy.yaml`. `UPDATE=1` rewrites the files; read the
//! difference.

use std::{fs, path::PathBuf};

use crate::logsidecar::run;

fn examples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut cases: Vec<_> = fs::read_dir(folder).expect("examples").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

#[test]
fn every_example_gives_its_golden_file_and_back() {
    let cases = examples();
    assert!(cases.len() >= 9, "only {} examples", cases.len());
    for case in cases {
        let file = |name: &str| case.join(name).display().to_string();
        let read = |name: &str| fs::read_to_string(case.join(name)).expect("a file of the example");
        let injected = run(&["inject", "-f", &file("logsidecar.yaml"), "-f", &file("workload.yaml")], b"");
        assert_eq!(injected.code, Some(0), "{}: {}", case.display(), injected.stderr);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(case.join("injected.yaml"), &injected.stdout).expect("written");
        }
        assert_eq!(injected.stdout, read("injected.yaml"), "{}", case.display());
        let policy = run(&["policy", "--offline", "-f", &file("logsidecar.yaml")], b"");
        assert_eq!(policy.code, Some(0), "{}: {}", case.display(), policy.stderr);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(case.join("policy.yaml"), &policy.stdout).expect("written");
        }
        assert_eq!(policy.stdout, read("policy.yaml"), "{}", case.display());
        let again = run(&["inject", "-f", &file("logsidecar.yaml"), "-f", &file("injected.yaml")], b"");
        assert_eq!(again.stdout, injected.stdout, "{}: injected twice", case.display());
        let back = run(&["uninject", "-f", &file("injected.yaml")], b"");
        assert_eq!(back.stdout, read("workload.yaml"), "{}: taken out again", case.display());
    }
}
