//! What a policy of the API server has put in: recognised by what would be put in, and by nothing else.

use super::*;
use crate::{
    api::Log,
    workload::{
        ledger::Origin::{Controller, Policy},
        normal,
    },
};

/// The ledger of policies for these LogSidecars, by way of its text.
fn marked(template: &Value, names: &[&str]) -> World {
    let mut ledger = Ledger::new(None);
    ledger.sidecars = names.iter().flat_map(|name| Ledger::of_policy(name, RENDERER).sidecars).collect();
    let text = ledger.text().expect("entries");
    World { template: template.clone(), ledger: Some(Ledger::parse(&text).expect("own text")) }
}

/// Lists that were blank before cannot be told from absent ones: a policy does not write down which they were.
fn comparable(pod: &Value) -> Value {
    normal::normal(&Key::Container(String::new()), pod)
}

proptest! {
    #[test]
    fn what_a_policy_has_put_in_is_taken_over_without_a_rollout_and_taken_out_again(pod in pod(), one in any_spec()) {
        let apply = [("one", Intent::Apply(&one))];
        let injected = World::new(&pod).then(&apply);
        // Where the application mounts the existing volume itself, a policy keeps away.
        let is_owners = |log: &Log| {
            let mount = Key::Mount { container: log.container.clone().unwrap_or_default(), path: log.directory.clone() };
            log.volume.as_ref().is_some_and(|volume| volume.existing.is_some()) && mount.get(&pod).is_some()
        };
        if injected.ledger.is_none() || one.spec().logs.iter().any(is_owners) {
            return Ok(());
        }
        // An admission plugin adds its defaults, too.
        let world = marked(&defaulted(&injected.template), &["one"]);
        let taken = world.then(&apply);
        prop_assert_eq!(&taken.template, &world.template);
        let sidecars = |world: &World| world.ledger.as_ref().expect("a ledger").sidecars.clone();
        prop_assert_eq!(sidecars(&taken), sidecars(&injected));
        let out = taken.then(&[("one", remove())]);
        prop_assert_eq!((comparable(&out.template), out.ledger), (comparable(&defaulted(&pod)), None));
    }

    #[test]
    fn whoever_forges_the_entry_of_a_policy_loses_nothing_by_it(pod in pod(), one in any_spec()) {
        let apply = [("one", Intent::Apply(&one))];
        let applied = marked(&pod, &["one"]).then(&apply);
        prop_assert_eq!(&applied.template, &World::new(&pod).then(&apply).template);
        let out = applied.then(&[("one", remove())]);
        prop_assert_eq!(comparable(&out.template), comparable(&pod));
    }

    #[test]
    fn an_entry_of_a_policy_that_nobody_speaks_for_stays_as_it_is(pod in pod(), one in any_spec()) {
        let world = marked(&World::new(&pod).then(&[("one", Intent::Apply(&one))]).template, &["one"]);
        for claims in [&[][..], &[("one", Intent::Keep(Reason::Suspended))], &[("one", remove())]] {
            let after = world.then(claims);
            prop_assert_eq!((&after.template, &after.ledger), (&world.template, &world.ledger), "{:?}", claims);
        }
    }
}

#[test]
fn what_is_not_exactly_what_would_be_put_in_is_not_taken_over() {
    let one = logs(json!({"directory": "/l"}));
    let apply = [("one", Intent::Apply(&one))];
    let injected = World::new(&app()).then(&apply).template;
    let table = [
        ("/spec/containers/1/image", json!("theirs:1")),
        ("/spec/containers/1/env", json!([{"name": "A", "value": "b"}])),
        ("/spec/volumes/0/emptyDir", json!({"sizeLimit": "1Gi"})),
        ("/spec/containers/0/volumeMounts/0/subPath", json!("a")),
    ];
    for (pointer, value) in table {
        let mut template = injected.clone();
        let (holder, field) = pointer.rsplit_once('/').expect("a pointer");
        template.pointer_mut(holder).expect("a holder")[field] = value;
        let world = marked(&template, &["one"]);
        let plan = world.plan(&apply);
        let refusal = plan.results[0].result.as_ref().expect_err("refused");
        assert_eq!(refusal.reason, Reason::ContainerNameTaken, "{pointer}");
        assert!(refusal.message.contains("print the policy anew"), "{refusal}");
        assert_eq!((&plan.template, &plan.ledger), (&world.template, &world.ledger), "{pointer}");
        assert_eq!(world.then(&apply).then(&[("one", remove())]).template, template, "{pointer}");
    }
}

#[test]
fn items_in_the_entry_of_a_policy_prove_nothing() {
    let mut pod = app();
    pod["spec"]["volumes"] = json!([{"name": "mine", "emptyDir": {}}]);
    let digest = normal::digest(&Key::Volume("mine".into()), &json!({"name": "mine", "emptyDir": {}}));
    let text = json!({"version": 1, "sidecars": [{"name": "one", "origin": "policy", "renderer": 1, "items": {"volumes/mine": digest}}]});
    let world = World { template: pod.clone(), ledger: Some(Ledger::parse(&text.to_string()).expect("a ledger")) };
    let one = logs(json!({"directory": "/l"}));
    let out = world.then(&[("one", Intent::Apply(&one))]).then(&[("one", remove())]);
    assert_eq!(out.template, pod);
}

#[test]
fn the_sidecars_of_several_policies_are_not_the_pods_own_containers() {
    let (one, two) = (logs(json!({"directory": "/one"})), logs(json!({"directory": "/two"})));
    let apply = [("one", Intent::Apply(&one)), ("two", Intent::Apply(&two))];
    let injected = World::new(&app()).then(&apply);
    let taken = marked(&injected.template, &["one", "two"]).then(&apply);
    assert_eq!((&taken.template, taken.ledger.as_ref()), (&injected.template, injected.ledger.as_ref()));
    assert_eq!(taken.then(&[("one", remove()), ("two", remove())]).template, app());
}

#[test]
fn a_mount_of_an_existing_volume_goes_with_the_sidecar_that_a_policy_made_it_for() {
    let one = logs(json!({"directory": "/l", "volume": {"existing": {"name": "data"}}}));
    let pod = with("/spec/terminationGracePeriodSeconds", json!(1));
    let apply = [("one", Intent::Apply(&one))];
    let taken = marked(&World::new(&pod).then(&apply).template, &["one"]).then(&apply);
    assert_eq!(taken.then(&[("one", remove())]).template, pod);
}

#[test]
fn what_a_policy_has_put_in_is_taken_out_even_if_its_logsidecar_goes_before_anybody_has_looked() {
    let of =
        |name: &str, directory: &str| resolved(name, logs(json!({"directory": directory, "container": "app"})).spec().clone());
    let (one, two) = (of("one", "/one"), of("two", "/two"));
    let apply = [("one", Intent::Apply(&one)), ("two", Intent::Apply(&two))];
    let world = marked(&World::new(&app()).then(&apply).template, &["one", "two"]);
    let taken = |one: (&ResolvedSpec, Lifecycle), two: (&ResolvedSpec, Lifecycle)| {
        let known = |name: &'static str, (spec, phase)| LogSidecarView {
            name,
            uid: Some(name),
            created: None,
            revision: None,
            spec: Some(spec),
            deletion: DeletionPolicy::Remove,
            lifecycle: phase,
        };
        let known = [known("one", one), known("two", two)];
        let kind = Kind::Deployment;
        let (template, ledger) = (&world.template, world.ledger.as_ref());
        let input = PlanInput { uid: Some(UID), template, ledger, owned: &Owned::default(), before: Before::Well, kind };
        World { ledger: adopt_admitted(&input, &known), ..world.clone() }
    };
    let origins = |world: &World| -> Vec<ledger::Origin> {
        world.ledger.iter().flat_map(|ledger| &ledger.sidecars).map(|entry| entry.origin).collect()
    };
    let both = taken((&one, Lifecycle::Deleting), (&two, Lifecycle::Live));
    assert_eq!(origins(&both), [Controller, Controller]);
    let left = both.then(&[("one", remove()), apply[1]]);
    assert_eq!(left.template, World::new(&app()).then(&apply[1..]).template);
    assert_eq!(left.then(&[("two", remove())]).template, app());
    // Who says that nothing is to be done, or may not act yet, is left alone; so is one that is not as it would be now.
    let suspended = resolved("two", LogSidecarSpec { suspend: true, ..two.spec().clone() });
    assert_eq!(origins(&taken((&one, Lifecycle::New), (&suspended, Lifecycle::Live))), [Policy, Policy]);
    assert_eq!(origins(&taken((&one, Lifecycle::New), (&suspended, Lifecycle::Deleting))), [Policy, Controller]);
    let changed = logs(json!({"directory": "/changed", "container": "app"}));
    assert_eq!(origins(&taken((&changed, Lifecycle::Live), (&two, Lifecycle::Live))), [Policy, Controller]);
}
