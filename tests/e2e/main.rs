//! The whole product on a real cluster, as a user would see it: run by `make test`, against any cluster that `KUBECONFIG` names
//! and that the controller is installed in.
//!
//! Each case has a namespace of its own, so that all run at once; `uninstall` alone needs the cluster for itself.

#![allow(clippy::panic, reason = "that is how a test fails")]

mod accounting;
#[path = "../blocks.rs"]
mod blocks;
mod cluster;
mod docs;
mod examples;
mod files;
mod helm;
mod kafka;
mod kinds;
mod lifecycle;
mod lines;
mod matching;
mod metrics;
mod pressure;
#[path = "../process.rs"]
mod process;
mod rollout;
#[path = "../rules.rs"]
mod rules;
mod schema;
mod tail;
mod uninstall;
