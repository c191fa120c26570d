//! The phone's past, which it sends after a pairing in pieces: each is a file first, so that neither
//! memory nor a power cut counts, and is then read conversation by conversation on a thread of its
//! own. Nothing of it is an event: webhooks hear of what happens, not of what has happened.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_lite::future::block_on;
use whatsapp_rust::wacore::history_sync::{HistorySyncError, HistorySyncStream, MAX_DECOMPRESSED};
use whatsapp_rust::waproto::whatsapp as wa;

use crate::clock::{self, Millis};
use crate::jid::ChatJid;
use crate::ledger::{Ledger, Owner};
use crate::media::{Files, Spool};
use crate::runtime::Executor;
use crate::runtime::tasks::{self, Kind};
use crate::store::messages::{self, Arrival};
use crate::store::{Store, StoreError, accounts, usernames};
use crate::sync::locked;

use super::convert::history::{self, Conversation, Own};
use super::convert::{Inbound, InboundContent};

/// Messages that one transaction takes.
const BATCH: usize = 200;
/// Names and pairs of JIDs that one transaction takes.
const NAMES: usize = 500;
const DAY: Millis = 86_400_000;

/// Why a piece was not read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("not a history: {0}")]
    Malformed(#[from] HistorySyncError),
    #[error("to read it is an internal error")]
    Panicked,
}

/// Accounts whose history is being read. One task an account reads its pieces in order.
static READING: Mutex<Option<HashSet<(PathBuf, u32)>>> = Mutex::new(None);

/// An account's place in [`READING`], until it is dropped.
struct Reading((PathBuf, u32));

impl Reading {
    /// `None` if another has it.
    fn begin(key: (PathBuf, u32)) -> Option<Reading> {
        let mut reading = locked(&READING);
        let is_first = reading.get_or_insert_default().insert(key.clone());
        is_first.then(|| Reading(key))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut reading = locked(&READING);
        if let Some(reading) = reading.as_mut() {
            reading.remove(&self.0);
        }
    }
}

/// Which piece was begun last, and how often.
#[derive(Debug, Clone, Default)]
struct Begun(Arc<Mutex<(PathBuf, u32)>>);

impl Begun {
    /// Reads a piece, unless reading it has panicked twice.
    fn read(&self, importer: &Importer, path: &Path) -> Result<u64, HistoryError> {
        let times = {
            let mut begun = locked(&self.0);
            if begun.0 != path {
                *begun = (path.to_owned(), 0);
            }
            begun.1 += 1;
            begun.1
        };
        match times {
            ..=2 => importer.read(path),
            _ => Err(HistoryError::Panicked),
        }
    }
}

/// Reads history into the store.
#[derive(Clone)]
pub struct Importer {
    pub store: Store,
    pub owner: Owner,
    pub spool: Spool,
    pub files: Files,
    /// Messages older than this many days are left out; with 0 nothing is kept but pairs of numbers and LIDs.
    pub days: u32,
}

impl Importer {
    /// Keeps a piece, compressed as it came, and reads it. Blocks.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn keep(&self, compressed: &[u8]) -> io::Result<()> {
        let (spooled, mut file) = self.spool.create()?;
        io::Write::write_all(&mut file, compressed)?;
        drop(file);
        self.files.keep_history(self.owner.number, spooled)
    }

    /// Reads the pieces that are there in a task of its own, which goes on behind a panic.
    pub fn read_in_background(&self, executor: &Arc<Executor>) {
        let (importer, begun) = (self.clone(), Begun::default());
        let name = format!("{}: history", self.owner.id);
        tasks::keep(executor, Kind::History, name, move || {
            let (importer, begun) = (importer.clone(), begun.clone());
            smol::unblock(move || importer.read_all(&begun))
        })
        .detach();
    }

    /// Reads the pieces that are there, oldest first, unless that is under way already. Blocks.
    fn read_all(&self, begun: &Begun) {
        let folder = self.files.history_folder(self.owner.number);
        loop {
            let Some(reading) = Reading::begin((folder.clone(), self.owner.number)) else {
                return;
            };
            while let Some(path) = first_file(&folder) {
                match begun.read(self, &path) {
                    Ok(0) => {}
                    Ok(count) => log::info!("{}: {count} old messages read", self.owner.id),
                    Err(HistoryError::Store(error)) => {
                        // The file stays: the next start reads it.
                        log::error!("{}: history not stored: {error}", self.owner.id);
                        return;
                    }
                    Err(error) => log::warn!("{}: history not read: {error}", self.owner.id),
                }
                if let Err(error) = fs::remove_file(&path) {
                    log::error!("{}: {}: {error}", self.owner.id, path.display());
                    return;
                }
            }
            drop(reading);
            // A piece may have come between the last look and the drop.
            if first_file(&folder).is_none() {
                return;
            }
        }
    }

    /// Reads one piece; how many messages were new.
    fn read(&self, path: &Path) -> Result<u64, HistoryError> {
        let own = self.own()?;
        let compressed = fs::read(path)?;
        let oldest = clock::now().saturating_sub(Millis::from(self.days) * DAY);
        let mut stream = HistorySyncStream::new(&compressed, MAX_DECOMPRESSED);
        let mut count = 0;
        while let Some(found) = stream.next_conversation()? {
            count += self.conversation(&own, &found, oldest)?;
        }
        self.people(&stream.remainder()?)?;
        Ok(count)
    }

    fn own(&self) -> Result<Own, StoreError> {
        let record = self.store.read(|tx| accounts::get(tx, &self.owner.id))?;
        Ok(record.map_or_else(Own::default, |record| Own {
            jid: record.jid.unwrap_or_default(),
            lid: record.lid,
        }))
    }

    fn conversation(
        &self,
        own: &Own,
        found: &wa::Conversation,
        oldest: Millis,
    ) -> Result<u64, HistoryError> {
        let Some(chat) = history::conversation(found) else {
            return Ok(0);
        };
        if self.days == 0 {
            if let Some((lid, number)) = chat.link {
                self.write(move |ledger| messages::link(ledger.tx, ledger.account, &lid, &number))?;
            }
            return Ok(0);
        }
        let now = clock::now();
        let mut rows = found
            .messages
            .iter()
            .filter_map(|m| m.message.as_option())
            .filter(|m| m.message_timestamp.unwrap_or(0).saturating_mul(1000) >= oldest)
            .filter_map(|m| history::message(&self.owner.id, own, &chat, m, now))
            .peekable();
        let mut count = 0;
        while rows.peek().is_some() {
            let batch: Vec<Inbound> = rows.by_ref().take(BATCH).collect();
            count += self.store_batch(batch)?;
        }
        self.write(move |ledger| about(ledger.tx, ledger.account, &chat))?;
        Ok(count)
    }

    fn store_batch(&self, batch: Vec<Inbound>) -> Result<u64, StoreError> {
        self.write(move |ledger| {
            let (tx, account) = (&mut *ledger.tx, ledger.account);
            let mut count = 0;
            for row in &batch {
                match &row.what {
                    InboundContent::Message { message, medium } => {
                        let mut message = message.as_ref().clone();
                        let inserted = messages::insert(
                            tx,
                            account,
                            &mut message,
                            medium.as_deref(),
                            Arrival::History,
                        )?;
                        count += u64::from(inserted == messages::Inserted::New);
                    }
                    // The conversation has the last one.
                    InboundContent::Timer { .. } => {}
                    InboundContent::Change { target, by, change } => {
                        messages::apply(tx, account, ledger.id, target, by, change)?;
                    }
                }
            }
            Ok(count)
        })
        .map(Option::unwrap_or_default)
    }

    /// What comes beside the conversations: pairs of LID and number, and push names.
    fn people(&self, rest: &wa::HistorySync) -> Result<(), StoreError> {
        let pairs: Vec<(String, String)> = rest
            .phone_number_to_lid_mappings
            .iter()
            .filter_map(|pair| {
                let lid = ChatJid::parse(pair.lid_jid.as_deref()?).ok()?;
                let number = ChatJid::parse(pair.pn_jid.as_deref()?).ok()?;
                Some((lid.to_string(), number.to_string()))
            })
            .collect();
        for pairs in pairs.chunks(NAMES) {
            let pairs = pairs.to_vec();
            self.write(move |ledger| {
                pairs.iter().try_for_each(|(lid, number)| {
                    messages::link(ledger.tx, ledger.account, lid, number)
                })
            })?;
        }
        let names: Vec<(String, String)> = rest
            .pushnames
            .iter()
            .filter_map(|name| {
                let jid = ChatJid::parse(name.id.as_deref()?).ok()?;
                let name = name.pushname.clone().filter(|name| !name.is_empty())?;
                Some((jid.to_string(), name))
            })
            .collect();
        for names in names.chunks(NAMES) {
            let names = names.to_vec();
            self.write(move |ledger| {
                let (tx, account) = (&mut *ledger.tx, ledger.account);
                for (jid, name) in &names {
                    if messages::is_nameless(&tx.view(), account, jid)? {
                        messages::set_name(tx, account, jid, name)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Writes for the account if it is still there; `None` if not.
    fn write<T: Send + 'static>(
        &self,
        job: impl Fn(&mut Ledger<'_, '_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        block_on(self.owner.write(&self.store, job))
    }
}

/// A conversation's names and unread messages.
fn about(
    tx: &mut crate::store::WriteTx<'_>,
    account: u32,
    chat: &Conversation,
) -> Result<(), StoreError> {
    if let Some((lid, number)) = &chat.link {
        messages::link(tx, account, lid, number)?;
    }
    if let Some(name) = &chat.username {
        usernames::learn(tx, account, &chat.chat, Some(name), clock::now())?;
    }
    if let Some(timer) = chat.timer {
        let at = timer.at.unwrap_or(0);
        messages::set_timer(tx, account, &chat.chat, timer.seconds, at)?;
    }
    if let Some(unread) = chat.unread {
        messages::set_unread(tx, account, &chat.chat, unread)?;
    }
    let Some(name) = &chat.name else {
        return Ok(());
    };
    let is_person = ChatJid::parse(&chat.chat).is_ok_and(|jid| jid.is_person());
    if is_person {
        messages::set_contact_name(tx, account, &chat.chat, Some(name))?;
    } else {
        messages::set_name(tx, account, &chat.chat, name)?;
    }
    Ok(())
}

/// The oldest file of a folder; their names sort by age.
fn first_file(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .min()
}
