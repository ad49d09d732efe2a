//! Text for people: names made safe to print, display widths, numbers with separators, wrapped lines.
//!
//! # Invariants
//! - Whatever stands in a snapshot reaches a terminal through [`safe`]: no control character, and nothing that turns
//!   the direction of the text, gets through as itself.
//! - Widths are columns of a terminal, not bytes or characters: wide East Asian characters count two.

use std::borrow::Cow;

pub(crate) use stowage_cluster::words::{count, thousands};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a character could move the cursor, switch modes or hide and reorder its neighbours.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}')
}

/// `text` with every unsafe character written as an escape (`\u{1b}`).
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Columns that `text` takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to at most `columns`, the last of them an ellipsis where something was cut.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > columns {
            break;
        }
        out.push(c);
        used += w;
    }
    if columns > 0 {
        out.truncate(out.trim_end().len());
        out.push('…');
    }
    Cow::Owned(out)
}

/// Wraps `text` at spaces into lines of at most `columns`, the first after `first`, the others after `rest`.
///
/// A word longer than a line stands alone on one and is not broken, so that it can still be copied.
pub(crate) fn wrap(out: &mut String, text: &str, columns: usize, first: &str, rest: &str) {
    out.push_str(first);
    let mut used = width(first);
    let mut empty = true;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let w = width(word);
        if !empty && used + 1 + w > columns {
            out.push('\n');
            out.push_str(rest);
            used = width(rest);
            empty = true;
        }
        if !empty {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += w;
        empty = false;
    }
    out.push('\n');
}

/// A share as a percentage with up to `decimals` decimals, without trailing zeros: `2.5%`, `2%`.
pub(crate) fn percent(share: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", share * 100.0);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_is_escaped_and_the_rest_is_not() {
        assert_eq!(safe("web-0"), "web-0");
        assert_eq!(safe("naïve-日本"), "naïve-日本");
        assert_eq!(safe("a\u{1b}[31mb\r\n\t"), r"a\u{1b}[31mb\r\n\t");
        assert_eq!(safe("x\u{9b}2J\u{202e}y\u{200b}"), r"x\u{9b}2J\u{202e}y\u{200b}");
    }

    #[test]
    fn cutting_counts_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        // Two columns each: three of them do not fit in five beside the ellipsis.
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("abc", 0), "");
    }

    #[test]
    fn lines_wrap_at_spaces_and_long_words_stay_whole() {
        let mut out = String::new();
        wrap(&mut out, "one two three averyveryverylongword end", 12, "- ", "  ");
        assert_eq!(out, "- one two\n  three\n  averyveryverylongword\n  end\n");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 8152, 1_234_567].map(thousands),
            ["0", "999", "1,000", "8,152", "1,234,567"].map(str::to_owned)
        );
        assert_eq!(count(1, "pod"), "1 pod");
        assert_eq!(count(0, "pod"), "0 pods");
        assert_eq!(percent(0.025, 2), "2.5%");
        assert_eq!(percent(0.02, 2), "2%");
        assert_eq!(percent(1.0, 0), "100%");
    }
}
