//! An AWS on loopback: moto for what it has, and in front of it a thin server of our own for what it has not, which can be
//! told to throttle, to refuse and to break.
//!
//! ```text
//! stowage --live ─▶ Front ─┬─▶ moto: types, zones, subnets
//!                          └─▶ stock: Price List, spot history, reservations, plans
//! ```

mod binary;
mod front;
mod http;
mod instances;
mod moto;
mod stock;

pub use binary::{stowage, stowage_controller};
pub use front::{Front, Mishap};
pub use instances::{Ec2Form, Instance, all};
pub use moto::Moto;
pub use stock::{Plan, Stock};
