//! The certificate that the API server knows our webhook by: made here, kept in a Secret, changed before it runs out.
//!
//! ```text
//! none ─make─▶ current ─at 2/3─▶ current + next ─when all trust it─▶ next is current, the old authority is still trusted
//! ```
//!
//! An authority signs one certificate and its key is thrown away: nobody can sign a second. So each change is one of the
//! authority as well. The API server is told of the next authority well before any replica shows its certificate, and of the
//! last one until no replica shows it any more: there is no moment at which it refuses one.
//!
//! # Invariants
//! - Pure: moments are seconds since 1970 and are given; only [`make`] asks for random numbers.
//! - A document that cannot be read is one that is not there: it is made anew.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};

/// How long a certificate holds, in seconds: ninety days.
const HOLDS: u64 = 90 * 86_400;
/// It is valid from so long before it was made: clocks of API servers differ.
const BEFORE: u64 = 3_600;
/// So long after the next one was made it is shown: by then every API server has its authority.
const TRUSTED: u64 = 600;
/// So long after that the last authority is still trusted: by then every replica shows the new certificate.
const SHOWN: u64 = 3_600;

/// A certificate and the authority that has signed it, as PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// The names that it is for.
    pub(crate) names: Vec<String>,
    pub(crate) made: u64,
    pub(crate) ends: u64,
}

impl fmt::Debug for Pair {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("names", &self.names).field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// What stands in the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) current: Pair,
    #[serde(default)]
    pub(crate) next: Option<Pair>,
    /// An authority that is still trusted, and until when.
    #[serde(default)]
    pub(crate) last: Option<(String, u64)>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Keep,
    /// What is there is of no use: another one, at once.
    Make,
    /// The next one is to be made, for later.
    Prepare,
    /// The next one is to be shown.
    Switch,
    /// The last authority is not needed any more.
    Prune,
}

impl Kept {
    /// What is to be done about it, for a webhook of these names.
    pub(crate) fn step(this: Option<&Self>, names: &[String], now: u64) -> Step {
        let Some(this) = this else { return Step::Make };
        let current = &this.current;
        if current.names != names || now >= current.ends || now.saturating_add(BEFORE) < current.made {
            return Step::Make;
        }
        if let Some(next) = &this.next {
            return if now >= next.made.saturating_add(TRUSTED) { Step::Switch } else { Step::Keep };
        }
        let life = current.ends.saturating_sub(current.made);
        if now >= current.made.saturating_add(life / 3 * 2) {
            return Step::Prepare;
        }
        let over = this.last.as_ref().is_some_and(|(_, until)| now >= *until);
        if over { Step::Prune } else { Step::Keep }
    }

    /// After a step; `new` makes a pair where one is needed.
    pub(crate) fn after<E>(
        this: Option<Self>,
        step: Step,
        now: u64,
        new: impl FnOnce() -> Result<Pair, E>,
    ) -> Result<Option<Self>, E> {
        Ok(match (step, this) {
            (Step::Make, old) => {
                // Others may show the old one for a while, where it holds.
                let last = old.map(|old| (old.current.authority, now.saturating_add(SHOWN)));
                Some(Self { current: new()?, next: None, last })
            }
            (Step::Prepare, Some(this)) => Some(Self { next: Some(new()?), ..this }),
            (Step::Switch, Some(Self { current, next: Some(next), .. })) => {
                let last = Some((current.authority, now.saturating_add(SHOWN)));
                Some(Self { current: next, next: None, last })
            }
            (Step::Prune, Some(this)) => Some(Self { last: None, ..this }),
            (_, this) => this,
        })
    }

    /// All authorities that are to be trusted now.
    pub(crate) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| next.authority.as_str());
        let last = self.last.as_ref().map(|(last, _)| last.as_str());
        [Some(self.current.authority.as_str()), next, last].into_iter().flatten().collect()
    }
}

/// Makes an authority, and a certificate for these names.
///
/// # Errors
/// Where a name is none, or there are no random numbers.
pub(crate) fn make(names: &[String], now: u64) -> Result<Pair, rcgen::Error> {
    let (from, ends) = (now.saturating_sub(BEFORE), now.saturating_add(HOLDS));
    let moment = |at: u64| (std::time::UNIX_EPOCH + std::time::Duration::from_secs(at)).into();
    let mut of = CertificateParams::default();
    of.not_before = moment(from);
    of.not_after = moment(ends);
    of.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    of.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Names differ, so that who trusts two authorities finds the right one.
    of.distinguished_name.push(DnType::CommonName, format!("Stowage webhook {now}"));
    let key = KeyPair::generate()?;
    let authority = of.self_signed(&key)?;
    let issuer = Issuer::new(of, key);
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.not_before = moment(from);
    leaf.not_after = moment(ends);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf.distinguished_name.push(DnType::CommonName, "Stowage webhook");
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    Ok(Pair {
        authority: authority.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        names: names.to_vec(),
        made: now,
        ends,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["stowage.stowage.svc".to_owned()]
    }

    fn pair(word: &str, made: u64) -> Pair {
        Pair {
            authority: format!("[{word}]"),
            certificate: String::new(),
            key: String::new(),
            names: names(),
            made,
            ends: made + HOLDS,
        }
    }

    /// The life of a certificate, looked at every ten minutes: at each moment what is shown is trusted, and was for a while.
    #[test]
    fn what_is_shown_is_trusted_at_every_moment() {
        let (mut kept, mut made) = (None::<Kept>, 0);
        let mut trusted = Vec::<(u64, String)>::new();
        for now in (0..3 * HOLDS).step_by(600) {
            let step = Kept::step(kept.as_ref(), &names(), now);
            made += u32::from(matches!(step, Step::Make | Step::Prepare));
            kept =
                Kept::after(kept, step, now, || Ok::<_, ()>(pair(&made.to_string(), now))).expect("a pair");
            let kept = kept.as_ref().expect("one");
            trusted.push((now, kept.bundle()));
            let shown = &kept.current.authority;
            assert!(now < kept.current.ends);
            // The API server may know the bundle of ten minutes ago, and a replica show the certificate of then.
            let before = &trusted[trusted.len().saturating_sub(2)].1;
            assert!(before.contains(shown.as_str()), "at {now}: {shown} in {before}");
            assert!(kept.bundle().matches('[').count() <= 2, "at {now}");
        }
        assert_eq!(made, 5, "at two thirds of each life");
    }

    #[test]
    fn what_is_of_no_use_is_made_anew() {
        let kept = Kept { current: pair("a", 10_000), next: None, last: None };
        assert_eq!(Kept::step(None, &names(), 0), Step::Make);
        assert_eq!(Kept::step(Some(&kept), &names(), 10_000), Step::Keep);
        assert_eq!(Kept::step(Some(&kept), &["other".to_owned()], 10_000), Step::Make);
        assert_eq!(Kept::step(Some(&kept), &names(), 10_000 + HOLDS), Step::Make);
        assert_eq!(Kept::step(Some(&kept), &names(), 10), Step::Make, "made in the future");
    }

    #[test]
    fn keys_are_in_no_log() {
        let pair = make(&names(), 1_700_000_000).expect("a pair");
        assert!(pair.key.contains("PRIVATE KEY") && pair.certificate.contains("BEGIN CERTIFICATE"));
        assert!(!format!("{pair:?}").contains("PRIVATE"));
        assert!(make(&["no name \u{e4}".to_owned()], 0).is_err());
    }
}
