//! Rolling out safely, as far as it can be decided without a cluster: who may be changed next, and what became of it. Pure: the
//! caller says what time it is.
//!
//! * [`settings`]: `spec.rollout`, parsed
//! * [`scheduler`]: who may be changed, who has to wait, what halts a rollout
//! * [`canary`]: who is changed first
//! * [`in_flight`]: a workload that is being changed
//! * [`health`]: pods → the state of every container
//! * [`verdict`]: has a workload in flight succeeded, or failed?
//!
//! What a restart of the controller must not lose is in the status of the `LogSidecar` (a halted rollout, canaries that have
//! succeeded), in the ledgers (which revision a workload has, and had before) and in the cluster itself (what is in flight).

pub mod canary;
pub mod health;
pub mod in_flight;
pub mod scheduler;
pub mod settings;
pub mod verdict;
