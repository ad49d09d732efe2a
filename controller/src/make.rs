//! Makes `NodeClaims` for nodes that were decided on.

use std::collections::HashMap;

use anyhow::Result;
use futures::StreamExt as _;
use kube::Client;
use kube::api::{DynamicObject, PostParams};
use serde_json::Value;
use stowage_cluster::Kind;
use tracing::warn;

use crate::claim::node_claim;
use crate::decide::Wanted;
use crate::follow::api;

/// Claims that are made side by side.
const SIDE_BY_SIDE: usize = 10;

/// Makes claims for what is wanted, side by side. Those of a `NodePool` that cannot be read, or is being deleted, are
/// left out.
///
/// # Errors
/// Where the API server does not say how it serves them.
pub(crate) async fn make<'w>(
    client: &Client,
    all: &'w [Wanted],
) -> Result<Vec<(&'w Wanted, Result<DynamicObject>)>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let (pools, claims) = (api(client, Kind::NodePool).await?, api(client, Kind::NodeClaim).await?);
    let mut templates = HashMap::<&str, Value>::new();
    for wanted in all {
        if !templates.contains_key(wanted.pool.as_str()) {
            // As it is in the cluster, with every field of it: planning knows only some.
            match pools.get(&wanted.pool).await {
                Ok(pool) if pool.metadata.deletion_timestamp.is_some() => {
                    warn!(pool = wanted.pool, "a NodePool is being deleted: no node is made from it");
                }
                Ok(pool) => drop(templates.insert(&wanted.pool, serde_json::to_value(pool)?)),
                Err(error) => warn!(pool = wanted.pool, %error, "a NodePool cannot be read"),
            }
        }
    }
    let of =
        |wanted: &'w Wanted| Some((wanted, node_claim(templates.get(wanted.pool.as_str())?, &wanted.choice)));
    let make = |(wanted, claim): (&'w Wanted, Value)| {
        let claims = &claims;
        async move {
            let made =
                async { Ok(claims.create(&PostParams::default(), &serde_json::from_value(claim)?).await?) };
            (wanted, made.await)
        }
    };
    let made = futures::stream::iter(all.iter().filter_map(of)).map(make).buffer_unordered(SIDE_BY_SIDE);
    Ok(made.collect().await)
}
