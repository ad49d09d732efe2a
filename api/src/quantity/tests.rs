use proptest::prelude::*;

use super::{Quantity, QuantityError};

fn nanos(text: &str) -> i128 {
    text.parse::<Quantity>().unwrap_or_else(|e| panic!("{e}")).nanos()
}

#[test]
fn every_suffix_and_exponent() {
    for (text, expected) in [
        ("0", 0),
        ("1n", 1),
        ("1u", 1_000),
        ("1m", 1_000_000),
        ("1", 1_000_000_000),
        ("1k", 1_000_000_000_000),
        ("1M", 10_i128.pow(15)),
        ("1G", 10_i128.pow(18)),
        ("1T", 10_i128.pow(21)),
        ("1P", 10_i128.pow(24)),
        ("0.001E", 10_i128.pow(24)),
        ("1Ki", 1_024_000_000_000),
        ("1Mi", (1 << 20) * 1_000_000_000),
        ("1Gi", (1 << 30) * 1_000_000_000),
        ("1Ti", (1 << 40) * 1_000_000_000),
        ("1Pi", (1 << 50) * 1_000_000_000),
        ("0.0078125Ei", (1 << 53) * 1_000_000_000),
        ("1e3", 1_000_000_000_000),
        ("1E3", 1_000_000_000_000),
        ("1e+3", 1_000_000_000_000),
        ("1500e-3", 1_500_000_000),
        ("12e-9", 12),
        ("1.", 1_000_000_000),
        (".5", 500_000_000),
        ("+1.50", 1_500_000_000),
        ("-250m", -250_000_000),
        ("-0", 0),
        ("007", 7_000_000_000),
    ] {
        assert_eq!(nanos(text), expected, "{text}");
    }
}

#[test]
fn below_a_nano_unit_rounds_up() {
    for (text, expected) in [
        ("0.1n", 1),
        ("1.0000000001n", 2),
        ("0.0000000001", 1),
        ("1e-10", 1),
        ("1e-999999999999999999999", 1),
        ("-0.1n", -1),
        ("0.0000000000001Ki", 1),
        ("0e-30", 0),
        ("0.00000000000000000000000000000000000000000000000000000000000000000000000000000001", 1),
    ] {
        assert_eq!(nanos(text), expected, "{text}");
    }
    // A third of a Ki to twenty digits: 341.33333333333333333299 rounds to 341333333334 nano-units.
    assert_eq!(nanos("0.33333333333333333333Ki"), 341_333_333_334);
}

#[test]
fn long_texts_are_exact_and_quick() {
    let zeros = "0".repeat(1_000_000);
    assert_eq!(nanos(&format!("1.{zeros}1")), 1_000_000_001);
    assert_eq!(nanos(&format!("{zeros}5")), 5_000_000_000);
    assert_eq!(nanos(&format!("1{zeros}e-1000000")), 1_000_000_000);
    assert_eq!(nanos(&format!("0.{zeros}1e1000000")), 100_000_000);
    let error = format!("1{zeros}").parse::<Quantity>().expect_err("absurd");
    assert!(error.to_string().len() < 200, "{error}");
}

#[test]
fn absurd_amounts_are_refused_not_wrapped() {
    for text in [
        "1e30",
        "1E",
        "1Ei",
        "9Pi",
        "-1e30",
        "1e19",
        "9223372036854775808",
        "1e999999999999999999999999",
        "8.0000000000000000000000001Pi",
        "340282366920938463463374607431768211456",
        "99999999999999999999999999999999999999999999999999Ei",
    ] {
        assert!(matches!(text.parse::<Quantity>(), Err(QuantityError::TooLarge(_))), "{text}");
    }
    assert_eq!("8Pi".parse::<Quantity>().expect("the largest").ceil_units(), Quantity::MAX_UNITS);
    assert_eq!(Quantity::from_units(i64::MIN).floor_units(), -Quantity::MAX_UNITS);
    assert_eq!(Quantity::from_units(i64::MAX).ceil_millis(), Quantity::MAX_UNITS * 1000);
}

#[test]
fn malformed_texts_are_refused() {
    for text in [
        "", " ", "1 ", " 1", "1 Gi", "Gi", "m", ".", "-", "+", "+-1", "1..2", "1.2.3", "1K", "1ki", "1mi",
        "1KiB", "1Gb", "1e", "1e+", "1e1.5", "1e3Ki", "1Ki1", "0x10", "1_000", "1,5", "∞", "NaN", "inf", "١",
        "1\u{0}", "-e3",
    ] {
        assert!(matches!(text.parse::<Quantity>(), Err(QuantityError::Malformed(_))), "{text:?}");
    }
}

#[test]
fn prints_canonically_in_the_family_it_was_written_in() {
    for (text, expected) in [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("15890m", "15890m"),
        ("1500", "1500"),
        ("2000", "2k"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("1025", "1025"),
        ("0.5Ki", "512"),
        ("0.0001Ki", "102400u"),
        ("2500e-3", "2500e-3"),
        ("30e2", "3e3"),
        ("5e0", "5"),
        ("-1.5Gi", "-1536Mi"),
        ("0Gi", "0"),
    ] {
        assert_eq!(text.parse::<Quantity>().map(|q| q.to_string()).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(Quantity::from_bytes(7577 << 20).to_string(), "7577Mi");
    assert_eq!(Quantity::from_millis(1_930).to_string(), "1930m");
    assert_eq!(Quantity::from_units(29).to_string(), "29");
}

#[test]
fn rounds_toward_what_is_asked() {
    let q: Quantity = "1.0005".parse().expect("valid");
    assert_eq!((q.floor_millis(), q.ceil_millis(), q.floor_units(), q.ceil_units()), (1000, 1001, 1, 2));
    let q: Quantity = "-1.0005".parse().expect("valid");
    assert_eq!((q.floor_millis(), q.ceil_millis(), q.floor_units(), q.ceil_units()), (-1001, -1000, -2, -1));
}

#[test]
fn equality_and_sums_look_at_the_value() {
    let gi: Quantity = "1Gi".parse().expect("valid");
    assert_eq!(gi, "1024Mi".parse().expect("valid"));
    assert!(gi > "1G".parse().expect("valid"));
    assert_eq!(gi.checked_add(gi).map(|q| q.to_string()).as_deref(), Some("2Gi"));
    assert_eq!(gi.checked_sub(gi), Some(Quantity::ZERO));
    let most = Quantity::from_units(Quantity::MAX_UNITS);
    assert_eq!(most.checked_add(Quantity::from_millis(1)), None);
    assert_eq!(most.checked_sub(Quantity::from_millis(-1)), None);
}

#[test]
fn json_strings_and_numbers() {
    let read = |json: &str| serde_json::from_str::<Quantity>(json).map_err(|e| e.to_string());
    assert_eq!(read("\"1Gi\""), Ok(Quantity::from_bytes(1 << 30)));
    assert_eq!(read("2"), Ok(Quantity::from_units(2)));
    assert_eq!(read("-2"), Ok(Quantity::from_units(-2)));
    assert_eq!(read("0.1"), Ok(Quantity::from_millis(100)));
    assert_eq!(read("1e3"), Ok(Quantity::from_units(1000)));
    for bad in ["1e30", "18446744073709551615", "true", "null", "[]", "{}", "\"\"", "\"one\""] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert_eq!(serde_json::to_string(&Quantity::from_bytes(3 << 30)).expect("writes"), "\"3Gi\"");
}

proptest! {
    #[test]
    fn never_panics(text in any::<String>()) {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn never_panics_on_near_misses(text in "[-+]?[0-9]{0,45}\\.?[0-9]{0,45}([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{0,22})?") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn what_prints_reads_back(nanos in -9_007_199_254_740_992_000_000_000_i128..=9_007_199_254_740_992_000_000_000, family in 0..3_usize) {
        let family = [super::Family::Decimal, super::Family::Binary, super::Family::Exponent][family];
        let printed = Quantity { nanos, family }.to_string();
        prop_assert_eq!(printed.parse::<Quantity>().map(Quantity::nanos), Ok(nanos), "{}", printed);
    }

    #[test]
    fn moving_the_point_equals_changing_the_exponent(mantissa in 0..1_000_000_000_u64, places in 0..20_usize) {
        let long = format!("0.{}{mantissa:09}", "0".repeat(places));
        let short = format!("{mantissa}e-{}", places + 9);
        prop_assert_eq!(long.parse::<Quantity>(), short.parse::<Quantity>());
    }

    #[test]
    fn order_is_by_value(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
        prop_assert_eq!(a.cmp(&b), Quantity::from_millis(a).cmp(&Quantity::from_bytes(b).checked_sub(Quantity::from_millis(999 * b)).expect("in range")));
    }
}
