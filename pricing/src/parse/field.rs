//! Getting typed fields out of a JSON object, with errors that say what was found and what to write.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stowage_api::Quantity;

use super::Problem;

pub(super) type Object = Map<String, Value>;

/// What a value is, for messages.
pub(super) fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A text of the file as messages repeat it.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() > LONGEST {
        format!("{:?}…", text.chars().take(LONGEST).collect::<String>())
    } else {
        format!("{text:?}")
    }
}

/// The value under the first of the spellings that is there.
pub(super) fn find<'a>(object: &'a Object, spellings: &[&str]) -> Option<&'a Value> {
    spellings.iter().find_map(|name| object.get(*name))
}

/// As [`find`], an error where there is none.
pub(super) fn need<'a>(object: &'a Object, spellings: &[&str], remedy: &str) -> Result<&'a Value, Problem> {
    find(object, spellings).ok_or_else(|| {
        Problem::new(format!("is missing; {remedy}")).within(spellings.first().copied().unwrap_or_default())
    })
}

pub(super) fn object<'a>(value: &'a Value, example: &str) -> Result<&'a Object, Problem> {
    value
        .as_object()
        .ok_or_else(|| Problem::new(format!("is {}; write an object such as {example}", noun(value))))
}

pub(super) fn array<'a>(value: &'a Value, example: &str) -> Result<&'a [Value], Problem> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or_else(|| Problem::new(format!("is {}; write an array such as {example}", noun(value))))
}

pub(super) fn text<'a>(value: &'a Value, example: &str) -> Result<&'a str, Problem> {
    value
        .as_str()
        .ok_or_else(|| Problem::new(format!("is {}; write a text such as {example:?}", noun(value))))
}

pub(super) fn flag(value: &Value) -> Result<bool, Problem> {
    value.as_bool().ok_or_else(|| Problem::new(format!("is {}; write true or false, unquoted", noun(value))))
}

/// A whole number of at least zero.
pub(super) fn whole(value: &Value) -> Result<u32, Problem> {
    let whole = value.as_u64().and_then(|n| u32::try_from(n).ok());
    whole.ok_or_else(|| match value {
        Value::Number(number) => {
            Problem::new(format!("{number} is no count; write a whole number such as 3"))
        }
        other => Problem::new(format!("is {}; write a whole number such as 3", noun(other))),
    })
}

/// An array of texts, each with its position in messages.
pub(super) fn texts(value: &Value, example: &str) -> Result<Vec<String>, Problem> {
    let entries = array(value, &format!("[{example:?}]"))?.iter().enumerate();
    entries.map(|(i, v)| Ok(text(v, example).map_err(|p| p.within(format!("[{i}]")))?.to_owned())).collect()
}

/// An object of texts; absent is empty.
pub(super) fn labels(value: Option<&Value>) -> Result<BTreeMap<String, String>, Problem> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    object(value, r#"{"team": "web"}"#)?
        .iter()
        .map(|(key, value)| match value {
            Value::String(value) => Ok((key.clone(), value.clone())),
            other => {
                let problem = format!("is {}; label values are texts: write it in quotes", noun(other));
                Err(Problem::new(problem).within(quote(key)))
            }
        })
        .collect()
}

/// An object of quantities, none negative; absent is empty.
pub(super) fn quantities(value: Option<&Value>) -> Result<BTreeMap<String, Quantity>, Problem> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    object(value, r#"{"cpu": "2", "memory": "8Gi", "pods": "29"}"#)?
        .iter()
        .map(|(name, value)| {
            Ok((
                name.clone(),
                quantity(value).map_err(|p| p.within(name.chars().take(60).collect::<String>()))?,
            ))
        })
        .collect()
}

fn quantity(value: &Value) -> Result<Quantity, Problem> {
    let parsed = match value {
        Value::String(text) => text.parse::<Quantity>(),
        // The number as it is written: going through a double could change its last digits.
        Value::Number(number) => number.to_string().parse(),
        other => {
            return Err(Problem::new(format!(
                "is {}; write a quantity such as \"8Gi\" or \"250m\"",
                noun(other)
            )));
        }
    };
    let quantity = parsed.map_err(|error| Problem::new(error.to_string()))?;
    if quantity.is_negative() {
        return Err(Problem::new(format!("{quantity} is negative; write zero or more")));
    }
    Ok(quantity)
}

/// Dollars an hour.
pub(super) fn price(value: &Value) -> Result<f64, Problem> {
    /// The dearest instance is below a thousand dollars an hour, so this is a slip of units (cents, or a year).
    const ABSURD: f64 = 1_000_000.0;
    let price = match value {
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => {
            let problem = format!(
                "is the text {}; write dollars an hour as a bare number, such as 0.1008",
                quote(text)
            );
            return Err(Problem::new(problem));
        }
        other => {
            return Err(Problem::new(format!(
                "is {}; write dollars an hour as a number, such as 0.1008",
                noun(other)
            )));
        }
    };
    if !price.is_finite() {
        return Err(Problem::new("is not a finite number; write dollars an hour, such as 0.1008"));
    }
    if price < 0.0 {
        return Err(Problem::new(format!("{price} is negative; write dollars an hour, zero or more")));
    }
    if price > ABSURD {
        return Err(Problem::new(format!(
            "{price:e} dollars an hour is absurd; at most {ABSURD} is accepted"
        )));
    }
    // Minus zero compares as zero, but prints as -0.
    Ok(price.abs())
}
