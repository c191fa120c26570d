//! The ledger: what happened to an account changes its tables and appends the event that reports it, in one
//! transaction.
//!
//! Each task of an account holds its [`Owner`]. [`Owner::write`] opens a transaction on the account's rows
//! and checks, once, that the account was not deleted meanwhile; [`Ledger::record`] takes a [`Fact`].
//! It is the only caller of [`events::append`].

mod groups;

use std::sync::Arc;

use crate::clock::{self, Millis};
use crate::event::{
    AccountChange, ChatState, Event, EventKind, PasskeyStep, PresenceChange, QrShown, Restriction,
    StatusChange, StatusDetail, TypingChange,
};
use crate::jid::{ChatJid, Server};
use crate::message::{By, CallNews, Change, DeliveryStatus, Message, NewMedium, Target};
use crate::store::groups::GroupNews;
use crate::store::idempotency::{self, Answer};
use crate::store::messages::{self, Arrival, ChatMarks, Inserted, Lost};
use crate::store::outbox::{self, Entry, Stage, State};
use crate::store::{ReadTx, Store, StoreError, WriteTx, accounts, events, webhooks};

type Result<T> = std::result::Result<T, StoreError>;

/// An account as its tasks know it. Numbers are never used again, so a task that outlives its account
/// finds another number, or none, under the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The account's number in the store.
    pub number: u32,
    pub id: Arc<str>,
}

impl Owner {
    /// Whether the account still exists.
    ///
    /// # Errors
    /// The store's.
    pub fn exists(&self, tx: &ReadTx<'_>) -> Result<bool> {
        Ok(accounts::number(tx, &self.id)? == Some(self.number))
    }

    /// Runs `job` in a write transaction on the account's rows, as [`Store::write`] does; `None` if the
    /// account was deleted.
    ///
    /// # Errors
    /// The job's, and the store's.
    pub fn write<T, F>(
        &self,
        store: &Store,
        mut job: F,
    ) -> impl Future<Output = Result<Option<T>>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnMut(&mut Ledger<'_, '_>) -> Result<T> + Send + 'static,
    {
        let owner = self.clone();
        store.write(move |tx| {
            let ledger = Ledger::open(tx, &owner)?;
            ledger.map(|mut ledger| job(&mut ledger)).transpose()
        })
    }
}

/// Something that happened to an account.
#[derive(Debug, Clone, Copy)]
pub enum Fact<'a> {
    /// A message came in, from another person or from the account's own phone.
    Received {
        message: &'a Message,
        medium: Option<&'a NewMedium>,
    },
    /// A message was reacted to, edited or deleted. It may come later than this.
    Changed {
        target: &'a Target,
        by: &'a By,
        change: &'a Change,
    },
    /// A message came in that cannot be decrypted: `placeholder` stands for it. `shown` is false for
    /// messages that people do not see.
    Undecryptable {
        placeholder: &'a Message,
        shown: bool,
    },
    /// WhatsApp's server has acknowledged what an outbox entry sent, and dates it `timestamp`. `own` is the
    /// account's JID.
    Sent {
        entry: &'a Entry,
        timestamp: Millis,
        own: &'a str,
    },
    /// An outbox entry will not be sent. `remembered`: its idempotency key keeps this answer; otherwise the
    /// key may be used again.
    Failed {
        entry: &'a Entry,
        words: &'a str,
        code: Option<u16>,
        remembered: bool,
    },
    /// WhatsApp says something of a call.
    Call(&'a CallNews),
    /// `by` has received, read or played an own message of the chat `chat`.
    Receipt {
        chat: &'a str,
        message_id: &'a str,
        status: DeliveryStatus,
        by: &'a str,
    },
    /// The owner has set something of a chat. `quiet`: it was so before this server looked, and makes no event.
    ChatMarked {
        chat: &'a str,
        marks: &'a ChatMarks,
        quiet: bool,
    },
    /// WhatsApp has said what happened to a group.
    Group(&'a GroupNews),
    /// A chat was cleared: its state after that.
    ChatCleared { state: &'a ChatState, quiet: bool },
    /// A person who is subscribed to is online or not, and was last at that time, if that is shown.
    Presence {
        person: &'a str,
        available: bool,
        last_seen: Option<Millis>,
    },
    /// `sender` types in a chat, or ended that: a word of [`TypingChange::state`].
    Doing {
        chat: &'a str,
        sender: &'a str,
        state: &'static str,
        /// A reader of the log asks for such events. Otherwise there is one only if a webhook does.
        is_read: bool,
    },
    /// The connection's status changed.
    Status {
        status: &'static str,
        last_error: Option<&'a str>,
        banned_until: Option<Millis>,
        standing: &'a StatusDetail,
    },
    /// WhatsApp has given a QR code to scan: the `number`th of its set, until `expires_at`.
    Qr {
        code: &'a str,
        expires_at: Millis,
        number: u32,
    },
    /// Linking with a passkey has come to its next step, or ended.
    Passkey(&'a PasskeyStep),
    /// WhatsApp's limits on new contacts changed; `event` if that changes what may be sent.
    Limits {
        state: &'a State,
        event: Option<&'a Restriction>,
    },
}

/// What the caller of [`Owner::write`] has to do after the commit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Afterwards {
    /// Groups whose subject is not known: to be asked for.
    pub nameless: Vec<String>,
    /// Media are to be fetched.
    pub media: bool,
    /// Media ids of deleted messages: their files are to be removed.
    pub removed: Vec<String>,
}

/// A transaction on the rows of an account that exists.
pub struct Ledger<'a, 't> {
    pub tx: &'a mut WriteTx<'t>,
    /// The account's number in the store.
    pub account: u32,
    pub id: &'a str,
    pub after: Afterwards,
}

impl<'a, 't> Ledger<'a, 't> {
    /// `None` if the account was deleted.
    ///
    /// # Errors
    /// The store's.
    pub fn open(tx: &'a mut WriteTx<'t>, owner: &'a Owner) -> Result<Option<Ledger<'a, 't>>> {
        Ok(owner.exists(&tx.view())?.then(|| Ledger {
            tx,
            account: owner.number,
            id: &owner.id,
            after: Afterwards::default(),
        }))
    }

    /// Changes the tables as `fact` says, and appends its event. Returns false if the fact was known
    /// before, or concerns nothing that is stored; then nothing is appended.
    ///
    /// # Errors
    /// The store's: nothing of the transaction may be kept then.
    pub fn record(&mut self, fact: &Fact<'_>, now: Millis) -> Result<bool> {
        match *fact {
            Fact::Received { message, medium } => self.received(message, medium, now),
            Fact::Changed { target, by, change } => self.changed(target, by, change, now),
            Fact::Undecryptable { placeholder, shown } => {
                self.undecryptable(placeholder, shown, now)
            }
            Fact::Sent {
                entry,
                timestamp,
                own,
            } => self.sent(entry, timestamp, own, now),
            Fact::Failed {
                entry,
                words,
                code,
                remembered,
            } => self.failed(entry, words, code, remembered, now),
            Fact::Call(news) => self.call(news, now),
            Fact::Receipt {
                chat,
                message_id,
                status,
                by,
            } => self.receipt(chat, message_id, status, by, now),
            Fact::ChatMarked { chat, marks, quiet } => {
                let marked = messages::mark_chat(self.tx, self.account, chat, marks)?;
                match marked.map(|chat| chat.state(self.id, false, now)) {
                    Some(state) => self.chat(&state, quiet, now),
                    None => Ok(false),
                }
            }
            Fact::Group(news) => self.group(news, now),
            Fact::Presence {
                person,
                available,
                last_seen,
            } => self.presence(person, (available, last_seen), now),
            Fact::Doing {
                chat,
                sender,
                state,
                is_read,
            } => self.doing((chat, sender), state, is_read, now),
            Fact::ChatCleared { state, quiet } => self.chat(state, quiet, now),
            Fact::Status {
                status,
                last_error,
                banned_until,
                standing,
            } => {
                let record = accounts::get(&self.tx.view(), self.id)?;
                let change = AccountChange {
                    account_id: self.id.to_owned(),
                    status,
                    jid: record.and_then(|record| record.jid),
                    last_error: last_error.map(str::to_owned),
                    banned_until: banned_until.map(clock::iso8601),
                    standing: standing.clone(),
                    created_at: clock::iso8601(now),
                };
                self.append(&Event::AccountStatus(change), now)
            }
            Fact::Qr {
                code,
                expires_at,
                number,
            } => {
                let shown = QrShown {
                    account_id: self.id.to_owned(),
                    qr: code.to_owned(),
                    expires_at: clock::iso8601(expires_at),
                    qr_number: number,
                    created_at: clock::iso8601(now),
                };
                self.append(&Event::AccountQr(shown), now)
            }
            Fact::Passkey(step) => self.append(&Event::AccountPasskey(Box::new(step.clone())), now),
            Fact::Limits { state, event } => {
                outbox::update_state(self.tx, self.account, |stored| *stored = state.clone())?;
                match event {
                    Some(event) => self.append(&Event::AccountRestricted(event.clone()), now),
                    None => Ok(true),
                }
            }
        }
    }

    fn append(&mut self, event: &Event, now: Millis) -> Result<bool> {
        events::append(self.tx, event, now)?;
        Ok(true)
    }

    fn presence(
        &mut self,
        person: &str,
        (available, last_seen): (bool, Option<Millis>),
        now: Millis,
    ) -> Result<bool> {
        let names = messages::names(&self.tx.view(), self.account, person)?;
        let change = PresenceChange {
            account_id: self.id.to_owned(),
            chat_id: names.jid,
            chat_lid: names.lid,
            chat_name: names.title,
            presence: match available {
                true => "available",
                false => "unavailable",
            },
            last_seen: last_seen.map(clock::iso8601),
            created_at: clock::iso8601(now),
        };
        self.append(&Event::Presence(change), now)
    }

    fn doing(
        &mut self,
        (chat, sender): (&str, &str),
        state: &'static str,
        is_read: bool,
        now: Millis,
    ) -> Result<bool> {
        let (view, account) = (self.tx.view(), self.account);
        if !is_read && !webhooks::is_wanted(&view, EventKind::Typing)? {
            return Ok(false);
        }
        let sender = messages::canonical_jid(&view, account, sender)?;
        let change = TypingChange {
            account_id: self.id.to_owned(),
            deed: messages::deed(&view, account, chat, &sender, false)?,
            state,
            created_at: clock::iso8601(now),
        };
        self.append(&Event::Typing(change), now)
    }

    fn chat(&mut self, state: &ChatState, quiet: bool, now: Millis) -> Result<bool> {
        match quiet {
            true => Ok(true),
            false => self.append(&Event::Chat(state.clone()), now),
        }
    }

    fn received(
        &mut self,
        message: &Message,
        medium: Option<&NewMedium>,
        now: Millis,
    ) -> Result<bool> {
        let mut message = message.clone();
        match messages::insert(self.tx, self.account, &mut message, medium, Arrival::Live)? {
            Inserted::Duplicate => Ok(false),
            Inserted::New => {
                self.after.media |= medium.is_some_and(|medium| medium.wanted);
                if message.is_story() {
                    let removed = messages::bound_stories(self.tx, self.account)?;
                    self.after.removed.extend(removed);
                    return self.append(&Event::Status(message), now);
                }
                self.note_nameless(&message.chat_id)?;
                self.append(&Event::Message(message), now)
            }
        }
    }

    fn changed(&mut self, target: &Target, by: &By, change: &Change, now: Millis) -> Result<bool> {
        let applied = messages::apply(self.tx, self.account, self.id, target, by, change)?;
        self.after.removed.extend(applied.removed_medium);
        match applied.event {
            Some(event) => self.append(&event, now),
            None => Ok(false),
        }
    }

    fn call(&mut self, news: &CallNews, now: Millis) -> Result<bool> {
        match messages::hear_call(self.tx, self.account, self.id, news, now)? {
            Some(line) => {
                self.note_nameless(&line.chat_id)?;
                self.append(&Event::Call(line), now)
            }
            None => Ok(false),
        }
    }

    fn undecryptable(&mut self, placeholder: &Message, shown: bool, now: Millis) -> Result<bool> {
        let mut message = placeholder.clone();
        match messages::lose(self.tx, self.account, &mut message, shown)? {
            Lost::Known => Ok(false),
            Lost::Missing => Ok(true),
            // It is reported once it can be read.
            Lost::Noted if message.is_story() => Ok(true),
            Lost::Noted => {
                self.note_nameless(&message.chat_id)?;
                self.append(&Event::MessageUndecryptable(message), now)
            }
        }
    }

    fn sent(&mut self, entry: &Entry, timestamp: Millis, own: &str, now: Millis) -> Result<bool> {
        outbox::remove(self.tx, self.account, &entry.message_id)?;
        if let Some(key) = &entry.once {
            idempotency::answer(self.tx, self.account, key, &Answer::Sent(timestamp))?;
        }
        let Some(changing) = &entry.change else {
            return self.acknowledged(&entry.message_id, timestamp, now);
        };
        let by = By {
            from: own.to_owned(),
            from_me: true,
            timestamp,
        };
        self.changed(&changing.target, &by, &changing.change, now)
    }

    /// `message.sent` is appended in the transaction in which the message first counts as being at WhatsApp,
    /// by the server's ack or by a receipt that was faster: it comes once, and before every receipt.
    fn acknowledged(&mut self, message_id: &str, timestamp: Millis, now: Millis) -> Result<bool> {
        let Some(before) = messages::get_own(&self.tx.view(), self.account, message_id)? else {
            return Ok(false);
        };
        // The server's time counts, also when a receipt came first.
        match messages::mark_sent(self.tx, self.account, message_id, timestamp)? {
            Some(message) if !is_at_whatsapp(before.status) => {
                self.append(&Event::MessageSent(message), now)
            }
            Some(_) | None => Ok(false),
        }
    }

    fn receipt(
        &mut self,
        chat: &str,
        message_id: &str,
        status: DeliveryStatus,
        by: &str,
        now: Millis,
    ) -> Result<bool> {
        let account = self.account;
        let before = messages::get_received(&self.tx.view(), account, chat, message_id)?;
        let Some(before) = before else {
            return Ok(false);
        };
        if !is_at_whatsapp(before.status) {
            let entry = outbox::get(&self.tx.view(), account, message_id)?;
            if entry.is_some_and(|entry| entry.stage == Stage::Queued) {
                // It was not sent: the receipt is about another message.
                return Ok(false);
            }
            // Its ack is still to come, and brings the server's time.
            self.acknowledged(message_id, before.timestamp, now)?;
        }
        let Some(message) = messages::set_status(self.tx, account, chat, message_id, status)?
        else {
            return Ok(false);
        };
        let change = StatusChange {
            account_id: message.account_id,
            message_id: message.message_id,
            chat_id: message.chat_id,
            chat_lid: message.chat_lid,
            chat_name: message.chat_name,
            status,
            participant: Some(messages::canonical_jid(&self.tx.view(), account, by)?),
            error: None,
            code: None,
            created_at: clock::iso8601(now),
        };
        self.append(&Event::MessageStatus(change), now)
    }

    fn failed(
        &mut self,
        entry: &Entry,
        words: &str,
        code: Option<u16>,
        remembered: bool,
        now: Millis,
    ) -> Result<bool> {
        let account = self.account;
        if outbox::remove(self.tx, account, &entry.message_id)?.is_none() {
            return Ok(false);
        }
        match &entry.once {
            Some(key) if remembered => {
                let words = words.to_owned();
                idempotency::answer(self.tx, account, key, &Answer::Refused { code, words })?;
            }
            Some(key) => idempotency::forget(self.tx, account, key)?,
            None => {}
        }
        if entry.change.is_none()
            && messages::mark_failed(self.tx, account, &entry.message_id, words)?.is_none()
        {
            return Ok(false);
        }
        let chat = messages::names(&self.tx.view(), account, &entry.to)?;
        let change = StatusChange {
            account_id: self.id.to_owned(),
            message_id: entry.message_id.clone(),
            chat_id: chat.jid,
            chat_lid: chat.lid,
            chat_name: chat.title,
            status: DeliveryStatus::Failed,
            participant: None,
            error: Some(words.to_owned()),
            code,
            created_at: clock::iso8601(now),
        };
        self.append(&Event::MessageStatus(change), now)
    }

    /// Notes a group whose subject is not known.
    fn note_nameless(&mut self, chat: &str) -> Result<()> {
        let is_group = ChatJid::parse(chat).is_ok_and(|jid| jid.server() == Server::Group);
        if is_group
            && !self.after.nameless.iter().any(|known| known == chat)
            && messages::is_nameless(&self.tx.view(), self.account, chat)?
        {
            self.after.nameless.push(chat.to_owned());
        }
        Ok(())
    }
}

/// Whether WhatsApp's server has an own message of that status. One without a status was not sent by
/// this server.
pub fn is_at_whatsapp(status: Option<DeliveryStatus>) -> bool {
    match status {
        Some(DeliveryStatus::Pending | DeliveryStatus::Failed) => false,
        None
        | Some(
            DeliveryStatus::Sent
            | DeliveryStatus::Delivered
            | DeliveryStatus::Read
            | DeliveryStatus::Played,
        ) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::events::StoredEvent;
    use crate::store::tests::{TestStore, message};

    const BOB: &str = "491700000002@s.whatsapp.net";
    const NOW: Millis = 1_764_000_000_000;

    fn alice() -> (TestStore, Owner) {
        let store = TestStore::new();
        let made = store.run(|tx| accounts::create(tx, "alice", None, "auth_alice".into(), 7));
        let owner = Owner {
            number: made.expect("a new account").number,
            id: "alice".into(),
        };
        (store, owner)
    }

    fn recorded<T: Send + 'static>(
        (store, owner): &(TestStore, Owner),
        job: impl FnMut(&mut Ledger<'_, '_>) -> Result<T> + Send + 'static,
    ) -> Option<T> {
        smol::block_on(owner.write(store, job)).expect("written")
    }

    fn kinds(store: &TestStore) -> Vec<EventKind> {
        let last = store.last_event();
        let event = |number| store.read(|tx| events::get(tx, number)).expect("read");
        let found: Vec<StoredEvent> = (1..=last).filter_map(event).collect();
        found.into_iter().map(|event| event.header.kind).collect()
    }

    fn entry(id: &str, stage: Stage) -> Entry {
        Entry {
            message_id: id.into(),
            to: BOB.into(),
            change: None,
            stage,
            created_at: NOW,
            send_at: None,
            expires_at: NOW + 1_000,
            size: 1,
            once: None,
            typing: false,
            mention_all: false,
        }
    }

    /// Stores an own text and its entry in the outbox.
    fn accept(alice: &(TestStore, Owner), id: &'static str, stage: Stage) {
        recorded(alice, move |ledger| {
            let mut text = message("alice", BOB, id, NOW);
            text.from_me = true;
            text.status = Some(DeliveryStatus::Pending);
            messages::insert(ledger.tx, ledger.account, &mut text, None, Arrival::Live)?;
            outbox::add(ledger.tx, ledger.account, &entry(id, stage))
        });
    }

    fn receipt(message_id: &str, status: DeliveryStatus) -> Fact<'_> {
        Fact::Receipt {
            chat: BOB,
            message_id,
            status,
            by: BOB,
        }
    }

    #[test]
    fn a_deleted_account_gets_no_row_and_no_event() {
        let (store, owner) = alice();
        store.run(|tx| accounts::remove(tx, "alice"));
        let alice = (store, owner);
        let received = |ledger: &mut Ledger<'_, '_>| {
            let text = message("alice", BOB, "A", NOW);
            let fact = Fact::Received {
                message: &text,
                medium: None,
            };
            ledger.record(&fact, NOW)
        };
        assert_eq!(recorded(&alice, received), None);
        // Nor does one that was made anew under its id.
        alice
            .0
            .run(|tx| accounts::create(tx, "alice", None, "auth_alice".into(), 8));
        assert_eq!(recorded(&alice, received), None);
        assert_eq!(kinds(&alice.0), []);
    }

    #[test]
    fn a_message_that_is_delivered_twice_is_one_event() {
        let alice = alice();
        let (group, text) = ("12@g.us", "A");
        let came = move |ledger: &mut Ledger<'_, '_>| {
            let message = message("alice", group, text, NOW);
            let fact = Fact::Received {
                message: &message,
                medium: None,
            };
            let is_new = ledger.record(&fact, NOW)?;
            Ok((is_new, ledger.after.clone()))
        };
        let after = Afterwards {
            nameless: vec![group.to_owned()],
            ..Afterwards::default()
        };
        assert_eq!(recorded(&alice, came), Some((true, after)));
        assert_eq!(recorded(&alice, came), Some((false, Afterwards::default())));
        assert_eq!(kinds(&alice.0), [EventKind::Message]);
    }

    #[test]
    fn a_receipt_before_the_ack_reports_the_message_as_sent_first() {
        let alice = alice();
        accept(&alice, "A", Stage::Sending);
        recorded(&alice, |ledger| {
            ledger.record(&receipt("A", DeliveryStatus::Delivered), NOW)
        });
        let expected = [EventKind::MessageSent, EventKind::MessageStatus];
        assert_eq!(kinds(&alice.0), expected);
        // The ack brings the time and no event.
        let acked = |ledger: &mut Ledger<'_, '_>| {
            let entry = entry("A", Stage::Sending);
            let fact = Fact::Sent {
                entry: &entry,
                timestamp: NOW + 5,
                own: "",
            };
            ledger.record(&fact, NOW)
        };
        assert_eq!(recorded(&alice, acked), Some(false));
        assert_eq!(kinds(&alice.0), expected);
        let account = alice.1.number;
        let stored = alice.0.read(|tx| {
            let message = messages::get_own(tx, account, "A")?.expect("stored");
            Ok((
                message.timestamp,
                message.status,
                outbox::state(tx, account)?.count,
            ))
        });
        let expected = (NOW + 5, Some(DeliveryStatus::Delivered), 0);
        assert_eq!(stored.expect("read"), expected);
    }

    #[test]
    fn a_receipt_for_a_queued_message_is_about_another_one() {
        let alice = alice();
        accept(&alice, "A", Stage::Queued);
        let read = |ledger: &mut Ledger<'_, '_>| {
            let known = ledger.record(&receipt("A", DeliveryStatus::Read), NOW)?;
            Ok((
                known,
                ledger.record(&receipt("B", DeliveryStatus::Read), NOW)?,
            ))
        };
        assert_eq!(recorded(&alice, read), Some((false, false)));
        assert_eq!(kinds(&alice.0), []);
    }

    #[test]
    fn an_entry_fails_once() {
        let alice = alice();
        accept(&alice, "A", Stage::Sending);
        let failed = |ledger: &mut Ledger<'_, '_>| {
            let entry = entry("A", Stage::Sending);
            let fact = Fact::Failed {
                entry: &entry,
                words: "refused",
                code: Some(400),
                remembered: true,
            };
            ledger.record(&fact, NOW)
        };
        assert_eq!(recorded(&alice, failed), Some(true));
        assert_eq!(recorded(&alice, failed), Some(false));
        assert_eq!(kinds(&alice.0), [EventKind::MessageStatus]);
    }

    #[test]
    fn what_fails_within_a_transaction_leaves_nothing() {
        let alice = alice();
        let failing = |ledger: &mut Ledger<'_, '_>| {
            let qr = Fact::Qr {
                code: "2@code",
                expires_at: NOW + 20_000,
                number: 1,
            };
            ledger.record(&qr, NOW)?;
            Err::<(), _>(StoreError::Busy)
        };
        let written = smol::block_on(alice.1.write(&alice.0, failing));
        assert!(matches!(written, Err(StoreError::Busy)), "{written:?}");
        assert_eq!(kinds(&alice.0), []);
        recorded(&alice, |ledger| {
            let status = Fact::Status {
                status: "connected",
                last_error: None,
                banned_until: None,
                standing: &StatusDetail::default(),
            };
            ledger.record(&status, NOW)
        });
        assert_eq!(kinds(&alice.0), [EventKind::AccountStatus]);
    }
}
