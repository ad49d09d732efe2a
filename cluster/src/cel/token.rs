//! Words, numbers, texts and signs of an expression.

use super::Fault;

/// A word, number, text or sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    /// A word in backquotes, which may only name a field.
    Quoted(String),
    /// A whole number, without sign: a minus before it is a token of its own.
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(String),
    Sign(&'static str),
}

/// Longer ones first.
const SIGNS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}",
    ".", ",", ":",
];

/// The tokens of an expression.
///
/// # Errors
/// Where something is none.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_whitespace() {
            rest = &rest[1..];
        } else if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some((token, after)) = text_literal(rest)? {
            out.push(token);
            rest = after;
        } else if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            let (token, after) = number(rest)?;
            out.push(token);
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            out.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if first == '`' {
            let end = rest[1..].find('`').ok_or("a backquote is not closed")?;
            out.push(Token::Quoted(rest[1..=end].to_owned()));
            rest = &rest[end + 2..];
        } else if first == '?' {
            out.push(Token::Sign("?"));
            rest = &rest[1..];
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            out.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(format!("{first:?} means nothing"));
        }
    }
    Ok(out)
}

fn number(text: &str) -> Result<(Token, &str), Fault> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let value =
            u64::from_str_radix(&hex[..end], 16).map_err(|_| "a number is too large or has no digits")?;
        return Ok(integer(value, &hex[end..]));
    }
    let digits = |from: &str| from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len());
    let mut end = digits(text);
    let mut is_double = false;
    if text[end..].starts_with('.') && text[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        is_double = true;
        end += 1 + digits(&text[end + 1..]);
    }
    if let Some(exponent) = text[end..].strip_prefix(['e', 'E']) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits(unsigned);
        if length > 0 {
            is_double = true;
            end = text.len() - unsigned.len() + length;
        }
    }
    let (written, rest) = text.split_at(end);
    if is_double {
        let value: f64 = written.parse().map_err(|_| "a number is none")?;
        return Ok((Token::Double(value), rest));
    }
    Ok(integer(written.parse().map_err(|_| "a number is too large")?, rest))
}

fn integer(value: u64, rest: &str) -> (Token, &str) {
    match rest.strip_prefix(['u', 'U']) {
        Some(rest) => (Token::Uint(value), rest),
        None => (Token::Int(value), rest),
    }
}

/// A text in quotes at the front: with one or three of either kind, raw after an `r`.
fn text_literal(text: &str) -> Result<Option<(Token, &str)>, Fault> {
    let (raw, quoted) = match text.strip_prefix(['r', 'R']) {
        Some(quoted) if quoted.starts_with(['"', '\'']) => (true, quoted),
        _ => (false, text),
    };
    let Some(mark) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|mark| quoted.starts_with(mark)) else {
        let bytes = text.strip_prefix(['b', 'B']).is_some_and(|t| t.starts_with(['"', '\'']));
        return if bytes { Err("texts of bytes are not known".to_owned()) } else { Ok(None) };
    };
    let mut out = String::new();
    let mut rest = &quoted[mark.len()..];
    loop {
        if let Some(after) = rest.strip_prefix(mark) {
            return Ok(Some((Token::Text(out), after)));
        }
        let Some(next) = rest.chars().next() else { return Err("a text is not closed".to_owned()) };
        if next == '\\' && !raw {
            let (c, after) = escape(&rest[1..])?;
            out.push(c);
            rest = after;
        } else if next == '\n' && mark.len() == 1 {
            return Err("a text is not closed on its line".to_owned());
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
}

/// What stands after a backslash.
fn escape(text: &str) -> Result<(char, &str), Fault> {
    let unknown = || "an escape in a text means nothing".to_owned();
    let kind = text.chars().next().ok_or_else(unknown)?;
    let rest = &text[kind.len_utf8()..];
    let coded = |from: &str, digits: usize, radix: u32| {
        let written = from.get(..digits).filter(|d| d.bytes().all(|b| char::from(b).is_digit(radix)));
        written.and_then(|d| u32::from_str_radix(d, radix).ok()).and_then(char::from_u32).ok_or_else(unknown)
    };
    Ok(match kind {
        'n' => ('\n', rest),
        't' => ('\t', rest),
        'r' => ('\r', rest),
        'a' => ('\u{7}', rest),
        'b' => ('\u{8}', rest),
        'f' => ('\u{c}', rest),
        'v' => ('\u{b}', rest),
        '\\' | '"' | '\'' | '`' | '?' => (kind, rest),
        'x' | 'X' => (coded(rest, 2, 16)?, &rest[2..]),
        'u' => (coded(rest, 4, 16)?, &rest[4..]),
        'U' => (coded(rest, 8, 16)?, &rest[8..]),
        '0'..='3' => (coded(text, 3, 8)?, &text[3..]),
        _ => return Err(unknown()),
    })
}
