//! Expressions, against what Kubernetes answers.

use stowage_api::{Device, DeviceCapacity};

use super::*;

fn device() -> Device {
    let mut device = Device { name: "gpu-0".to_owned(), ..Device::default() };
    let mut put =
        |name: &str, attribute: DeviceAttribute| device.attributes.insert(name.to_owned(), attribute);
    put("model", DeviceAttribute { string: Some("H100".to_owned()), ..DeviceAttribute::default() });
    put("cores", DeviceAttribute { int: Some(16), ..DeviceAttribute::default() });
    put("healthy", DeviceAttribute { bool: Some(true), ..DeviceAttribute::default() });
    put(
        "driverVersion",
        DeviceAttribute { version: Some("1.10.3".to_owned()), ..DeviceAttribute::default() },
    );
    put(
        "pci.example.com/root",
        DeviceAttribute { string: Some("pci0".to_owned()), ..DeviceAttribute::default() },
    );
    let memory = DeviceCapacity { value: "80Gi".parse().unwrap() };
    device.capacity.insert("memory".to_owned(), memory);
    device
}

fn ask(text: &str) -> Result<bool, Fault> {
    Program::parse(text)?.matches("gpu.example.com", &device(), &mut u64::MAX.clone())
}

#[test]
fn selectors_as_people_write_them() {
    for (text, answer) in [
        ("device.driver == 'gpu.example.com'", true),
        ("device.driver == \"nic.example.com\"", false),
        ("device.attributes['gpu.example.com'].model == 'H100'", true),
        ("device.attributes[\"gpu.example.com\"].model in [\"A100\", \"H100\"]", true),
        (
            "device.attributes['gpu.example.com'].cores >= 8 && device.attributes['gpu.example.com'].healthy",
            true,
        ),
        ("device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) >= 0", true),
        ("device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('81920Mi'))", false),
        ("device.capacity['gpu.example.com'].memory == quantity('81920Mi')", true),
        ("device.attributes['gpu.example.com'].driverVersion.isGreaterThan(semver('1.9.12'))", true),
        ("device.attributes['gpu.example.com'].driverVersion.compareTo(semver('v1.10', true)) == 1", true),
        ("device.attributes['gpu.example.com'].driverVersion.minor() == 10", true),
        ("device.attributes['pci.example.com'].root == 'pci0'", true),
        ("cel.bind(gpu, device.attributes['gpu.example.com'], gpu.healthy && gpu.cores == 16)", true),
        ("'model' in device.attributes['gpu.example.com']", true),
        ("'other.example.com' in device.attributes", false),
        ("has(device.attributes['gpu.example.com'].model)", true),
        ("has(device.attributes['other.example.com'].model)", false),
        ("device.attributes['other.example.com'].?model.orValue('none') == 'none'", true),
        ("device.attributes['gpu.example.com'].model.matches('^H[0-9]+$')", true),
        ("device.attributes['gpu.example.com'].model.lowerAscii().startsWith('h1')", true),
        ("device.attributes['gpu.example.com'].all(name, name.size() > 2)", true),
        ("device.driver == 'other' || device.attributes['other'].missing == 1 || true", true),
        ("device.attributes['gpu.example.com'].model == 7", false),
        ("!(1 + 2 * 3 - 7 != 0) ? true : false", true),
        ("[1, 2, 3].exists(n, n == 2) && [1, 2, 3].filter(n, n > 1).size() == 2", true),
        ("[1, 2].map(n, n * 2) == [2, 4] && {'a': 1}['a'] == 1 && 7 / 2 == 3 && 1.5 < 2.0", true),
        ("isQuantity('1x') || isSemver('1') || 'a' + 'b' != 'ab'", false),
        ("device.allowMultipleAllocations", false),
        ("true // why not", true),
    ] {
        assert_eq!(ask(text), Ok(answer), "{text}");
    }
}

#[test]
fn what_cannot_be_told_is_a_fault() {
    for text in [
        "",
        "1",
        "device",
        "device.attributes['gpu.example.com'].missing == 1",
        "device.attributes['gpu.example.com'].model > 7",
        "device.nonsense",
        "nonsense(device)",
        "nothing == 1",
        "1 / 0 == 1",
        "9223372036854775807 + 1 > 0",
        "'a' in 'abc'",
        "device.driver ==",
        "(device.driver == 'a'",
        "'open",
        "true true",
        "[1][2] == 1",
        "b'x' == b'x'",
        "'x'.matches('(')",
        "device.attributes['a'].`b`",
        "semver('1') == semver('1')",
        "optional.none().value()",
        "99999999999999999999 == 1",
    ] {
        assert!(ask(text).is_err(), "{text}: {:?}", ask(text));
    }
    // What decides alone does so beside what cannot be told.
    assert_eq!(ask("device.nonsense && false"), Ok(false));
    assert_eq!(ask("device.nonsense || true"), Ok(true));
}

#[test]
fn hostile_expressions_end() {
    let ten = "[0,1,2,3,4,5,6,7,8,9]";
    let nested = (0..40).fold("true".to_owned(), |inner, at| format!("{ten}.all(x{at}, {inner})"));
    let doubled = (0..60).fold("a59".to_owned(), |inner, at| {
        let (this, last) = (59 - at, if at == 59 { "'xx'".to_owned() } else { format!("a{}", 58 - at) });
        format!("cel.bind(a{this}, {last} + {last}, {inner})")
    });
    let pairs = (0..60).fold("a59 == a59".to_owned(), |inner, at| {
        let (this, last) = (59 - at, if at == 59 { "0".to_owned() } else { format!("a{}", 58 - at) });
        format!("cel.bind(a{this}, [{last}, {last}], {inner})")
    });
    for text in [
        "(".repeat(10_000),
        "[".repeat(10_000),
        "{1:".repeat(3_000),
        "!".repeat(10_000),
        "-".repeat(10_000),
        "a?".repeat(5_000),
        format!("1{}", "+1".repeat(5_000)),
        format!("a{}", ".b".repeat(5_000)),
        format!("{}true{}", "(".repeat(98), ")".repeat(98)) + " == 1 +",
        nested,
        doubled,
        pairs,
        "'x'.matches('(a{1000}){1000}')".to_owned(),
        format!("'{}'.replace('', '{}') == ''", "x".repeat(4_000), "y".repeat(4_000)),
        "\u{0}\u{1}é".to_owned(),
        "x".repeat(20_000),
    ] {
        assert!(ask(&text).is_err(), "{}", text.chars().take(60).collect::<String>());
    }
    assert_eq!(ask(&format!("true{}", " && true".repeat(1_000))), Ok(true));
}

#[test]
fn steps_are_taken_off_what_is_left() {
    let mut steps = 100;
    let program = Program::parse("[1, 2, 3].all(n, n > 0)").unwrap();
    assert_eq!(program.matches("d", &device(), &mut steps), Ok(true));
    assert!(steps < 100 && steps > 50, "{steps}");
    steps = 5;
    assert!(program.matches("d", &device(), &mut steps).is_err());
    assert_eq!(steps, 0);
}
