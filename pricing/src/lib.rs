//! The EC2 instance catalogue: types, allocatable resources, zone offerings and prices; bytes in, facts out.
//!
//! ```text
//! data/*.json.gz ─▶ facts ─▶ overhead, labels ─▶ Catalog::embedded ─┐
//!                                                                   ├─▶ Catalog ─▶ to_json ─▶ an edited file ─┐
//! a catalogue file ─────────▶ parse ───────────▶ Catalog::parse ────┘        ◀────────────────────────────────┘
//! ```
//!
//! # Invariants
//! - Nothing here reads a file, a clock, the environment or a network.
//! - No float decides a resource: memory overhead is a ratio of integers ([`Share`]). Prices are floats only because
//!   their sources are; nothing is computed from them but estimates.
//! - The same bytes and settings give the same catalogue, types sorted by name.
//!
//! ```
//! use stowage_pricing::{Catalog, Settings};
//!
//! let catalog = Catalog::embedded("us-east-1", &Settings::default())?;
//! let m7i = catalog.find("m7i.large").expect("sold in us-east-1");
//! assert_eq!(m7i.resources["memory"].to_string(), "7577Mi");
//! assert_eq!(m7i.offerings.iter().find(|o| o.capacity_type() == "on-demand").map(|o| o.price), Some(0.1008));
//! # Ok::<(), stowage_pricing::Error>(())
//! ```

mod ami_family;
mod assemble;
pub mod aws;
mod catalog;
mod commitment;
mod diff;
mod embedded;
mod error;
pub mod facts;
pub mod fargate;
mod glob;
mod inflate;
mod labels;
mod learnt;
mod node_config;
mod overhead;
mod overlay;
mod parse;
mod quote;
mod render;
mod share;
mod stated;
mod time;
mod unavailable;
mod volume;

pub use ami_family::{AmiFamily, WindowsYear};
pub use assemble::{Assembled, LeftOut, Region, Why};
pub use catalog::{Catalog, CatalogSource, InstanceType, Offering, Requirement, Settings};
pub use commitment::{
    Bill, Budget, Commitments, CommittedOffer, Cover, CoverUnit, Nodes, PlanKind, ReservedInstances,
    SavingsPlan, size_units,
};
pub use diff::{CatalogDiff, LabelMove, LimitMove, OfferedIn, PriceMove, ResourceMove};
pub use embedded::{
    DatedPrices, locations as embedded_locations, on_demand_prices as embedded_prices, priced_regions,
};
pub use error::Error;
pub use glob::fits_glob;
pub use learnt::{LearntCapacity, LearntError};
pub use node_config::{Disk, Interface, Misfit, NodeConfig, Threshold, Unused};
pub use overlay::{Overlaid, Overlay, OverlayError, PoolLabels, PriceChange, Rejected};
pub use quote::{Age, Concern, Currency, FargateRates, Part, PriceBook, PriceSource, Quote, Refreshes};
pub use render::to_json;
pub use share::{Share, ShareError};
pub use stowage_api::Operator;
pub use time::{Timestamp, TimestampError};
pub use unavailable::{CapacityFault, OfferingKey, Unavailable};
pub use volume::AttachLimit;
