//! `logsidecar render`: the native config of a shipper.

use std::process::ExitCode;

use clap::Args;

use super::{
    exit::Failure,
    files::FileArguments,
    input::Input,
    stdio::{print, warn},
};
use crate::{options::ImageOptions, shipper::Images};

/// What `--help` prints below the options.
pub(super) const HELP: &str =
    "Example:\n  logsidecar render -f logsidecar.yaml > fluent-bit.yaml && fluent-bit --dry-run -c fluent-bit.yaml";

/// The arguments of `logsidecar render`.
#[derive(Args, Debug)]
pub(super) struct RenderArguments {
    #[command(flatten)]
    files: FileArguments,
    #[command(flatten)]
    images: ImageOptions,
    /// The LogSidecar whose config is printed. Default: all, each after a comment with its name.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Prints the configs, byte for byte what the sidecars read.
pub(super) fn run(arguments: &RenderArguments) -> Result<ExitCode, Failure> {
    let RenderArguments { files, images, name } = arguments;
    print(&render(&Input::read(files)?, &images.clone().into(), name.as_deref())?)?;
    Ok(ExitCode::SUCCESS)
}

fn render(input: &Input, images: &Images, wanted: Option<&str>) -> Result<String, Failure> {
    let resolved = input.resolve(images);
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    let (mut problems, mut configs) = (Vec::new(), Vec::new());
    for (location, spec) in resolved.iter().filter(|(_, spec)| is_wanted(spec.name())) {
        let title = input.title(location, "");
        match (spec.refusal(), spec.config_map()) {
            (Some(refusal), _) => problems.push(format!("{title}: spec.{refusal}")),
            (None, Some(made)) => configs.push((title, &made.config)),
            (None, None) => warn(&format!("{title}: its sidecar has no config that is made here")),
        }
    }
    Failure::unless_empty(problems)?;
    if !resolved.iter().any(|(_, spec)| is_wanted(spec.name())) {
        warn("no such LogSidecar in these files: nothing to render");
    }
    match configs.as_slice() {
        [(_, only)] => Ok(only.text.clone()),
        all => Ok(all.iter().map(|(title, config)| format!("# {title}: {}\n{}\n", config.file, config.text)).collect()),
    }
}
