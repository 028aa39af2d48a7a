//! Wrong bearer tokens: how many an address may send before its next ones are answered late.
//!
//! Only wrong ones are held up. Who has a right one is never in the way of a neighbour behind the same
//! address who has not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens that are answered at once.
const FREE: u32 = 5;
/// After this time without one, an address is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// For how long a wrong token's answer is held back after that, and what `Retry-After` says.
pub(super) const HELD_UP: Duration = Duration::from_secs(1);
/// Addresses that are remembered. When there are more, wrong tokens of new ones are held up at once.
const ADDRESSES: usize = 4096;

/// The addresses that lately sent wrong tokens.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<IpAddr, Wrong>>);

#[derive(Debug)]
struct Wrong {
    count: u32,
    last: Instant,
}

impl Throttle {
    /// Notes a wrong token. Whether its answer is to be held up.
    pub(super) fn note(&self, address: IpAddr, now: Instant) -> bool {
        let address = holder(address);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |wrong: &Wrong| now.saturating_duration_since(wrong.last) >= FORGOTTEN;
        if known.len() >= ADDRESSES && !known.contains_key(&address) {
            known.retain(|_, wrong| !is_old(wrong));
            if known.len() >= ADDRESSES {
                return true;
            }
        }
        let wrong = known.entry(address).or_insert(Wrong {
            count: 0,
            last: now,
        });
        if is_old(wrong) {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
        wrong.count > FREE
    }
}

/// What one client can choose from: of an IPv6 address the network of 64 bits.
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_is_held_up_after_some_and_forgotten_after_a_while() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..FREE {
            assert!(!throttle.note(v4(1), now));
        }
        assert!(throttle.note(v4(1), now));
        assert!(!throttle.note(v4(2), now), "another address is not");
        assert!(!throttle.note(v4(1), now + FORGOTTEN));
    }

    #[test]
    fn one_network_of_ipv6_counts_as_one() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let held = (0..=FREE)
            .map(|n| {
                let address = format!("2001:db8::{n:x}").parse().expect("an address");
                throttle.note(address, now)
            })
            .filter(|held| *held);
        assert_eq!(held.count(), 1);
    }

    #[test]
    fn the_table_does_not_grow_without_end() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..u32::try_from(ADDRESSES).expect("small") {
            throttle.note(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(throttle.note(v4(1), now), "full: held up at once");
        assert!(!throttle.note(v4(1), now + FORGOTTEN));
        let held = throttle.0.lock().expect("no panic").len();
        assert_eq!(held, 1, "the old ones made room");
    }
}
