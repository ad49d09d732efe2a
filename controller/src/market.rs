//! What can be bought, kept up to date: read at the start, then again every so often, without holding anybody up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use stowage_aws::{Store, Wish, read};
use stowage_pricing::fargate::embedded_rates;
use stowage_pricing::{Catalog, Commitments, FargateRates, Settings as Nodes, Timestamp};
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
    /// What Fargate costs; `None` where that is not known.
    pub fargate: Option<FargateRates>,
}

/// Where that is known from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A catalogue file.
    File(PathBuf),
    /// AWS; its answers are kept in a folder.
    Aws {
        /// The region.
        region: String,
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
                // A file whose zones are not named as AWS does is of machines of one's own, with the rates that are known.
                let fargate = embedded_rates(catalog.region().unwrap_or("us-east-1"));
                Ok(Market { catalog: Arc::new(catalog), commitments: Commitments::default(), fargate })
            }
            Self::Aws { region, cache, nodes, isolated } => {
                let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
                let store =
                    Store::new(cache, set("AWS_PROFILE").as_deref(), set("AWS_ENDPOINT_URL").as_deref());
                let now = now();
                let wish = Wish {
                    region: Some(region),
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
                let fargate = live.fargate.map(|rates| rates.price).or_else(|| embedded_rates(region));
                Ok(Market { catalog: Arc::new(live.catalog), commitments: live.commitments, fargate })
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
    renew(EVERY, market, move || source.read()).await;
}

/// Reads every so often, on a thread of its own: whoever plans meanwhile does so with what is known.
async fn renew<R>(every: Duration, market: watch::Sender<Arc<Market>>, read: R)
where
    R: Fn() -> Result<Market> + Clone + Send + 'static,
{
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = market.closed() => return,
        }
        match tokio::task::spawn_blocking(read.clone()).await {
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::sync::{Mutex, PoisonError};
    use std::time::Instant;

    use anyhow::bail;

    use super::*;

    /// Longest that an answer is waited for: only a defect takes so long.
    const DEADLINE: Duration = Duration::from_secs(30);

    fn market(types: usize) -> Market {
        let mut catalog = Catalog::embedded("us-east-1", &Nodes::default()).unwrap();
        catalog.types.truncate(types);
        Market { catalog: Arc::new(catalog), commitments: Commitments::default(), fargate: None }
    }

    /// On one thread: a read that held it would hold the test up until the read gives up.
    #[tokio::test]
    async fn who_plans_does_not_wait_for_new_prices() {
        let (keeper, mut known) = watch::channel(Arc::new(market(1)));
        let types = |known: &mut watch::Receiver<Arc<Market>>| known.borrow_and_update().catalog.types.len();
        let (answer, answers) = mpsc::channel::<Result<Market>>();
        let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers));
        let read = move || {
            begin.send(())?;
            let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.recv_timeout(DEADLINE).unwrap_or_else(|_| bail!("nobody could answer"))
        };
        let renewing = tokio::spawn(renew(Duration::from_millis(1), keeper, read));
        // A read is under way, and what was known is there.
        let started = Instant::now();
        begun.recv().await.unwrap();
        assert!(started.elapsed() < DEADLINE / 2, "the read held the test up");
        assert_eq!(types(&mut known), 1);
        answer.send(Ok(market(2))).unwrap();
        tokio::time::timeout(DEADLINE / 2, known.changed()).await.unwrap().unwrap();
        assert_eq!(types(&mut known), 2);
        // A read that fails changes nothing, and the next one is tried.
        begun.recv().await.unwrap();
        answer.send(Err(anyhow::anyhow!("AWS is away"))).unwrap();
        begun.recv().await.unwrap();
        assert_eq!((known.has_changed().unwrap(), types(&mut known)), (false, 2));
        // Nobody reads it any more.
        drop((known, answer));
        tokio::time::timeout(DEADLINE / 2, renewing).await.unwrap().unwrap();
    }
}
