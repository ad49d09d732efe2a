//! Kubernetes and Karpenter API types, well-known names and quantities, as far as Stowage reads them.

mod quantity;
pub mod well_known;

pub use quantity::{Quantity, QuantityError};
