//! Places for files that move to and from WhatsApp. Uploads, downloads that a client waits for and those that are
//! made unasked have places of their own, and no account takes all of one kind: a slow transfer holds up its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use smol::lock::{Semaphore, SemaphoreGuardArc};

use crate::sync::locked;
use crate::whatsapp::UPLOADS;

/// Downloads under way at the same time that clients wait for, over all accounts.
const ASKED: usize = 4;
/// Downloads under way at the same time that nothing waits for, over all accounts.
const UNASKED: usize = 2;
/// Accounts whose places are remembered while none is taken.
const IDLE: usize = 16;

/// Why a file moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file to send.
    Upload,
    /// A client waits for it.
    Asked,
    /// It came with a message.
    Unasked,
}

impl Kind {
    /// Places over all accounts.
    const fn all(self) -> usize {
        match self {
            Kind::Upload => UPLOADS,
            Kind::Asked => ASKED,
            Kind::Unasked => UNASKED,
        }
    }

    /// Places of one account: one less, which is another's.
    const fn of_one(self) -> usize {
        self.all() - 1
    }
}

/// The places. Clones share them.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Places>);

#[derive(Debug)]
struct Places {
    upload: Arc<Semaphore>,
    asked: Arc<Semaphore>,
    unasked: Arc<Semaphore>,
    accounts: Mutex<HashMap<(Kind, u32), Arc<Semaphore>>>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Slot {
    _of_all: SemaphoreGuardArc,
    _of_account: SemaphoreGuardArc,
}

impl Slots {
    pub fn new() -> Slots {
        let places = |kind: Kind| Arc::new(Semaphore::new(kind.all()));
        Slots(Arc::new(Places {
            upload: places(Kind::Upload),
            asked: places(Kind::Asked),
            unasked: places(Kind::Unasked),
            accounts: Mutex::default(),
        }))
    }

    /// Takes a place, as soon as the account and all together have one to give.
    pub async fn take(&self, kind: Kind, account: u32) -> Slot {
        // The account's first: those of one that waits for itself keep no other out.
        let of_account = self.of(kind, account).acquire_arc().await;
        let of_all = match kind {
            Kind::Upload => &self.0.upload,
            Kind::Asked => &self.0.asked,
            Kind::Unasked => &self.0.unasked,
        };
        Slot {
            _of_all: of_all.acquire_arc().await,
            _of_account: of_account,
        }
    }

    fn of(&self, kind: Kind, account: u32) -> Arc<Semaphore> {
        let mut accounts = locked(&self.0.accounts);
        if accounts.len() > IDLE {
            // One that nothing holds or waits for has all its places.
            accounts.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let places = accounts
            .entry((kind, account))
            .or_insert_with(|| Arc::new(Semaphore::new(kind.of_one())));
        Arc::clone(places)
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    fn take_now(slots: &Slots, kind: Kind, account: u32) -> Option<Slot> {
        block_on(poll_once(slots.take(kind, account)))
    }

    #[test]
    fn no_account_takes_all_places_and_no_kind_takes_anothers() {
        let slots = Slots::new();
        let mut taken = Vec::new();
        for kind in [Kind::Upload, Kind::Asked, Kind::Unasked] {
            while let Some(slot) = take_now(&slots, kind, 1) {
                taken.push(slot);
            }
            assert!(take_now(&slots, kind, 1).is_none());
            let others = take_now(&slots, kind, 2);
            assert!(others.is_some(), "{kind:?}: one is left for others");
            assert!(
                take_now(&slots, kind, 3).is_none(),
                "{kind:?}: all are taken"
            );
        }
        assert_eq!(taken.len(), UPLOADS + ASKED + UNASKED - 3);
        taken.clear();
        for account in 0..1_000 {
            assert!(take_now(&slots, Kind::Asked, account).is_some());
        }
        let accounts = slots.0.accounts.lock().unwrap().len();
        assert!(accounts <= IDLE + 1, "{accounts}");
    }

    #[test]
    fn a_place_that_is_given_back_is_taken_by_the_next() {
        let slots = Slots::new();
        let held: Vec<Slot> = (0..UNASKED as u32)
            .filter_map(|account| take_now(&slots, Kind::Unasked, account))
            .collect();
        assert_eq!(held.len(), UNASKED);
        let mut waiting = Box::pin(slots.take(Kind::Unasked, 9));
        assert!(block_on(poll_once(waiting.as_mut())).is_none());
        drop(held);
        assert!(block_on(poll_once(waiting.as_mut())).is_some());
    }
}
