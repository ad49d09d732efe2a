//! The questions that are asked, and for how long an answer holds.

use std::fmt;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// A question to AWS about a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// What types are made of.
    InstanceTypes,
    /// Which zones offer them.
    Offerings,
    /// What they cost on demand.
    OnDemandPrices,
    /// What they cost as spot now.
    SpotPrices,
    /// What Fargate costs.
    FargatePrices,
    /// The account's subnets, hence the zones that nodes can stand in.
    Subnets,
    /// Machines that are held for the account.
    CapacityReservations,
    /// Reserved instances.
    ReservedInstances,
    /// Savings plans.
    SavingsPlans,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::InstanceTypes,
        Self::Offerings,
        Self::OnDemandPrices,
        Self::SpotPrices,
        Self::FargatePrices,
        Self::Subnets,
        Self::CapacityReservations,
        Self::ReservedInstances,
        Self::SavingsPlans,
    ];

    /// AWS's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InstanceTypes => "DescribeInstanceTypes",
            Self::Offerings => "DescribeInstanceTypeOfferings",
            Self::OnDemandPrices | Self::FargatePrices => "GetProducts",
            Self::SpotPrices => "DescribeSpotPriceHistory",
            Self::Subnets => "DescribeSubnets",
            Self::CapacityReservations => "DescribeCapacityReservations",
            Self::ReservedInstances => "DescribeReservedInstances",
            Self::SavingsPlans => "DescribeSavingsPlans",
        }
    }

    /// The list of an answer.
    pub(crate) const fn list(self) -> &'static str {
        match self {
            Self::InstanceTypes => "InstanceTypes",
            Self::Offerings => "InstanceTypeOfferings",
            Self::OnDemandPrices | Self::FargatePrices => "PriceList",
            Self::SpotPrices => "SpotPriceHistory",
            Self::Subnets => "Subnets",
            Self::CapacityReservations => "CapacityReservations",
            Self::ReservedInstances => "ReservedInstances",
            Self::SavingsPlans => "savingsPlans",
        }
    }

    /// The file that keeps its answer.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::InstanceTypes => "instance-types.gz",
            Self::Offerings => "offerings.gz",
            Self::OnDemandPrices => "on-demand-prices.gz",
            Self::SpotPrices => "spot-prices.gz",
            Self::FargatePrices => "fargate-prices.gz",
            Self::Subnets => "subnets.gz",
            Self::CapacityReservations => "capacity-reservations.gz",
            Self::ReservedInstances => "reserved-instances.gz",
            Self::SavingsPlans => "savings-plans.gz",
        }
    }

    /// Seconds for which an answer is used without asking again, where nobody says.
    ///
    /// Spot prices move a few times a day, and what an account has can change at any time; types and list prices change
    /// some times a month.
    pub const fn holds(self) -> u64 {
        match self {
            Self::InstanceTypes | Self::Offerings | Self::OnDemandPrices | Self::FargatePrices => DAY,
            Self::SpotPrices
            | Self::Subnets
            | Self::CapacityReservations
            | Self::ReservedInstances
            | Self::SavingsPlans => HOUR,
        }
    }

    /// Whether it is answered by a service without an endpoint inside networks.
    ///
    /// compat: karpenter-provider-aws v1.14 does not ask for prices with `ISOLATED_VPC`.
    pub(crate) const fn leaves_network(self) -> bool {
        matches!(self, Self::OnDemandPrices | Self::FargatePrices | Self::SavingsPlans)
    }

    /// Whether an answer of nothing is no answer: every region has types, zones and prices.
    pub(crate) const fn is_never_empty(self) -> bool {
        matches!(self, Self::InstanceTypes | Self::Offerings | Self::OnDemandPrices | Self::SpotPrices)
    }
}

/// For people: `spot prices`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InstanceTypes => "instance types",
            Self::Offerings => "zones of types",
            Self::OnDemandPrices => "on-demand prices",
            Self::SpotPrices => "spot prices",
            Self::FargatePrices => "Fargate rates",
            Self::Subnets => "subnets",
            Self::CapacityReservations => "capacity reservations",
            Self::ReservedInstances => "reserved instances",
            Self::SavingsPlans => "savings plans",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_has_a_file_and_words_of_its_own() {
        let files: BTreeSet<&str> = Call::ALL.iter().map(|c| c.file()).collect();
        let words: BTreeSet<String> = Call::ALL.iter().map(ToString::to_string).collect();
        assert_eq!((files.len(), words.len()), (Call::ALL.len(), Call::ALL.len()));
    }
}
