//! Everything that can be tested without a cluster, as one binary.

mod api_server;
mod bad_input;
#[path = "../blocks.rs"]
mod blocks;
mod cel;
mod cli;
mod cluster;
mod contract;
mod docs;
mod golden;
mod layers;
mod lists;
mod logsidecar;
mod monitoring;
mod pairs;
mod policy;
mod policy_command;
#[path = "../process.rs"]
mod process;
mod reference;
#[path = "../rules.rs"]
mod rules;
