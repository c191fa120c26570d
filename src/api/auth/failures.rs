//! Wrong keys, counted by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::api::crowd::network;

/// So many failures are taken at once, and as many in a [`WINDOW`] after that.
const MOST: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// The most addresses that are remembered; some 40 bytes each.
const MOST_ADDRESSES: usize = 1024;

/// When the last failure of each address will have been forgiven, one every `WINDOW / MOST`.
#[derive(Debug, Default)]
pub struct Failures(HashMap<IpAddr, Instant>);

impl Failures {
    /// Notes a failure; for how long yet there are too many, if there are. Those over the limit are
    /// not noted themselves.
    pub fn fail(&mut self, address: IpAddr, now: Instant) -> Option<Duration> {
        let address = network(address);
        let known = self.0.get(&address).copied().unwrap_or(now).max(now);
        let forgiven = known + WINDOW / MOST;
        let over = forgiven.saturating_duration_since(now + WINDOW);
        if !over.is_zero() {
            return Some(over);
        }
        if !self.0.contains_key(&address) {
            self.make_room(now);
        }
        self.0.insert(address, forgiven);
        None
    }

    /// Forgets those that are forgiven; if there are none, the one that is so first.
    fn make_room(&mut self, now: Instant) {
        if self.0.len() < MOST_ADDRESSES {
            return;
        }
        self.0.retain(|_, forgiven| *forgiven > now);
        if self.0.len() < MOST_ADDRESSES {
            return;
        }
        let first = self.0.iter().min_by_key(|(_, forgiven)| **forgiven);
        if let Some(first) = first.map(|(address, _)| *address) {
            self.0.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, last])
    }

    #[test]
    fn ten_a_minute_and_no_more() {
        let mut failures = Failures::default();
        let start = Instant::now();
        for i in 0..10 {
            assert_eq!(failures.fail(v4(1), start), None, "{i}");
        }
        assert_eq!(failures.fail(v4(1), start), Some(Duration::from_secs(6)));
        assert_eq!(failures.fail(v4(1), start), Some(Duration::from_secs(6)));
        assert_eq!(failures.fail(v4(2), start), None, "another address");
        let mut taken = 0;
        for second in 1..=600 {
            let now = start + Duration::from_secs(second);
            taken += u32::from(failures.fail(v4(1), now).is_none());
        }
        assert_eq!(taken, 100);
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let mut failures = Failures::default();
        let now = Instant::now();
        for i in 0..10 {
            let address = format!("2001:db8::{i}").parse().unwrap();
            assert_eq!(failures.fail(address, now), None);
        }
        assert!(
            failures
                .fail("2001:db8::ffff".parse().unwrap(), now)
                .is_some()
        );
        assert_eq!(failures.fail("2001:db8:0:1::1".parse().unwrap(), now), None);
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_room() {
        let mut failures = Failures::default();
        let now = Instant::now();
        for _ in 0..10 {
            failures.fail(v4(1), now);
        }
        for i in 0..10_000_u32 {
            failures.fail(IpAddr::from(i.to_be_bytes()), now);
            assert!(failures.0.len() <= MOST_ADDRESSES);
        }
        // The worst is not forgotten for them.
        assert!(failures.fail(v4(1), now).is_some());
        let later = now + WINDOW;
        failures.fail(v4(9), later);
        assert_eq!(failures.0.len(), 1);
    }
}
