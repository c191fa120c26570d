//! Maintenance of an unattended server: removes messages and files beyond their limits, probes a storage that
//! refuses writes, and applies steps of the clock.

mod clock_steps;

use std::time::Duration;

use futures_lite::{FutureExt as _, future};

pub use clock_steps::keep as keep_time;

use crate::clock::{self, Millis};
use crate::media::{Files, Space, SpaceNews};
use crate::store::{Store, StoreError, media, messages, probe};

/// The interval between two rounds of removal.
const ROUND: Duration = Duration::from_secs(60);
/// The most rounds that are skipped while nothing is stored.
const RESTS: u32 = 60;
/// The interval between probes while the storage refuses writes.
const PROBE: Duration = Duration::from_secs(5);
/// Messages removed per transaction, which takes a few ms of the storage thread.
const STEP: usize = 64;
/// The pause between two such transactions, for other writers.
const PAUSE: Duration = Duration::from_millis(100);
/// The share of the database's maximum size that messages may take, in quarters; the rest is for other data.
const QUARTERS: u64 = 3;

/// The limits of messages and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long messages are kept.
    pub age: Option<Duration>,
    /// Bytes that messages may take in the database.
    pub bytes: Option<u64>,
    /// Bytes that files may take; `None`: until the disk's free reserve.
    pub media_bytes: Option<u64>,
}

impl Policy {
    /// The messages to keep in a database of at most `limit` bytes. `now` is `None` while the clock is not
    /// verified: then age removes nothing.
    fn keep(&self, now: Option<Millis>, limit: u64) -> messages::Keep {
        let most = limit / 4 * QUARTERS;
        messages::Keep {
            since: self.age.zip(now).map(|(age, now)| {
                let age = Millis::try_from(age.as_millis()).unwrap_or(Millis::MAX);
                now.saturating_sub(age)
            }),
            expired: now,
            bytes: Some(self.bytes.map_or(most, |bytes| bytes.min(most))),
        }
    }
}

/// Makes messages from before the index of words findable, newest first; ends once all are.
async fn index_older(store: &Store) {
    loop {
        match store.read(messages::is_incomplete) {
            Ok(true) => {}
            Ok(false) | Err(StoreError::Closed) => return,
            Err(error) => log::warn!("older messages cannot be searched for now: {error}"),
        }
        let done = store.write(|tx| messages::index_older(tx, STEP)).await;
        clock::sleep(match done {
            Ok(_) => PAUSE,
            Err(_) => ROUND,
        })
        .await;
    }
}

/// Reads messages again that an earlier version did not understand in full, and kept; ends once all are.
async fn read_again(store: &Store) {
    match store.read(messages::is_unread) {
        Ok(true) => {}
        Ok(false) | Err(StoreError::Closed) => return,
        Err(error) => log::warn!("kept messages are not read again for now: {error}"),
    }
    let mut next = Some((0, 0));
    while let Some(from) = next {
        let done = store
            .write(move |tx| messages::read_again(tx, from, STEP, crate::whatsapp::read_again))
            .await;
        let pause = match done {
            Ok(reached) => {
                next = reached;
                PAUSE
            }
            Err(StoreError::Closed) => return,
            Err(_) => ROUND,
        };
        clock::sleep(pause).await;
    }
}

/// Removes stories that an earlier version kept as messages of a chat.
async fn clear_old_stories(store: &Store, files: &Files) {
    while store.read(messages::has_old_stories).unwrap_or(false) {
        match store
            .write(|tx| messages::clear_old_stories(tx, STEP))
            .await
        {
            Ok(removed) => remove_files(files, removed.media).await,
            Err(error) => return log::warn!("stories of an earlier version remain: {error}"),
        }
        clock::sleep(PAUSE).await;
    }
}

/// Runs until it is dropped or the storage is closed. Updates `space` with the state of the disk.
pub async fn run(store: Store, files: Files, policy: Policy, space: Space) {
    let older = async {
        clear_old_stories(&store, &files).await;
        future::zip(index_older(&store), read_again(&store)).await;
    };
    future::zip(older, rounds(&store, &files, policy, &space)).await;
}

async fn rounds(store: &Store, files: &Files, policy: Policy, space: &Space) {
    let mut seen = None;
    let mut rests = 0;
    // When the first message disappears.
    let mut due = None;
    loop {
        let is_due = due
            .zip(clock::certain())
            .is_some_and(|(due, now)| due <= now);
        let certain = clock::certain().is_some();
        let mut grown = space.files();
        // Checked also while nothing is stored: other programs fill the disk, too.
        make_room(store, files, policy, space).await;
        // A round writes LMDB's lock file, so idle rounds are skipped.
        if seen != Some(store.stats().commits) || rests >= RESTS || is_due {
            if let Err(error) = round(store, files, policy).await {
                if matches!(error, StoreError::Closed) {
                    return;
                }
                log::warn!("old messages and files remain for now: {error}");
            }
            due = store.read(messages::first_to_expire).unwrap_or_default();
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
                // Age applies from now on.
                seen = None;
                break;
            }
            let failing = store.condition().failing.is_some();
            let rest = clock::sleep(match failing {
                true => PROBE,
                false => left(),
            });
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
                make_room(store, files, policy, space).await;
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
        log::info!("storage: {cleared} reader slots of a dead process cleared");
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

/// Removes the oldest files until at most `bytes` remain.
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

/// Removes the oldest files while the disk has too little free space, unless `media_bytes` bounds them.
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

/// Removes files. Their messages stay; a file is fetched again on request while WhatsApp has it.
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

/// Removes files from disk. Those that remain are removed as orphans at the next start.
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
    fn messages_leave_a_quarter_of_the_database_free() {
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
        assert_eq!(
            some.keep(None, 1 << 10).since,
            None,
            "the clock is not verified"
        );
    }
}
