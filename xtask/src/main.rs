//! Maintainers' chores: the embedded catalogue from newer facts, and the definitions of custom resources.
//!
//! ```sh
//! cargo xtask catalogue --facts DIR       # pricing/data/*.json.gz, from recorded AWS answers
//! cargo xtask expected --catalog FILE     # pricing/tests/data/expected.tsv, from a catalogue computed elsewhere
//! cargo xtask crds                        # deploy/charts/*/…, from the types in api/src/crd
//! ```

mod catalogue;
mod crds;
mod expected;
mod source;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

/// Stowage's maintainers' chores.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
enum Task {
    /// Builds the catalogue that is compiled into Stowage.
    Catalogue {
        /// Folder of recorded facts; pricing/data/README.md says which files it holds.
        #[arg(long, value_name = "DIR")]
        facts: PathBuf,
    },
    /// Writes the definitions of the custom resources into the charts.
    Crds,
    /// Extracts what a catalogue that another program computed says of each type, for our tests to agree with.
    Expected {
        /// The catalogue, plain or gzipped.
        #[arg(long, value_name = "FILE")]
        catalog: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = root.parent().context("xtask has no workspace around it")?;
    let pricing = root.join("pricing");
    match Task::parse() {
        Task::Catalogue { facts } => catalogue::build(&facts, &pricing.join("data")),
        Task::Crds => crds::write(root),
        Task::Expected { catalog } => expected::extract(&catalog, &pricing.join("tests/data/expected.tsv")),
    }
}
