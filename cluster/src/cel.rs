//! Expressions about devices, in the Common Expression Language as Kubernetes has it for device selectors.
//!
//! ```text
//! text ─▶ token ─▶ parse ─▶ tree ─▶ eval (device, meter) ─▶ true, false or a fault
//!                                     └ value, library, version: what there is beside operators
//! ```
//!
//! # Invariants
//! - Whatever the text, nothing panics, recursion is as deep as [`MAX_DEPTH`] at most, and time and memory are bounded by
//!   a [`Meter`]: each step pays before it is taken. Kubernetes bounds evaluation in the same way.
//! - What is not known (a function, a type) is a fault that says so, never a guess.
//!
//! Why no library: those there are have neither a limit on steps nor one on recursion that holds (ten thousand opening
//! parentheses end the process), and bring a parser generator's run time along. Selectors need a small part of the
//! language: that of `k8s.io/dynamic-resource-allocation/cel`, with Kubernetes' quantities and versions.

mod eval;
mod library;
mod parse;
mod token;
mod value;
mod version;

use std::rc::Rc;

use stowage_api::{Device, DeviceAttribute};

use self::parse::Expr;
use self::value::{Map, Value};

/// Longest expression that is read, in bytes: `CELSelectorExpressionMaxLength` of `resource.k8s.io/v1`.
const MAX_LENGTH: usize = 10 << 10;

/// How deep expressions may be nested.
const MAX_DEPTH: u16 = 100;

/// Steps for one expression and one device: `CELSelectorExpressionMaxCost` of `resource.k8s.io/v1`.
const MAX_STEPS: u64 = 1_000_000;

/// Why an expression has no answer, in words.
pub(crate) type Fault = String;

/// An expression that was understood.
#[derive(Debug)]
pub(crate) struct Program(Expr);

impl Program {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > MAX_LENGTH {
            return Err(format!("longer than {MAX_LENGTH} bytes"));
        }
        parse::parse(text).map(Self)
    }

    /// Whether a device of this driver suits it. Steps are taken off `steps`.
    ///
    /// # Errors
    /// Where the expression cannot tell: an attribute that the device lacks, types that do not go together, or more steps
    /// than are allowed or left.
    pub(crate) fn matches(&self, driver: &str, device: &Device, steps: &mut u64) -> Result<bool, Fault> {
        let allowed = MAX_STEPS.min(*steps);
        let mut meter = Meter { left: allowed };
        let answer = variable(driver, device).and_then(|v| eval::run(&self.0, v, &mut meter));
        *steps -= allowed - meter.left;
        match answer? {
            Value::Bool(answer) => Ok(answer),
            other => Err(format!("the expression is {}, not true or false", other.noun())),
        }
    }
}

/// What an evaluation may still cost.
#[derive(Debug)]
pub(crate) struct Meter {
    left: u64,
}

impl Meter {
    /// Pays for steps before they are taken.
    fn pay(&mut self, steps: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(steps as u64).ok_or_else(|| {
            self.left = 0;
            "the expression takes too many steps".to_owned()
        })?;
        Ok(())
    }
}

/// The variable `device`.
fn variable(driver: &str, device: &Device) -> Result<Value, Fault> {
    let mut attributes = Vec::new();
    for (name, attribute) in &device.attributes {
        let value = attribute_value(attribute).map_err(|fault| format!("attribute {name}: {fault}"))?;
        attributes.push((name.as_str(), value));
    }
    let capacity =
        device.capacity.iter().map(|(name, c)| (name.as_str(), Value::Quantity(c.value))).collect();
    let fields = [
        ("driver", Value::text(driver)),
        ("attributes", by_domain(driver, attributes)),
        ("capacity", by_domain(driver, capacity)),
        ("allowMultipleAllocations", Value::Bool(device.allow_multiple_allocations)),
    ];
    Ok(Value::map(fields.map(|(key, value)| (Value::text(key), value)).to_vec()))
}

/// Names by domain; a name without one is in the driver's, and a domain that is not there is an empty one.
fn by_domain(driver: &str, values: Vec<(&str, Value)>) -> Value {
    let mut domains: Vec<(&str, Vec<(Value, Value)>)> = Vec::new();
    for (name, value) in values {
        let (domain, id) = name.split_once('/').unwrap_or((driver, name));
        let entry = (Value::text(id), value);
        match domains.iter_mut().find(|(known, _)| *known == domain) {
            Some((_, entries)) => entries.push(entry),
            None => domains.push((domain, vec![entry])),
        }
    }
    let entries = domains.into_iter().map(|(domain, entries)| (Value::text(domain), Value::map(entries)));
    Value::Map(Rc::new(Map { entries: entries.collect(), lenient: true }))
}

fn attribute_value(attribute: &DeviceAttribute) -> Result<Value, Fault> {
    match attribute {
        DeviceAttribute { int: Some(n), .. } => Ok(Value::Int(*n)),
        DeviceAttribute { bool: Some(b), .. } => Ok(Value::Bool(*b)),
        DeviceAttribute { string: Some(s), .. } => Ok(Value::text(s)),
        DeviceAttribute { version: Some(v), .. } => {
            version::Version::parse(v).map(|v| Value::Version(Rc::new(v)))
        }
        _ => Err("it has no value of a known type".to_owned()),
    }
}

#[cfg(test)]
mod tests;
