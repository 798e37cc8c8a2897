//! LogSidecar gives existing workloads a log sidecar, and takes out exactly what it put in.
//!
//! ```text
//!         in the cluster (`controller`)                  on files (`cli`)
//!  watch LogSidecars, watch workloads            LogSidecars and workloads as YAML
//!                    └───────────────┬───────────────────────┘
//!                                  plan      template, ledger, claims → template, ledger, verdicts   (pure)
//!                    ┌───────────────┴───────────────────────┐
//!      one guarded JSON patch, status                   YAML on stdout
//! ```
//!
//! Pure, with no client, clock, I/O or logging: [`api`], [`workload`], [`plan`], [`preflight`], [`quantity`], [`rollout`], [`merge`],
//! [`shipper`], [`policy`], [`report`], [`status`], [`manifest`], [`validate`]. The cluster is in [`controller`]; `cli::policy` asks it one
//! question.

pub mod api;
pub mod cli;
pub mod controller;
pub mod manifest;
pub mod merge;
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
