//! Maintainers' chores: building the embedded catalogue from newer facts.
//!
//! ```sh
//! cargo xtask catalogue --facts DIR       # pricing/data/*.json.gz, from recorded AWS answers
//! cargo xtask expected --catalog FILE     # pricing/tests/data/expected.tsv, from a catalogue computed elsewhere
//! ```

mod catalogue;
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
    /// Extracts what a catalogue that another program computed says of each type, for our tests to agree with.
    Expected {
        /// The catalogue, plain or gzipped.
        #[arg(long, value_name = "FILE")]
        catalog: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let pricing = root.parent().context("xtask has no workspace around it")?.join("pricing");
    match Task::parse() {
        Task::Catalogue { facts } => catalogue::build(&facts, &pricing.join("data")),
        Task::Expected { catalog } => expected::extract(&catalog, &pricing.join("tests/data/expected.tsv")),
    }
}
