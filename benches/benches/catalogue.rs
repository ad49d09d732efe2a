//! Building the catalogue of a region from what is compiled in: time, and the memory that it takes.
//!
//! ```sh
//! cargo bench -p stowage-benches --bench catalogue
//! ```
//!
//! | name | what it is the time of |
//! |---|---|
//! | `embedded` | inflating and reading what is compiled in, and every type of us-east-1 with labels, allocatable and offerings |
//! | `suited` | the same types as an `EC2NodeClass` with settings of kubelet has them |
//!
//! Facts of types are read once in a process; the first build, which reads them, is told apart together with the memory
//! that it took. It must stay below 50 ms and 30 MB: the bench fails otherwise.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use stowage_benches::measure::{peak_bytes, reset_peak};
use stowage_pricing::{Catalog, NodeConfig, Settings};

const REGION: &str = "us-east-1";
const MOST_TIME: Duration = Duration::from_millis(50);
const MOST_BYTES: u64 = 30_000_000;

fn main() {
    let measured = reset_peak();
    let before = peak_bytes();
    let began = Instant::now();
    let catalog = build();
    let took = began.elapsed();
    let bytes = peak_bytes().saturating_sub(before);
    let offerings: usize = catalog.types.iter().map(|of| of.offerings.len()).sum();
    eprintln!(
        "first build: {} types, {offerings} offerings in {:.1} ms, {:.1} MB more at its peak",
        catalog.types.len(),
        took.as_secs_f64() * 1e3,
        bytes as f64 / 1e6,
    );
    assert!(took <= MOST_TIME, "the first build took {took:?}");
    assert!(!measured || bytes <= MOST_BYTES, "the first build took {bytes} bytes");

    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("embedded", |b| b.iter(build));
    let config = NodeConfig { max_pods: Some(110), ..NodeConfig::default() };
    criterion.bench_function("suited", |b| b.iter(|| black_box(&catalog).suited_to(&config)));
    criterion.final_summary();
}

fn build() -> Catalog {
    Catalog::embedded(black_box(REGION), &Settings::default()).expect("what is compiled in can be read")
}
