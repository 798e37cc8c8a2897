//! Everything that can be tested without a cluster, as one binary.

mod bad_input;
mod cel;
mod cli;
mod contract;
mod golden;
mod layers;
mod logsidecar;
#[path = "../rules.rs"]
mod rules;
