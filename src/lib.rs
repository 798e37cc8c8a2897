//! LogSidecar gives existing workloads a log sidecar, and takes out exactly what it put in.
//!
//! ```text
//!             controller (`operator`)                             commands (`inspect`)
//! watch → store → queue ─┐                          read once with the caller's rights ─┐
//!                        ├→ Observation ─→ decide() ─→ Decision ←───────────────────────┘
//! rollouts, memory, ─────┘       (pure)                │
//! answers to questions                                 ├ Ask(question)   is this LogSidecar gone? what does a dry run return?
//!                                                      ├ Write           one guarded JSON patch
//!                                                      └ reports         for each LogSidecar, reason and message
//! ```
//!
//! On files, `cli` calls the planner itself: [`plan::plan`] is the one function that decides what is in a template.
//!
//! Imports point one way: `cli → operator, inspect → cluster → decide, report → status, rollout, preflight, policy, validate → plan
//! → shipper → workload → api`. All of these from `decide` on are pure: no client, clock, I/O or logging. `tests/it/layers` checks both.

pub mod api;
pub mod cli;
pub(crate) mod cluster;
pub mod decide;
pub(crate) mod inspect;
pub mod manifest;
pub mod merge;
pub mod operator;
pub mod options;
pub mod plan;
pub mod policy;
pub mod preflight;
pub mod quantity;
pub mod report;
pub mod rollout;
pub mod shipper;
pub mod status;
pub mod telemetry;
pub mod validate;
pub mod workload;
