//! What can be bought, kept up to date: read at the start, then again every so often, without holding anybody up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use stowage_aws::{Store, Wish, read};
use stowage_pricing::{Catalog, Commitments, Settings as Nodes, Timestamp};
use tokio::sync::watch;
use tracing::{info, warn};

/// How often answers are looked through for some that are too old. What is fresh is not asked for again.
const EVERY: Duration = Duration::from_mins(5);

/// What can be bought now.
#[derive(Clone, Debug)]
pub struct Market {
    /// Instance types, zones and prices.
    pub catalog: Arc<Catalog>,
    /// What is paid for already.
    pub commitments: Commitments,
}

/// Where that is known from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A catalogue file.
    File(PathBuf),
    /// AWS; its answers are kept in a folder.
    Aws {
        /// The folder.
        cache: PathBuf,
        /// How much of instances pods can use.
        nodes: Box<Nodes>,
        /// Whether the Price List and savings plans are out of reach.
        isolated: bool,
    },
}

impl Source {
    /// Reads it once.
    ///
    /// # Errors
    /// Where nothing can be made of it.
    pub fn read(&self) -> Result<Market> {
        match self {
            Self::File(path) => {
                let name = path.display().to_string();
                let bytes =
                    std::fs::read(path).with_context(|| format!("cannot read the catalogue {name}"))?;
                let catalog = Catalog::parse(&bytes, &name)?;
                Ok(Market { catalog: Arc::new(catalog), commitments: Commitments::default() })
            }
            Self::Aws { cache, nodes, isolated } => {
                let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
                let store =
                    Store::new(cache, set("AWS_PROFILE").as_deref(), set("AWS_ENDPOINT_URL").as_deref());
                let now = now();
                let wish = Wish {
                    region: None,
                    store: &store,
                    most_age: None,
                    offline: false,
                    isolated: *isolated,
                    now,
                };
                let live = read(&wish, &mut |_| {})?.live(nodes, now)?;
                for remark in &live.remarks {
                    info!(remark, "catalogue");
                }
                Ok(Market { catalog: Arc::new(live.catalog), commitments: live.commitments })
            }
        }
    }
}

/// Keeps the market up to date until nobody reads it any more. Where reading fails, what was known stays.
pub async fn keep(source: Source, market: watch::Sender<Arc<Market>>) {
    // A file does not change under us.
    if matches!(source, Source::File(_)) {
        return market.closed().await;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = market.closed() => return,
        }
        let source = source.clone();
        match tokio::task::spawn_blocking(move || source.read()).await {
            Ok(Ok(new)) => drop(market.send_replace(Arc::new(new))),
            Ok(Err(error)) => warn!(error = format!("{error:#}"), "the catalogue is not renewed"),
            Err(error) => warn!(%error, "the catalogue is not renewed"),
        }
    }
}

/// The moment, as the catalogue counts it.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}
