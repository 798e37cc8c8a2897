//! What the documentation says exists, and what exists is in it: commands, options, objects, reasons, links.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ::logsidecar::api::Reason;

use crate::{blocks::blocks, contract::root, logsidecar::run};

/// Options of other programs that the text names on their own: Helm's.
const OF_OTHERS: [&str; 1] = ["--set"];

/// The pages, each with its path from the top of the repository.
fn pages() -> Vec<(String, String)> {
    let root = root();
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/reference"] {
        let entries = fs::read_dir(root.join(folder)).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    files.sort();
    let name = |path: &PathBuf| path.strip_prefix(root).expect("below").display().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).expect("a page"))).collect()
}

/// What stands between backticks outside of blocks.
fn code(page: &str) -> Vec<&str> {
    let outside = page.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// The commands of our program in a line, without what a shell does with their output.
fn ours(line: &str) -> Vec<Vec<String>> {
    let line = if line.contains("<(") { line.replace("<(", ";").replace(')', "") } else { line.to_owned() };
    let line = line.replace(';', " ; ");
    // Of a text over several lines the beginning is enough.
    let words = shlex::split(&line).unwrap_or_else(|| line.split_whitespace().map(str::to_owned).collect());
    let parts = words.split(|word| ["|", "&&", "||", ";", "&", ">", "<", "]"].contains(&word.as_str()));
    let commands = parts.filter_map(|part| {
        let at = part.iter().position(|word| !word.contains('=') || word.starts_with('-'))?;
        let part = &part[at..];
        let part = if part[0] == "kubectl" && part.get(1).is_some_and(|word| word == "logsidecar") { &part[1..] } else { part };
        (part[0] == "logsidecar" && part.len() > 1).then(|| part.to_vec())
    });
    commands.collect()
}

fn parses(command: &[String]) -> Result<(), String> {
    let all = ::logsidecar::cli::command();
    // Prose calls a command by its name.
    if let [_, name] = command
        && all.find_subcommand(name).is_some()
    {
        return Ok(());
    }
    match all.try_get_matches_from(command) {
        Err(error) if error.use_stderr() => Err(error.to_string()),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[test]
fn every_command_in_the_docs_is_understood() {
    let mut wrong = Vec::new();
    let mut count = 0;
    // The reference is made of the commands themselves.
    for (name, page) in pages().into_iter().filter(|(name, _)| !name.starts_with("docs/reference")) {
        let mut lines: Vec<String> = Vec::new();
        for (language, text) in blocks(&page) {
            let text = text.replace("\\\n", " ");
            match language {
                "sh" => lines.extend(text.lines().map(str::to_owned)),
                "console" => lines.extend(text.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned)),
                _ => {}
            }
        }
        // In prose, what may be left out is in brackets.
        lines.extend(code(&page).iter().map(|code| code.replace(['[', ']'], "").replace('\n', " ")));
        for command in lines.iter().flat_map(|line| ours(line)) {
            count += 1;
            wrong.extend(parses(&command).err().map(|error| format!("{name}: {}: {error}", command.join(" "))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 30, "only {count} commands were found");
}

/// What holds for an argument of any command.
fn arguments(command: &clap::Command, of: fn(&clap::Arg) -> Option<String>) -> BTreeSet<String> {
    let below = command.get_subcommands().flat_map(|below| arguments(below, of));
    command.get_arguments().filter_map(of).chain(below).collect()
}

/// An option that the text names on its own is ours, unless it is said here whose it is. (That every option of ours is in the docs
/// is the reference's business, which is made of them.)
#[test]
fn every_option_in_the_docs_exists() {
    let mut known = arguments(&::logsidecar::cli::command(), |argument| argument.get_long().map(|name| format!("--{name}")));
    known.extend(["--help", "--version"].into_iter().chain(OF_OTHERS).map(str::to_owned));
    let mut wrong = Vec::new();
    for (name, page) in pages() {
        for code in code(&page).into_iter().filter(|code| code.starts_with("--")) {
            let option = code.split(['=', ' ', '\n']).next().unwrap_or_default();
            wrong.extend((!known.contains(option)).then(|| format!("{name}: {code}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Objects in shell commands between `<<'EOF'` and `EOF`.
fn here_documents(text: &str) -> Vec<String> {
    let parts = text.split("<<'EOF'").skip(1);
    parts.filter_map(|part| Some(part.split_once('\n')?.1.split("\nEOF").next()?.to_owned())).collect()
}

#[test]
fn every_log_sidecar_in_the_docs_is_valid() {
    let mut count = 0;
    for (name, page) in pages() {
        let blocks = blocks(&page);
        let yaml = blocks.iter().filter(|(language, _)| *language == "yaml").map(|(_, text)| text.clone());
        let within = blocks.iter().filter(|(language, _)| *language == "sh").flat_map(|(_, text)| here_documents(text));
        for text in yaml.chain(within).filter(|text| text.lines().any(|line| line == "kind: LogSidecar")) {
            count += 1;
            let run = run(&["validate", "-f", "-"], text.as_bytes());
            assert_eq!(run.code, Some(0), "{name}: {}\n{text}", run.stderr);
        }
    }
    assert!(count > 10, "only {count} objects were found");
}

/// As GitHub makes one of a heading.
pub fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || ['-', '_', ' '].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_in_the_docs_leads_somewhere() {
    let root = root();
    let pages = pages();
    let mut wrong = Vec::new();
    for (name, page) in &pages {
        let folder = Path::new(name).parent().expect("a folder");
        let outside: String = page.split("```").step_by(2).collect();
        let text: String = outside.split('`').step_by(2).collect();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("https://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { root.join(name) } else { root.join(folder).join(file) };
            let there = path.canonicalize().ok().filter(|_| {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let mut headings =
                    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#')));
                fragment.is_empty() || headings.any(|heading| heading == fragment)
            });
            wrong.extend(there.is_none().then(|| format!("{name}: {target}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_variable_in_the_docs_is_read_by_something() {
    let known = arguments(&::logsidecar::cli::command(), |argument| Some(argument.get_env()?.to_str()?.to_owned()));
    let mut count = 0;
    for (name, page) in pages() {
        let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| {
            word.strip_prefix("LOGSIDECAR_").is_some_and(|rest| rest.ends_with("_IMAGE") || rest.ends_with("KINDS"))
        }) {
            assert!(known.contains(word), "{name}: {word}");
            count += 1;
        }
    }
    assert!(count > 2, "only {count} variables were found");
}

/// Of the page about them, in both directions; the first column of its tables and its headings name them.
#[test]
fn every_reason_is_explained_and_no_other() {
    let reasons: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the page");
    let page = page.split("\n## Reasons").nth(1).expect("a chapter about reasons").split("\n## ").next().unwrap_or_default();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let explained: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split('`')).filter(|word| word.starts_with(char::is_uppercase)).collect();
    assert_eq!(explained, reasons);
}
