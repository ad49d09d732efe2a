//! A text is no quantity, or one that prints to the same value and rounds to either side of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stowage_api::Quantity;

fuzz_target!(|text: &str| {
    let _ = serde_json::from_str::<Quantity>(text);
    let Ok(quantity) = text.parse::<Quantity>() else { return };
    let printed = quantity.to_string();
    assert_eq!(
        printed.parse::<Quantity>().map(Quantity::nanos),
        Ok(quantity.nanos()),
        "{text:?} prints as {printed:?}"
    );
    for (low, high, unit) in [
        (quantity.floor_millis(), quantity.ceil_millis(), 1_000_000),
        (quantity.floor_units(), quantity.ceil_units(), 1_000_000_000),
    ] {
        let (low, high) = (i128::from(low) * unit, i128::from(high) * unit);
        assert!(low <= quantity.nanos() && quantity.nanos() <= high && high - low <= unit, "{text:?}");
    }
});
