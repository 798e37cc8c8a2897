//! Which objects a policy keeps away from: those that `inject` would refuse, and those of which an expression cannot tell what
//! `inject` would do.

use serde_json::{Value, json};

use super::{
    cel::{Cel, pattern, string},
    place::TemplatePlace,
    sketch::Sketch,
};
use crate::{
    api::{LEDGER_ANNOTATION, LogSidecarSpec, OPT_OUT_LABEL},
    shipper::Shipper,
    workload::kind::Kind,
};

/// Sources of volumes that nothing can be written to.
const READ_ONLY: [&str; 5] = ["configMap", "secret", "downwardAPI", "projected", "image"];

/// A condition for an object to be mutated.
#[derive(Clone, Debug)]
pub(super) struct MatchCondition {
    name: &'static str,
    /// Expressions that all have to hold.
    all: Vec<String>,
    /// What is left alone, as what follows "a Deployment".
    pub left: Option<String>,
}

impl MatchCondition {
    fn new(name: &'static str, all: impl IntoIterator<Item = String>, left: impl Into<String>) -> Self {
        Self { name, all: all.into_iter().collect(), left: Some(left.into()) }
    }

    /// As it stands in `matchConditions`.
    pub fn value(&self) -> Value {
        json!({"name": self.name, "expression": self.all.join(" &&\n")})
    }
}

/// What everything here is about.
pub(super) struct PolicyContext<'a> {
    pub name: &'a str,
    pub kind: Kind,
    pub spec: &'a LogSidecarSpec,
    pub place: &'a TemplatePlace,
    pub sketch: &'a Sketch,
}

impl PolicyContext<'_> {
    /// All conditions that say something.
    pub fn conditions(&self) -> Vec<MatchCondition> {
        let mut all: Vec<MatchCondition> = self.target().into_iter().collect();
        all.extend([not_opted_out()]);
        all.extend(self.not_anothers());
        all.extend([self.ledger(), self.container_name(), self.writers(), self.directories(), self.volume_names()]);
        all.extend([
            self.ports(),
            self.existing_volumes(),
            self.volumes_of_the_sidecar(),
            self.not_windows(),
            self.time_to_end(),
        ]);
        all.retain(|condition| !condition.all.is_empty());
        all
    }

    fn target(&self) -> Option<MatchCondition> {
        let name = self.spec.target.name.as_ref()?;
        // At admission, what is made by `generateName` has no name yet.
        let expression = format!("object.metadata.?name.orValue(\"\") == {}", string(name));
        Some(MatchCondition { name: "is-the-target", all: vec![expression], left: None })
    }

    /// Nobody reverts what is put into a Pod or a Job, whoever made it; and a mirror pod is but the picture of a static one.
    fn not_anothers(&self) -> Option<MatchCondition> {
        match self.kind {
            Kind::Pod => {
                let mirror = "!(\"kubernetes.io/config.mirror\" in object.metadata.?annotations.orValue({}))".to_owned();
                Some(MatchCondition::new("is-no-mirror-of-a-static-pod", [mirror], "that mirrors a static pod"))
            }
            Kind::Job => None,
            Kind::Deployment
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::ReplicaSet
            | Kind::ReplicationController
            | Kind::CronJob
            | Kind::PodTemplate
            | Kind::Custom(_) => {
                let owned = "!object.metadata.?ownerReferences.orValue([]).exists(o, o.?controller.orValue(false))".to_owned();
                Some(MatchCondition::new("is-not-of-another-controller", [owned], "that another controller renders"))
            }
        }
    }

    /// Only to a ledger that policies alone have written can an expression add its entry.
    fn ledger(&self) -> MatchCondition {
        let annotation = string(LEDGER_ANNOTATION);
        let own = format!("\"name\":\"{}\",", self.name);
        let text = format!("object.metadata.annotations[{annotation}]");
        let expression = format!(
            "(!({annotation} in object.metadata.?annotations.orValue({{}})) || {text}.matches({}) && !{text}.contains({}))",
            string(&Sketch::ledger_of_policies()),
            string(&own)
        );
        let left = format!("whose annotation {LEDGER_ANNOTATION} says that a sidecar is in it already");
        MatchCondition::new("has-no-sidecar-yet", [expression], left)
    }

    fn container_name(&self) -> MatchCondition {
        let name = self.sketch.container();
        let expression = format!("!{}.exists(c, c.name == {})", self.place.containers(), string(name));
        MatchCondition::new("container-name-is-free", [expression], format!("that has a container {name} already"))
    }

    fn writers(&self) -> MatchCondition {
        let placeholders = &self.sketch.placeholders;
        let names: Vec<&str> = placeholders.writers(self.spec);
        let named: Vec<&str> = names.iter().copied().filter(|name| placeholders.container() != Some(name)).collect();
        let mut all: Vec<String> = Vec::new();
        let mut left: Vec<String> = Vec::new();
        if !named.is_empty() {
            let exist = named.iter().map(|name| format!("{}.exists(c, c.name == {})", self.place.containers(), string(name)));
            all.extend(exist);
            left.push(format!("without container {}", named.join(" or ")));
        }
        if placeholders.container().is_some() {
            all.push(self.place.is_clear());
            left.push("with several containers and no default one: write logs[].container".to_owned());
            if !named.is_empty() {
                let named = Cel::List(named.into_iter().map(|name| Cel::Text(name.to_owned())).collect());
                all.push(format!("!({} in {})", self.place.unnamed(), named.write(0)));
            }
        }
        MatchCondition::new("container-is-clear", all, left.join(", or "))
    }

    /// A volume that is mounted there is used by the controller and by `inject`; and what the policy of another `LogSidecar` has
    /// just mounted below would be used in another order.
    fn directories(&self) -> MatchCondition {
        let annotation = string(LEDGER_ANNOTATION);
        let all = self.spec.logs.iter().flat_map(|log| {
            let writer = log.container.as_deref().or(self.sketch.placeholders.container()).unwrap_or_default();
            let mounts = format!(
                "{}.filter(c, c.name == {}).exists(c, c.?volumeMounts.orValue([]).exists(m, ",
                self.place.containers(),
                self.place.name_of(writer, &self.sketch.placeholders)
            );
            let steps = log.directory.match_indices('/').map(|(at, _)| &log.directory[..at]).chain([log.directory.as_str()]);
            let above: Vec<String> = steps.map(pattern).collect();
            [
                format!("!{mounts}m.mountPath.matches({})))", string(&format!("^({})/*$", above.join("|")))),
                format!(
                    "(!({annotation} in object.metadata.?annotations.orValue({{}})) || !{mounts}m.mountPath.startsWith({}))))",
                    string(&format!("{}/", log.directory))
                ),
            ]
        });
        let directories: Vec<&str> = self.spec.logs.iter().map(|log| log.directory.as_str()).collect();
        let left = format!(
            "whose container has a volume mounted at or above {} already, or another LogSidecar's below",
            directories.join(" or ")
        );
        MatchCondition::new("directory-is-free", all, left)
    }

    fn volume_names(&self) -> MatchCondition {
        let names: Vec<&str> = self.sketch.volumes().collect();
        let place = self.place;
        let placeholders = &self.sketch.placeholders;
        let mut all = Vec::new();
        for name in &names {
            let text = match Cel::text(name, placeholders) {
                Cel::Code(code) => code.replace("variables.container", &place.unnamed()),
                Cel::Text(_) | Cel::List(_) | Cel::Map(_) => string(name),
            };
            all.push(format!("!{}.spec.?volumes.orValue([]).exists(v, v.name == {text})", place.template));
            if text != string(name) {
                // Longer ones are cut by the planner, which makes them unique by a digest.
                all.push(format!("({text}).size() <= 63"));
                let others: Vec<Cel> =
                    names.iter().filter(|other| *other != name).map(|other| Cel::Text((*other).to_owned())).collect();
                if !others.is_empty() {
                    all.push(format!("!(({text}) in {})", Cel::List(others).write(0)));
                }
            }
        }
        let names: Vec<String> = names.iter().map(|name| placeholders.readable(name)).collect();
        MatchCondition::new("volume-name-is-free", all, format!("that has a volume {} already", names.join(" or ")))
    }

    /// By number or by name: more than the planner refuses, in few words.
    fn ports(&self) -> MatchCondition {
        let ports: Vec<&Value> = self.sketch.ports().collect();
        let taken = |field: &str, value: String| {
            format!(
                "!{}.exists(c, c.?ports.orValue([]).exists(p, p.?{field} == optional.of({value})))",
                self.place.containers()
            )
        };
        let all = ports.iter().flat_map(|port| {
            let number = ["containerPort", "hostPort"]
                .into_iter()
                .filter_map(|field| Some(taken(field, port[field].as_i64()?.to_string())));
            let name = port["name"].as_str().map(|name| taken("name", string(name)));
            number.chain(name).collect::<Vec<_>>()
        });
        let numbers: Vec<String> = ports.iter().map(|port| port["containerPort"].to_string()).collect();
        MatchCondition::new("port-is-free", all, format!("that has the port {} already", numbers.join(" or ")))
    }

    fn existing_volumes(&self) -> MatchCondition {
        let existing: Vec<&str> = existing(self.spec).collect();
        let writable: Vec<String> = READ_ONLY.iter().map(|source| format!("!has(v.{source})")).collect();
        let all = existing.iter().map(|name| {
            format!(
                "{}.spec.?volumes.orValue([]).exists(v, v.name == {} && {} && !v.?persistentVolumeClaim.?readOnly.orValue(false))",
                self.place.template,
                string(name),
                writable.join(" && ")
            )
        });
        MatchCondition::new("volume-exists", all, format!("without a writable volume {}", existing.join(" or ")))
    }

    /// An object is never refused because of what a policy puts in: a mount without its volume would be.
    fn volumes_of_the_sidecar(&self) -> MatchCondition {
        let ours: Vec<&str> = self.sketch.volumes().chain(existing(self.spec)).collect();
        let others: Vec<&str> = self.sketch.mounted().filter(|name| !ours.contains(name)).collect();
        let template = &self.place.template;
        let claims = match self.kind {
            Kind::StatefulSet => " + object.spec.?volumeClaimTemplates.orValue([]).map(v, v.metadata.name)",
            Kind::Deployment
            | Kind::DaemonSet
            | Kind::CronJob
            | Kind::Job
            | Kind::Pod
            | Kind::PodTemplate
            | Kind::ReplicaSet
            | Kind::ReplicationController
            | Kind::Custom(_) => "",
        };
        let exists = |name: &&str| format!("{} in {template}.spec.?volumes.orValue([]).map(v, v.name){claims}", string(name));
        let left = format!("without volume {}, which the sidecar mounts", others.join(" or "));
        MatchCondition::new("volumes-of-the-sidecar-exist", others.iter().map(exists), left)
    }

    /// Windows knows nothing of what is in a security context, and the API server refuses it there.
    fn not_windows(&self) -> MatchCondition {
        let expression = format!("{}.spec.?os.?name.orValue(\"\") != \"windows\"", self.place.template);
        let all = self.sketch.has_security_context().then_some(expression);
        MatchCondition::new("is-not-windows", all, "for Windows")
    }

    /// The API server refuses a pause before the end that is longer than the pod has time to end.
    fn time_to_end(&self) -> MatchCondition {
        let pause = self.sketch.pause_before_the_end();
        let time = format!("{}.spec.?terminationGracePeriodSeconds.orValue(30)", self.place.template);
        let left = format!("with a terminationGracePeriodSeconds below {}", pause.unwrap_or_default());
        MatchCondition::new("has-time-to-end", pause.map(|pause| format!("{time} >= {pause}")), left)
    }
}

fn not_opted_out() -> MatchCondition {
    let label = format!("object.metadata.?labels[?{}].orValue(\"\") != \"false\"", string(OPT_OUT_LABEL));
    MatchCondition::new("is-not-opted-out", [label], format!("with the label {OPT_OUT_LABEL}: \"false\""))
}

/// The names of the volumes that have to be there.
pub(super) fn existing(spec: &LogSidecarSpec) -> impl Iterator<Item = &str> {
    let state = Shipper::of(spec).and_then(|shipper| shipper.engine()?.state.as_ref());
    let volumes = spec.logs.iter().filter_map(|log| log.volume.as_ref()).chain(state);
    volumes.filter_map(|volume| volume.existing.as_ref()).map(|existing| existing.name.as_str())
}
