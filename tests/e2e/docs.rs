//! What the documentation tells people to paste, pasted.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    blocks::blocks,
    cluster::{left_out, try_kubectl},
    process,
};

/// The shell blocks of a page, after a text of it if one is given.
pub fn shell(page: &str, after: Option<&str>) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect(page);
    let text = after.map_or(text.as_str(), |after| text.split_once(after).expect("the text").1);
    blocks(text).into_iter().filter(|(language, _)| *language == "sh").map(|(_, text)| text).collect()
}

/// Runs it as one script, from the top of the repository: what it prints on standard output.
pub fn paste(script: &str, kubeconfig: Option<&Path>) -> String {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_logsidecar"));
    let own = program.parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command
        .args(["-exuo", "pipefail", "-c", script])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", format!("{own}:{path}"));
    command.envs(kubeconfig.map(|file| ("KUBECONFIG", file)));
    let output = process::run(&mut command, b"").expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}

#[test]
fn the_tutorial_works_from_the_first_line_to_the_last() {
    if std::env::var("LOGSIDECAR_IMAGES").is_ok_and(|images| !images.contains("otelcol")) {
        left_out("the tutorial", "no image of the collector can be had here");
        return;
    }
    // Of a run that was broken off.
    drop(try_kubectl(&["delete", "namespace", "tutorial", "--ignore-not-found", "--timeout=180s"], ""));
    let told = paste(&shell("docs/tutorial.md", None).concat(), None);
    for said in ["Plan: 1 would change", "\norder ", "audit of order", "RolledBack", "Body: Str("] {
        assert!(told.contains(said), "{said} is missing: {told}");
    }
}
