//! The controller: follows a cluster, plans for its pending pods, and asks for nodes.
//!
//! ```text
//! API server ─▶ follow ─▶ Index ─▶ Snapshot ─▶ batch ─▶ assumed ─▶ decide ─▶ claim ─▶ NodeClaims, events
//! AWS ────────▶ market ─▶ Catalog ───────────────────────▲
//! ```
//!
//! What decides is pure and stands in modules of its own ([`batch`], [`assumed`], [`decide`], [`claim`]); the loops around
//! them read the clock, the API server and AWS.

pub mod announce;
mod answer;
pub mod assumed;
pub mod batch;
pub mod buffer;
pub mod claim;
pub mod decide;
pub mod disrupt;
pub mod facts;
pub mod fargate;
pub mod follow;
pub mod gates;
pub mod interrupt;
pub mod launch;
pub mod learnt;
pub mod life;
pub mod make;
pub mod market;
mod newest;
pub mod node_class;
pub mod operate;
pub mod outlook;
pub mod overlay;
pub mod pool;
pub mod provision;
mod rehash;
pub mod replicas;
mod rounds;
mod say;
pub mod settings;
mod shared;
pub mod stand_in;
mod time;
mod together;
pub mod user_data;
mod whole;
mod zones;
