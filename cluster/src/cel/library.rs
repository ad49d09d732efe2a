//! Functions: of CEL itself, of its extensions for texts, lists, sets and optional values, and Kubernetes' quantities and
//! versions.

use std::cmp::Ordering;
use std::rc::Rc;

use stowage_api::Quantity;

use super::value::{Value, double};
use super::version::Version;
use super::{Fault, Meter};

/// Reading a pattern is dear, so it costs as much as this many steps.
const PATTERN_STEPS: usize = 500;

/// A pattern may take this much memory, in bytes.
const PATTERN_BYTES: usize = 256 << 10;

/// A function that stands alone.
pub(super) fn function(name: &str, arguments: &[Value], meter: &mut Meter) -> Result<Value, Fault> {
    meter.pay(1)?;
    match (name, arguments) {
        ("size", [of]) => size(of),
        ("dyn", [value]) | ("bool", [value @ Value::Bool(_)]) => Ok(value.clone()),
        ("quantity", [Value::Text(text)]) => {
            text.parse::<Quantity>().map(Value::Quantity).map_err(|_| "a text is no quantity".to_owned())
        }
        ("isQuantity", [Value::Text(text)]) => Ok(Value::Bool(text.parse::<Quantity>().is_ok())),
        ("semver", [Value::Text(text), rest @ ..]) => version(text, rest).map(|v| Value::Version(Rc::new(v))),
        ("isSemver", [Value::Text(text), rest @ ..]) => Ok(Value::Bool(version(text, rest).is_ok())),
        ("int", [value]) => int(value),
        ("uint", [value]) => uint(value),
        ("double", [Value::Text(text)]) => {
            text.parse().map(Value::Double).map_err(|_| "a text is no number".to_owned())
        }
        ("double", [value @ (Value::Int(_) | Value::Uint(_) | Value::Double(_))]) => {
            Ok(Value::Double(double(value)))
        }
        ("bool", [Value::Text(text)]) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Value::Bool(false)),
            _ => Err("a text is neither true nor false".to_owned()),
        },
        ("string", [value]) => match value {
            Value::Text(_) => Ok(value.clone()),
            Value::Bool(b) => Ok(Value::text(if *b { "true" } else { "false" })),
            Value::Int(n) => Ok(Value::text(&n.to_string())),
            Value::Uint(n) => Ok(Value::text(&n.to_string())),
            Value::Double(d) => Ok(Value::text(&d.to_string())),
            other => Err(format!("{} is no text", other.noun())),
        },
        _ => Err(unknown(name, arguments)),
    }
}

/// A function with the name of a library before it.
pub(super) fn of_library(
    library: &str,
    name: &str,
    arguments: &[Value],
    meter: &mut Meter,
) -> Result<Value, Fault> {
    meter.pay(1)?;
    match (library, name, arguments) {
        ("optional", "of", [value]) => Ok(Value::Optional(Some(Rc::new(value.clone())))),
        ("optional", "none", []) => Ok(Value::Optional(None)),
        ("sets", "contains", [Value::List(all), Value::List(some)]) => {
            contains_all(all, some, meter).map(Value::Bool)
        }
        ("sets", "equivalent", [Value::List(a), Value::List(b)]) => {
            Ok(Value::Bool(contains_all(a, b, meter)? && contains_all(b, a, meter)?))
        }
        ("sets", "intersects", [Value::List(a), Value::List(b)]) => {
            for item in a.iter() {
                if contains(b, item, meter)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        _ => Err(format!("there is no {library}.{name}() of such arguments")),
    }
}

/// A function of a value.
pub(super) fn method(of: &Value, name: &str, arguments: &[Value], meter: &mut Meter) -> Result<Value, Fault> {
    meter.pay(1)?;
    match of {
        Value::Text(text) => of_text(text, name, arguments, meter),
        Value::List(items) => of_list(items, name, arguments, meter),
        Value::Quantity(quantity) => of_quantity(*quantity, name, arguments),
        Value::Version(version) => of_version(version, name, arguments),
        Value::Optional(value) => match (name, arguments, value) {
            ("hasValue", [], value) => Ok(Value::Bool(value.is_some())),
            ("value", [], Some(value)) => Ok((**value).clone()),
            ("value", [], None) => Err("an optional value is not there".to_owned()),
            _ => Err(unknown(name, arguments)),
        },
        Value::Map(_) if name == "size" && arguments.is_empty() => size(of),
        _ => Err(unknown(name, arguments)),
    }
}

fn unknown(name: &str, arguments: &[Value]) -> Fault {
    let kinds: Vec<&str> = arguments.iter().map(Value::noun).collect();
    format!("there is no function {}({})", name.chars().take(60).collect::<String>(), kinds.join(", "))
}

fn size(of: &Value) -> Result<Value, Fault> {
    let size = match of {
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.entries.len(),
        other => return Err(format!("{} has no size", other.noun())),
    };
    Ok(Value::Int(size as i64))
}

fn version(text: &str, normalize: &[Value]) -> Result<Version, Fault> {
    match normalize {
        [] | [Value::Bool(false)] => Version::parse(text),
        [Value::Bool(true)] => Version::parse_tolerant(text),
        _ => Err(unknown("semver", normalize)),
    }
}

fn int(value: &Value) -> Result<Value, Fault> {
    let whole = match value {
        Value::Int(n) => Some(*n),
        Value::Uint(n) => i64::try_from(*n).ok(),
        // Below 2^63 in size, so that the cast is exact.
        Value::Double(d) => (d.abs() < 9.2e18).then_some(*d as i64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    whole.map(Value::Int).ok_or_else(|| format!("{} is no whole number", value.noun()))
}

fn uint(value: &Value) -> Result<Value, Fault> {
    let whole = match value {
        Value::Int(n) => u64::try_from(*n).ok(),
        Value::Uint(n) => Some(*n),
        Value::Double(d) => (*d >= 0.0 && *d < 1.8e19).then_some(*d as u64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    whole.map(Value::Uint).ok_or_else(|| format!("{} is no whole number above zero", value.noun()))
}

fn contains(items: &[Value], wanted: &Value, meter: &mut Meter) -> Result<bool, Fault> {
    for item in items {
        if item.equals(wanted, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn contains_all(items: &[Value], wanted: &[Value], meter: &mut Meter) -> Result<bool, Fault> {
    for one in wanted {
        if !contains(items, one, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn of_text(text: &Rc<str>, name: &str, arguments: &[Value], meter: &mut Meter) -> Result<Value, Fault> {
    meter.pay(text.len() / 10)?;
    match (name, arguments) {
        ("size", []) => Ok(Value::Int(text.chars().count() as i64)),
        ("startsWith", [Value::Text(other)]) => Ok(Value::Bool(text.starts_with(&**other))),
        ("endsWith", [Value::Text(other)]) => Ok(Value::Bool(text.ends_with(&**other))),
        ("contains", [Value::Text(other)]) => {
            meter.pay(other.len() / 10)?;
            Ok(Value::Bool(text.contains(&**other)))
        }
        ("matches", [Value::Text(pattern)]) => Ok(Value::Bool(compile(pattern, text, meter)?.is_match(text))),
        ("find", [Value::Text(pattern)]) => {
            let found = compile(pattern, text, meter)?.find(text).map(|m| Value::text(m.as_str()));
            Ok(found.unwrap_or_else(|| Value::text("")))
        }
        ("findAll", [Value::Text(pattern)]) => {
            meter.pay(text.len())?;
            let found = compile(pattern, text, meter)?;
            Ok(Value::list(found.find_iter(text).map(|m| Value::text(m.as_str())).collect()))
        }
        ("lowerAscii", []) => Ok(Value::text(&text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::text(&text.to_ascii_uppercase())),
        ("trim", []) => Ok(Value::text(text.trim())),
        ("split", [Value::Text(between)]) => {
            meter.pay(text.len())?;
            let parts: Vec<Value> = if between.is_empty() {
                text.chars().map(|c| Value::text(c.encode_utf8(&mut [0; 4]))).collect()
            } else {
                text.split(&**between).map(Value::text).collect()
            };
            Ok(Value::list(parts))
        }
        ("replace", [Value::Text(old), Value::Text(new)]) => {
            let most = (text.len() + 1).saturating_mul(new.len() + 1);
            meter.pay(if old.is_empty() { most } else { most / old.len().max(1) + text.len() })?;
            Ok(Value::text(&text.replace(&**old, new)))
        }
        ("indexOf", [Value::Text(other)]) => Ok(place(text, text.find(&**other))),
        ("lastIndexOf", [Value::Text(other)]) => Ok(place(text, text.rfind(&**other))),
        ("charAt", [Value::Int(at)]) => substring(text, *at, at.saturating_add(1)),
        ("substring", [Value::Int(from)]) => substring(text, *from, text.chars().count() as i64),
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(text, *from, *to),
        _ => Err(unknown(name, arguments)),
    }
}

fn compile(pattern: &str, text: &str, meter: &mut Meter) -> Result<regex::Regex, Fault> {
    // What a search takes grows with both lengths.
    meter.pay(
        PATTERN_STEPS + pattern.len() * 4 + (text.len() / 10 + 1).saturating_mul(pattern.len() / 4 + 1),
    )?;
    regex::RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .nest_limit(50)
        .build()
        .map_err(|_| "a pattern is none, or too large".to_owned())
}

fn place(text: &str, found: Option<usize>) -> Value {
    Value::Int(found.map_or(-1, |at| text[..at].chars().count() as i64))
}

fn substring(text: &str, from: i64, to: i64) -> Result<Value, Fault> {
    let length = text.chars().count() as i64;
    if from < 0 || from > to || from > length || (to > length && to != from + 1) {
        return Err("a text is shorter than that".to_owned());
    }
    Ok(Value::text(&text.chars().skip(from as usize).take((to - from) as usize).collect::<String>()))
}

fn of_list(
    items: &Rc<Vec<Value>>,
    name: &str,
    arguments: &[Value],
    meter: &mut Meter,
) -> Result<Value, Fault> {
    meter.pay(items.len())?;
    let best = |wanted: Ordering, meter: &mut Meter| -> Result<Value, Fault> {
        let mut best = items.first().ok_or("a list is empty")?;
        for item in items.iter() {
            if item.compare(best, meter)? == Some(wanted) {
                best = item;
            }
        }
        Ok(best.clone())
    };
    match (name, arguments) {
        ("size", []) => Ok(Value::Int(items.len() as i64)),
        ("min", []) => best(Ordering::Less, meter),
        ("max", []) => best(Ordering::Greater, meter),
        ("isSorted", []) => {
            for pair in items.windows(2) {
                if pair[0].compare(&pair[1], meter)? == Some(Ordering::Greater) {
                    return Ok(Value::Bool(false));
                }
            }
            Ok(Value::Bool(true))
        }
        ("sum", []) => {
            let mut sum = 0_i64;
            for item in items.iter() {
                let Value::Int(n) = item else { return Err(format!("{} cannot be summed up", item.noun())) };
                sum = sum.checked_add(*n).ok_or("a sum cannot be had in 64 bits")?;
            }
            Ok(Value::Int(sum))
        }
        ("indexOf" | "lastIndexOf", [wanted]) => {
            let mut found = -1;
            for (at, item) in items.iter().enumerate() {
                if item.equals(wanted, meter)? {
                    found = at as i64;
                    if name == "indexOf" {
                        break;
                    }
                }
            }
            Ok(Value::Int(found))
        }
        ("join", rest @ ([] | [Value::Text(_)])) => {
            let between = if let [Value::Text(between)] = rest { &**between } else { "" };
            let mut out = String::new();
            for (at, item) in items.iter().enumerate() {
                let Value::Text(text) = item else { return Err(format!("{} cannot be joined", item.noun())) };
                meter.pay((text.len() + between.len()) / 10)?;
                out.push_str(if at > 0 { between } else { "" });
                out.push_str(text);
            }
            Ok(Value::text(&out))
        }
        _ => Err(unknown(name, arguments)),
    }
}

fn of_quantity(of: Quantity, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    let is_whole = of.nanos() % 1_000_000_000 == 0 && i64::try_from(of.nanos() / 1_000_000_000).is_ok();
    let number = |n: &i64| Quantity::from_units(*n);
    let too_large = || "a quantity is too large".to_owned();
    match (name, arguments) {
        ("isLessThan", [Value::Quantity(other)]) => Ok(Value::Bool(of < *other)),
        ("isGreaterThan", [Value::Quantity(other)]) => Ok(Value::Bool(of > *other)),
        ("compareTo", [Value::Quantity(other)]) => Ok(Value::Int(of.cmp(other) as i64)),
        ("sign", []) => Ok(Value::Int(of.nanos().signum() as i64)),
        ("isInteger", []) => Ok(Value::Bool(is_whole)),
        ("asInteger", []) if is_whole => Ok(Value::Int(of.floor_units())),
        ("asInteger", []) => Err("a quantity is no whole number".to_owned()),
        ("asApproximateFloat", []) => Ok(Value::Double(of.nanos() as f64 / 1e9)),
        ("add", [Value::Quantity(other)]) => {
            of.checked_add(*other).map(Value::Quantity).ok_or_else(too_large)
        }
        ("sub", [Value::Quantity(other)]) => {
            of.checked_sub(*other).map(Value::Quantity).ok_or_else(too_large)
        }
        ("add", [Value::Int(n)]) => of.checked_add(number(n)).map(Value::Quantity).ok_or_else(too_large),
        ("sub", [Value::Int(n)]) => of.checked_sub(number(n)).map(Value::Quantity).ok_or_else(too_large),
        _ => Err(unknown(name, arguments)),
    }
}

fn of_version(of: &Rc<Version>, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    let part = |at: usize| {
        i64::try_from(of.numbers[at]).map(Value::Int).map_err(|_| "a version is too large".to_owned())
    };
    match (name, arguments) {
        ("isLessThan", [Value::Version(other)]) => Ok(Value::Bool(of < other)),
        ("isGreaterThan", [Value::Version(other)]) => Ok(Value::Bool(of > other)),
        ("compareTo", [Value::Version(other)]) => Ok(Value::Int(of.cmp(other) as i64)),
        ("major", []) => part(0),
        ("minor", []) => part(1),
        ("patch", []) => part(2),
        _ => Err(unknown(name, arguments)),
    }
}
