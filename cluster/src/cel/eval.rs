//! What an expression comes to.

use std::cmp::Ordering;
use std::rc::Rc;

use super::parse::{Expr, Kind, Loop};
use super::value::{Map, Value, double};
use super::{Fault, Meter, library};

/// Arithmetic of whole numbers, signed or not: a fault instead of an overflow.
macro_rules! checked {
    ($operator:expr, $a:expr, $b:expr) => {
        match $operator {
            "+" => $a.checked_add(*$b),
            "-" => $a.checked_sub(*$b),
            "*" => $a.checked_mul(*$b),
            "/" => $a.checked_div(*$b),
            _ => $a.checked_rem(*$b),
        }
        .ok_or_else(overflow)
    };
}

/// Evaluates an expression about a device.
pub(super) fn run(expr: &Expr, device: Value, meter: &mut Meter) -> Result<Value, Fault> {
    Run { scope: vec![("device".into(), device)], meter }.value(expr)
}

struct Run<'m> {
    /// Names and what they stand for; later ones hide earlier ones.
    scope: Vec<(Rc<str>, Value)>,
    meter: &'m mut Meter,
}

impl Run<'_> {
    fn value(&mut self, expr: &Expr) -> Result<Value, Fault> {
        self.meter.pay(1)?;
        match &expr.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Variable(name) => {
                self.meter.pay(self.scope.len() / 8)?;
                let known = self.scope.iter().rev().find(|(known, _)| **known == **name);
                known.map(|(_, value)| value.clone()).ok_or_else(|| format!("{name} is not known"))
            }
            Kind::Field { of, name, optional } => {
                let of = self.value(of)?;
                self.field(&of, name, *optional)
            }
            Kind::Has { of, name } => {
                let of = self.value(of)?;
                match look_up(&of, name)? {
                    Found::Map(map) => Ok(Value::Bool(map.has(name, self.meter)?)),
                    Found::Nothing => Ok(Value::Bool(false)),
                }
            }
            Kind::Index { of, at, optional } => {
                let (of, at) = (self.value(of)?, self.value(at)?);
                self.index(&of, &at, *optional)
            }
            Kind::Call { name, target, arguments } => self.call(name, target.as_deref(), arguments),
            Kind::List(items) => {
                let items = items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?;
                Ok(Value::list(items))
            }
            Kind::Map(entries) => {
                let mut out: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let (key, value) = (self.value(key)?, self.value(value)?);
                    out.push((key, value));
                }
                Ok(Value::map(out))
            }
            Kind::Not(inner) => Ok(Value::Bool(!truth(&self.value(inner)?)?)),
            Kind::Minus(inner) => match self.value(inner)? {
                Value::Int(n) => n.checked_neg().map(Value::Int).ok_or_else(overflow),
                Value::Double(d) => Ok(Value::Double(-d)),
                other => Err(format!("{} has no negative", other.noun())),
            },
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(operator, &left, &right)
            }
            Kind::Any(parts) => self.joined(parts, true),
            Kind::All(parts) => self.joined(parts, false),
            Kind::Choice(condition, yes, no) => {
                let condition = truth(&self.value(condition)?)?;
                self.value(if condition { yes } else { no })
            }
            Kind::Bind { name, value, body } => {
                let value = self.value(value)?;
                self.with(&[(name, value)], body)
            }
            Kind::Loop { how, over, names, when, body } => {
                let over = self.value(over)?;
                self.each(*how, &over, names, when.as_deref(), body)
            }
            Kind::IfThere { of, name, body, flat } => match self.value(of)? {
                Value::Optional(None) => Ok(Value::Optional(None)),
                Value::Optional(Some(value)) => match (self.with(&[(name, (*value).clone())], body)?, flat) {
                    (inner @ Value::Optional(_), true) => Ok(inner),
                    (inner, true) => Err(format!("{} is not optional", inner.noun())),
                    (inner, false) => Ok(Value::Optional(Some(Rc::new(inner)))),
                },
                other => Err(format!("{} is not optional", other.noun())),
            },
        }
    }

    /// Whether one part is `decisive`, or none is. A part that cannot tell does not matter beside one that decides.
    fn joined(&mut self, parts: &[Expr], decisive: bool) -> Result<Value, Fault> {
        let mut fault = None;
        for part in parts {
            match self.value(part).and_then(|v| truth(&v)) {
                Ok(answer) if answer == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(why) => fault = fault.or(Some(why)),
            }
        }
        fault.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    /// An expression in which names stand for values.
    fn with(&mut self, names: &[(&String, Value)], body: &Expr) -> Result<Value, Fault> {
        let before = self.scope.len();
        self.scope.extend(names.iter().map(|(name, value)| (name.as_str().into(), value.clone())));
        let value = self.value(body);
        self.scope.truncate(before);
        value
    }

    fn field(&mut self, of: &Value, name: &Value, optional: bool) -> Result<Value, Fault> {
        let optional = optional || matches!(of, Value::Optional(_));
        let found = match look_up(of, name)? {
            Found::Map(map) => self.find(&map, name, optional)?,
            Found::Nothing => None,
        };
        match (found, optional) {
            (Some(value), false) => Ok(value),
            (None, false) => Err(format!("there is no {}", shown(name))),
            (found, true) => Ok(Value::Optional(found.map(Rc::new))),
        }
    }

    fn find(&mut self, map: &Map, key: &Value, optional: bool) -> Result<Option<Value>, Fault> {
        // Asked whether it is there, a map does not make up what is not.
        if optional && !map.has(key, self.meter)? { Ok(None) } else { map.find(key, self.meter) }
    }

    fn index(&mut self, of: &Value, at: &Value, optional: bool) -> Result<Value, Fault> {
        let Value::List(items) = of else { return self.field(of, at, optional) };
        let found = match at {
            Value::Int(n) => usize::try_from(*n).ok().and_then(|n| items.get(n)).cloned(),
            Value::Uint(n) => usize::try_from(*n).ok().and_then(|n| items.get(n)).cloned(),
            other => return Err(format!("{} is no place in a list", other.noun())),
        };
        match (found, optional) {
            (Some(value), false) => Ok(value),
            (None, false) => Err("a list is shorter than that".to_owned()),
            (found, true) => Ok(Value::Optional(found.map(Rc::new))),
        }
    }

    fn call(&mut self, name: &str, target: Option<&Expr>, arguments: &[Expr]) -> Result<Value, Fault> {
        // Names of libraries stand before a dot like values do.
        let library = match target.map(|t| &t.kind) {
            Some(Kind::Variable(word)) if self.scope.iter().all(|(known, _)| **known != **word) => {
                Some(word.as_str())
            }
            _ => None,
        };
        let target = match target {
            Some(target) if library.is_none() => Some(self.value(target)?),
            _ => None,
        };
        // An alternative is only looked at where there is nothing else.
        match (&target, name, arguments) {
            (Some(Value::Optional(Some(value))), "orValue", [_]) => return Ok((**value).clone()),
            (Some(Value::Optional(None)), "orValue" | "or", [other]) => return self.value(other),
            (Some(there @ Value::Optional(Some(_))), "or", [_]) => return Ok(there.clone()),
            _ => {}
        }
        let arguments: Vec<Value> = arguments.iter().map(|a| self.value(a)).collect::<Result<_, _>>()?;
        match (library, target) {
            (Some(library), _) => library::of_library(library, name, &arguments, self.meter),
            (None, Some(target)) => library::method(&target, name, &arguments, self.meter),
            (None, None) => library::function(name, &arguments, self.meter),
        }
    }

    fn binary(&mut self, operator: &str, left: &Value, right: &Value) -> Result<Value, Fault> {
        let order = |run: &mut Self, wanted: &[Ordering]| -> Result<Value, Fault> {
            let order = left.compare(right, run.meter)?;
            Ok(Value::Bool(order.is_some_and(|o| wanted.contains(&o))))
        };
        match operator {
            "==" => Ok(Value::Bool(left.equals(right, self.meter)?)),
            "!=" => Ok(Value::Bool(!left.equals(right, self.meter)?)),
            "<" => order(self, &[Ordering::Less]),
            "<=" => order(self, &[Ordering::Less, Ordering::Equal]),
            ">" => order(self, &[Ordering::Greater]),
            ">=" => order(self, &[Ordering::Greater, Ordering::Equal]),
            "in" => match right {
                Value::Map(map) => Ok(Value::Bool(map.has(left, self.meter)?)),
                Value::List(items) => {
                    for item in items.iter() {
                        if item.equals(left, self.meter)? {
                            return Ok(Value::Bool(true));
                        }
                    }
                    Ok(Value::Bool(false))
                }
                other => Err(format!("nothing is in {}", other.noun())),
            },
            _ => self.arithmetic(operator, left, right),
        }
    }

    fn arithmetic(&mut self, operator: &str, left: &Value, right: &Value) -> Result<Value, Fault> {
        let value = match (left, right) {
            (Value::Int(a), Value::Int(b)) => Value::Int(checked!(operator, a, b)?),
            (Value::Uint(a), Value::Uint(b)) => Value::Uint(checked!(operator, a, b)?),
            (Value::Double(_), Value::Double(_)) if operator != "%" => {
                let (a, b) = (double(left), double(right));
                Value::Double(match operator {
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a * b,
                    _ => a / b,
                })
            }
            (Value::Text(a), Value::Text(b)) if operator == "+" => {
                self.meter.pay((a.len() + b.len()) / 10)?;
                Value::text(&format!("{a}{b}"))
            }
            (Value::List(a), Value::List(b)) if operator == "+" => {
                self.meter.pay(a.len() + b.len())?;
                Value::list(a.iter().chain(b.iter()).cloned().collect())
            }
            _ => return Err(format!("{} {operator} {} means nothing", left.noun(), right.noun())),
        };
        Ok(value)
    }

    fn each(
        &mut self,
        how: Loop,
        over: &Value,
        names: &[String],
        when: Option<&Expr>,
        body: &Expr,
    ) -> Result<Value, Fault> {
        let items: Vec<(Value, Value)> = match over {
            Value::List(items) => {
                self.meter.pay(items.len())?;
                items.iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item.clone())).collect()
            }
            Value::Map(map) => map.entries.clone(),
            other => return Err(format!("{} has no items to go through", other.noun())),
        };
        let is_map = matches!(over, Value::Map(_));
        let (mut out, mut found, mut fault) = (Vec::new(), 0_usize, None);
        for (key, item) in items {
            self.meter.pay(1)?;
            let one = if is_map { key.clone() } else { item.clone() };
            let bound = match names {
                [only] => vec![(only, one.clone())],
                [first, second] => vec![(first, key), (second, item)],
                _ => return Err("a loop has one name or two".to_owned()),
            };
            match how {
                Loop::Map => {
                    let wanted =
                        when.map_or(Ok(true), |when| self.with(&bound, when).and_then(|v| truth(&v)))?;
                    if wanted {
                        out.push(self.with(&bound, body)?);
                    }
                }
                Loop::Filter => {
                    if truth(&self.with(&bound, body)?)? {
                        out.push(one);
                    }
                }
                Loop::ExistsOne => found += usize::from(truth(&self.with(&bound, body)?)?),
                Loop::All | Loop::Exists => match self.with(&bound, body).and_then(|v| truth(&v)) {
                    Ok(answer) if answer == (how == Loop::Exists) => return Ok(Value::Bool(answer)),
                    Ok(_) => {}
                    Err(why) => fault = fault.or(Some(why)),
                },
            }
        }
        match (how, fault) {
            (_, Some(why)) => Err(why),
            (Loop::Map | Loop::Filter, None) => Ok(Value::list(out)),
            (Loop::ExistsOne, None) => Ok(Value::Bool(found == 1)),
            (Loop::All | Loop::Exists, None) => Ok(Value::Bool(how == Loop::All)),
        }
    }
}

/// Where a field may be.
enum Found {
    Map(Rc<Map>),
    Nothing,
}

/// The map in which to look for a field. What is nothing, or an optional that is, has none.
fn look_up(of: &Value, name: &Value) -> Result<Found, Fault> {
    match of {
        Value::Map(map) => Ok(Found::Map(Rc::clone(map))),
        Value::Optional(None) => Ok(Found::Nothing),
        Value::Optional(Some(inner)) => look_up(inner, name),
        other => Err(format!("{} has no field {}", other.noun(), shown(name))),
    }
}

fn truth(value: &Value) -> Result<bool, Fault> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        other => Err(format!("{} stands where true or false should", other.noun())),
    }
}

fn overflow() -> Fault {
    "a sum or quotient cannot be had in 64 bits".to_owned()
}

fn shown(name: &Value) -> String {
    match name {
        Value::Text(text) => text.chars().take(60).collect(),
        other => other.noun().to_owned(),
    }
}
