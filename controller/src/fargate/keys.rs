//! The loop that keeps the certificate: reads it at every replica, and makes it anew at the one that leads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tracing::{info, warn};

use super::certs::{Kept, Step, make};
use super::state::seconds;
use super::tls::Shown;
use crate::answer::{is_conflict, is_gone};
use crate::operate::lease::{Leader, Leading};

/// How often it is read again. Between two certificates there are ten minutes.
const EVERY: Duration = Duration::from_secs(30);
/// While there is none.
const SOON: Duration = Duration::from_secs(1);
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Where it stands in the Secret.
const KEY: &str = "webhook.json";

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// A Secret of this name, which the leader keeps for these names of the webhook.
    Secret { secrets: Box<Api<Secret>>, name: String, names: Vec<String> },
    /// A folder that somebody else fills.
    Folder(PathBuf),
}

/// Keeps what is shown.
pub(crate) struct Keeper {
    pub(crate) from: From,
    pub(crate) leading: Leading,
    pub(crate) shown: watch::Sender<Option<Arc<Shown>>>,
}

impl Keeper {
    /// Keeps it until the task is dropped.
    pub(crate) async fn run(self) {
        let mut last = None::<String>;
        loop {
            match tokio::time::timeout(LIMIT, self.look(&mut last)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(error = format!("{error:#}"), "the webhook's certificate cannot be kept");
                }
                Err(_) => warn!("the webhook's certificate cannot be read in time"),
            }
            let rest = if self.shown.borrow().is_some() { EVERY } else { SOON };
            tokio::time::sleep(rest).await;
        }
    }

    async fn look(&self, last: &mut Option<String>) -> Result<()> {
        let (shown, of) = match &self.from {
            From::Folder(folder) => {
                let folder = folder.clone();
                let shown = tokio::task::spawn_blocking(move || Shown::in_folder(&folder)).await??;
                let of = format!("{}{}", shown.bundle, shown.word);
                (shown, of)
            }
            From::Secret { secrets, name, names } => {
                let leads = matches!(self.leading.now(), Leader::Us { .. });
                let Some(kept) = kept(secrets, name, names, leads).await? else { return Ok(()) };
                let of = format!("{}{}", kept.bundle(), kept.current.key);
                (Shown::of(&kept)?, of)
            }
        };
        if last.as_ref() != Some(&of) {
            info!("the webhook has a certificate that is new to it");
            *last = Some(of);
            self.shown.send_replace(Some(Arc::new(shown)));
        }
        Ok(())
    }
}

/// What the Secret holds; who leads does about it what is to be done.
async fn kept(secrets: &Api<Secret>, name: &str, names: &[String], leads: bool) -> Result<Option<Kept>> {
    let secret = secrets.get_opt(name).await.context("cannot read the Secret")?;
    let kept = secret.as_ref().and_then(read);
    let now = seconds();
    let step = Kept::step(kept.as_ref(), names, now);
    if step == Step::Keep || !leads {
        return Ok(kept);
    }
    info!(?step, "the webhook's certificate");
    let new = Kept::after(kept, step, now, || make(names, now)).context("cannot make a certificate")?;
    let Some(new) = new else { return Ok(None) };
    let data = BTreeMap::from([(KEY.to_owned(), ByteString(serde_json::to_vec(&new)?))]);
    let written = if let Some(old) = secret {
        let secret = Secret { data: Some(data), ..old };
        secrets.replace(name, &PostParams::default(), &secret).await
    } else {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, data: Some(data), ..Secret::default() };
        secrets.create(&PostParams::default(), &secret).await
    };
    match written {
        Ok(_) => Ok(Some(new)),
        // Somebody else was quicker: what he wrote is read at the next look.
        Err(error) if is_conflict(&error) || is_gone(&error) => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!("cannot write the Secret {name}: the chart makes it empty, so if it was deleted, upgrade the release")
        }),
    }
}

fn read(secret: &Secret) -> Option<Kept> {
    let json = &secret.data.as_ref()?.get(KEY)?.0;
    match serde_json::from_slice(json) {
        Ok(kept) => Some(kept),
        Err(error) => {
            warn!(%error, "the Secret with the webhook's certificate cannot be read, and is made anew");
            None
        }
    }
}
