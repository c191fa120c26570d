//! Who decodes and converts files now: one at a time, in slices, the accounts in turn.
//!
//! A file that takes long is worked on for a slice, and then stands behind the others: a short one never waits for
//! the end of a long one. What waits is bounded by the requests under way, since one whose caller has left
//! leaves the queue.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::locked;

/// What a file's work is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It does not ask for a turn now.
    Idle,
    Asking,
    Running,
}

#[derive(Debug)]
struct Job {
    id: u64,
    account: u32,
    stage: Stage,
    /// Turns that it has had: what was begun holds memory.
    turns: u64,
}

/// The rules of the queue. Pure.
#[derive(Debug)]
struct Queue {
    /// Files that are begun and not finished at the same time, of all accounts and of one.
    begun: usize,
    begun_of_one: usize,
    jobs: Vec<Job>,
    next_id: u64,
    /// Turns given so far, and for each account with jobs, the number of its last one.
    given: u64,
    last: Vec<(u32, u64)>,
}

impl Queue {
    const fn new(begun: usize, begun_of_one: usize) -> Queue {
        Queue {
            begun,
            begun_of_one,
            jobs: Vec::new(),
            next_id: 0,
            given: 0,
            last: Vec::new(),
        }
    }

    fn enter(&mut self, account: u32) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.jobs.push(Job {
            id,
            account,
            stage: Stage::Idle,
            turns: 0,
        });
        id
    }

    fn leave(&mut self, id: u64) {
        self.jobs.retain(|job| job.id != id);
        self.last
            .retain(|(account, _)| self.jobs.iter().any(|job| job.account == *account));
    }

    fn set(&mut self, id: u64, stage: Stage) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            job.stage = stage;
        }
    }

    /// Gives the turn to one that asks, if there is one and the turn is free: to the account whose last turn is
    /// longest ago, and of its files to that which had the fewest turns, which is likely the shortest.
    fn give(&mut self) -> Option<u64> {
        if self.jobs.iter().any(|job| job.stage == Stage::Running) {
            return None;
        }
        let begun = |account: Option<u32>| {
            let all = self.jobs.iter().filter(|job| job.turns > 0);
            all.filter(|job| account.is_none_or(|account| account == job.account))
                .count()
        };
        let has_room = begun(None) < self.begun;
        let may =
            |job: &Job| job.turns > 0 || has_room && begun(Some(job.account)) < self.begun_of_one;
        let last = |account: u32| {
            let found = self.last.iter().find(|(of, _)| *of == account);
            found.map_or(0, |(_, turn)| *turn)
        };
        let (id, account) = self
            .jobs
            .iter()
            .filter(|job| job.stage == Stage::Asking && may(job))
            .min_by_key(|job| (last(job.account), job.turns, job.id))
            .map(|job| (job.id, job.account))?;
        self.given += 1;
        match self.last.iter_mut().find(|(of, _)| *of == account) {
            Some((_, turn)) => *turn = self.given,
            None => self.last.push((account, self.given)),
        }
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == id) {
            job.stage = Stage::Running;
            job.turns += 1;
        }
        Some(id)
    }
}

/// A queue, and those who wait in it.
#[derive(Debug)]
pub struct Turns(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    queue: Queue,
    asking: Vec<(u64, async_channel::Sender<()>)>,
}

impl Waiting {
    fn pass_on(&mut self) {
        while let Some(id) = self.queue.give() {
            let asking = self.asking.iter().position(|(of, _)| *of == id);
            match asking.map(|at| self.asking.swap_remove(at)) {
                Some((_, granted)) if granted.try_send(()).is_ok() => {}
                // It does not wait any more: the next one has the turn.
                _ => self.queue.set(id, Stage::Idle),
            }
        }
    }
}

impl Turns {
    /// `begun` files are in work at the same time at most, `begun_of_one` of one account; one of them has
    /// the turn.
    pub const fn new(begun: usize, begun_of_one: usize) -> Turns {
        Turns(Mutex::new(Waiting {
            queue: Queue::new(begun, begun_of_one),
            asking: Vec::new(),
        }))
    }

    /// A place for one file of an account. It is left when it and its turns are dropped.
    pub fn enter(&'static self, account: u32) -> Arc<Place> {
        Arc::new(Place {
            id: self.lock().queue.enter(account),
            turns: self,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        locked(&self.0)
    }
}

/// A file's place in the queue.
#[derive(Debug)]
pub struct Place {
    turns: &'static Turns,
    id: u64,
}

impl Place {
    /// Waits for a turn, which lasts until it is dropped.
    pub async fn turn(self: &Arc<Self>) -> Turn {
        let (granted, turn) = async_channel::bounded(1);
        // Before it is waited for: a caller that stops waiting does not keep the turn.
        let mine = Turn(Arc::clone(self));
        {
            let mut waiting = self.turns.lock();
            waiting.queue.set(self.id, Stage::Asking);
            waiting.asking.push((self.id, granted));
            waiting.pass_on();
        }
        // The other side is dropped only with this turn, or once it has said so.
        let _ = turn.recv().await;
        mine
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.turns.lock();
        waiting.queue.leave(self.id);
        waiting.pass_on();
    }
}

/// The right to work on a file now.
#[derive(Debug)]
pub struct Turn(Arc<Place>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.0.turns.lock();
        waiting.queue.set(self.0.id, Stage::Idle);
        waiting.asking.retain(|(of, _)| *of != self.0.id);
        waiting.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `jobs` of (account, slices) work to their ends, all there from the beginning; the order in which
    /// they end, and the most that were begun at a time.
    fn run(queue: &mut Queue, jobs: &[(u32, u64)]) -> (Vec<u64>, usize) {
        let mut left: Vec<(u64, u64)> = jobs
            .iter()
            .map(|(account, slices)| (queue.enter(*account), *slices))
            .collect();
        let (mut ended, mut most) = (Vec::new(), 0);
        while !left.is_empty() {
            for (id, _) in &left {
                queue.set(*id, Stage::Asking);
            }
            let id = queue.give().expect("one asks");
            assert_eq!(queue.give(), None, "one at a time");
            most = most.max(queue.jobs.iter().filter(|job| job.turns > 0).count());
            queue.set(id, Stage::Idle);
            let at = left.iter().position(|(of, _)| *of == id).unwrap();
            left[at].1 -= 1;
            if left[at].1 == 0 {
                left.remove(at);
                queue.leave(id);
                ended.push(id);
            }
        }
        (ended, most)
    }

    #[test]
    fn the_short_ones_do_not_wait_for_the_long_ones() {
        let mut queue = Queue::new(4, 2);
        let (ended, _) = run(&mut queue, &[(1, 1_000), (1, 1), (2, 3), (2, 1)]);
        assert_eq!(ended, [1, 3, 2, 0]);
        assert!(queue.jobs.is_empty() && queue.last.is_empty(), "{queue:?}");
    }

    #[test]
    fn no_account_has_all_turns_or_all_places() {
        let mut queue = Queue::new(4, 2);
        // Account 1 came first, with many; 2 and 3 have one each.
        let mut jobs = vec![(1, 50); 20];
        jobs.extend([(2, 50), (3, 50)]);
        let (ended, most) = run(&mut queue, &jobs);
        // A third of the turns each, until they are done.
        assert_eq!(ended[..2], [20, 21]);
        assert_eq!(most, 4);
    }

    #[test]
    fn what_was_begun_is_bounded_for_all_and_for_each() {
        let mut queue = Queue::new(3, 2);
        let (_, most) = run(&mut queue, &[(1, 9); 5]);
        assert_eq!(most, 2);
        let (_, most) = run(&mut queue, &[(1, 9), (2, 9), (3, 9), (4, 9), (5, 9)]);
        assert_eq!(most, 3);
    }

    #[test]
    fn a_turn_that_is_waited_for_no_more_goes_to_the_next() {
        static TURNS: Turns = Turns::new(4, 2);
        smol::block_on(async {
            let (a, b, c) = (TURNS.enter(1), TURNS.enter(1), TURNS.enter(2));
            let turn = a.turn().await;
            let mut waits = Box::pin(b.turn());
            assert!(futures_lite::future::poll_once(&mut waits).await.is_none());
            let mut behind = Box::pin(c.turn());
            assert!(futures_lite::future::poll_once(&mut behind).await.is_none());
            // The first leaves the place, but its turn goes on, until that ends as well.
            drop(a);
            assert!(futures_lite::future::poll_once(&mut behind).await.is_none());
            drop(waits);
            drop(turn);
            let turn = behind.await;
            drop((b, turn, c));
        });
        let waiting = TURNS.lock();
        assert!(waiting.queue.jobs.is_empty() && waiting.asking.is_empty());
    }
}
