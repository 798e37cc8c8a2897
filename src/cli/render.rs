//! `logsidecar render`: a shipper's native config.

use clap::Args;

use super::{Failure, Files, files::Input, warn};
use crate::{options::ImageOptions, plan::ConfigMap, shipper::Images};

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
    for (place, sidecar) in &input.sidecars {
        let name = sidecar.metadata.name.as_deref().unwrap_or_default();
        if !is_wanted(name) {
            continue;
        }
        match ConfigMap::of(name, &sidecar.spec, &images) {
            Ok(Some(made)) => configs.push((input.title(place, ""), made.config)),
            Ok(None) => warn(&format!("{}: its sidecar has no config that is made here", input.title(place, ""))),
            Err(refusal) => problems.push(format!("{}: spec.{refusal}", input.title(place, ""))),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::Input(problems));
    }
    if !input.sidecars.iter().any(|(_, sidecar)| is_wanted(sidecar.metadata.name.as_deref().unwrap_or_default())) {
        warn("no such LogSidecar in these files: nothing to render");
    }
    match configs.as_slice() {
        [(_, only)] => Ok(only.text.clone()),
        all => Ok(all.iter().map(|(title, config)| format!("# {title}: {}\n{}\n", config.file, config.text)).collect()),
    }
}
