//! A spec with everything that follows from it, computed once and not for every plan of every workload.

use serde_json::json;

use super::{
    ConfigMap, Refusal,
    config::refusal,
    target::{TargetMatcher, WorkloadLabels},
};
use crate::{
    api::{ConfigMapKey, LogSidecarSpec, Reason},
    shipper::{
        Images, Shipper,
        engine::{self, Parts},
    },
    workload::normal::fingerprint,
};

/// A spec with everything that follows from it and from the configured images: computed once, when the `LogSidecar` is observed.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedSpec {
    name: String,
    spec: LogSidecarSpec,
    revision: String,
    target: TargetMatcher,
    rendered: Result<Rendered, Refusal>,
}

/// What the shipper of a spec needs in every pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rendered {
    /// A container of the author's own: no shipper.
    Own,
    /// The parts of a shipper, and the ConfigMap with its config if one is made here.
    Shipper(Box<Parts>, Option<ConfigMap>),
}

impl ResolvedSpec {
    /// Resolves the spec of the `LogSidecar` of that name.
    ///
    /// Never fails: a shipper that cannot be rendered is kept as a refusal, which planning reports for each workload.
    #[must_use]
    pub fn new(name: &str, spec: LogSidecarSpec, images: &Images) -> Self {
        Self {
            name: name.to_owned(),
            revision: revision(&spec, images),
            target: TargetMatcher::new(&spec.target),
            rendered: render(name, &spec, images),
            spec,
        }
    }

    /// The name of the `LogSidecar`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The spec as it is written.
    #[must_use]
    pub const fn spec(&self) -> &LogSidecarSpec {
        &self.spec
    }

    /// A hash of everything in the spec and in the configured images that decides what is put into templates. What else a spec says
    /// (its target, its rollout) makes no new revision.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The ConfigMap with the shipper's config, if the sidecar mounts one that is made here.
    #[must_use]
    pub fn config_map(&self) -> Option<&ConfigMap> {
        match &self.rendered {
            Ok(Rendered::Shipper(_, config)) => config.as_ref(),
            Ok(Rendered::Own) | Err(_) => None,
        }
    }

    /// Why the shipper cannot be rendered.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.rendered.as_ref().err()
    }

    /// The author's own ConfigMap with the config, if the spec names one.
    #[must_use]
    pub fn config_reference(&self) -> Option<&ConfigMapKey> {
        Shipper::of(&self.spec)?.engine()?.config_map_ref.as_ref()
    }

    /// Refuses the content of the author's own ConfigMap if the shipper could not start with it.
    pub fn judge_config(&self, text: &str) -> Result<(), Refusal> {
        let (Some(shipper), Some(reference)) = (Shipper::of(&self.spec), self.config_reference()) else { return Ok(()) };
        engine::judge(shipper, &self.spec, text)
            .map_err(|error| self.refuse_config(&format!("ConfigMap {}: {error}", reference.name)))
    }

    /// The refusal for a problem with the author's own ConfigMap: it names the field that refers to it.
    #[must_use]
    pub fn refuse_config(&self, problem: &str) -> Refusal {
        let shipper = Shipper::of(&self.spec).map(Shipper::field).unwrap_or_default();
        Refusal::new(Reason::ConfigInvalid, format!("sidecar.{shipper}.configMapRef: {problem}"))
    }

    /// Returns whether the spec is for that workload.
    #[must_use]
    pub fn matches(&self, workload: WorkloadLabels<'_>) -> bool {
        self.target.matches(workload)
    }

    pub(super) fn rendered(&self) -> Result<&Rendered, Refusal> {
        self.rendered.as_ref().map_err(Clone::clone)
    }
}

fn revision(spec: &LogSidecarSpec, images: &Images) -> String {
    // Only the image that is used: a new default for one shipper changes nothing for the users of another.
    let image = Shipper::of(spec).map(|shipper| shipper.image(spec, images));
    let mut decisive = vec![json!(spec.logs), json!(spec.sidecar), json!(image)];
    // Specs without outputs keep the revision that they had before there were any.
    decisive.extend((!spec.outputs.is_empty()).then(|| json!(spec.outputs)));
    fingerprint(&decisive.into())
}

fn render(name: &str, spec: &LogSidecarSpec, images: &Images) -> Result<Rendered, Refusal> {
    let Some(shipper) = Shipper::of(spec) else { return Ok(Rendered::Own) };
    let mut parts = engine::parts(shipper, spec, images).map_err(|error| refusal(&error))?;
    let config = parts.config.take().map(|config| ConfigMap::new(name, config));
    Ok(Rendered::Shipper(Box::new(parts), config))
}
