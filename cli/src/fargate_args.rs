//! Options about Fargate, which every command that plans takes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use stowage_cluster::{FargateOptions, Snapshot};
use stowage_pricing::fargate::{embedded_rates, parse_profiles};
use stowage_pricing::{Catalog, CatalogSource, Currency, FargateRates};

use crate::failure::Failure;
use crate::input;

/// Options about Fargate.
#[derive(Debug, clap::Args)]
pub(crate) struct FargateArgs {
    /// Let pods run on Fargate where that makes the plan cheaper, or where no node holds them
    ///
    /// So do Fargate profiles in the snapshot, and --fargate-profiles. With neither, pods of every namespace may.
    #[arg(long)]
    fargate: bool,

    /// Fargate profiles: answers of `aws eks describe-fargate-profile`, one after the other; `-` is standard input
    #[arg(long, value_name = "FILE")]
    fargate_profiles: Vec<PathBuf>,

    /// What Fargate costs an hour: dollars (in China yuan) for a vCPU, a GB of memory and a GB of disk, as 0.04048,0.004445,0.000111
    #[arg(long, value_name = "VCPU,GB,DISK")]
    fargate_rates: Option<Rates>,
}

/// Dollars an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates(FargateRates);

impl FromStr for Rates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |part: &str| part.trim().parse::<f64>().ok().filter(|p| (0.0..=1e6).contains(p));
        let all: Option<Vec<f64>> = text.split(',').map(read).collect();
        match all.as_deref() {
            Some(&[vcpu, gb, storage_gb]) => Ok(Self(FargateRates { vcpu, gb, storage_gb })),
            _ => Err("rates are three prices in dollars: for a vCPU, a GB of memory and a GB of disk, as \
                      0.04048,0.004445,0.000111"
                .to_owned()),
        }
    }
}

impl FargateArgs {
    /// Files that it reads.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.fargate_profiles.iter()
    }

    /// What Fargate costs: as stated, as AWS has told, or else as is compiled in.
    pub(crate) fn rates(&self, catalog: &Catalog, live: Option<FargateRates>) -> Option<FargateRates> {
        self.fargate_rates.map(|rates| rates.0).or(live).or_else(|| embedded_rates(region(catalog)))
    }

    /// How to plan with Fargate at these rates, and what to know about it.
    ///
    /// # Errors
    /// Where a file of profiles cannot be used, or nobody knows what Fargate costs.
    pub(crate) fn options(
        &self,
        snapshot: &Snapshot,
        catalog: &Catalog,
        rates: Option<FargateRates>,
    ) -> Result<(FargateOptions, Vec<String>), Failure> {
        let mut options = FargateOptions::default();
        let mut notes = Vec::new();
        options.stated = !self.fargate_profiles.is_empty();
        options.wanted = self.fargate || options.stated;
        if !options.wanted && snapshot.fargate_profiles.is_empty() {
            if self.fargate_rates.is_some() {
                notes.push(
                    "--fargate-rates changes nothing: there is no Fargate profile, and no --fargate"
                        .to_owned(),
                );
            }
            return Ok((options, notes));
        }
        for path in &self.fargate_profiles {
            let (found, passed_over) = profiles(path)?;
            options.profiles.extend(found);
            notes.extend(passed_over.into_iter().map(|why| format!("Fargate profile left out: {why}")));
        }
        let region = region(catalog);
        options.rates = rates;
        let Some(rates) = options.rates else {
            let missing = format!("what Fargate costs in {region} is not known");
            let money = if region.starts_with("cn-") { "yuan" } else { "dollars" };
            let mut remedy = format!(
                "state it: --fargate-rates VCPU,GB,DISK, {money} an hour for a vCPU and a GB each, from AWS's price list \
                 for the region"
            );
            remedy.push_str(match catalog.source {
                // AWS has been asked, and told no rates.
                CatalogSource::Answers { .. } => "",
                CatalogSource::Embedded { .. } => "; or let AWS be asked: --live",
                CatalogSource::File { .. } => "; or let AWS be asked: --live, in the place of --catalog",
            });
            if options.wanted {
                return Err(Failure::new(missing).hint(remedy));
            }
            notes.push(format!(
                "Fargate is not planned with, although there are profiles: {missing}; {remedy}"
            ));
            return Ok((options, notes));
        };
        let unit = if Currency::of_region(region) == Currency::Usd { "$" } else { "CNY " };
        let of = if self.fargate_rates.is_some() { "as stated".to_owned() } else { format!("of {region}") };
        notes.push(format!(
            "Fargate at {unit}{} a vCPU, {unit}{} a GB of memory and {unit}{} a GB of disk above 20 an hour, {of}",
            rates.vcpu, rates.gb, rates.storage_gb
        ));
        Ok((options, notes))
    }
}

/// A file whose zones are not named as AWS does is of machines of one's own, with the rates that are known.
fn region(catalog: &Catalog) -> &str {
    catalog.region().unwrap_or("us-east-1")
}

/// The profiles of a file, and what of it could not be used.
fn profiles(path: &Path) -> Result<(Vec<stowage_pricing::fargate::Profile>, Vec<String>), Failure> {
    let input = input::read(path)?;
    let answer =
        parse_profiles(&input.bytes).map_err(|error| Failure::new(format!("{}: {error}", input.name)))?;
    if answer.found.is_empty() && answer.passed_over.is_empty() {
        return Err(Failure::new(format!("{}: there is no Fargate profile in it", input.name)).hint(
            "write one with: aws eks describe-fargate-profile --cluster-name C --fargate-profile-name P",
        ));
    }
    Ok((answer.found, answer.passed_over.iter().map(ToString::to_string).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_three_prices() {
        let rates = "0.04048, 0.004445,0.000111".parse::<Rates>().map(|r| r.0);
        assert_eq!(rates, Ok(FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 }));
        for bad in ["", "1", "1,2", "1,2,3,4", "-1,1,1", "NaN,1,1", "1,inf,1", "a,b,c"] {
            assert!(bad.parse::<Rates>().is_err(), "{bad}");
        }
    }
}
