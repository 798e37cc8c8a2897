//! Manifests from files, directories and standard input.

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use clap::Args;

use super::exit::Failure;
use crate::{
    manifest::{self, Document},
    options::KindOptions,
};

/// Where manifests come from.
#[derive(Args, Debug)]
pub(super) struct FileArguments {
    /// A file, a directory (its .yaml, .yml and .json files), or - for standard input. May be given several times.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE")]
    pub filenames: Vec<String>,
    /// The namespace of objects that do not name one.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    #[command(flatten)]
    pub kinds: KindOptions,
}

/// Reads the documents of all files. The failure lists every file that cannot be read.
pub(super) fn read(filenames: &[String]) -> Result<Vec<Document>, Failure> {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for filename in filenames {
        match paths(filename) {
            Ok(paths) => paths.iter().for_each(|path| match read_file(path) {
                Ok(read) => documents.extend(read),
                Err(problem) => problems.push(problem),
            }),
            Err(error) => problems.push(format!("{filename}: cannot read: {error}")),
        }
    }
    Failure::unless_empty(problems)?;
    Ok(documents)
}

fn read_file(path: &str) -> Result<Vec<Document>, String> {
    let bytes = contents(path).map_err(|error| format!("{path}: cannot read: {error}"))?;
    manifest::read(path, &bytes).map_err(|error| error.to_string())
}

/// Returns the manifests that a name stands for: itself, or those in the directory of that name.
fn paths(filename: &str) -> io::Result<Vec<String>> {
    if filename == "-" || !Path::new(filename).is_dir() {
        return Ok(vec![filename.to_owned()]);
    }
    let mut files: Vec<_> = fs::read_dir(filename)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json"));
    files.sort();
    if files.is_empty() {
        return Err(io::Error::other("the directory has no .yaml, .yml or .json file"));
    }
    Ok(files.into_iter().map(|path| path.display().to_string()).collect())
}

fn contents(path: &str) -> io::Result<Vec<u8>> {
    if path == "-" { limited(io::stdin().lock()) } else { limited(fs::File::open(path)?) }
}

/// Reads one byte more than the limit at most: enough to see that it is exceeded.
fn limited(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(manifest::LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
