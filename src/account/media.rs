//! The media of an account's messages: fetched from WhatsApp once, whoever asks, and kept in files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_lite::FutureExt as _;
use smol::lock::Semaphore;

use crate::clock::{self, Millis};
use crate::media::{Spooled, sha256_of};
use crate::store::StoreError;
use crate::store::media::{self as rows, Medium, Wanted};
use crate::whatsapp::{FetchFailure, Session, TRANSFERS, Wiring};

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

/// Who waits for which medium (account and number).
type UnderWay = HashMap<(u32, u64), Vec<async_channel::Sender<Ended>>>;

/// Fetches media, each once at a time. Clones share it.
#[derive(Clone)]
pub struct Fetcher {
    pub wiring: Wiring,
    under_way: Arc<Mutex<UnderWay>>,
    /// Files that move at the same time, in both directions, over all accounts.
    pub slots: Arc<Semaphore>,
}

/// When a medium is to be tried again; `None`: not by itself.
fn next_try(tries: u32, now: Millis) -> Option<Millis> {
    let rest = RESTS.get(usize::try_from(tries).ok()?)?;
    Some(now.saturating_add(u64::try_from(rest.as_millis()).ok()?))
}

impl Fetcher {
    pub fn new(wiring: Wiring) -> Fetcher {
        Fetcher {
            wiring,
            under_way: Arc::default(),
            slots: Arc::new(Semaphore::new(TRANSFERS)),
        }
    }

    /// Fetches a medium and stores it. Goes on if the caller leaves.
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
        let (sender, ended) = async_channel::bounded(1);
        let first = {
            let mut under_way = self.lock();
            let waiters = under_way.entry((account, number)).or_default();
            waiters.push(sender);
            waiters.len() == 1
        };
        if first {
            let fetcher = self.clone();
            self.wiring
                .executor
                .spawn(async move {
                    // Taken out whatever happens: also when the work panics.
                    let _out = Out {
                        fetcher: &fetcher,
                        key: (account, number),
                    };
                    let result = fetcher.fetch_now(&session, account, number, medium).await;
                    for waiter in fetcher
                        .lock()
                        .remove(&(account, number))
                        .unwrap_or_default()
                    {
                        // It may have left.
                        let _ = waiter.try_send(result.clone());
                    }
                })
                .detach();
        }
        ended
            .recv()
            .await
            .unwrap_or_else(|_| Err(FetchFailure::Other("internal error".into())))
    }

    async fn fetch_now(
        &self,
        session: &Session,
        account: u32,
        number: u64,
        medium: Medium,
    ) -> Ended {
        let _slot = self.slots.acquire().await;
        let failed = |e: &dyn std::fmt::Display| FetchFailure::Other(e.to_string());
        let (file, moved_to) = session.fetch(&medium, &self.wiring.spool).await?;
        let files = self.wiring.files.clone();
        let size = smol::unblock(move || {
            let size = file.size()?;
            files.keep(file, account, number)?;
            Ok::<_, std::io::Error>(size)
        })
        .await
        .map_err(|e| failed(&e))?;
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
            let kicked = async { kick.recv().await.is_ok() };
            let timer = async {
                match due {
                    Some(at) => {
                        let left = at.saturating_sub(clock::now());
                        smol::Timer::after(Duration::from_millis(left)).await;
                        true
                    }
                    None => std::future::pending().await,
                }
            };
            if !kicked.or(timer).await {
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
        let failure = match self.fetch(session.clone(), account, number, medium).await {
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

    /// The SHA-256 of a file.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn hash(&self, path: std::path::PathBuf) -> std::io::Result<[u8; 32]> {
        smol::unblock(move || sha256_of(&path)).await
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
