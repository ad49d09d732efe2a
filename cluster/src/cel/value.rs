//! What expressions are about: values, and when they are equal or one comes before the other.

use std::cmp::Ordering;
use std::rc::Rc;

use stowage_api::Quantity;

use super::version::Version;
use super::{Fault, Meter};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Rc<str>),
    List(Rc<Vec<Self>>),
    Map(Rc<Map>),
    Quantity(Quantity),
    Version(Rc<Version>),
    Optional(Option<Rc<Self>>),
}

/// Values by key. Those of a device are a few dozen at most, so they are looked through one by one.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) entries: Vec<(Value, Value)>,
    /// Whether what is not there is an empty map.
    pub(super) lenient: bool,
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn map(entries: Vec<(Self, Self)>) -> Self {
        Self::Map(Rc::new(Map { entries, lenient: false }))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(Rc::new(items))
    }

    /// What it is, for messages.
    pub(super) const fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Uint(_) | Self::Double(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Quantity(_) => "a quantity",
            Self::Version(_) => "a version",
            Self::Optional(_) => "an optional value",
        }
    }

    /// Whether two values are equal. Numbers of different types may be; others of different types are not.
    pub(super) fn equals(&self, other: &Self, meter: &mut Meter) -> Result<bool, Fault> {
        meter.pay(1)?;
        Ok(match (self, other) {
            (Self::Null, Self::Null) | (Self::Optional(None), Self::Optional(None)) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => {
                meter.pay(a.len().min(b.len()) / 10)?;
                a == b
            }
            (Self::Quantity(a), Self::Quantity(b)) => a == b,
            (Self::Version(a), Self::Version(b)) => a == b,
            (Self::Optional(Some(a)), Self::Optional(Some(b))) => a.equals(b, meter)?,
            (Self::List(a), Self::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !a.equals(b, meter)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Self::Map(a), Self::Map(b)) => {
                if a.entries.len() != b.entries.len() {
                    return Ok(false);
                }
                for (key, value) in &a.entries {
                    match b.find(key, meter)? {
                        Some(same) if value.equals(&same, meter)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
            ) => numbers(self, other) == Some(Ordering::Equal),
            _ => false,
        })
    }

    /// Which comes first, where operators tell; `None` for a number that is none.
    pub(super) fn compare(&self, other: &Self, meter: &mut Meter) -> Result<Option<Ordering>, Fault> {
        meter.pay(1)?;
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Ok(Some(a.cmp(b))),
            (Self::Text(a), Self::Text(b)) => {
                meter.pay(a.len().min(b.len()) / 10)?;
                Ok(Some(a.cmp(b)))
            }
            (
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
            ) => Ok(numbers(self, other)),
            _ => Err(format!("{} and {} cannot be compared", self.noun(), other.noun())),
        }
    }
}

impl Map {
    /// The value of a key.
    pub(super) fn find(&self, key: &Value, meter: &mut Meter) -> Result<Option<Value>, Fault> {
        for (known, value) in &self.entries {
            if known.equals(key, meter)? {
                return Ok(Some(value.clone()));
            }
        }
        Ok(self.lenient.then(|| Value::map(Vec::new())))
    }

    /// Whether a key is really there.
    pub(super) fn has(&self, key: &Value, meter: &mut Meter) -> Result<bool, Fault> {
        for (known, _) in &self.entries {
            if known.equals(key, meter)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Which number is the smaller one; `None` where one is no number.
fn numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => double(a).partial_cmp(&double(b)),
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(n) => Some((*n).into()),
        Value::Uint(n) => Some((*n).into()),
        _ => None,
    }
}

pub(super) fn double(value: &Value) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Uint(n) => *n as f64,
        Value::Double(d) => *d,
        _ => f64::NAN,
    }
}
