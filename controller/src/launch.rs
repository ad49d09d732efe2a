//! From a `NodeClaim` to what EC2 is asked for.

pub mod addresses;
pub mod fault;
pub mod order;
pub mod run;
pub mod template;
pub mod templates;
