//! What keeps a server well that is left alone for years: it stays within the space that it may take,
//! and notices when a full disk has room again, and when the clock is set.

mod time;

use std::time::Duration;

use futures_lite::FutureExt as _;

pub use time::keep as keep_time;

use crate::clock::{self, Millis};
use crate::media::{Files, Space, SpaceNews};
use crate::store::{Store, StoreError, media, messages, probe};

/// Between two looks at what is to go.
const ROUND: Duration = Duration::from_secs(60);
/// Rounds that are left out at most while nothing is stored.
const RESTS: u32 = 60;
/// Between two tries to write while the storage refuses.
const PROBE: Duration = Duration::from_secs(5);
/// Messages that one transaction removes: a few milliseconds of the storage's thread.
const STEP: usize = 64;
/// Between two such transactions, for those who wait to write.
const PAUSE: Duration = Duration::from_millis(100);
/// Of the size that the database can grow to at all, how much messages may take, in quarters: what
/// else it holds must go on.
const QUARTERS: u64 = 3;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long messages are kept.
    pub age: Option<Duration>,
    /// Bytes that messages may take in the database.
    pub bytes: Option<u64>,
    /// Bytes that files may take; `None`: as many as leave some of the disk free.
    pub media_bytes: Option<u64>,
}

impl Policy {
    /// Which messages stay in a database that can grow to `limit` bytes at time `now`, which is `None`
    /// as long as it is not certain: nothing is too old by a clock that may be wrong.
    fn keep(&self, now: Option<Millis>, limit: u64) -> messages::Keep {
        let most = limit / 4 * QUARTERS;
        messages::Keep {
            since: self.age.zip(now).map(|(age, now)| {
                let age = Millis::try_from(age.as_millis()).unwrap_or(Millis::MAX);
                now.saturating_sub(age)
            }),
            bytes: Some(self.bytes.map_or(most, |bytes| bytes.min(most))),
        }
    }
}

/// Works until it is dropped, or the storage is closed. `space` is told how full the disk is.
pub async fn run(store: Store, files: Files, policy: Policy, space: Space) {
    let mut seen = None;
    let mut rests = 0;
    loop {
        let certain = clock::certain().is_some();
        let mut grown = space.files();
        // Others fill the disk, too: it is looked at also while nothing is stored.
        make_room(&store, &files, policy, &space).await;
        // Even to look writes a page: that of LMDB's table of readers.
        if seen != Some(store.stats().commits) || rests >= RESTS {
            if let Err(error) = round(&store, &files, policy).await {
                if matches!(error, StoreError::Closed) {
                    return;
                }
                log::warn!("old messages and files remain for now: {error}");
            }
            seen = Some(store.stats().commits);
            rests = 0;
        }
        rests += 1;
        let began = clock::ticks();
        let left = || {
            let passed = Duration::from_millis(clock::ticks().saturating_sub(began));
            ROUND.saturating_sub(passed)
        };
        while !left().is_zero() {
            let news = clock::news();
            if !certain && clock::certain().is_some() {
                // What is too old is known from now on.
                seen = None;
                break;
            }
            let failing = store.condition().failing.is_some();
            let rest = async {
                clock::sleep(match failing {
                    true => PROBE,
                    false => left(),
                })
                .await;
            };
            let refused = async {
                match failing {
                    true => std::future::pending().await,
                    false => store.refused().await,
                }
            };
            let file_came = async {
                match policy.media_bytes {
                    Some(_) => std::future::pending().await,
                    None => (&mut grown).await,
                }
                true
            };
            let turn = rest.or(refused).or(news);
            let turn = async {
                turn.await;
                false
            };
            if turn.or(file_came).await {
                grown = space.files();
                make_room(&store, &files, policy, &space).await;
            }
            if failing && store.write(probe).await.is_ok() {
                log::info!("storage: what was refused can be stored again");
            }
        }
    }
}

async fn round(store: &Store, files: &Files, policy: Policy) -> Result<(), StoreError> {
    let cleared = store.clear_stale_readers()?;
    if cleared > 0 {
        log::info!("storage: {cleared} readers of a program that died are gone");
    }
    let mut total = 0;
    loop {
        let keep = policy.keep(clock::certain(), store.limit());
        if !store.read(|tx| messages::is_over(tx, keep))? {
            break;
        }
        let removed = store
            .write(move |tx| messages::retention_step(tx, keep, STEP))
            .await?;
        total += removed.messages;
        remove_files(files, removed.media).await;
        smol::Timer::after(PAUSE).await;
    }
    if total > 0 {
        log::info!("{total} of the oldest messages removed");
    }
    if let Some(bytes) = policy.media_bytes {
        shrink_media(store, files, bytes).await?;
    }
    Ok(())
}

/// Removes the oldest files beyond so many bytes.
async fn shrink_media(store: &Store, files: &Files, bytes: u64) -> Result<(), StoreError> {
    let looking = files.clone();
    let doomed = match smol::unblock(move || looking.oldest_over(bytes)).await {
        Ok(doomed) => doomed,
        Err(error) => {
            log::warn!("the media folder could not be measured: {error}");
            return Ok(());
        }
    };
    remove_oldest(store, files, &doomed).await?;
    if !doomed.is_empty() {
        log::info!("{} of the oldest files removed", doomed.len());
    }
    Ok(())
}

/// Removes the oldest files while the disk has too little room, unless a number of bytes bounds them.
async fn make_room(store: &Store, files: &Files, policy: Policy, space: &Space) {
    if policy.media_bytes.is_some() {
        return;
    }
    let looking = files.clone();
    let looked = smol::unblock(move || {
        let disk = looking.disk()?;
        let doomed = match disk.missing() {
            0 => Vec::new(),
            bytes => looking.oldest_worth(bytes)?,
        };
        Ok::<_, std::io::Error>((disk, doomed))
    });
    let (disk, doomed) = match looked.await {
        Ok(looked) => looked,
        Err(error) => {
            log::debug!("the disk could not be measured: {error}");
            return;
        }
    };
    match space.look(disk, clock::now()) {
        SpaceNews::Began => log::warn!(
            "the disk has {} MiB free, and files of messages leave {} MiB of it free: from now on the oldest files \
             go; make room on the disk, or set media.max_bytes",
            disk.free >> 20,
            disk.reserve() >> 20
        ),
        SpaceNews::Ended => log::info!("the disk has room for files of messages again"),
        SpaceNews::Nothing => {}
    }
    match remove_oldest(store, files, &doomed).await {
        Ok(()) if doomed.is_empty() => {}
        Ok(()) => log::debug!("{} of the oldest files removed", doomed.len()),
        Err(error) => log::debug!("the oldest files remain for now: {error}"),
    }
}

/// Removes files. Their messages stay, and a file is fetched again for a client that asks for it, as long as
/// WhatsApp has it.
async fn remove_oldest(
    store: &Store,
    files: &Files,
    doomed: &[(u32, u64)],
) -> Result<(), StoreError> {
    for step in doomed.chunks(STEP) {
        let gone = step.to_vec();
        store
            .write(move |tx| {
                for &(account, number) in &gone {
                    media::forget_file(tx, account, number)?;
                }
                Ok(())
            })
            .await?;
        remove_files(files, step.to_vec()).await;
        smol::Timer::after(PAUSE).await;
    }
    Ok(())
}

/// What cannot be removed is nobody's, and goes at the next start.
async fn remove_files(files: &Files, media: Vec<(u32, u64)>) {
    if media.is_empty() {
        return;
    }
    let files = files.clone();
    smol::unblock(move || {
        for (account, number) in media {
            if let Err(error) = files.remove(account, number) {
                log::warn!("the file of an old message remains: {error}");
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_never_fill_the_database_to_its_limit() {
        let none = Policy {
            age: None,
            bytes: None,
            media_bytes: None,
        };
        let keep = none.keep(Some(5_000), 1 << 30);
        assert_eq!(keep.since, None);
        assert_eq!(keep.bytes, Some(768 << 20));
        let some = Policy {
            age: Some(Duration::from_secs(2)),
            bytes: Some(1 << 20),
            ..none
        };
        let keep = some.keep(Some(5_000), 1 << 30);
        assert_eq!((keep.since, keep.bytes), (Some(3_000), Some(1 << 20)));
        assert_eq!(some.keep(Some(1_000), 1 << 10).bytes, Some(768));
        assert_eq!(some.keep(Some(1_000), 1 << 10).since, Some(0));
        assert_eq!(some.keep(None, 1 << 10).since, None, "who knows the time?");
    }
}
