//! AWS at the edge: what EC2 and the Price List answer now, kept on disk, and used for as long as it is fresh.
//!
//! ```text
//! store: fresh ───────────────────────────────┐
//! session ─▶ ask ─▶ every page ─▶ row: JSON ──┼─▶ Readings ─▶ pricing's parsers ─▶ Region
//! store: old, where asking failed ────────────┘      └─▶ remarks: what is old, and why
//! ```
//!
//! The SDK's types end in [`row`]: from there on an answer is the JSON that `aws … --output json` prints, which the pricing
//! crate reads whether it comes from here or from a file.
//!
//! # Invariants
//! - An answer counts once its last page is there; until then, and where it is empty, the last good one stays.
//! - Whatever could not be asked anew is named, with the age of what is used instead.
//! - No clock is read: the moment is handed in.

mod ask;
mod call;
mod capacity;
mod clients;
mod ec2;
mod eks;
mod fleet;
mod here;
mod observe;
mod profile;
mod queue;
mod read;
mod region;
mod row;
mod session;
mod shift;
mod ssm;
mod status;
mod store;
mod template;

pub use call::Call;
pub use capacity::{FoundGroup, FoundReservation, ReservationSearch};
pub use clients::Clients;
pub use ec2::{Ec2, FoundImage, FoundSubnet, Machine, Refused, Search};
pub use eks::{Clusters, FoundCluster};
pub use fleet::{Failure, Fleet, FleetWay, Launched, Started};
pub use here::region_here;
pub use observe::Observer;
pub use profile::{Profile, Profiles};
pub use queue::{AT_ONCE as LETTERS_AT_ONCE, Letter, Queue, Queues};
pub use read::{Reading, Readings, Trouble, Wish, read};
pub use region::Live;
pub use shift::{Shift, Shifts};
pub use ssm::Parameters;
pub use status::{Check, Impaired, Planned, Unwell};
pub use store::Store;
pub use template::{Disk, Interface, InterfaceKind, Metadata, Template, Tracking};
