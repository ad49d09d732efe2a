//! Free addresses of subnets: as EC2 said last, less what launches since then will take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stowage_aws::FoundSubnet;

/// Free addresses by subnet, shared by whoever looks subnets up and whoever launches into them.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<Mutex<BTreeMap<String, i64>>>);

impl Addresses {
    /// EC2 has said how many there are.
    pub fn said(&self, subnets: &[FoundSubnet]) {
        self.with(|free| free.extend(subnets.iter().map(|subnet| (subnet.id.clone(), subnet.free))));
    }

    /// A launch will take so many of a subnet.
    pub fn taken(&self, subnet: &str, addresses: i64) {
        self.with(|free| {
            if let Some(left) = free.get_mut(subnet) {
                *left = left.saturating_sub(addresses);
            }
        });
    }

    /// A subnet has none left, as EC2 said when it was asked for some.
    pub fn none_left(&self, subnet: &str) {
        self.with(|free| free.insert(subnet.to_owned(), 0));
    }

    /// How many there are now; subnets of which nobody knows are left out.
    pub fn free(&self) -> BTreeMap<String, i64> {
        self.with(|free| free.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, i64>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
        addresses.none_left("subnet-1");
        assert_eq!(addresses.free()["subnet-1"], 0);
        addresses.said(&[subnet(65)]);
        assert_eq!(addresses.free()["subnet-1"], 65);
    }
}
