//! `logsidecar render`: a shipper's native config.

use clap::Args;

use super::{Failure, Files, files::Input, warn};
use crate::{options::ImageOptions, shipper::Images};

#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    images: ImageOptions,
    /// The LogSidecar whose config is printed. Default: all, each after a comment with its name.
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// The configs, byte for byte what the sidecars read.
pub(super) fn render(options: &Options) -> Result<String, Failure> {
    let input = Input::read(&options.files)?;
    let images = Images::from(options.images.clone());
    let (mut problems, mut configs) = (Vec::new(), Vec::new());
    let is_wanted = |name: &str| options.name.as_ref().is_none_or(|wanted| wanted == name);
    let resolved = input.resolve(&images);
    for (place, spec) in resolved.iter().filter(|(_, spec)| is_wanted(spec.name())) {
        match (spec.refusal(), spec.config_map()) {
            (Some(refusal), _) => problems.push(format!("{}: spec.{refusal}", input.title(place, ""))),
            (None, Some(made)) => configs.push((input.title(place, ""), &made.config)),
            (None, None) => warn(&format!("{}: its sidecar has no config that is made here", input.title(place, ""))),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Input(problems));
    }
    if !resolved.iter().any(|(_, spec)| is_wanted(spec.name())) {
        warn("no such LogSidecar in these files: nothing to render");
    }
    match configs.as_slice() {
        [(_, only)] => Ok(only.text.clone()),
        all => Ok(all.iter().map(|(title, config)| format!("# {title}: {}\n{}\n", config.file, config.text)).collect()),
    }
}
