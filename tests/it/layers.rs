//! The pure half stays pure: what plans, renders and judges knows no client, clock, I/O or logging, and nothing of the parts
//! that do.

use std::{fs, path::Path};

/// Modules (a file and the folder of its name) that must be pure.
const PURE: [&str; 13] = [
    "api",
    "workload",
    "manifest",
    "merge",
    "plan",
    "policy",
    "preflight",
    "quantity",
    "report",
    "rollout",
    "shipper",
    "status",
    "validate",
];

/// What gives a module access to the world.
const FORBIDDEN: [&str; 26] = [
    "kube::Client",
    "kube::Api",
    "kube::client",
    "kube::api::",
    "kube::runtime",
    "kube::Config",
    "Client::",
    "tokio",
    "futures",
    "axum",
    "tracing",
    "std::fs",
    "std::io",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
    "Instant::",
    "SystemTime",
    "Timestamp::now",
    "println!",
    "print!(",
    "async fn",
    "crate::controller",
    "crate::cli",
];

fn sources(path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| sources(entry, found));
    } else if path.extension().is_some_and(|end| end == "rs") {
        found.push((path.display().to_string(), fs::read_to_string(path).expect("a source")));
    }
}

/// The forbidden words in code; comments may speak of anything.
fn offences(name: &str, source: &str) -> Vec<String> {
    let lines = source.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|(number, line)| {
            let found = FORBIDDEN.iter().filter(move |word| line.contains(**word));
            found.map(move |word| format!("{name}:{}: {word}", number + 1))
        })
        .collect()
}

#[test]
fn the_pure_half_does_no_io() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for module in PURE {
        let before = found.len();
        sources(&src.join(format!("{module}.rs")), &mut found);
        assert_eq!(found.len(), before + 1, "src/{module}.rs is missing: has it moved?");
        if src.join(module).is_dir() {
            sources(&src.join(module), &mut found);
        }
    }
    let offences: Vec<String> = found.iter().flat_map(|(name, source)| offences(name, source)).collect();
    assert_eq!(offences, Vec::<String>::new());
}

#[test]
fn an_offence_would_be_seen() {
    assert_eq!(offences("x.rs", "// tokio\nuse std::fs;\n"), ["x.rs:2: std::fs"]);
}
