//! The numbers of connections of each address.

use std::collections::HashMap;
use std::net::IpAddr;

use super::CountedAddress;

/// The numbers of connections of addresses. An address without a connection has no entry.
#[derive(Debug, Default)]
pub(crate) struct Addresses(HashMap<CountedAddress, usize>);

impl Addresses {
    /// Counts one more connection. Returns `None` if the address has `max` connections. A `max` of 0 is no limit.
    pub(crate) fn add(&mut self, address: IpAddr, max: usize) -> Option<CountedAddress> {
        let address = CountedAddress::of(address);
        let count = self.0.get(&address).copied().unwrap_or_default();
        if max > 0 && count >= max {
            return None;
        }
        self.0.insert(address, count + 1);
        Some(address)
    }

    /// Counts one connection less.
    pub(crate) fn remove(&mut self, address: CountedAddress) {
        match self.0.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.0.remove(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let mut addresses = Addresses::default();
        assert!(addresses.add(address("2001:db8::1"), 1).is_some());
        assert_eq!(addresses.add(address("2001:db8::ffff:2"), 1), None);
        assert!(addresses.add(address("2001:db8:0:1::1"), 1).is_some());
    }

    #[test]
    fn an_ipv4_address_counts_as_itself_in_both_forms() {
        let mut addresses = Addresses::default();
        assert!(addresses.add(address("192.0.2.1"), 1).is_some());
        assert_eq!(addresses.add(address("::ffff:192.0.2.1"), 1), None);
        assert!(addresses.add(address("192.0.2.2"), 1).is_some());
    }

    #[test]
    fn an_address_without_a_connection_is_forgotten() {
        let mut addresses = Addresses::default();
        let counted: Vec<_> = (0..3).filter_map(|_| addresses.add(address("192.0.2.1"), 0)).collect();
        assert_eq!(counted.len(), 3);
        for address in counted {
            assert_eq!(addresses.0.len(), 1);
            addresses.remove(address);
        }
        assert!(addresses.0.is_empty());
    }
}
