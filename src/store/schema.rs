//! The tables, the version of their layout, and how an older layout becomes this one.

use heed::types::Bytes;
use heed::{CommitOrAbort, Env, WithoutTls};

use super::accounts::{self, AccountRecord};
use super::error::StoreError;
use super::key::KeyReader;
use super::rows::{Bytes as Raw, Headed, Json, Rows, Text};
use super::tx::WriteTx;
use super::web_version::WebVersion;
use super::webhooks::WebhookRecord;
use super::{dead_letters, events, groups, idempotency, messages, outbox, purge, strangers};
use crate::clock::Step;
use crate::message::{DECODER, Medium, Message};

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

/// Whose rows a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The server's.
    Server,
    /// Accounts': the account's number is the first part of all keys.
    Account,
    /// Accounts', and counted as what messages take; see [`messages::size`].
    Messages,
}

/// Moves the times of an account's rows along with a step of the clock.
type Restamp = fn(&mut WriteTx<'_>, u32, &Step) -> Result<(), StoreError>;

/// Declares the databases and the kinds of rows in each: keys, values, and the bytes that tell a kind from
/// others in the same database. The purge of removed accounts, the bound on what messages take, and
/// [`restamp`] follow from it.
macro_rules! tables {
    ($(
        $(#[doc = $about:literal])*
        $Table:ident = $name:literal, $owner:ident $(, restamped by $restamp:path)* {$(
            $(#[doc = $words:literal])*
            $ROWS:ident: $Key:ty => $Value:ty $(, $kind:expr)?;
        )*}
    )+) => {
        /// A database of the environment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Id {$(
            $(#[doc = $about])*
            $Table,
        )+}

        const TABLES: &[(Id, &str, Owner)] = &[$((Id::$Table, $name, Owner::$owner),)+];

        const RESTAMPS: &[Restamp] = &[$($($restamp,)*)+];

        $($(
            $(#[doc = $words])*
            pub(super) const $ROWS: Rows<$Key, $Value> = Rows::new(Id::$Table, kind!($($kind)?));
        )*)+
    };
}

macro_rules! kind {
    () => {
        &[]
    };
    ($kind:expr) => {
        $kind
    };
}

tables! {
    /// The environment as a whole: rows that are alone of their kind.
    Meta = "meta", Server {
        SCHEMA: () => u32, VERSION_KEY;
        /// The number of the next account. None is given twice.
        NEXT_ACCOUNT: () => u32, b"next_account";
        NEXT_WEBHOOK: () => u64, b"next_webhook";
        EVENT_LOG: () => Json<events::State>, b"events";
        /// A random text in event ids, which tells them from those of another data directory.
        INSTANCE: () => Text, b"instance";
        /// The version of the decoder that has read all rows of `raw`.
        READ_BY: () => u32, b"read_by";
        WEB_VERSION: () => Json<WebVersion>, b"web version";
        /// Zeros that show whether there is room.
        PROBE: () => Text, b"probe";
    }
    Accounts = "accounts", Server {
        /// Number → account. Numbers count up in the order of creation.
        ACCOUNTS: (u32,) => Json<AccountRecord>;
    }
    AccountIds = "account_ids", Server {
        /// Id → number.
        ACCOUNT_IDS: (Text,) => u32;
    }
    Purges = "purges", Server {
        /// Number of a removed account whose rows are not all deleted.
        PURGES: (u32,) => Json<purge::Purge>;
    }
    Signal = "signal", Account {}
    Messages = "messages", Messages {
        /// Chat number, timestamp, sequence → message. A chat in the order of time; the sequence, which counts up
        /// within the account, orders equal times.
        MESSAGES: (u32, u64, u64, u64) => Message;
    }
    MessageIds = "message_ids", Messages {
        /// Message id, chat number, sender → timestamp, sequence. WhatsApp's ids are unique only within chat and
        /// sender. The sender is `me` for own messages, `peer` in a chat with one person, who may write under two
        /// JIDs, and else the JID that the person writes under there (a LID, in most groups).
        MESSAGE_IDS: (u32, Text, u64, Text) => (u64, u64);
    }
    MessagesByTime = "messages_by_time", Messages {
        /// Timestamp, sequence → chat number.
        MESSAGES_BY_TIME: (u32, u64, u64) => u64;
    }
    Expiring = "messages_expiring", Messages {
        /// When a message disappears, its sequence → its timestamp.
        EXPIRING: (u32, u64, u64) => u64;
    }
    Raws = "raw", Messages {
        /// Sequence of a message → the version of the decoder that read it last, its timestamp, its protobuf. Only of
        /// messages that are not understood in full.
        RAW: (u32, u64) => (u32, (u64, Raw));
    }
    People = "people", Messages {
        /// LID → the JID of its phone number, and back, for each person whose number was ever learnt, with a chat
        /// or without. Also the JID of a number in the form that WhatsApp does not use → the one that it does, see
        /// [`messages::answers_as`]. It outlives the pairing.
        PEOPLE: (u32, Text) => Text;
    }
    Usernames = "usernames", Account {
        /// JID → when WhatsApp last confirmed it, username; and `@` with the username in lower case, with which no JID
        /// begins → the same time, JID.
        USERNAMES: (u32, Text) => (u64, Text);
    }
    Blocked = "blocked", Account {
        /// JID that WhatsApp's list of blocked people names → the same.
        BLOCKED: (u32, Text) => Text;
    }
    EarlyChanges = "early_changes", Messages {
        /// Message id, sequence → change that waits for its message.
        EARLY_CHANGES: (u32, Text, u64) => Json<messages::Early>;
    }
    /// One database for several kinds, so that adding and removing an entry touches few pages.
    Outbox = "outbox", Account, restamped by outbox::restamp, restamped by strangers::restamp {
        OUTBOX_STATE: (u32,) => Json<outbox::State>, &[0];
        /// Sequence, which counts up within the account → entry. They are sent in this order.
        OUTBOX: (u32, u64) => Json<outbox::Entry>, &[1];
        /// Message id → sequence.
        OUTBOX_IDS: (u32, Text) => u64, &[2];
        /// When it is given up, sequence.
        OUTBOX_EXPIRY: (u32, u64, u64) => (), &[3];
        /// JID → when the account first wrote to it.
        STRANGERS: (u32, Text) => u64, &[4];
    }
    Idempotency = "idempotency", Account, restamped by idempotency::restamp {
        /// Idempotency key → its request and answer.
        KEYS: (u32, Text) => Json<idempotency::Known>, &[0];
        /// When it was first seen, idempotency key → idempotency key.
        KEYS_BY_TIME: (u32, u64, Text) => Text, &[1];
    }
    Media = "media", Messages {
        /// Number, which counts up within the account → medium.
        MEDIA: (u32, u64) => Json<Medium>;
    }
    MediaWanted = "media_wanted", Messages {
        /// Number of a medium whose file is to be fetched → tries, when it is due.
        MEDIA_WANTED: (u32, u64) => (u32, u64);
    }
    ChatsByTime = "chats_by_time", Messages {
        /// Timestamp of the last message, chat number: the chats that are listed. Chats without messages are not,
        /// nor those in which all messages are own ones that failed.
        CHATS_BY_TIME: (u32, u64, u64) => ();
    }
    Chats = "chats", Messages {
        /// Chat number → chat.
        CHATS: (u32, u64) => Json<messages::Chat>;
    }
    ChatIds = "chat_ids", Messages {
        /// JID → chat number. A person has two JIDs, a LID and a phone number's; both lead to the same chat once
        /// [`messages::link`] has linked them. A row counts only as long as its chat has the same JID:
        /// a JID that passed on keeps its row, the chat may be gone.
        CHAT_IDS: (u32, Text) => u64;
    }
    /// What finds messages by their words; see `messages::search`.
    Search = "search", Messages {
        /// Hash of a word and timestamp, sequence → the places behind that one: a block of the word's messages.
        SEARCH: (u32, u64, u64) => Raw, &[0];
        /// Sequence of a message that is not in the blocks yet → timestamp, chat number.
        SEARCH_TAIL: (u32, u64) => (u64, u64), &[1];
    }
    /// The groups that the account is in; see [`groups`].
    Groups = "groups", Account {
        /// JID → group, without its members.
        GROUPS: (u32, Text) => Json<groups::Group>, &[0];
        /// JID → members; see [`groups::members`]. No row: they are not known.
        GROUP_MEMBERS: (u32, Text) => Raw, &[1];
        /// When WhatsApp was last asked for the list of groups.
        GROUPS_ASKED: (u32,) => u64, &[2];
    }
    Counters = "counters", Account {
        COUNTERS: (u32,) => Json<messages::Counters>;
    }
    Events = "events", Server {
        /// Number → header, and the JSON body as readers get it. Events name their account by its id.
        EVENTS: (u64,) => Headed<events::Header>;
    }
    Webhooks = "webhooks", Server {
        /// Number in the webhook's id, never given twice → webhook.
        WEBHOOKS: (u64,) => Json<WebhookRecord>;
    }
    DeadLetters = "dead_letters", Server {
        /// The webhook's number, the event's number → header, and the event's JSON body.
        DEAD_LETTERS: (u64, u64) => Headed<dead_letters::Header>;
    }
}

impl Id {
    pub(super) fn name(self) -> &'static str {
        TABLES[self as usize].1
    }
}

/// The tables of these owners.
pub(super) fn tables_of(owners: &[Owner]) -> impl Iterator<Item = Id> {
    TABLES
        .iter()
        .filter(|(_, _, owner)| owners.contains(owner))
        .map(|(id, _, _)| *id)
}

/// Moves the times of all rows that expire along with a step of the clock.
///
/// # Errors
/// The transaction's.
pub fn restamp(tx: &mut WriteTx<'_>, step: &Step) -> Result<(), StoreError> {
    for account in accounts::list(&tx.view())? {
        for restamp in RESTAMPS {
            restamp(tx, account.number, step)?;
        }
    }
    Ok(())
}

type Database = heed::Database<'static, Bytes, Bytes>;

/// The opened databases, in the order of their declaration.
pub struct Tables([Database; TABLES.len()]);

impl Tables {
    /// `None` if one is missing.
    fn new(databases: [Option<Database>; TABLES.len()]) -> Option<Tables> {
        let mut opened = [databases[0]?; TABLES.len()];
        for (to, from) in opened.iter_mut().zip(databases) {
            *to = from?;
        }
        Some(Tables(opened))
    }

    pub(super) fn of(&self, id: Id) -> Database {
        self.0[id as usize]
    }
}

/// How many databases LMDB must make room for.
pub const COUNT: u32 = TABLES.len() as u32;

/// Opens all tables, creates those that are missing, and brings an older layout up to date.
///
/// # Errors
/// [`StoreError::Newer`], before anything is changed, if a later version wrote the data.
pub fn open(env: &Env<WithoutTls>) -> Result<Tables, StoreError> {
    let found = check_version(env)?;
    let txn = env.write_txn()?;
    let opened = env.create_databases_and_commit(txn, |opener, txn| {
        let mut databases = [None; TABLES.len()];
        for (slot, (_, name, _)) in databases.iter_mut().zip(TABLES) {
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
    let tables = Tables::new(databases).ok_or(StoreError::Closed)?;
    upgrade(env, &tables, found)?;
    Ok(tables)
}

/// Opens the tables of an environment that is only read.
///
/// # Errors
/// [`StoreError::Older`] if one is missing: only a writer can create it.
pub fn open_to_read(env: &Env<WithoutTls>) -> Result<Tables, StoreError> {
    let found = check_version(env)?.unwrap_or(0);
    if found < VERSION {
        return Err(StoreError::Older);
    }
    let txn = env.read_txn()?;
    let opened = env.open_databases_and_commit(txn, |opener, txn| {
        let mut databases = [None; TABLES.len()];
        for (slot, (_, name, _)) in databases.iter_mut().zip(TABLES) {
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
    Tables::new(databases).ok_or(StoreError::Older)
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

/// The version in the row, unless it is newer than this program.
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
    match step {
        Some(step) => step(&mut tx)?,
        None => _ = READ_BY.put(&mut tx, (), DECODER)?,
    }
    SCHEMA.put(&mut tx, (), version)?;
    Ok(tx.txn.commit()?)
}

/// Overwrites the version, for the test of a later one.
#[cfg(test)]
pub fn pretend_version(tx: &mut WriteTx<'_>, version: u32) -> Result<(), StoreError> {
    SCHEMA.put(tx, (), version).map(drop)
}
