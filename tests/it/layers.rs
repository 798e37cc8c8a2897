//! The layout of `src`, checked over its syntax: which modules are pure, which way imports point, and that a type name means one
//! thing.
//!
//! * `source`: the modules of the crate, parsed
//! * `mentions`: every path that a module names, in imports, code and macros
//! * `purity`, `imports`, `names`: one rule each

mod imports;
mod mentions;
mod names;
mod purity;
mod source;
