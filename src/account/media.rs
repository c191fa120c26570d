//! The media of an account's messages: fetched from WhatsApp once for all that ask, and kept in files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::clock::{self, Millis};
use crate::media::{Spooled, sha256_of};
use crate::message::Medium;
use crate::runtime::{Shutdown, tasks};
use crate::store::StoreError;
use crate::store::media::{self as rows, Wanted};
use crate::sync::locked;
use crate::whatsapp::{FetchFailure, MediaPolicy, Session};
use futures_lite::FutureExt as _;

use super::slots::{Kind, Slot, Slots};
use super::wake::kick_or_rest;
use super::wiring::Wiring;

/// How long a medium that could not be fetched rests before the next try, by the tries so far; after
/// the last one it is only fetched when it is asked for.
const RESTS: [Duration; 6] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(12 * 3600),
    Duration::from_secs(24 * 3600),
];
/// Wanted media that are looked at in one go.
const LOOK: usize = 64;

/// How a fetch ended.
type Ended = Result<(), FetchFailure>;

/// What is fetched (account and number).
type UnderWay = HashMap<(u32, u64), Fetch>;

/// One that is fetched.
#[derive(Default)]
struct Fetch {
    waiters: Vec<async_channel::Sender<Ended>>,
    /// Triggered when a client waits for it.
    asked: Shutdown,
}

/// Fetches media, each once at a time. Clones share it.
#[derive(Clone)]
pub struct Fetcher {
    pub wiring: Arc<Wiring>,
    under_way: Arc<Mutex<UnderWay>>,
    /// For files that move at the same time.
    pub slots: Slots,
}

/// When a medium is tried again; `None`: only on request.
fn next_try(tries: u32, now: Millis) -> Option<Millis> {
    let rest = RESTS.get(usize::try_from(tries).ok()?)?;
    Some(now.saturating_add(u64::try_from(rest.as_millis()).ok()?))
}

impl Fetcher {
    pub fn new(wiring: Arc<Wiring>) -> Fetcher {
        Fetcher {
            wiring,
            under_way: Arc::default(),
            slots: Slots::new(),
        }
    }

    /// Fetches a medium that a client waits for, and stores it. Goes on if the caller leaves.
    ///
    /// # Errors
    /// See [`FetchFailure`].
    pub async fn fetch(
        &self,
        session: Arc<Session>,
        account: u32,
        number: u64,
        medium: Medium,
    ) -> Ended {
        self.fetch_as(Kind::Asked, session, account, number, medium)
            .await
    }

    /// One that a client asks for while it waits for a place unasked takes a place of those that are waited for.
    async fn fetch_as(
        &self,
        kind: Kind,
        session: Arc<Session>,
        account: u32,
        number: u64,
        medium: Medium,
    ) -> Ended {
        let (sender, ended) = async_channel::bounded(1);
        let (first, asked) = {
            let mut under_way = self.lock();
            let fetch = under_way.entry((account, number)).or_default();
            fetch.waiters.push(sender);
            if kind == Kind::Asked {
                fetch.asked.trigger();
            }
            (fetch.waiters.len() == 1, fetch.asked.clone())
        };
        if first {
            let fetcher = self.clone();
            let fetching = async move {
                // Taken out whatever happens: also when the work panics.
                let _out = Out {
                    fetcher: &fetcher,
                    key: (account, number),
                };
                let _slot = fetcher.place(kind, account, &asked).await;
                let kind = match asked.is_triggered() {
                    true => Kind::Asked,
                    false => kind,
                };
                let result = fetcher
                    .fetch_now(kind, &session, account, number, medium)
                    .await;
                let fetch = fetcher.lock().remove(&(account, number));
                for waiter in fetch.unwrap_or_default().waiters {
                    // It may have left.
                    let _ = waiter.try_send(result.clone());
                }
            };
            let executor = &self.wiring.executor;
            tasks::guard(executor, tasks::Kind::Fetch, "a medium", fetching).detach();
        }
        ended
            .recv()
            .await
            .unwrap_or_else(|_| Err(FetchFailure::Other("internal error".into())))
    }

    /// A place of that kind, or, once a client waits, of those for what clients wait for.
    async fn place(&self, kind: Kind, account: u32, asked: &Shutdown) -> Slot {
        let promoted = async {
            asked.wait().await;
            self.slots.take(Kind::Asked, account).await
        };
        match kind {
            Kind::Unasked => self.slots.take(kind, account).or(promoted).await,
            Kind::Upload | Kind::Asked => promoted.await,
        }
    }

    async fn fetch_now(
        &self,
        kind: Kind,
        session: &Session,
        account: u32,
        number: u64,
        medium: Medium,
    ) -> Ended {
        let failed = |e: &dyn std::fmt::Display| FetchFailure::Other(e.to_string());
        let policy = for_kind(self.wiring.media, kind);
        let (file, moved_to) = session.fetch(&medium, policy, &self.wiring.spool).await?;
        let files = self.wiring.files.clone();
        let size = smol::unblock(move || {
            let size = file.size()?;
            files.keep(file, account, number)?;
            Ok::<_, std::io::Error>(size)
        })
        .await
        .map_err(|e| failed(&e))?;
        self.wiring.space.file_came();
        let now = clock::now();
        let known = self
            .wiring
            .store
            .write(move |tx| {
                rows::unwant(tx, account, number)?;
                let Some(mut medium) = rows::get(&tx.view(), account, number)? else {
                    return Ok(false);
                };
                medium.stored_at = Some(now);
                medium.size = size;
                if let (Some(remote), Some(path)) = (&mut medium.remote, &moved_to) {
                    remote.direct_path.clone_from(path);
                }
                rows::put(tx, account, number, &medium)
            })
            .await
            .map_err(|e| failed(&e))?;
        if !known {
            // Its message was deleted meanwhile.
            self.remove(account, number).await;
            return Err(FetchFailure::Gone("the message was deleted".into()));
        }
        Ok(())
    }

    /// Keeps a file that was sent as its message's medium.
    pub async fn keep_own(&self, account: u32, number: u64, file: Spooled) {
        let files = self.wiring.files.clone();
        match smol::unblock(move || files.keep(file, account, number)).await {
            Ok(()) => self.is_kept(account, number).await,
            // WhatsApp has it, from where it can be fetched.
            Err(error) => log::warn!("a file that was sent could not be kept: {error}"),
        }
    }

    /// Says that a medium's file is here.
    async fn is_kept(&self, account: u32, number: u64) {
        self.wiring.space.file_came();
        let now = clock::now();
        let stored = self.wiring.store.write(move |tx| {
            if let Some(mut medium) = rows::get(&tx.view(), account, number)? {
                medium.stored_at = Some(now);
                rows::put(tx, account, number, &medium)?;
            }
            Ok(())
        });
        if let Err(error) = stored.await {
            log::warn!("a file that was sent could not be kept: {error}");
        }
    }

    /// Keeps the file of a message that waited, and was sent, as its medium.
    pub async fn keep_waited(&self, account: u32, message_id: &str, number: u64) {
        let files = self.wiring.files.clone();
        let id = message_id.to_owned();
        let there = smol::unblock(move || match files.waiting(account, &id).is_file() {
            true => files.keep_waited(account, &id, number).map(|()| true),
            false => Ok(false),
        });
        match there.await {
            Ok(true) => self.is_kept(account, number).await,
            Ok(false) => {}
            // WhatsApp has it, from where it can be fetched.
            Err(error) => log::warn!("a file that was sent could not be kept: {error}"),
        }
    }

    /// Removes a medium's file.
    pub async fn remove(&self, account: u32, number: u64) {
        let files = self.wiring.files.clone();
        if let Err(error) = smol::unblock(move || files.remove(account, number)).await {
            log::error!("the file of a deleted message remains: {error}");
        }
    }

    /// Fetches what an account wants, oldest first and one after the other, and again what is due;
    /// `kick` says that more is wanted.
    pub async fn fetch_wanted(
        self,
        session: Arc<Session>,
        account: u32,
        kick: async_channel::Receiver<()>,
    ) {
        // A new connection is a new chance: what failed before need not wait for its time.
        let mut at_once = true;
        loop {
            let due = match self.round(&session, account, at_once).await {
                Ok(due) => due,
                Err(error) => {
                    log::error!("wanted media could not be read: {error}");
                    None
                }
            };
            at_once = false;
            let left = due.map(|at| Duration::from_millis(at.saturating_sub(clock::now())));
            if !kick_or_rest(&kick, left).await {
                return;
            }
        }
    }

    /// Tries everything that is due, or everything `at_once`; returns when the next one is.
    async fn round(
        &self,
        session: &Arc<Session>,
        account: u32,
        at_once: bool,
    ) -> Result<Option<Millis>, StoreError> {
        let (mut after, mut next) = (0, None::<Millis>);
        loop {
            let wanted = self
                .wiring
                .store
                .read(|tx| rows::wanted(tx, account, after, LOOK))?;
            let Some(last) = wanted.last() else {
                return Ok(next);
            };
            after = last.number;
            for wanted in wanted {
                let due = match wanted.due > clock::now() && !at_once {
                    true => Some(wanted.due),
                    false => self.try_wanted(session, account, wanted).await?,
                };
                next = match (next, due) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
    }

    /// Tries one; returns when it is due again, if it is.
    async fn try_wanted(
        &self,
        session: &Arc<Session>,
        account: u32,
        wanted: Wanted,
    ) -> Result<Option<Millis>, StoreError> {
        let number = wanted.number;
        let medium = self
            .wiring
            .store
            .read(|tx| rows::get(tx, account, number))?;
        let Some(medium) = medium else {
            self.wiring
                .store
                .write(move |tx| rows::unwant(tx, account, number))
                .await?;
            return Ok(None);
        };
        if !self.has_room(medium.size).await {
            log::debug!("a medium is not fetched while the disk is all but full");
            return self.later(account, wanted).await.map(Some);
        }
        let fetched = self.fetch_as(Kind::Unasked, session.clone(), account, number, medium);
        let failure = match fetched.await {
            Ok(()) => return Ok(None),
            Err(failure) => failure,
        };
        log::debug!("a medium was not fetched: {failure}");
        let due = match failure {
            FetchFailure::Gone(_) => None,
            // The next connection tries it.
            FetchFailure::NotConnected => return Ok(None),
            FetchFailure::Other(_) => next_try(wanted.tries, clock::now()),
        };
        self.wiring
            .store
            .write(move |tx| match due {
                Some(due) => rows::want(
                    tx,
                    account,
                    Wanted {
                        number,
                        tries: wanted.tries.saturating_add(1),
                        due,
                    },
                ),
                None => rows::unwant(tx, account, number),
            })
            .await?;
        Ok(due)
    }

    /// Whether a file of `size` bytes leaves at least half of the reserve free; the oldest files are removed within a
    /// minute.
    async fn has_room(&self, size: u64) -> bool {
        if !self.wiring.media.leaves_room {
            return true;
        }
        let files = self.wiring.files.clone();
        // If the free space is unknown, the write fails when there is none.
        smol::unblock(move || files.disk())
            .await
            .map_or(true, |disk| {
                disk.free.saturating_sub(size) >= disk.reserve() / 2
            })
    }

    /// Looks at one again soon, without counting this as a try; returns when.
    async fn later(&self, account: u32, wanted: Wanted) -> Result<Millis, StoreError> {
        let due = next_try(1, clock::now()).unwrap_or_default();
        let again = Wanted { due, ..wanted };
        self.wiring
            .store
            .write(move |tx| rows::want(tx, account, again))
            .await?;
        Ok(due)
    }

    /// The SHA-256 of a file.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn hash(&self, path: std::path::PathBuf) -> std::io::Result<[u8; 32]> {
        smol::unblock(move || sha256_of(&path)).await
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        locked(&self.under_way)
    }
}

/// What is fetched unasked is no larger than its setting says, whether its message says how large it is or not.
fn for_kind(policy: MediaPolicy, kind: Kind) -> MediaPolicy {
    match kind {
        Kind::Upload | Kind::Asked => policy,
        Kind::Unasked => MediaPolicy {
            unannounced_max_bytes: policy.auto_max_bytes.min(policy.unannounced_max_bytes),
            ..policy
        },
    }
}

/// Takes a fetch out of the list of those under way.
struct Out<'a> {
    fetcher: &'a Fetcher,
    key: (u32, u64),
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.fetcher.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_to_an_end() {
        let mut tries = 0;
        let mut last = 0;
        while let Some(at) = next_try(tries, 1_000) {
            assert!(at > last, "the rests grow");
            last = at;
            tries += 1;
        }
        assert_eq!(tries, 6);
        assert_eq!(next_try(u32::MAX, 0), None);
    }
}
