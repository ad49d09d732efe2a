//! From tokens to a tree.
//!
//! # Invariants
//! - No tree is deeper than [`MAX_DEPTH`], counted as it is built; long chains of `&&` and `||` are flat.

use super::token::{Token, tokens};
use super::value::Value;
use super::{Fault, MAX_DEPTH};

/// An expression, and how deep it is.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) kind: Kind,
    depth: u16,
}

/// What an expression is.
#[derive(Debug)]
pub(super) enum Kind {
    Literal(Value),
    Variable(String),
    /// A field; with `optional`, none where it is not there.
    Field {
        of: Box<Expr>,
        name: Value,
        optional: bool,
    },
    /// Whether a field is there.
    Has {
        of: Box<Expr>,
        name: Value,
    },
    Index {
        of: Box<Expr>,
        at: Box<Expr>,
        optional: bool,
    },
    Call {
        name: String,
        target: Option<Box<Expr>>,
        arguments: Vec<Expr>,
    },
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Minus(Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// Any of these holds.
    Any(Vec<Expr>),
    /// All of these hold.
    All(Vec<Expr>),
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A value by another name.
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
    /// Something for each item of a list or key of a map.
    Loop {
        how: Loop,
        over: Box<Expr>,
        names: Vec<String>,
        when: Option<Box<Expr>>,
        body: Box<Expr>,
    },
    /// Something for the value of an optional, if there is one.
    IfThere {
        of: Box<Expr>,
        name: String,
        body: Box<Expr>,
        flat: bool,
    },
}

/// What a loop is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let expr = parser.expr()?;
    if parser.at < parser.tokens.len() {
        return Err("something follows that does not belong to it".to_owned());
    }
    Ok(expr)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// Of what is being read.
    depth: u16,
}

fn too_deep() -> Fault {
    format!("nested more than {MAX_DEPTH} deep")
}

fn build(kind: Kind, parts: &[u16]) -> Result<Expr, Fault> {
    let depth = parts.iter().max().copied().unwrap_or(0) + 1;
    if depth > MAX_DEPTH { Err(too_deep()) } else { Ok(Expr { kind, depth }) }
}

fn depths<'a>(parts: impl IntoIterator<Item = &'a Expr>) -> Vec<u16> {
    parts.into_iter().map(|e| e.depth).collect()
}

fn literal(value: Value) -> Expr {
    Expr { kind: Kind::Literal(value), depth: 1 }
}

impl Parser {
    fn eat(&mut self, sign: &str) -> bool {
        let there = self.tokens.get(self.at).is_some_and(|t| matches!(t, Token::Sign(s) if *s == sign));
        self.at += usize::from(there);
        there
    }

    fn need(&mut self, sign: &str) -> Result<(), Fault> {
        if self.eat(sign) { Ok(()) } else { Err(format!("{sign} is missing")) }
    }

    fn one_of(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        signs.iter().find(|sign| self.eat(sign)).copied()
    }

    fn expr(&mut self) -> Result<Expr, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        let condition = self.any()?;
        let expr = if self.eat("?") {
            let yes = self.any()?;
            self.need(":")?;
            let no = self.expr()?;
            let parts = [condition.depth, yes.depth, no.depth];
            build(Kind::Choice(Box::new(condition), Box::new(yes), Box::new(no)), &parts)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn any(&mut self) -> Result<Expr, Fault> {
        let mut parts = vec![self.all()?];
        while self.eat("||") {
            parts.push(self.all()?);
        }
        let depths = depths(&parts);
        if parts.len() > 1 { build(Kind::Any(parts), &depths) } else { parts.pop().ok_or_else(too_deep) }
    }

    fn all(&mut self) -> Result<Expr, Fault> {
        let mut parts = vec![self.relation()?];
        while self.eat("&&") {
            parts.push(self.relation()?);
        }
        let depths = depths(&parts);
        if parts.len() > 1 { build(Kind::All(parts), &depths) } else { parts.pop().ok_or_else(too_deep) }
    }

    fn relation(&mut self) -> Result<Expr, Fault> {
        let mut left = self.sum()?;
        loop {
            let operator = if matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w == "in") {
                self.at += 1;
                "in"
            } else if let Some(operator) = self.one_of(&["==", "!=", "<=", ">=", "<", ">"]) {
                operator
            } else {
                return Ok(left);
            };
            let right = self.sum()?;
            left = binary(operator, left, right)?;
        }
    }

    fn sum(&mut self) -> Result<Expr, Fault> {
        let mut left = self.product()?;
        while let Some(operator) = self.one_of(&["+", "-"]) {
            let right = self.product()?;
            left = binary(operator, left, right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expr, Fault> {
        let mut left = self.unary()?;
        while let Some(operator) = self.one_of(&["*", "/", "%"]) {
            let right = self.unary()?;
            left = binary(operator, left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        let (mut nots, mut minuses) = (0_usize, 0_usize);
        while self.eat("!") {
            nots += 1;
        }
        while nots == 0 && self.eat("-") {
            minuses += 1;
        }
        if minuses > 0
            && let Some(Token::Int(n)) = self.tokens.get(self.at)
        {
            let value = i64::try_from(-i128::from(*n)).map_err(|_| "a number is too large")?;
            self.at += 1;
            let number = self.tail(literal(Value::Int(value)))?;
            return if minuses % 2 == 1 { Ok(number) } else { minus(number) };
        }
        let member = self.member()?;
        match (nots % 2, minuses % 2) {
            (1, _) => {
                let depth = member.depth;
                build(Kind::Not(Box::new(member)), &[depth])
            }
            // Twice is not the same as not at all: it still must be true or false.
            _ if nots > 0 => {
                let depth = member.depth;
                let once = build(Kind::Not(Box::new(member)), &[depth])?;
                build(Kind::Not(Box::new(once)), &[depth + 1])
            }
            (_, 1) => minus(member),
            _ => Ok(member),
        }
    }

    fn member(&mut self) -> Result<Expr, Fault> {
        let first = self.primary()?;
        self.tail(first)
    }

    /// Fields, calls and indices that follow an expression.
    fn tail(&mut self, mut of: Expr) -> Result<Expr, Fault> {
        loop {
            if self.eat(".") {
                let optional = self.eat("?");
                let (name, quoted) = self.name()?;
                of = if !optional && !quoted && self.eat("(") {
                    let arguments = self.list(")")?;
                    call(name, Some(of), arguments)?
                } else {
                    let depth = of.depth;
                    build(Kind::Field { of: Box::new(of), name: Value::text(&name), optional }, &[depth])?
                };
            } else if self.eat("[") {
                let optional = self.eat("?");
                let at = self.expr()?;
                self.need("]")?;
                let parts = [of.depth, at.depth];
                of = build(Kind::Index { of: Box::new(of), at: Box::new(at), optional }, &parts)?;
            } else {
                return Ok(of);
            }
        }
    }

    fn name(&mut self) -> Result<(String, bool), Fault> {
        let (name, quoted) = match self.tokens.get(self.at) {
            Some(Token::Word(name)) => (name.clone(), false),
            Some(Token::Quoted(name)) => (name.clone(), true),
            _ => return Err("a name is missing".to_owned()),
        };
        self.at += 1;
        Ok((name, quoted))
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        let token = self.tokens.get(self.at).cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(match token {
            Token::Int(n) => literal(Value::Int(i64::try_from(n).map_err(|_| "a number is too large")?)),
            Token::Uint(n) => literal(Value::Uint(n)),
            Token::Double(d) => literal(Value::Double(d)),
            Token::Text(text) => literal(Value::text(&text)),
            Token::Word(word) => match word.as_str() {
                "true" => literal(Value::Bool(true)),
                "false" => literal(Value::Bool(false)),
                "null" => literal(Value::Null),
                "in" => return Err("in stands where a value should".to_owned()),
                _ if self.eat("(") => {
                    let arguments = self.list(")")?;
                    call(word, None, arguments)?
                }
                _ => build(Kind::Variable(word), &[])?,
            },
            Token::Sign("(") => {
                let inner = self.expr()?;
                self.need(")")?;
                inner
            }
            Token::Sign("[") => {
                let items = self.list("]")?;
                let depths = depths(&items);
                build(Kind::List(items), &depths)?
            }
            Token::Sign("{") => self.map()?,
            Token::Sign(sign) => return Err(format!("{sign} stands where a value should")),
            Token::Quoted(_) => return Err("a name in backquotes is only a field's".to_owned()),
        })
    }

    /// Expressions with commas between, up to the closing sign.
    fn list(&mut self, end: &str) -> Result<Vec<Expr>, Fault> {
        let mut items = Vec::new();
        while !self.eat(end) {
            if !items.is_empty() {
                self.need(",")?;
                if end == "]" && self.eat(end) {
                    break;
                }
            }
            items.push(self.expr()?);
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Expr, Fault> {
        let mut entries = Vec::new();
        while !self.eat("}") {
            if !entries.is_empty() {
                self.need(",")?;
                if self.eat("}") {
                    break;
                }
            }
            let key = self.expr()?;
            self.need(":")?;
            entries.push((key, self.expr()?));
        }
        let depths = depths(entries.iter().flat_map(|(key, value)| [key, value]));
        build(Kind::Map(entries), &depths)
    }
}

fn binary(operator: &'static str, left: Expr, right: Expr) -> Result<Expr, Fault> {
    let parts = [left.depth, right.depth];
    build(Kind::Binary(operator, Box::new(left), Box::new(right)), &parts)
}

fn minus(expr: Expr) -> Result<Expr, Fault> {
    let depth = expr.depth;
    build(Kind::Minus(Box::new(expr)), &[depth])
}

/// A call; those that bind names are not functions but are written like them.
fn call(name: String, target: Option<Expr>, mut arguments: Vec<Expr>) -> Result<Expr, Fault> {
    let mut parts = depths(&arguments);
    parts.extend(target.as_ref().map(|t| t.depth));
    let bound = |expr: &Expr| match &expr.kind {
        Kind::Variable(name) => Ok(name.clone()),
        _ => Err("a loop needs a name for its items".to_owned()),
    };
    let is_cel = target.as_ref().is_some_and(|t| matches!(&t.kind, Kind::Variable(v) if v == "cel"));
    let kind = match (name.as_str(), target, arguments.len()) {
        ("has", None, 1) => match arguments.pop().map(|a| a.kind) {
            Some(Kind::Field { of, name, optional: false }) => Kind::Has { of, name },
            _ => return Err("has() is about a field".to_owned()),
        },
        ("bind", Some(_), 3) if is_cel => {
            let [name, value, body] = three(arguments)?;
            Kind::Bind { name: bound(&name)?, value: Box::new(value), body: Box::new(body) }
        }
        ("optMap" | "optFlatMap", Some(of), 2) => {
            let flat = name == "optFlatMap";
            let body = arguments.pop().ok_or_else(too_deep)?;
            Kind::IfThere { of: Box::new(of), name: bound(&arguments[0])?, body: Box::new(body), flat }
        }
        ("all" | "exists" | "exists_one" | "existsOne" | "map" | "filter", Some(over), 2 | 3) => {
            let how = match name.as_str() {
                "all" => Loop::All,
                "exists" => Loop::Exists,
                "map" => Loop::Map,
                "filter" => Loop::Filter,
                _ => Loop::ExistsOne,
            };
            let body = Box::new(arguments.pop().ok_or_else(too_deep)?);
            let mut when = None;
            if how == Loop::Map && arguments.len() == 2 {
                when = arguments.pop().map(Box::new);
            }
            if how == Loop::Filter && arguments.len() == 2 {
                return Err("filter() has one name".to_owned());
            }
            let names = arguments.iter().map(bound).collect::<Result<_, _>>()?;
            Kind::Loop { how, over: Box::new(over), names, when, body }
        }
        (_, target, _) => Kind::Call { name, target: target.map(Box::new), arguments },
    };
    build(kind, &parts)
}

fn three(arguments: Vec<Expr>) -> Result<[Expr; 3], Fault> {
    arguments.try_into().map_err(|_| "three arguments are needed".to_owned())
}
