//! From a `NodeClaim` to what EC2 is asked for.

pub mod addresses;
pub mod boot;
pub mod fault;
pub mod order;
mod record;
pub mod run;
pub mod template;
pub mod templates;
pub mod tokens;
