//! Whether the controller can be trusted with workloads that are not its own: against a real API server, with a proxy between
//! the two that counts requests, cuts connections, kills the controller and gives wrong answers.
//!
//! Run by `make test` and, with many more cases, by `make test-full`, in a control plane without nodes and without another
//! controller (`tests/cluster/control-plane up`). Each case has a namespace and a controller of its own, so that all run at once.
//!
//! * `proxy`, `controller`: the system under test, and what stands between it and the API server
//! * `witness`: every version that a workload ever had
//! * `kubelet`: says of pods what a node would say
//! * `oracle`: whether a namespace is as its LogSidecars ask for
//! * `policies`: what is created under a policy
//! * `stage`: the three of them together, for one case
//! * everything else: the cases

#![allow(clippy::panic, reason = "that is how a test fails")]

mod controller;
mod kubelet;
#[path = "../e2e/cluster.rs"]
#[allow(dead_code, reason = "shared with the end-to-end suite, which needs more of it")]
mod kubernetes;
mod oracle;
mod policies;
#[path = "../process.rs"]
mod process;
mod proxy;
mod stage;
mod witness;

mod absence;
mod admission;
mod configs;
mod contest;
mod crash;
mod kinds;
mod leader;
mod owners;
mod plan;
mod policy;
mod policy_controller;
mod preflight;
mod random;
mod rollout;
mod secrets;
mod tenancy;
mod weather;
