//! The tables, the version of their layout, and how an older layout becomes this one.

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, WithoutTls};

use super::error::StoreError;
use super::key::KeyReader;
use super::outbox;
use super::tx::{Table, WriteTx};

/// The layout that this program writes.
///
/// A change of any key or value that the previous version could not read raises it and adds a
/// function to [`UPGRADES`]. New fields with a serde default, and new tables, need neither.
pub const VERSION: u32 = 2;

type Upgrade = fn(&mut WriteTx<'_>) -> Result<(), StoreError>;

/// `UPGRADES[n]` turns layout `n + 1` into `n + 2`. Each runs in a transaction of its own.
const UPGRADES: [Upgrade; VERSION as usize - 1] = [outbox::upgrade_from_1];

/// The table that holds the version, and its key there.
pub(super) const META: &str = "meta";
pub(super) const VERSION_KEY: &[u8] = b"schema";

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Every database of the environment. The file that owns a group documents its keys.
        pub struct Tables {
            $($(#[$doc])* pub $name: Table,)*
        }

        const NAMES: &[&str] = &[$(stringify!($name),)*];

        impl Tables {
            /// `databases` in the order of `NAMES`.
            fn new(mut databases: impl Iterator<Item = heed::Database<'static, Bytes, Bytes>>) -> Option<Tables> {
                Some(Tables {
                    $($name: Table { db: databases.next()?, name: stringify!($name) },)*
                })
            }
        }
    };
}

tables! {
    /// Of the environment as a whole: schema version, counters. By name.
    meta,
    accounts,
    account_ids,
    purges,
    counters,
    chat_ids,
    chats,
    chats_by_time,
    messages,
    message_ids,
    messages_by_time,
    people,
    early_changes,
    media,
    media_wanted,
    events,
    webhooks,
    dead_letters,
    signal,
    outbox,
    idempotency,
    usernames,
}

/// How many databases LMDB must make room for.
pub const COUNT: u32 = NAMES.len() as u32;

/// Opens all tables, creates those that are missing, and brings an older layout up to date.
///
/// # Errors
/// [`StoreError::Newer`], before anything is changed, if a later version wrote the data.
pub fn open(env: &Env<WithoutTls>) -> Result<Tables, StoreError> {
    let found = check_version(env)?;
    let txn = env.write_txn()?;
    let opened = env.create_databases_and_commit(txn, |opener, txn| {
        let mut databases = [None; NAMES.len()];
        for (slot, name) in databases.iter_mut().zip(NAMES) {
            *slot = Some(opener.create_database::<Bytes, Bytes>(txn, Some(name))?);
        }
        Ok::<_, StoreError>(CommitOrAbort::<_, std::convert::Infallible>::Commit(
            databases,
        ))
    })?;
    let databases = match opened {
        CommitOrAbort::Commit(databases) => databases,
        CommitOrAbort::Abort(never) => match never {},
    };
    // Every slot was filled above.
    let tables = Tables::new(databases.into_iter().flatten()).ok_or(StoreError::Closed)?;
    upgrade(env, &tables, found)?;
    Ok(tables)
}

/// Opens the tables of an environment that is only read.
///
/// # Errors
/// [`StoreError::Older`] if one is missing: only who writes can make it.
pub fn open_to_read(env: &Env<WithoutTls>) -> Result<Tables, StoreError> {
    let found = check_version(env)?.unwrap_or(0);
    if found < VERSION {
        return Err(StoreError::Older);
    }
    let txn = env.read_txn()?;
    let opened = env.open_databases_and_commit(txn, |opener, txn| {
        let mut databases = [None; NAMES.len()];
        for (slot, name) in databases.iter_mut().zip(NAMES) {
            *slot = opener.open_database::<Bytes, Bytes>(txn, Some(name))?;
        }
        Ok::<_, StoreError>(CommitOrAbort::<_, std::convert::Infallible>::Commit(
            databases,
        ))
    })?;
    let databases = match opened {
        CommitOrAbort::Commit(databases) => databases,
        CommitOrAbort::Abort(never) => match never {},
    };
    if databases.iter().any(Option::is_none) {
        return Err(StoreError::Older);
    }
    Tables::new(databases.into_iter().flatten()).ok_or(StoreError::Older)
}

/// The version that the data have, without touching them, unless it is newer than this program;
/// `None` for a new environment.
///
/// # Errors
/// [`StoreError::Newer`].
pub fn check_version(env: &Env<WithoutTls>) -> Result<Option<u32>, StoreError> {
    let txn = env.read_txn()?;
    let opened = env.open_databases_and_commit(txn, |opener, txn| {
        let meta = opener.open_database::<Bytes, Bytes>(txn, Some(META))?;
        Ok::<_, StoreError>(CommitOrAbort::<_, std::convert::Infallible>::Commit(meta))
    })?;
    let meta = match opened {
        CommitOrAbort::Commit(meta) => meta,
        CommitOrAbort::Abort(never) => match never {},
    };
    let Some(meta) = meta else {
        return Ok(None);
    };
    let txn = env.read_txn()?;
    meta.get(&txn, VERSION_KEY)?.map(known_version).transpose()
}

/// The version that the row says, unless it is newer than this program.
///
/// # Errors
/// [`StoreError::Newer`].
pub(super) fn known_version(row: &[u8]) -> Result<u32, StoreError> {
    match KeyReader(row).u32() {
        Some(found) if found > VERSION => Err(StoreError::Newer {
            found,
            known: VERSION,
        }),
        Some(found) => Ok(found),
        None => Err(StoreError::corrupt(META, VERSION_KEY, "not a version")),
    }
}

fn upgrade(env: &Env<WithoutTls>, tables: &Tables, found: Option<u32>) -> Result<(), StoreError> {
    let Some(mut version) = found else {
        return write_version(env, tables, VERSION, None);
    };
    if version == 0 {
        return Err(StoreError::corrupt("meta", VERSION_KEY, "version 0"));
    }
    while let Some(step) = UPGRADES.get(version as usize - 1) {
        log::info!("storage: schema {version} becomes {}", version + 1);
        version += 1;
        write_version(env, tables, version, Some(*step))?;
    }
    Ok(())
}

fn write_version(
    env: &Env<WithoutTls>,
    tables: &Tables,
    version: u32,
    step: Option<Upgrade>,
) -> Result<(), StoreError> {
    let mut tx = WriteTx::new(env.write_txn()?, tables);
    if let Some(step) = step {
        step(&mut tx)?;
    }
    tx.put(tables.meta, VERSION_KEY, &version.to_be_bytes())?;
    Ok(tx.txn.commit()?)
}

/// Overwrites the version, for the test of a later one.
#[cfg(test)]
pub fn pretend_version(tx: &mut WriteTx<'_>, version: u32) -> Result<(), StoreError> {
    let meta = tx.tables().meta;
    tx.put(meta, VERSION_KEY, &version.to_be_bytes())
}
