//! An AWS on loopback: moto for what it has, and in front of it a thin server of our own for what it has not, which can be
//! told to throttle, to refuse and to break.
//!
//! ```text
//! stowage --live ─▶ Front ─┬─▶ moto: types, zones, subnets, machines, queues
//!                          ├─▶ stock: Price List, spot history, reservations, plans
//!                          └─▶ unwell: failed checks, scheduled events, zonal shifts
//! ```

mod binary;
mod front;
mod http;
mod instances;
mod moto;
mod sqs;
mod stock;
mod unwell;

pub use binary::{stowage, stowage_controller};
pub use front::{Front, Mishap};
pub(crate) use http::read_request;
pub use instances::{Ec2Form, Instance, all};
pub use moto::Moto;
pub use sqs::Mailbox;
pub use stock::{Plan, Stock};
pub use unwell::Unwell;
