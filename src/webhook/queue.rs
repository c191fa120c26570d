//! The order and times of one hook's deliveries: a state machine, pure.
//!
//! The events of one chat are sent one after the other, several chats in parallel. After a failed attempt
//! the hook is down: after a pause one event is sent as a probe. Of the first events of all chats it is the
//! one with the fewest attempts, so that an event which its receiver always refuses delays only its own
//! chat. A success ends the state.
//!
//! An event is given up when an attempt fails and it has been failing for `give_up_after`. Time spent
//! waiting for a hook that is down counts, so that all events get the same time. Each event gets an
//! attempt, unless the hook has been down for that long and two events were given up since: then the hook
//! is dead, and the rest expires without an attempt.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use super::policy::{Retry, pause};
use crate::clock::Millis;
use crate::store::events::Header;
use crate::store::webhooks::{OpenEvent, Progress};

/// Events in the queue, read ahead of the deliveries.
pub const MOST_OPEN: usize = 64;

/// Events that are given up before the hook is treated as dead.
const SIGNS_OF_DEATH: u32 = 2;

/// A moment by two clocks: wall time survives a restart, the monotonic clock is never set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Millis,
    pub instant: Instant,
    /// The wall time is verified by WhatsApp.
    pub certain: bool,
}

/// The start of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Since {
    wall: Millis,
    /// Set if the state began in this run.
    instant: Option<Instant>,
    /// When this run learnt of it.
    known: Instant,
}

impl Since {
    fn ago(now: Now, age: Duration) -> Since {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Since {
            wall: now.wall.saturating_sub(millis),
            instant: now.instant.checked_sub(age),
            known: now.instant,
        }
    }

    fn stored(wall: Millis, now: Now) -> Since {
        Since {
            wall,
            instant: None,
            known: now.instant,
        }
    }

    /// The wall time to store. A start in this run is computed from now: the clock may have been set
    /// since, by years on a board without a battery.
    fn to_store(self, now: Now) -> Millis {
        match self.instant {
            Some(_) => Since::ago(now, self.age(now)).wall,
            None => self.wall,
        }
    }

    /// The age; with an unverified clock at most the time that this run has known of it.
    fn age(self, now: Now) -> Duration {
        match self.instant {
            None if now.certain => Duration::from_millis(now.wall.saturating_sub(self.wall)),
            began => now
                .instant
                .saturating_duration_since(began.unwrap_or(self.known)),
        }
    }
}

/// Events of one lane are delivered in order: an account's chat, or `None` for its events outside of
/// chats.
type Lane = (String, Option<String>);

#[derive(Debug)]
struct Entry {
    lane: Lane,
    /// When it happened, or its replay began.
    at: Millis,
    attempts: u32,
    first_failed: Option<Since>,
    not_before: Instant,
    sending: bool,
    /// This attempt is the probe of a hook that is down.
    probe: bool,
}

#[derive(Debug)]
enum Health {
    Up,
    Down {
        /// Failed attempts in a row.
        failures: u32,
        since: Since,
        /// When the next attempt is made.
        probe_at: Instant,
        /// Events given up since.
        given_up: u32,
    },
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// It will be tried again.
    Later,
    /// Its time is over. It stays in the queue until it is [removed](Queue::remove).
    GiveUp,
}

#[derive(Debug)]
pub struct Queue {
    open: BTreeMap<u64, Entry>,
    health: Health,
    retry: Retry,
    /// The most events in flight.
    parallel: usize,
}

impl Queue {
    /// A queue with stored `progress`; [`restore`](Queue::restore) adds its events.
    pub fn new(progress: &Progress, retry: Retry, parallel: usize, now: Now) -> Queue {
        let health = match (progress.failures, progress.failing_since) {
            (0, _) | (_, None) => Health::Up,
            (failures, Some(since)) => Health::Down {
                failures,
                since: Since::stored(since, now),
                // Probe at each start.
                probe_at: now.instant,
                given_up: progress.given_up,
            },
        };
        Queue {
            open: BTreeMap::new(),
            health,
            retry,
            parallel: parallel.max(1),
        }
    }

    /// Adds an event that was in the queue before the restart.
    pub fn restore(&mut self, event: OpenEvent, header: &Header, now: Now) {
        self.take_in(event.number, header, header.at, now);
        if let Some(entry) = self.open.get_mut(&event.number) {
            entry.attempts = event.attempts;
            entry.first_failed = event.first_failed.map(|at| Since::stored(at, now));
        }
    }

    /// Adds an event of time `at`, unless the queue has it.
    pub fn take_in(&mut self, number: u64, header: &Header, at: Millis, now: Now) {
        self.open.entry(number).or_insert_with(|| Entry {
            lane: (header.account.clone(), header.chat.clone()),
            at,
            attempts: 0,
            first_failed: None,
            not_before: now.instant,
            sending: false,
            probe: false,
        });
    }

    /// The number of free places.
    pub fn room(&self) -> usize {
        MOST_OPEN.saturating_sub(self.open.len())
    }

    pub fn in_flight(&self) -> usize {
        self.open.values().filter(|entry| entry.sending).count()
    }

    /// Writes the state into `progress`, which is stored and shown.
    pub fn show(&self, progress: &mut Progress, now: Now) {
        progress.open = self
            .open
            .iter()
            .map(|(number, entry)| OpenEvent {
                number: *number,
                attempts: entry.attempts,
                first_failed: entry.first_failed.map(|since| since.to_store(now)),
            })
            .collect();
        (progress.failures, progress.failing_since, progress.given_up) = match &self.health {
            Health::Up => (0, None, 0),
            Health::Down {
                failures,
                since,
                given_up,
                ..
            } => (*failures, Some(since.to_store(now)), *given_up),
        };
    }

    /// The first event of each lane that has none in flight.
    fn heads(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let mut taken: HashSet<&Lane> = self
            .open
            .values()
            .filter(|entry| entry.sending)
            .map(|entry| &entry.lane)
            .collect();
        self.open
            .iter()
            .filter(move |(_, entry)| taken.insert(&entry.lane))
            .map(|(number, entry)| (*number, entry))
    }

    /// The event to send now, if any; it is in flight from then on.
    pub fn next(&mut self, now: Now) -> Option<u64> {
        let in_flight = self.in_flight();
        let (number, probe) = match &self.health {
            Health::Up => {
                if in_flight >= self.parallel {
                    return None;
                }
                let due = |(_, entry): &(u64, &Entry)| entry.not_before <= now.instant;
                (self.heads().find(due)?.0, false)
            }
            Health::Down { probe_at, .. } => {
                if in_flight > 0 || *probe_at > now.instant {
                    return None;
                }
                let least = |(number, entry): &(u64, &Entry)| (entry.attempts, *number);
                (self.heads().min_by_key(least)?.0, true)
            }
        };
        let entry = self.open.get_mut(&number)?;
        entry.sending = true;
        entry.probe = probe;
        Some(number)
    }

    /// When to call [`next`](Queue::next) again, if nothing else happens before.
    pub fn wake(&self) -> Option<Instant> {
        match &self.health {
            Health::Up if self.in_flight() >= self.parallel => None,
            Health::Up => self.heads().map(|(_, entry)| entry.not_before).min(),
            Health::Down { probe_at, .. } => {
                (self.in_flight() == 0 && !self.open.is_empty()).then_some(*probe_at)
            }
        }
    }

    /// Removes an event that was delivered, which shows that the hook is up, or that no longer exists.
    pub fn done(&mut self, number: u64, delivered: bool) {
        self.open.remove(&number);
        if delivered {
            self.health = Health::Up;
        }
    }

    /// Undoes [`next`](Queue::next) for an event that could not be read.
    pub fn put_back(&mut self, number: u64) {
        if let Some(entry) = self.open.get_mut(&number) {
            entry.sending = false;
        }
    }

    /// An attempt failed. `asked` is the pause that the receiver asked for; `random` any number.
    pub fn failed(
        &mut self,
        number: u64,
        asked: Option<Duration>,
        now: Now,
        random: u32,
    ) -> Failed {
        let down_for = self.down_for(now);
        let retry = self.retry;
        let Some(entry) = self.open.get_mut(&number) else {
            return Failed::Later;
        };
        entry.sending = false;
        entry.attempts = entry.attempts.saturating_add(1);
        let failing = failing_for(entry, down_for, now);
        if entry.first_failed.is_none() {
            entry.first_failed = Some(Since::ago(now, failing));
        }
        let own = pause(&retry, entry.attempts, asked, random);
        entry.not_before = now.instant + own;
        let probe = std::mem::take(&mut entry.probe);
        match &mut self.health {
            Health::Up => {
                self.health = Health::Down {
                    failures: 1,
                    since: Since::ago(now, Duration::ZERO),
                    probe_at: now.instant + pause(&retry, 1, asked, random),
                    given_up: 0,
                };
            }
            // Parallel attempts that fail count once.
            Health::Down { .. } if !probe => {}
            Health::Down {
                failures, probe_at, ..
            } => {
                *failures = failures.saturating_add(1);
                *probe_at = now.instant + pause(&retry, *failures, asked, random);
            }
        }
        match failing >= retry.give_up_after {
            true => Failed::GiveUp,
            false => Failed::Later,
        }
    }

    /// Removes an event whose dead letter is stored.
    pub fn remove(&mut self, number: u64, now: Now) {
        self.open.remove(&number);
        if let Health::Down {
            given_up, probe_at, ..
        } = &mut self.health
        {
            *given_up = given_up.saturating_add(1);
            if *given_up < SIGNS_OF_DEATH {
                // Probe with the next event: the failures may have been this event's fault.
                *probe_at = now.instant;
            }
        }
    }

    /// The events (number, attempts) to give up without an attempt, because the hook is dead.
    pub fn expired(&self, now: Now) -> Vec<(u64, u32)> {
        let give_up_after = self.retry.give_up_after;
        let down_for = self.down_for(now);
        let is_dead = match &self.health {
            Health::Up => false,
            Health::Down { given_up, .. } => {
                *given_up >= SIGNS_OF_DEATH && down_for.is_some_and(|age| age >= give_up_after)
            }
        };
        let expired = |(number, entry): (&u64, &Entry)| {
            let failing = failing_for(entry, down_for, now);
            (is_dead && !entry.sending && failing >= give_up_after)
                .then_some((*number, entry.attempts))
        };
        self.open.iter().filter_map(expired).collect()
    }

    /// Ends all pauses.
    pub fn try_now(&mut self, now: Now) {
        if let Health::Down { probe_at, .. } = &mut self.health {
            *probe_at = now.instant;
        }
        for entry in self.open.values_mut() {
            entry.not_before = now.instant;
        }
    }

    pub fn attempts(&self, number: u64) -> u32 {
        self.open.get(&number).map_or(0, |entry| entry.attempts)
    }

    /// When a hook that is down is probed next.
    pub fn next_attempt(&self) -> Option<Instant> {
        match &self.health {
            Health::Up => None,
            Health::Down { probe_at, .. } => Some(*probe_at),
        }
    }

    fn down_for(&self, now: Now) -> Option<Duration> {
        match &self.health {
            Health::Up => None,
            Health::Down { since, .. } => Some(since.age(now)),
        }
    }
}

/// How long an event has been failing, or waiting for a hook that is down.
fn failing_for(entry: &Entry, down_for: Option<Duration>, now: Now) -> Duration {
    let waiting = match down_for {
        Some(down) => down.min(Duration::from_millis(now.wall.saturating_sub(entry.at))),
        None => Duration::ZERO,
    };
    match entry.first_failed {
        Some(since) => since.age(now).max(waiting),
        None => waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    const SECOND: Duration = Duration::from_secs(1);
    const RETRY: Retry = Retry {
        first: SECOND.saturating_mul(5),
        longest: SECOND.saturating_mul(900),
        give_up_after: SECOND.saturating_mul(1000),
    };
    /// The random number of no jitter.
    const MIDDLE: u32 = u32::MAX / 2;

    struct Clock(Now);

    impl Clock {
        fn new() -> Clock {
            Clock(Now {
                wall: 1_000_000_000,
                instant: Instant::now(),
                certain: true,
            })
        }

        fn pass(&mut self, seconds: u64) {
            self.0.wall += seconds * 1000;
            // A bit more, for the jitter's rounding.
            self.0.instant += SECOND * u32::try_from(seconds).unwrap() + SECOND / 100;
        }
    }

    fn queue(parallel: usize, now: Now) -> Queue {
        Queue::new(&Progress::default(), RETRY, parallel, now)
    }

    fn happens(queue: &mut Queue, number: u64, chat: &str, now: Now) {
        let header = Header {
            own: false,
            kind: EventKind::Message,
            account: "alice".to_owned(),
            chat: Some(chat.to_owned()),
            at: now.wall,
        };
        queue.take_in(number, &header, now.wall, now);
    }

    fn fails(queue: &mut Queue, number: u64, now: Now) -> Failed {
        queue.failed(number, None, now, MIDDLE)
    }

    #[test]
    fn chats_are_parallel_and_each_is_in_order() {
        let now = Clock::new().0;
        let mut queue = queue(2, now);
        for (number, chat) in [(1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "b")] {
            happens(&mut queue, number, chat, now);
        }
        assert_eq!(queue.next(now), Some(1));
        assert_eq!(queue.next(now), Some(3));
        assert_eq!(queue.next(now), None, "two at a time");
        assert_eq!(queue.wake(), None);
        queue.done(3, true);
        assert_eq!(queue.next(now), Some(4), "5 waits for nothing, 4 is first");
        queue.done(1, true);
        assert_eq!(queue.next(now), Some(2));
        queue.done(4, true);
        assert_eq!(queue.next(now), Some(5));
        queue.done(2, true);
        queue.done(5, true);
        assert_eq!((queue.next(now), queue.wake()), (None, None));
        assert_eq!(queue.room(), MOST_OPEN);
    }

    #[test]
    fn a_hook_that_is_down_is_probed_and_not_hammered() {
        let mut clock = Clock::new();
        let mut queue = queue(4, clock.0);
        for number in 1..=10 {
            happens(&mut queue, number, &format!("chat {number}"), clock.0);
        }
        let together: Vec<_> = std::iter::from_fn(|| queue.next(clock.0)).collect();
        assert_eq!(together, [1, 2, 3, 4]);
        for number in together {
            assert_eq!(fails(&mut queue, number, clock.0), Failed::Later);
        }
        // One attempt per interval, each of another event, at growing intervals.
        let mut tried = Vec::new();
        for interval in [5, 10, 20, 40, 80, 160] {
            clock.pass(interval - 1);
            assert_eq!(queue.next(clock.0), None);
            clock.pass(1);
            let probe = queue.next(clock.0).expect("a probe");
            assert_eq!(queue.next(clock.0), None, "only one");
            fails(&mut queue, probe, clock.0);
            tried.push(probe);
        }
        assert_eq!(tried, [5, 6, 7, 8, 9, 10]);
        let mut progress = Progress::default();
        queue.show(&mut progress, clock.0);
        assert_eq!((progress.failures, progress.open.len()), (7, 10));
        // The receiver is up again: the rest is sent.
        clock.pass(320);
        let probe = queue.next(clock.0).expect("a probe");
        assert_eq!(probe, 1);
        queue.done(probe, true);
        assert_eq!(std::iter::from_fn(|| queue.next(clock.0)).count(), 4);
        queue.show(&mut progress, clock.0);
        assert_eq!((progress.failures, progress.failing_since), (0, None));
    }

    #[test]
    fn an_event_that_always_fails_delays_only_its_chat() {
        let mut clock = Clock::new();
        let mut queue = queue(4, clock.0);
        happens(&mut queue, 1, "poison", clock.0);
        happens(&mut queue, 2, "poison", clock.0);
        happens(&mut queue, 3, "fine", clock.0);
        assert_eq!(queue.next(clock.0), Some(1));
        fails(&mut queue, 1, clock.0);
        clock.pass(5);
        assert_eq!(queue.next(clock.0), Some(3));
        queue.done(3, true);
        // The hook is up, and the pause of event 1 is over: it precedes 2.
        assert_eq!(queue.next(clock.0), Some(1));
        fails(&mut queue, 1, clock.0);
        happens(&mut queue, 4, "fine", clock.0);
        clock.pass(5);
        assert_eq!(queue.next(clock.0), Some(4));
        queue.done(4, true);
        assert_eq!(queue.next(clock.0), None, "its own pause is longer by now");
        assert!(queue.wake().is_some_and(|at| at > clock.0.instant));
        clock.pass(5);
        assert_eq!(queue.next(clock.0), Some(1));
    }

    #[test]
    fn events_behind_one_that_is_given_up_get_their_own_time() {
        let mut clock = Clock::new();
        let mut queue = queue(1, clock.0);
        happens(&mut queue, 1, "a", clock.0);
        assert_eq!(queue.next(clock.0), Some(1));
        assert_eq!(fails(&mut queue, 1, clock.0), Failed::Later);
        clock.pass(900);
        happens(&mut queue, 2, "a", clock.0);
        assert_eq!(queue.next(clock.0), Some(1));
        assert_eq!(fails(&mut queue, 1, clock.0), Failed::Later);
        clock.pass(100);
        assert_eq!(queue.next(clock.0), Some(1));
        assert_eq!(fails(&mut queue, 1, clock.0), Failed::GiveUp);
        queue.remove(1, clock.0);
        // The next event is sent at once.
        assert_eq!(queue.next(clock.0), Some(2));
        assert_eq!(fails(&mut queue, 2, clock.0), Failed::Later);
        clock.pass(890);
        assert_eq!(queue.next(clock.0), Some(2));
        assert_eq!(fails(&mut queue, 2, clock.0), Failed::Later);
        clock.pass(900);
        assert_eq!(queue.next(clock.0), Some(2));
        assert_eq!(fails(&mut queue, 2, clock.0), Failed::GiveUp);
    }

    #[test]
    fn events_of_a_dead_hook_expire_without_an_attempt() {
        let mut clock = Clock::new();
        let mut queue = queue(1, clock.0);
        for number in 1..=50 {
            happens(&mut queue, number, "a", clock.0);
        }
        assert_eq!(queue.next(clock.0), Some(1));
        fails(&mut queue, 1, clock.0);
        clock.pass(1000);
        happens(&mut queue, 60, "a", clock.0);
        for number in [1, 2] {
            assert!(queue.expired(clock.0).is_empty(), "each may be the culprit");
            assert_eq!(queue.next(clock.0), Some(number));
            assert_eq!(fails(&mut queue, number, clock.0), Failed::GiveUp);
            queue.remove(number, clock.0);
        }
        let expired: Vec<u64> = queue.expired(clock.0).iter().map(|it| it.0).collect();
        assert_eq!(expired, (3..=50).collect::<Vec<_>>());
        for number in expired {
            queue.remove(number, clock.0);
        }
        assert_eq!(queue.next(clock.0), None, "not before the pause is over");
        clock.pass(900);
        assert_eq!(queue.next(clock.0), Some(60));
    }

    #[test]
    fn a_restored_queue_survives_a_clock_that_is_set() {
        let mut clock = Clock::new();
        let mut before = queue(1, clock.0);
        happens(&mut before, 7, "a", clock.0);
        before.next(clock.0);
        fails(&mut before, 7, clock.0);
        let mut progress = Progress::default();
        before.show(&mut progress, clock.0);
        clock.pass(990);
        let header = Header {
            own: false,
            kind: EventKind::Message,
            account: "alice".to_owned(),
            chat: Some("a".to_owned()),
            at: 0,
        };
        let mut after = Queue::new(&progress, RETRY, 1, clock.0);
        after.restore(progress.open[0], &header, clock.0);
        assert_eq!(after.next(clock.0), Some(7), "a start probes");
        // An unverified clock that says 2040.
        let wrong = Now {
            wall: clock.0.wall * 3,
            certain: false,
            ..clock.0
        };
        assert_eq!(fails(&mut after, 7, wrong), Failed::Later);
        clock.pass(20);
        after.try_now(clock.0);
        assert_eq!(after.next(clock.0), Some(7));
        assert_eq!(fails(&mut after, 7, clock.0), Failed::GiveUp);
        // Wall time jumps by years while it fails.
        happens(&mut after, 8, "b", clock.0);
        after.done(7, true);
        after.next(clock.0);
        fails(&mut after, 8, clock.0);
        clock.0.wall += 100_000_000_000;
        clock.pass(10);
        after.next(clock.0);
        assert_eq!(fails(&mut after, 8, clock.0), Failed::Later);
        // It is stored relative to the new wall time.
        after.show(&mut progress, clock.0);
        let since = progress.open[0].first_failed.unwrap();
        assert!((9_000..12_000).contains(&(clock.0.wall - since)), "{since}");
    }

    #[test]
    fn retry_after_sets_the_pause() {
        let mut clock = Clock::new();
        let mut queue = queue(1, clock.0);
        happens(&mut queue, 1, "a", clock.0);
        queue.next(clock.0);
        queue.failed(1, Some(SECOND * 60), clock.0, MIDDLE);
        clock.pass(59);
        assert_eq!(queue.next(clock.0), None);
        clock.pass(1);
        assert_eq!(queue.next(clock.0), Some(1));
    }
}
