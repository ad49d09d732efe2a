//! Plans the same clusters with several planners and puts what they reach side by side.
//!
//! ```sh
//! cargo run --release -p stowage-benches --bin compare                                  # built-in workloads
//! cargo run --release -p stowage-benches --bin compare -- --workload mix:5000 -o json
//! cargo run --release -p stowage-benches --bin compare -- snapshot.json.gz --catalog types.json
//! ```
//!
//! `docs/benchmarks.md` says what each planner and workload is, and how the figures are measured.

#[path = "../compare/mod.rs"]
mod compare;

use std::process::ExitCode;

fn main() -> ExitCode {
    compare::main()
}
