//! Everything that can be tested without a cluster, as one binary.

mod bad_input;
mod cel;
mod cli;
mod cluster;
mod contract;
mod golden;
mod layers;
mod logsidecar;
#[path = "../rules.rs"]
mod rules;
