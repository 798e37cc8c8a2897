//! What the operator is set up for: constant while it runs.

use crate::{shipper::Images, workload::kind::Kinds};

/// What the operator is set up for.
#[derive(Debug)]
pub(super) struct Scope {
    /// The one namespace that it works in; all of them if there is none.
    pub namespace: Option<String>,
    /// The kinds of workload.
    pub kinds: Kinds,
    /// The default images of the shippers.
    pub images: Images,
}
