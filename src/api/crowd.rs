//! Which connection makes room for another when all places are taken.
//!
//! A connection stands where its client has left it: the server works for it, or waits for the client to
//! send or to take something, or has answered and only reads over what still comes. The longest wait ends
//! first; an address with more than a quarter of the places gives up its own before those of others.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};

use crate::sync::locked;

/// A body or an answer that moves at this pace, in bytes a second, is no wait.
const STEADY: u64 = 8 * 1024;

/// What has to have moved before that counts, in bytes, and how far a transfer may be behind the pace.
const MOVED: u64 = 32 * 1024;
const BEHIND: Duration = Duration::from_secs(1);

/// How often it is logged that there was no room.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The type of a channel that only ever closes.
#[derive(Debug)]
pub enum Never {}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Its request is answered or refused; what still comes is read over, or the refusal held back.
    Dismissed(Instant),
    /// Between two requests.
    Idle(Instant),
    /// Waited for to send a head.
    Waiting(Instant),
    /// Waited for to send more of a body, or to take more of an answer.
    Moving {
        began: Instant,
        /// When the last bytes moved.
        last: Instant,
        bytes: u64,
    },
    /// The server works for it, since then.
    Working(Instant),
}

impl Stand {
    /// Since when the client is waited for, behind how many kinds of others; `None` while it is not. Pure.
    fn rank(self, now: Instant) -> Option<(u8, Instant)> {
        match self {
            Stand::Dismissed(since) => Some((0, since)),
            Stand::Idle(since) | Stand::Waiting(since) => Some((1, since)),
            Stand::Moving { began, last, bytes } => {
                // A drop now and then does not make it younger.
                let since = last.min(began + Duration::from_secs(bytes / STEADY));
                let steady = bytes >= MOVED && now.saturating_duration_since(since) < BEHIND;
                (!steady).then_some((1, since))
            }
            Stand::Working(_) => None,
        }
    }

    /// Whether nothing is asked of the server on it.
    fn asks_nothing(self) -> bool {
        matches!(self, Stand::Dismissed(_) | Stand::Idle(_))
    }

    /// Since when it has its place for what it asks.
    fn since(self) -> Instant {
        match self {
            Stand::Dismissed(at) | Stand::Idle(at) | Stand::Waiting(at) | Stand::Working(at) => at,
            Stand::Moving { began, .. } => began,
        }
    }
}

/// All connections.
#[derive(Debug)]
pub struct Crowd {
    /// How many connections one address may have while others ask.
    quarter: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By the order in which they came.
    members: BTreeMap<u64, Member>,
    /// How many each address has.
    counts: HashMap<IpAddr, usize>,
    /// When it was last logged that there was no room, and how often that was so since.
    told: Option<Instant>,
    refused: u64,
}

#[derive(Debug)]
struct Member {
    address: IpAddr,
    stand: Stand,
    closer: Sender<Never>,
}

impl Crowd {
    /// For `places` connections.
    pub fn new(places: usize) -> Arc<Crowd> {
        Arc::new(Crowd {
            quarter: (places / 4).max(1),
            state: Mutex::default(),
        })
    }

    /// A connection from `address` has come. The receiver closes when it is to make room.
    pub fn enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> (Arc<Seat>, Receiver<Never>) {
        let (closer, crowded_out) = async_channel::bounded(1);
        let address = network(address);
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let member = Member {
            address,
            stand: Stand::Waiting(now),
            closer,
        };
        state.members.insert(number, member);
        *state.counts.entry(address).or_default() += 1;
        let seat = Seat {
            crowd: Arc::clone(self),
            number,
        };
        (Arc::new(seat), crowded_out)
    }

    /// Closes one connection for another from `address`; whether there was one to be closed.
    pub fn make_room(&self, address: IpAddr, now: Instant) -> bool {
        let mut state = self.state();
        let Some(number) = state.to_go(network(address), self.quarter, now) else {
            return false;
        };
        state.leave(number);
        true
    }

    /// A connection from `address` was refused; logged, but not each time.
    pub fn refused(&self, address: IpAddr, now: Instant) {
        let mut state = self.state();
        state.refused += 1;
        let told_lately = state
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY);
        if told_lately {
            return;
        }
        log::warn!(
            "all connections (server.max_connections) are at work: {} refused, the last from {address}",
            state.refused
        );
        state.told = Some(now);
        state.refused = 0;
    }

    /// No code that can panic runs under the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

impl State {
    /// Which connection goes for one more from `address`. Pure.
    ///
    /// The one that is waited for longest; of an address with more than a quarter of the places (that
    /// with the most) before those of others. An address that has its quarter takes from others only what
    /// asks for nothing; one that has not takes what such an address has at work, the latest first, before
    /// it takes what only just has come.
    fn to_go(&self, address: IpAddr, quarter: usize, now: Instant) -> Option<u64> {
        let count = |address: IpAddr| self.counts.get(&address).copied().unwrap_or(0);
        let has_its_quarter = count(address) >= quarter;
        // 0 for those that are within their quarter.
        let excess = |member: &Member| match count(member.address) {
            many if many > quarter => many,
            _ => 0,
        };
        let waiting = self.members.iter().filter_map(|(number, member)| {
            let rank = member.stand.rank(now)?;
            let excess = excess(member);
            let asks_nothing = member.stand.asks_nothing();
            let may_take =
                excess > 0 || !has_its_quarter || member.address == address || asks_nothing;
            let has_only_come =
                excess == 0 && !asks_nothing && now.saturating_duration_since(rank.1) < BEHIND;
            may_take.then_some((has_only_come, usize::MAX - excess, rank, *number))
        });
        let waiting = waiting.min();
        if let Some((false, _, _, number)) = waiting {
            return Some(number);
        }
        let at_work = self.members.iter().filter_map(|(number, member)| {
            let excess = excess(member);
            let may_take = excess > 0 && !has_its_quarter;
            may_take.then_some((excess, member.stand.since(), *number))
        });
        at_work
            .max()
            .map(|(_, _, number)| number)
            .or(waiting.map(|(_, _, _, number)| number))
    }

    /// Closes a connection, and counts it no more.
    fn leave(&mut self, number: u64) {
        let Some(member) = self.members.remove(&number) else {
            return;
        };
        member.closer.close();
        self.uncount(member.address);
    }

    fn uncount(&mut self, address: IpAddr) {
        if let Some(count) = self.counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&address);
            }
        }
    }
}

/// A connection's place among the others, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Seat {
    /// Notes where the connection stands.
    pub fn stands(&self, stand: Stand) {
        if let Some(member) = self.crowd.state().members.get_mut(&self.number) {
            member.stand = stand;
        }
    }

    /// Counts the connection for another address: that for which a proxy on this machine asks.
    pub fn is_for(&self, address: IpAddr) {
        let address = network(address);
        let mut state = self.crowd.state();
        let Some(member) = state.members.get_mut(&self.number) else {
            return;
        };
        let before = std::mem::replace(&mut member.address, address);
        if before != address {
            state.uncount(before);
            *state.counts.entry(address).or_default() += 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.state().leave(self.number);
    }
}

/// What counts as one address: a host of IPv6 has 2^64 of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, last])
    }

    /// 16 places, 4 for each address while others ask.
    struct Room {
        crowd: Arc<Crowd>,
        start: Instant,
        seats: Vec<(Arc<Seat>, Receiver<Never>)>,
    }

    impl Room {
        fn new() -> Room {
            Room {
                crowd: Crowd::new(16),
                start: Instant::now(),
                seats: Vec::new(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn enter(&mut self, address: IpAddr, stand: Stand) {
            let entered = self.crowd.enter(address, self.start);
            entered.0.stands(stand);
            self.seats.push(entered);
        }

        fn enter_many(&mut self, count: usize, address: IpAddr, stand: Stand) {
            for _ in 0..count {
                self.enter(address, stand);
            }
        }

        /// Which of the seats goes for one from `address`, 10 s after the start.
        fn goes(&self, address: IpAddr) -> Option<usize> {
            let closed = |(_, receiver): &(_, Receiver<Never>)| receiver.is_closed();
            let before: Vec<bool> = self.seats.iter().map(closed).collect();
            let made = self.crowd.make_room(address, self.at(10_000));
            let gone = (0..self.seats.len()).find(|n| closed(&self.seats[*n]) != before[*n]);
            assert_eq!(made, gone.is_some());
            gone
        }
    }

    #[test]
    fn the_longest_wait_ends_first_and_the_dismissed_before_all() {
        let mut room = Room::new();
        room.enter(v4(1), Stand::Waiting(room.at(20)));
        room.enter(v4(2), Stand::Idle(room.at(10)));
        room.enter(v4(3), Stand::Working(room.at(0)));
        room.enter(v4(4), Stand::Dismissed(room.at(9_000)));
        assert_eq!(room.goes(v4(9)), Some(3));
        assert_eq!(room.goes(v4(9)), Some(1));
        assert_eq!(room.goes(v4(9)), Some(0));
        assert_eq!(room.goes(v4(9)), None);
    }

    #[test]
    fn a_transfer_that_moves_stays_and_one_that_drips_goes() {
        let mut room = Room::new();
        let moving = |last, bytes| Stand::Moving {
            began: room.at(0),
            last: room.at(last),
            bytes,
        };
        // At 10 s 80 KiB are a steady pace; the second has had its last bytes long ago, the third drips, the
        // last has only begun.
        let stands = [
            moving(9_900, 90 << 10),
            moving(8_000, 90 << 10),
            moving(9_999, 100),
            Stand::Moving {
                began: room.at(9_990),
                last: room.at(9_999),
                bytes: 100,
            },
        ];
        for (n, stand) in stands.into_iter().enumerate() {
            room.enter(v4(n as u8), stand);
        }
        assert_eq!(room.goes(v4(9)), Some(2));
        assert_eq!(room.goes(v4(9)), Some(1));
        assert_eq!(room.goes(v4(9)), Some(3));
        assert_eq!(room.goes(v4(9)), None);
    }

    #[test]
    fn an_address_with_more_than_a_quarter_gives_up_its_own() {
        let mut room = Room::new();
        room.enter_many(3, v4(1), Stand::Idle(room.at(0)));
        room.enter_many(13, v4(2), Stand::Waiting(room.at(5_000)));
        // The older ones of others stay, whichever asks.
        for n in 0..9 {
            assert_eq!(room.goes(v4(2 + n % 2)), Some(3 + usize::from(n)));
        }
        // Four are left: now the longest wait counts.
        assert_eq!(room.goes(v4(3)), Some(0));
    }

    #[test]
    fn an_address_with_its_quarter_takes_only_what_asks_nothing() {
        let mut room = Room::new();
        room.enter_many(12, v4(1), Stand::Working(room.at(0)));
        room.enter(v4(2), Stand::Waiting(room.at(0)));
        room.enter(v4(2), Stand::Idle(room.at(50)));
        assert_eq!(room.goes(v4(1)), Some(13));
        assert_eq!(room.goes(v4(1)), None);
        assert_eq!(room.goes(v4(3)), Some(12));
    }

    #[test]
    fn where_all_are_at_work_the_latest_of_too_many_goes() {
        let mut room = Room::new();
        for n in 0..12 {
            room.enter(v4(1), Stand::Working(room.at(n)));
        }
        room.enter_many(4, v4(2), Stand::Working(room.at(99)));
        assert_eq!(room.goes(v4(1)), None);
        assert_eq!(room.goes(v4(2)), None, "it has its quarter");
        for n in (4..12).rev() {
            assert_eq!(room.goes(v4(3)), Some(n));
        }
        assert_eq!(room.goes(v4(3)), None, "each has its quarter");
        room.enter(v4(1), Stand::Working(room.at(50)));
        room.enter(v4(3), Stand::Waiting(room.at(9_999)));
        assert_eq!(room.goes(v4(3)), Some(16), "before one that has only come");
        assert_eq!(room.goes(v4(2)), None);
        assert_eq!(room.goes(v4(3)), Some(17));
    }

    #[test]
    fn a_proxys_clients_are_counted_and_ipv6_by_its_network() {
        let mut room = Room::new();
        let proxy = IpAddr::from([127, 0, 0, 1]);
        room.enter_many(8, proxy, Stand::Working(room.at(0)));
        for n in 0..4 {
            room.seats[n].0.is_for(v4(n as u8));
        }
        assert_eq!(room.crowd.state().counts[&proxy], 4);
        assert_eq!(room.goes(v4(9)), None);
        for n in 0..5_u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
            room.enter(address, Stand::Working(room.at(0)));
        }
        assert_eq!(room.goes(v4(9)), Some(12));
        let mapped = "::ffff:192.168.1.1".parse().unwrap();
        assert_eq!(network(mapped), v4(1));
        room.seats.clear();
        let state = room.crowd.state();
        assert!(state.members.is_empty() && state.counts.is_empty());
    }
}
