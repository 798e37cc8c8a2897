//! What would change: each plan is sent as the very patch that the controller would send, as a server-side dry-run. So what is
//! shown is what the API server, its defaults and its admission plugins would make of it. Nothing is written.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{
    super::{
        account::{View, outcome},
        apply::{self, Mode, apply, operations},
        cache::Sidecar,
        connection::{Error, Request},
        look::is_complete,
        surroundings,
    },
    Content, SidecarName, Survey,
    listed::Listed,
    look::{Look, Seen, Whose, kept},
    warnings::warnings,
};
use crate::{
    api::Reason,
    plan::{Effect, Refusal, Verdict},
    preflight::{Cost, cost},
    report::{
        self,
        plan::{Fate, Planned, Refused},
    },
    workload::{kind::Kind, ledger::Ledger},
};

/// How many dry-runs are under way at once: as many as the controller has.
const AT_ONCE: usize = 8;

/// How often a workload is looked at again because somebody else has changed it meanwhile.
const TRIES: usize = 5;

impl Survey {
    /// What would change for these LogSidecars, or for all; with it, what the user should know about the answer itself.
    pub async fn plan(&self, about: Option<&BTreeSet<SidecarName>>) -> Result<(report::plan::Plan, Vec<String>), Error> {
        let (mut plan, mut notes) = (report::plan::Plan::default(), Vec::new());
        for (namespace, content) in &self.namespaces {
            let names = |seen: &Seen| seen.plan.verdicts.iter().map(|verdict| verdict.name.clone()).collect::<Vec<_>>();
            let is_meant = |name: &String| {
                about.is_none_or(|about| about.contains(&SidecarName { namespace: namespace.clone(), name: name.clone() }))
            };
            let look = self.look(content);
            let looked = content.workloads.iter().map(|listed| (listed, look.at(&listed.workload, Whose::Everybodys)));
            let concerned: Vec<(&Listed, Seen)> = looked.filter(|(_, seen)| names(seen).iter().any(is_meant)).collect();
            let surroundings = if concerned.iter().any(|(_, seen)| seen.plan.template != seen.template) {
                let found = surroundings::fetch(&self.surveyor.connection.client, namespace).await;
                found
                    .map_err(|error| notes.push(format!("{error}: what quotas, limits and policies say is not in the plan")))
                    .ok()
            } else {
                None
            };
            let run = DryRun { look: Look { surroundings: surroundings.as_ref(), ..look } };
            let planned = stream::iter(concerned).map(|(listed, _)| run.planned(listed));
            let mut planned: Vec<Planned> =
                planned.buffered(AT_ONCE).try_filter_map(|planned| async { Ok(planned) }).try_collect().await?;
            planned.sort_by(|one, other| one.workload.cmp(&other.workload));
            plan.workloads.append(&mut planned);
        }
        let changing: BTreeSet<SidecarName> = plan
            .workloads
            .iter()
            .filter(|planned| planned.result == Fate::Change)
            .flat_map(|planned| planned.sidecars.iter().map(|name| (planned.workload.namespace.clone(), name.clone())))
            .map(|(namespace, name)| SidecarName { namespace, name })
            .collect();
        plan.rollouts = changing.iter().filter_map(|name| self.rollout(name)).collect();
        Ok((plan, notes))
    }

    pub(super) fn look<'a>(&'a self, content: &'a Content) -> Look<'a> {
        Look { surveyor: &self.surveyor, sidecars: &content.sidecars, surroundings: None }
    }
}

struct DryRun<'a> {
    look: Look<'a>,
}

impl DryRun<'_> {
    /// `None` if the workload is gone.
    async fn planned(&self, listed: &Listed) -> Result<Option<Planned>, Error> {
        let (kind, key) = (listed.workload.key.target.kind, &listed.workload.key);
        let request = |verb: &'static str| Request {
            verb,
            resource: kind.resource().plural,
            namespace: Some(key.namespace.clone()),
            name: Some(key.target.name.clone()),
        };
        let mut result = self.attempt(listed).await;
        for _ in 0..TRIES {
            match result {
                Ok(planned) => return Ok(Some(planned)),
                Err(apply::Error::Gone) => return Ok(None),
                Err(apply::Error::Conflict) => {}
                Err(apply::Error::Timeout) => return Err(Error::Timeout(request("patch"))),
                Err(apply::Error::Refused(_)) => return Err(Error::Forbidden(request("patch"))),
                Err(apply::Error::Failed(why)) => return Err(Error::Failed(request("patch"), why)),
            }
            let object = self.look.surveyor.connection.get(&kind.resource(), &key.namespace, &key.target.name).await;
            let object = match object {
                Err(Error::NotFound(_)) => return Ok(None),
                object => object?,
            };
            let Some(listed) = Listed::observe(kind, &object) else { return Ok(None) };
            result = self.attempt(&listed).await;
        }
        Err(Error::Failed(request("patch"), "somebody else changes it all the time".to_owned()))
    }

    async fn attempt(&self, listed: &Listed) -> Result<Planned, apply::Error> {
        let workload = &listed.workload;
        let seen = self.look.at(workload, Whose::Everybodys);
        let mut refused = refusals(&seen);
        if !seen.changes() {
            return Ok(settled(listed, &seen, refused));
        }
        let client = &self.look.surveyor.connection.client;
        let refusal = match apply(client, workload, &seen.plan, Mode::DryRun).await {
            Ok(answer) => return Ok(self.changed(listed, &seen, &answer.template(), refused)),
            Err(apply::Error::Refused(refusal)) if !is_about_the_user(&refusal) => refusal,
            Err(error) => return Err(error),
        };
        let is_in = |name: &String| seen.ledger.as_ref().is_some_and(|ledger| ledger.entry(name, None).is_some());
        let newcomers: BTreeSet<String> = seen.movers.iter().filter(|name| !is_in(name)).cloned().collect();
        refused.push(at(if newcomers.is_empty() { &seen.movers } else { &newcomers }, &refusal));
        let rest = self.look.at(workload, Whose::WithoutNewcomers);
        if newcomers.is_empty() || !rest.changes() {
            return Ok(settled(listed, &seen, refused));
        }
        match apply(client, workload, &rest.plan, Mode::DryRun).await {
            Ok(answer) => Ok(self.changed(listed, &rest, &answer.template(), refused)),
            Err(apply::Error::Refused(_)) => Ok(settled(listed, &seen, refused)),
            Err(error) => Err(error),
        }
    }

    /// What the API server would keep.
    fn changed(&self, listed: &Listed, seen: &Seen, answer: &Value, mut refused: Vec<Refused>) -> Planned {
        let workload = &listed.workload;
        if *answer == seen.template && seen.same_ledger && is_complete(seen.ledger.as_ref(), &seen.template) {
            // An admission plugin rewrites what we put in, and would again: there is nothing to do.
            return settled(listed, seen, refused);
        }
        if !is_complete(seen.plan.ledger.as_ref(), answer) {
            let message = "the API server, or an admission plugin in it, takes out a part of what is put in: see who changes the template on the way";
            refused.push(at(&seen.movers, &Refusal::new(Reason::Rejected, message)));
        }
        let changed = *answer != seen.template;
        let words: Vec<(&String, Reason)> = seen.movers.iter().map(|name| (name, word(seen, name))).collect();
        let told: Vec<String> = words.iter().map(|(name, word)| format!("{name}: {word}")).collect();
        Planned {
            sidecars: if seen.movers.is_empty() { names(seen) } else { seen.movers.iter().cloned().collect() },
            result: Fate::Change,
            reason: words.first().map_or(Reason::Updated, |(_, word)| *word).to_string(),
            message: if words.len() > 1 { told.join(", ") } else { String::new() },
            warnings: warnings(listed, seen, self.look.sidecars, answer),
            rolls: changed && workload.key.target.kind != Kind::CronJob,
            cost: cost(&workload.change(&seen.template, answer)),
            template: answer.clone(),
            patch: serde_json::to_value(operations(workload, &seen.plan)).unwrap_or_default(),
            ..settled(listed, seen, refused)
        }
    }
}

/// A workload to which nothing would be done.
fn settled(listed: &Listed, seen: &Seen, refused: Vec<Refused>) -> Planned {
    let workload = &listed.workload;
    let key = &workload.key;
    let all_kept = !seen.plan.verdicts.is_empty() && seen.plan.verdicts.iter().all(|verdict| kept(verdict).is_some());
    let (result, reason, message) = if let Some(Refused { sidecar: _, reason, message }) = refused.first() {
        (Fate::Blocked, reason.clone(), message.clone())
    } else if let (true, Some(verdict)) = (all_kept, seen.plan.verdicts.first()) {
        let told = seen.told.get(&verdict.name);
        let told = outcome(verdict, &View { workload, injected: false, is_soaking: false, told }, None);
        let (reason, message) = told.map(|told| (told.reason.to_string(), told.message)).unwrap_or_default();
        (Fate::LeftAlone, reason, message)
    } else {
        (Fate::Unchanged, workload.standing.reason().to_string(), workload.standing.told())
    };
    Planned {
        workload: report::Workload::new(key.target.kind, &key.namespace, &key.target.name),
        sidecars: if result == Fate::Blocked {
            refused.iter().map(|refused| refused.sidecar.clone()).collect()
        } else {
            names(seen)
        },
        result,
        reason,
        message,
        warnings: Vec::new(),
        refused,
        pods: workload.standing.pods,
        rolls: false,
        cost: Cost::default(),
        before: seen.template.clone(),
        template: seen.template.clone(),
        patch: Value::Array(Vec::new()),
    }
}

fn names(seen: &Seen) -> Vec<String> {
    seen.plan.verdicts.iter().map(|verdict| verdict.name.clone()).collect()
}

/// What cannot be met; what is blocked is so by what is around the workload, and not by its template.
fn refusals(seen: &Seen) -> Vec<Refused> {
    let refusal = |verdict: &'_ Verdict| match &verdict.result {
        Err(refusal) => Some(refusal.clone()),
        Ok(Effect::Kept(Reason::Blocked)) => seen.told.get(&verdict.name).cloned(),
        Ok(Effect::Kept(_) | Effect::Applied(_) | Effect::Removed | Effect::Orphaned) => None,
    };
    let verdicts = seen.plan.verdicts.iter();
    verdicts.filter_map(|verdict| Some(at(&BTreeSet::from([verdict.name.clone()]), &refusal(verdict)?))).collect()
}

fn at(sidecars: &BTreeSet<String>, refusal: &Refusal) -> Refused {
    let sidecar = sidecars.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Refused { sidecar, reason: refusal.reason.to_string(), message: refusal.message.clone() }
}

/// Whether it is the user who may not patch, and not the patch that is refused: that says nothing about the controller.
fn is_about_the_user(refusal: &Refusal) -> bool {
    refusal.reason == Reason::Forbidden && refusal.message.contains("cannot patch resource")
}

/// What would be done for a `LogSidecar`: the word that its Event would have.
fn word(seen: &Seen, name: &str) -> Reason {
    let has = |ledger: Option<&Ledger>| ledger.is_some_and(|ledger| ledger.entry(name, None).is_some());
    match (has(seen.ledger.as_ref()), has(seen.plan.ledger.as_ref())) {
        (false, _) => Reason::Injected,
        (true, true) => Reason::Updated,
        (true, false) if seen.plan.template == seen.template => Reason::HandedOver,
        (true, false) => Reason::Removed,
    }
}

/// Those of a namespace that are for a workload, or have something in it.
pub(super) fn concerned<'a>(sidecars: &'a [Sidecar], seen: &'a Seen) -> impl Iterator<Item = &'a Sidecar> {
    sidecars.iter().filter(|sidecar| seen.verdict(sidecar).is_some())
}
