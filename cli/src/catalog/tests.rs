//! Filters, orders and the table, on the embedded catalogue.

use std::sync::LazyLock;

use super::*;
use crate::render::look::Look;
use crate::text::width;

static EMBEDDED: LazyLock<Catalog> =
    LazyLock::new(|| Source::default().load(&Progress::start()).unwrap().catalog);

fn few() -> CatalogArgs {
    let globs = ["m7i.large", "c7g.xlarge", "p5.48xlarge", "inf2.48xlarge", "t2.nano"];
    CatalogArgs { types: globs.map(str::to_owned).to_vec(), ..CatalogArgs::default() }
}

fn with(filters: Filters) -> CatalogArgs {
    CatalogArgs { filters, ..few() }
}

fn shown(args: &CatalogArgs, width: usize) -> String {
    let look = Look { width, color: false, bars: false };
    table::table(&EMBEDDED, &select(&EMBEDDED, args), &look)
}

fn names(args: &CatalogArgs) -> Vec<String> {
    select(&EMBEDDED, args).into_iter().map(|t| t.name).collect()
}

#[test]
fn a_wide_table_and_a_narrow_one() {
    insta::assert_snapshot!(shown(&few(), 120), @r"
    TYPE           ARCH   VCPU   MEMORY  GPU             POD CPU  POD MEMORY  PODS  ZONES        ON-DEMAND/H     SPOT/H
    t2.nano        amd64     1  512 MiB                     0.94      74 MiB     4  a b c d e f      $0.0058          -
    m7i.large      amd64     2    8 GiB                     1.93    6.74 GiB    29  a b c d f        $0.1008   ~$0.0353
    c7g.xlarge     arm64     4    8 GiB                     3.92    6.37 GiB    58  a b c d f        $0.1450   ~$0.0508
    inf2.48xlarge  amd64   192  768 GiB  12 inferentia2      191     702 GiB   737  a b c f         $12.9813   ~$4.5434
    p5.48xlarge    amd64   192    2 TiB  8 h100              191    1.85 TiB   100  a b c d e f     $55.0400  ~$19.2640

    5 of 1,340 types in us-east-1; on-demand prices of 2026-07-20; ~ spot prices are estimated at 35% of on-demand.
    ");
    insta::assert_snapshot!(shown(&few(), 70), @r"
    TYPE           VCPU   MEMORY  GPU             ON-DEMAND/H     SPOT/H
    t2.nano           1  512 MiB                      $0.0058          -
    m7i.large         2    8 GiB                      $0.1008   ~$0.0353
    c7g.xlarge        4    8 GiB                      $0.1450   ~$0.0508
    inf2.48xlarge   192  768 GiB  12 inferentia2     $12.9813   ~$4.5434
    p5.48xlarge     192    2 TiB  8 h100             $55.0400  ~$19.2640

    5 of 1,340 types in us-east-1; on-demand prices of 2026-07-20; ~ spot
    prices are estimated at 35% of on-demand.
    ");
    for columns in 62..140 {
        let text = shown(&few(), columns);
        assert!(text.lines().all(|line| width(line) <= columns), "{columns} columns:\n{text}");
    }
}

#[test]
fn filters_narrow_types_and_offerings() {
    let all = CatalogArgs::default();
    assert!(names(&all).len() > 1_300);
    assert_eq!(
        names(&with(Filters { arch: Some("arm64".to_owned()), ..Filters::default() })),
        ["c7g.xlarge"]
    );
    assert_eq!(
        names(&with(Filters { gpu: Some(None), ..Filters::default() })),
        ["inf2.48xlarge", "p5.48xlarge"]
    );
    assert_eq!(
        names(&with(Filters { gpu: Some(Some("H100".to_owned())), ..Filters::default() })),
        ["p5.48xlarge"]
    );
    let middle = with(Filters { min_cpu: "2".parse().ok(), max_cpu: "4".parse().ok(), ..Filters::default() });
    assert_eq!(names(&middle), ["m7i.large", "c7g.xlarge"]);
    // Advertised memory: of its 8 GiB, pods of an m7i.large see less.
    let roomy =
        with(Filters { min_memory: "8Gi".parse().ok(), max_cpu: "4".parse().ok(), ..Filters::default() });
    assert_eq!(names(&roomy), ["m7i.large", "c7g.xlarge"]);
    let spot = with(Filters {
        capacity_type: Some("spot".to_owned()),
        zone: Some("us-east-1a".to_owned()),
        ..Filters::default()
    });
    assert!(!names(&spot).contains(&"t2.nano".to_owned()), "t2 is not sold as spot");
    assert!(select(&EMBEDDED, &spot).iter().all(|t| t.offerings.len() == 1));
    let nowhere = with(Filters { zone: Some("mars".to_owned()), ..Filters::default() });
    assert!(shown(&nowhere, 80).starts_with("No instance type passes these filters.\n0 of "));
}

#[test]
fn orders_and_limits() {
    let sorted = |sort| names(&CatalogArgs { sort: Some(sort), limit: Some(3), ..few() });
    assert_eq!(sorted(Sort::Price), ["t2.nano", "m7i.large", "c7g.xlarge"]);
    assert_eq!(sorted(Sort::Name), ["c7g.xlarge", "inf2.48xlarge", "m7i.large"]);
    assert_eq!(sorted(Sort::Cpu), ["t2.nano", "m7i.large", "c7g.xlarge"]);
    assert_eq!(sorted(Sort::Memory), ["t2.nano", "c7g.xlarge", "m7i.large"]);
}

#[test]
fn what_is_printed_as_json_reads_back() {
    let chosen = select(&EMBEDDED, &CatalogArgs { output: Form::Json, ..few() });
    let read = Catalog::parse(to_json(&chosen).as_bytes(), "few.json").unwrap();
    assert_eq!(read.types, chosen);
}
