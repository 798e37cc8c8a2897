//! Talking to an API server: what the controller and the commands have in common. Decides nothing.
//!
//! * [`request`]: the time limit of every request, and lists page by page
//! * [`patch`]: the guarded write of a workload, or its dry run
//! * [`namespace`]: the quotas, limits and policies that new pods have to meet
//! * [`kept`]: the specs of earlier revisions

pub mod kept;
pub mod namespace;
pub mod patch;
pub mod request;
