//! What does not work for now: said when it begins, when it becomes another, and when it is over.

use stowage_aws::Refused;
use tracing::{info, warn};

/// What is in the way of something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble(Option<String>);

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Begins,
    Over,
    None,
}

impl Trouble {
    /// Something is in the way, told apart by a word from what was.
    fn begins(&mut self, word: &str) -> News {
        if self.0.as_deref() == Some(word) {
            return News::None;
        }
        self.0 = Some(word.to_owned());
        News::Begins
    }

    fn ends(&mut self) -> News {
        if self.0.take().is_some() { News::Over } else { News::None }
    }

    /// AWS has refused `what`, or not answered; `remedy` is what somebody could do.
    pub(super) fn refused(&mut self, what: &str, refused: &Refused, remedy: &str) {
        // Words may have an id in them that is another each time.
        let word = refused.code.clone().unwrap_or_else(|| "no answer".to_owned());
        let remedy = if refused.is_forbidden() { remedy } else { "tried again" };
        if self.begins(&word) == News::Begins {
            warn!(%refused, remedy, "{what}");
        }
    }

    /// Something is not there.
    pub(super) fn missing(&mut self, what: &str, name: &str) {
        if self.begins("missing") == News::Begins {
            warn!(name, "{what}");
        }
    }

    /// It works.
    pub(super) fn over(&mut self, what: &str) {
        if self.ends() == News::Over {
            info!("{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_until_it_is_over() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.ends(), News::None, "nothing was wrong");
        assert_eq!([trouble.begins("a"), trouble.begins("a")], [News::Begins, News::None]);
        assert_eq!([trouble.begins("b"), trouble.begins("b")], [News::Begins, News::None]);
        assert_eq!([trouble.ends(), trouble.ends()], [News::Over, News::None]);
        assert_eq!(trouble.begins("b"), News::Begins, "again");
    }
}
