//! How output may look: the width it must keep, whether colour and bars are welcome, and the few styles there are.

use std::borrow::Cow;

/// What the reader's terminal (or file) takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns.
    pub(crate) width: usize,
    /// Whether escape codes for colour may be written.
    pub(crate) color: bool,
    /// Whether shares are drawn as bars beside their percentage.
    pub(crate) bars: bool,
}

/// A style of text. Nothing is said by colour alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Look {
    /// `text` in a style, or as it is where colour is unwelcome.
    pub(crate) fn paint<'a>(&self, style: Style, text: &'a str) -> Cow<'a, str> {
        let code = match style {
            Style::Plain => return Cow::Borrowed(text),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Warn => "33",
            Style::Bad => "31",
        };
        if self.color && !text.is_empty() {
            Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
        } else {
            Cow::Borrowed(text)
        }
    }
}
