//! Bad weather: while owners and LogSidecars change, any request may be late, refused, answered with an error or with what was true
//! a while ago, or lose its connection before or after the API server has done it. When it clears up, everything is as asked for;
//! and at no time was anything taken out that nobody wanted out.
//!
//! One schedule of faults for each seed: 1,000 of them with `FULL=1`, or as many as `SCHEDULES` says.

use std::{ops::Range, thread::sleep, time::Duration};

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use logsidecar::{api::LogSidecar, workload::kind::Kind};
use serde_json::{Value, json};

use crate::{
    controller::Controller,
    kubernetes::{eventually, tell},
    proxy::{Fault, Request, runtime},
    stage::{Stage, admin},
};

/// What happens to requests, and how often.
fn weather(mut random: fastrand::Rng) -> impl FnMut(&Request) -> Fault + Send + 'static {
    let share = random.f64() * 0.7;
    move |request| {
        if random.f64() > share {
            return Fault::Pass;
        }
        match (random.u8(0..8), request.verb) {
            (0, _) => Fault::Busy(random.u32(0..2)),
            (1, _) => Fault::status(500, "InternalError"),
            (2, _) => Fault::status(503, "ServiceUnavailable"),
            (3, _) => Fault::ResetBefore,
            (4, _) => Fault::ResetAfter,
            (5, "list" | "watch") => Fault::status(410, "Expired"),
            (5, "patch") => Fault::status(409, "Conflict"),
            (6, "list") => Fault::Stale,
            _ => Fault::Delay(Duration::from_millis(random.u64(1..300))),
        }
    }
}

/// A namespace in which one schedule follows the other.
struct Place {
    stage: Stage,
    controller: Controller,
    workloads: Api<DynamicObject>,
    sidecars: Api<LogSidecar>,
}

/// What a schedule may cost at most.
#[derive(Default)]
struct Budget {
    /// Templates of `web` that its owner or a LogSidecar has asked for.
    templates: usize,
    /// Whether `all` was away meanwhile.
    removed: bool,
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some("owner".to_owned()), force: true, ..PatchParams::default() }
}

fn deployment(name: &str, image: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"team": "a"}}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": format!("app:{image}")}]}}}})
}

/// For `web` alone, and never changed: it must be in from the beginning to the end.
fn ship() -> Value {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "ship"},
        "spec": {"target": {"name": "web"}, "logs": [{"name": "app", "directory": "/var/log/app"}]}})
}

/// For all workloads of the team.
fn all(directory: u32) -> Value {
    json!({"apiVersion": "logsidecar.dev/v1alpha1", "kind": "LogSidecar", "metadata": {"name": "all"}, "spec": {
        "target": {"selector": {"matchLabels": {"team": "a"}}}, "rollout": {"soak": "0s"},
        "logs": [{"name": "more", "directory": format!("/more/{directory}")}]}})
}

fn has(template: &Value, sidecar: &str) -> bool {
    template["spec"]["initContainers"].as_array().into_iter().flatten().any(|container| container["name"] == sidecar)
}

/// What a schedule changes of a template.
fn brief(template: &Value) -> String {
    let app = &template["spec"]["containers"][0];
    let paths = app["volumeMounts"].as_array().into_iter().flatten().map(|mount| mount["mountPath"].to_string());
    format!("{} {}", app["image"], paths.collect::<Vec<_>>().join(" "))
}

impl Place {
    fn new(number: usize) -> Self {
        let stage = Stage::new(&format!("weather-{number}"));
        let controller = stage.controller();
        let workloads = Api::namespaced_with(admin(), &stage.namespace.name, &Kind::Deployment.resource());
        let sidecars = Api::namespaced(admin(), &stage.namespace.name);
        let place = Self { stage, controller, workloads, sidecars };
        place.controller.start();
        place.workload("web", 0);
        place.sidecar("ship", ship());
        place.sidecar("all", all(0));
        place.stage.converges();
        place
    }

    fn workload(&self, name: &str, image: u32) {
        let patch = Patch::Apply(deployment(name, image));
        runtime().block_on(self.workloads.patch(name, &params(), &patch)).expect("applied");
    }

    fn sidecar(&self, name: &str, object: Value) {
        runtime().block_on(self.sidecars.patch(name, &params(), &Patch::Apply(object))).expect("applied");
    }

    /// Asks for its deletion; the controller lets it go when it has taken everything out.
    fn delete_all(&self) {
        runtime().block_on(self.sidecars.delete("all", &DeleteParams::default())).map(drop).expect("deleted");
    }

    fn act(&self, random: &mut fastrand::Rng, budget: &mut Budget) {
        match random.u8(0..10) {
            0 | 1 => {
                self.workload("web", random.u32(..));
                budget.templates += 1;
            }
            2 | 3 => self.workload(&format!("extra-{}", random.u8(0..3)), random.u32(0..3)),
            // What is being deleted cannot be changed to any effect.
            4..=6 if !budget.removed => {
                self.sidecar("all", all(random.u32(..)));
                budget.templates += 1;
            }
            7 => self.controller.proxy.cut_watches(),
            8 => self.controller.proxy.expire_watches(),
            _ if random.bool() => {
                self.controller.proxy.kill();
                self.controller.start();
                // It knows nothing but what it is told, and that may be past: it goes back to that, and forth again.
                budget.templates += 2;
            }
            _ if !budget.removed => {
                self.delete_all();
                budget.removed = true;
                budget.templates += 1;
            }
            _ => {}
        }
    }

    /// Says how many requests were made meanwhile.
    fn schedule(&self, seed: u64) -> usize {
        let mut random = fastrand::Rng::with_seed(seed);
        let proxy = &self.controller.proxy;
        let (before, requests) = (self.stage.templates(), proxy.seen().len());
        let mut budget = Budget::default();
        proxy.script(weather(random.fork()));
        for _ in 0..random.u8(2..6) {
            self.act(&mut random, &mut budget);
            sleep(Duration::from_millis(random.u64(0..250)));
        }
        sleep(Duration::from_millis(random.u64(0..800)));
        let asked = proxy.seen().len() - requests;
        proxy.script(|_| Fault::Pass);
        assert!(!proxy.has_ended(), "seed {seed}: the controller has ended");
        // Another one of that name, when the first has gone.
        if budget.removed {
            eventually(&format!("seed {seed}: all to be let go"), || {
                runtime().block_on(self.sidecars.get_opt("all")).expect("an answer").is_none().then_some(())
            });
            self.sidecar("all", all(random.u32(..)));
            budget.templates += 1;
        }
        self.stage.converges();
        let now = self.stage.templates();
        let templates = self.stage.witness.templates("web");
        assert!(has(&templates[now - 1], "ship") && has(&templates[now - 1], "all"), "seed {seed}: lost");
        for (at, template) in templates[before - 1..now].iter().enumerate() {
            assert!(has(template, "ship"), "seed {seed}: ship is taken out in template {at}");
            assert!(budget.removed || has(template, "all"), "seed {seed}: all is taken out in template {at}");
        }
        let seen: Vec<String> = templates[before - 1..now].iter().map(brief).collect();
        assert!(now - before <= budget.templates, "seed {seed}: {} changes, and these templates: {seen:#?}", budget.templates);
        asked
    }
}

/// The schedules of one place, and how many requests the worst of them took.
fn schedules(number: usize, seeds: Range<u64>) -> usize {
    let place = Place::new(number);
    let worst = seeds.map(|seed| place.schedule(seed)).max().unwrap_or_default();
    place.stage.uninject();
    for name in ["web", "extra-0", "extra-1", "extra-2"] {
        let templates = place.stage.witness.templates(name);
        assert!(templates.last().is_none_or(|last| !last["spec"]["initContainers"].is_array()), "something is left in {name}");
    }
    worst
}

#[test]
fn whatever_happens_to_requests_nothing_is_taken_out_and_nothing_is_forgotten() {
    const AT_ONCE: u64 = 8;
    let default = if std::env::var_os("FULL").is_some() { 1000 } else { 32 };
    let count: u64 = std::env::var("SCHEDULES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let each = count.div_ceil(AT_ONCE);
    let worst = std::thread::scope(|scope| {
        let places: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                scope.spawn(move || schedules(usize::try_from(number).expect("small"), number * each..(number + 1) * each))
            })
            .collect();
        places.into_iter().map(|place| place.join().expect("see above")).max().unwrap_or_default()
    });
    tell(&format!("weather: {} schedules of faults; at most {worst} requests in one of them", each * AT_ONCE));
    // They take two to five seconds: nobody is hammered because he does not answer.
    assert!(worst < 100, "{worst} requests in one schedule");
}
