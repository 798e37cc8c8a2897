//! Workloads: objects with a pod template, and what can be read from one object alone.
//!
//! * [`id`]: its identity and address
//! * [`snapshot`]: one version of it, as it is kept; [`packed`]: the form of its template there
//! * [`kind`]: the kinds, and where the template sits in each
//! * [`name`]: the name of an object, checked where text comes in
//! * [`key`], [`normal`]: the address of an item in a template, and the form in which two items are compared
//! * [`ledger`]: the annotation that records what was put in
//! * [`owned`]: what `managedFields` say that we own
//! * [`status`]: how its pods are doing, by its own status
//!
//! Knows nothing of LogSidecars, plans or rollouts.

pub mod id;
pub mod key;
pub mod kind;
pub mod ledger;
pub mod name;
pub mod normal;
pub mod owned;
pub mod packed;
pub mod snapshot;
pub mod status;
