//! Prints a made-up cluster of pending pods as a snapshot.
//!
//! ```sh
//! cargo run --release -p stowage-benches --bin make-snapshot -- --pods 100000 > snapshot.json
//! ```

use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Context;
use clap::Parser;
use stowage_benches::{Workload, write};

/// Prints a made-up web company's pending pods as a snapshot for `stowage plan`.
#[derive(Parser)]
struct Args {
    /// Number of pods
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pods: u32,

    /// Another number makes other services
    #[arg(long, default_value_t = Workload::SEED)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&Workload::new(args.pods as usize, args.seed), &mut out).and_then(|()| out.flush()) {
        // Whoever reads may stop early, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write the snapshot"),
    }
}
