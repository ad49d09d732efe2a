//! Free addresses of subnets: as EC2 said last, less what launches since then have taken, or are about to take.

use std::collections::BTreeMap;

use stowage_aws::FoundSubnet;

use crate::shared::Shared;

/// Free addresses by subnet, shared by whoever looks subnets up and whoever launches into them.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Shared<BTreeMap<String, Free>>);

/// What is left of a subnet.
#[derive(Clone, Copy, Debug, Default)]
struct Free {
    /// As far as EC2 has said, and launches since then have taken.
    left: i64,
    /// What launches that are under way may take.
    asked: i64,
}

/// What a launch may take, for as long as it is under way.
#[derive(Debug)]
pub struct Held {
    of: Addresses,
    subnets: Vec<String>,
    addresses: i64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.ask(&self.subnets, -self.addresses);
    }
}

impl Addresses {
    /// EC2 has said how many there are.
    pub fn said(&self, subnets: &[FoundSubnet]) {
        self.0.with(|all| {
            for subnet in subnets {
                all.entry(subnet.id.clone()).or_default().left = subnet.free;
            }
        });
    }

    /// A launch will take so many of a subnet.
    pub fn taken(&self, subnet: &str, addresses: i64) {
        self.0.with(|all| {
            if let Some(free) = all.get_mut(subnet) {
                free.left = free.left.saturating_sub(addresses);
            }
        });
    }

    /// A launch is under way that will take so many of one of these.
    pub fn hold(&self, subnets: Vec<String>, addresses: i64) -> Held {
        self.ask(&subnets, addresses);
        Held { of: self.clone(), subnets, addresses }
    }

    fn ask(&self, subnets: &[String], addresses: i64) {
        self.0.with(|all| {
            for subnet in subnets {
                if let Some(free) = all.get_mut(subnet) {
                    free.asked = free.asked.saturating_add(addresses);
                }
            }
        });
    }

    /// A subnet has none left, as EC2 said when it was asked for some.
    pub fn none_left(&self, subnet: &str) {
        self.0.with(|all| all.entry(subnet.to_owned()).or_default().left = 0);
    }

    /// How many there are now; subnets of which nobody knows are left out. Where launches may take more than there are, one is
    /// said to be left: which of them gets what is EC2's to say.
    pub fn free(&self) -> BTreeMap<String, i64> {
        let count = |free: &Free| if free.left > 0 { (free.left - free.asked).max(1) } else { 0 };
        self.0.with(|all| all.iter().map(|(subnet, free)| (subnet.clone(), count(free))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_count_until_ec2_is_asked_again() {
        let addresses = Addresses::default();
        let subnet = |free| FoundSubnet { id: "subnet-1".to_owned(), free, ..FoundSubnet::default() };
        addresses.said(&[subnet(100)]);
        addresses.taken("subnet-1", 30);
        addresses.taken("subnet-2", 30);
        assert_eq!(addresses.free(), BTreeMap::from([("subnet-1".to_owned(), 70)]));
        let held = addresses.hold(vec!["subnet-1".to_owned()], 50);
        assert_eq!(addresses.free()["subnet-1"], 20, "a launch is under way");
        let more = addresses.hold(vec!["subnet-1".to_owned()], 50);
        assert_eq!(addresses.free()["subnet-1"], 1);
        drop((held, more));
        assert_eq!(addresses.free()["subnet-1"], 70);
        addresses.none_left("subnet-1");
        assert_eq!(addresses.free()["subnet-1"], 0);
        addresses.said(&[subnet(65)]);
        assert_eq!(addresses.free()["subnet-1"], 65);
    }
}
