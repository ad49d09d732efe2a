//! Parameters of the Systems Manager that were read, for as long as they are believed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use stowage_aws::{FoundImage, Parameters, Refused};

use crate::shared::Shared;

/// AWS publishes new images every week or two.
///
/// compat: karpenter-provider-aws v1.14 keeps them for a day, and drops images that are deprecated within half an hour.
const KEPT: Duration = Duration::from_hours(24);
/// That there is none, for less: releases come hardware by hardware.
const MISSING: Duration = Duration::from_mins(5);

/// Parameters by path: the value, and when it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Shared<HashMap<String, (Option<String>, Instant)>>);

impl Known {
    /// The value of a parameter, asked for only where it is not known.
    pub(super) async fn get(&self, from: &Parameters, path: &str) -> Result<Option<String>, Refused> {
        let kept = |value: &Option<String>| if value.is_some() { KEPT } else { MISSING };
        let known = self.0.with(|all| {
            all.retain(|_, (value, at)| at.elapsed() < kept(value));
            all.get(path).map(|(value, _)| value.clone())
        });
        if let Some(value) = known {
            return Ok(value);
        }
        let value = from.get(path).await?;
        self.0.with(|all| all.insert(path.to_owned(), (value.clone(), Instant::now())));
        Ok(value)
    }

    /// Forgets parameters that lead to images which are deprecated by `now`: there may be newer ones.
    pub(super) fn review(&self, images: &[FoundImage], now: &str) {
        let old = |image: &&FoundImage| image.deprecated.as_deref().is_some_and(|at| at <= now);
        for image in images.iter().filter(old) {
            self.0.with(|all| {
                all.retain(|_, (value, at)| {
                    value.as_ref() != Some(&image.id) || at.elapsed() < Duration::from_mins(30)
                });
            });
        }
    }
}
