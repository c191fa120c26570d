//! The task that empties an account's outbox: it sends what was queued, in order and at the
//! account's pace; sends again what WhatsApp has not acknowledged; and gives up what has expired.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;

use crate::clock::{self, Millis};
use crate::message::{Message, Remote};
use crate::store::media as media_rows;
use crate::store::outbox::{self as rows, Entry, Stage};
use crate::store::{StoreError, messages};
use crate::sync::locked;
use crate::whatsapp::{Limit, SendFailure, Session};

use super::contact_limiter::count_stranger;
use super::live::InFlight;
use super::pace;
use super::queue::{Picker, TRIES, Try};
use super::sender::{SendResult, Sending};
use super::sending::is_final;
use super::slots;
use super::wake::kick_or_rest;

/// Entries that are looked at in one go.
const LOOK: usize = 32;
/// How long the task rests after the storage has failed it.
const REST: Duration = Duration::from_secs(5);

/// How long a connection lasts, in milliseconds, before queued messages are sent: the account first receives what
/// came meanwhile, and a connection that breaks at once gets no load.
const SETTLE: Millis = 2_000;

const EXPIRED: &str = "it could not be sent before it expired";
const EXPIRED_UNKNOWN: &str =
    "WhatsApp did not acknowledge it before it expired: it may have arrived or not";
pub const CANCELLED: &str = "cancelled before it was sent";
const FILE_LOST: &str = "its file is not there any more";

/// How often entries were tried since the start.
type Tries = HashMap<String, Try>;

/// The task's state between messages.
#[derive(Default)]
struct Course {
    tries: Tries,
    /// None is sent before that time, by [`clock::ticks`]: messages without pauses look automated.
    next: Millis,
}

/// Empties the outbox as long as the account lives; `kicked` says that something changed.
pub async fn run(sending: Sending, kicked: async_channel::Receiver<()>) {
    let mut course = Course::default();
    let mut steps = clock::taken().0;
    loop {
        // In a box of its own: a task takes for its whole life what its largest step takes, and this one
        // rests nearly always.
        let wake = match Box::pin(sending.round(&mut course)).await {
            Ok(wake) => wake.map(|at| Duration::from_millis(at.saturating_sub(clock::ticks()))),
            Err(error) => {
                log::error!("{}: the outbox: {error}", sending.id);
                Some(REST)
            }
        };
        // A step of the clock brings times nearer at which messages are to go.
        let step = async {
            clock::set(&mut steps).await;
            true
        };
        if !kick_or_rest(&kicked, wake).or(step).await {
            return;
        }
    }
}

/// What the outbox has to do next.
enum Next {
    /// Give this one up.
    Expired(Entry),
    /// Ask how a limit stands, before a message to a new contact.
    Ask(Limit, Arc<Session>),
    /// Send this one; no other task sends it meanwhile.
    Send(Entry, Option<Box<Message>>, Arc<Session>, InFlight),
    /// Nothing before that time, by [`clock::ticks`].
    Rest(Option<Millis>),
}

/// What may be sent.
struct Picked {
    /// The first entry that may be sent now, with its message.
    first: Option<(Entry, Option<Box<Message>>)>,
    /// When an entry that waits may be sent, by [`clock::ticks`].
    next: Option<Millis>,
}

/// Whether an entry can be sent.
enum HandOver {
    Ready,
    /// It is not in the outbox any more.
    Gone,
    Failed(SendResult),
}

impl Sending {
    /// Does everything that is due; returns when the next thing is.
    async fn round(&self, course: &mut Course) -> Result<Option<Millis>, StoreError> {
        loop {
            let next = self.next(course)?;
            let tries = &mut course.tries;
            match next {
                Next::Rest(until) => return Ok(until),
                Next::Expired(entry) if self.is_there(&entry).is_some() => {
                    self.end_as_sent(tries, &entry).await?;
                }
                Next::Expired(entry) => {
                    let words = match entry.stage {
                        Stage::Queued => EXPIRED,
                        Stage::Sending => EXPIRED_UNKNOWN,
                    };
                    tries.remove(&entry.message_id);
                    self.end(&entry, words).await?;
                }
                Next::Ask(limit, session) => self.ask_again(&session, limit).await?,
                Next::Send(entry, message, session, in_flight) => {
                    self.send(tries, entry, message.as_deref(), &session)
                        .await?;
                    drop(in_flight);
                    course.next = clock::ticks() + pace::gap(self.limits.gap, fastrand::f64());
                }
            }
        }
    }

    fn next(&self, course: &Course) -> Result<Next, StoreError> {
        let (account, now, ticks) = (self.account, clock::now(), clock::ticks());
        let expiring = self.store().read(|tx| rows::first_to_expire(tx, account))?;
        let Some((expiry, first)) = expiring else {
            return Ok(Next::Rest(None));
        };
        // One that is being sent right now ends by itself.
        let is_sending = self.live.is_in_flight(&first.message_id);
        if expiry <= now && !is_sending {
            return Ok(Next::Expired(first));
        }
        let expiry = match is_sending {
            true => ticks + 1_000,
            false => ticks.saturating_add(expiry - now),
        };
        let Some((session, since)) = self.live.connected() else {
            return Ok(Next::Rest(Some(expiry)));
        };
        let settled = since.saturating_add(SETTLE).max(course.next);
        if ticks < settled {
            return Ok(Next::Rest(Some(expiry.min(settled))));
        }
        let until = |other: Option<Millis>| Some(other.map_or(expiry, |at| at.min(expiry)));
        let picked = self.pick(&course.tries, now, ticks)?;
        let Some((entry, message)) = picked.first else {
            return Ok(Next::Rest(until(picked.next)));
        };
        if let Some(limit) = self.to_ask(&entry.to)? {
            return Ok(Next::Ask(limit, session));
        }
        let turn = {
            let mut pace = locked(&self.live.pace);
            pace.take(ticks)
        };
        match turn {
            Ok(()) => {
                let in_flight = self.live.begin_send(&entry.message_id);
                Ok(Next::Send(entry, message, session, in_flight))
            }
            Err(seconds) => Ok(Next::Rest(until(Some(ticks + seconds * 1_000)))),
        }
    }

    /// The first entry that may be sent.
    fn pick(&self, tries: &Tries, now: Millis, ticks: Millis) -> Result<Picked, StoreError> {
        let account = self.account;
        let in_flight = self.live.in_flight();
        self.store().read(|tx| {
            let mut picker = Picker::new(ticks, tries, &in_flight);
            // What has to wait outlives the program, so it is in the other time.
            let by_ticks = |at: Millis| ticks.saturating_add(at.saturating_sub(now));
            let may_go = |picker: &mut Picker<'_>, entry: &Entry| {
                picker.may_go(entry, || {
                    let wait = self.wait(tx, &entry.to, entry.stage, now).ok()??;
                    Some(by_ticks(wait.until()))
                })
            };
            let picked = |picker: &Picker<'_>, entry: Entry| {
                let message = messages::get_own(tx, account, &entry.message_id)?;
                Ok(Picked {
                    first: Some((entry, message.map(Box::new))),
                    next: picker.next,
                })
            };
            let mut due = None;
            for row in rows::scheduled(tx, account)? {
                let (send_at, entry) = row?;
                if send_at > now {
                    due = Some(by_ticks(send_at));
                    break;
                }
                if may_go(&mut picker, &entry) {
                    return picked(&picker, entry);
                }
            }
            let mut after = 0;
            loop {
                let entries = rows::list(tx, account, after, LOOK)?;
                let last = entries.last().map_or(rows::SCHEDULED, |(last, _)| *last);
                for (_, entry) in entries
                    .into_iter()
                    .take_while(|(at, _)| *at < rows::SCHEDULED)
                {
                    if may_go(&mut picker, &entry) {
                        return picked(&picker, entry);
                    }
                }
                if last >= rows::SCHEDULED {
                    return Ok(Picked {
                        first: None,
                        next: picker.next.into_iter().chain(due).min(),
                    });
                }
                after = last;
            }
        })
    }

    /// Sends one entry and stores what came of it.
    async fn send(
        &self,
        tries: &mut Tries,
        mut entry: Entry,
        message: Option<&Message>,
        session: &Session,
    ) -> Result<(), StoreError> {
        if self.is_there(&entry).is_some() {
            return self.end_as_sent(tries, &entry).await;
        }
        let result = match self.hand_over(&mut entry, message, session).await? {
            HandOver::Gone => return Ok(()),
            HandOver::Ready => self.attempt(session, &entry, message).await,
            HandOver::Failed(result) => result,
        };
        let tried = Try::after(tries.get(&entry.message_id).copied(), clock::ticks());
        match result {
            SendResult::Acked(timestamp) => {
                tries.remove(&entry.message_id);
                // If this fails it is sent once more, under the same id.
                self.sent(&entry, timestamp).await?;
                self.file_was_sent(&entry, message).await;
            }
            SendResult::Refused { code, words } => {
                tries.remove(&entry.message_id);
                self.failed(&entry, &words, code, is_final(code)).await?;
            }
            SendResult::NotSent(words) if tried.times >= TRIES => {
                tries.remove(&entry.message_id);
                self.failed(&entry, &words, None, true).await?;
            }
            SendResult::Later { code, words } if tried.times >= TRIES => {
                tries.remove(&entry.message_id);
                self.failed(&entry, &words, Some(code), false).await?;
            }
            SendResult::NotSent(words) | SendResult::Later { words, .. } => {
                log::info!("{}: a queued message did not go yet: {words}", self.id);
                tries.insert(entry.message_id, tried);
            }
            SendResult::Unknown | SendResult::NotConnected => {
                tries.insert(entry.message_id, tried);
            }
        }
        Ok(())
    }

    /// Ends an entry after a receipt has shown that its message is at WhatsApp: it is not sent again.
    async fn end_as_sent(&self, tries: &mut Tries, entry: &Entry) -> Result<(), StoreError> {
        tries.remove(&entry.message_id);
        let account = self.account;
        let message = self
            .store()
            .read(|tx| messages::get_own(tx, account, &entry.message_id))?;
        let timestamp = message.as_ref().map_or(entry.created_at, |m| m.timestamp);
        self.sent(entry, timestamp).await?;
        self.file_was_sent(entry, message.as_ref()).await;
        Ok(())
    }

    /// Uploads the file of a queued entry, and stores that the entry may be at WhatsApp from now on.
    async fn hand_over(
        &self,
        entry: &mut Entry,
        message: Option<&Message>,
        session: &Session,
    ) -> Result<HandOver, StoreError> {
        if entry.change.is_none() && message.is_none_or(|message| message.deleted) {
            // Retention or the phone has removed it.
            self.end(entry, CANCELLED).await?;
            return Ok(HandOver::Gone);
        }
        let medium = message.and_then(|m| media_rows::parse_id(m.media_id.as_deref()?));
        let account = self.account;
        let known = match medium {
            Some((_, number)) => self
                .store()
                .read(|tx| media_rows::get(tx, account, number))?,
            None => None,
        };
        let missing = known.is_some_and(|medium| medium.remote.is_none());
        let uploaded = match (missing, message) {
            (true, Some(message)) => match self.upload(entry, message, session).await {
                Ok(remote) => Some(remote),
                Err(result) => return Ok(HandOver::Failed(result)),
            },
            _ => None,
        };
        if entry.stage == Stage::Queued || uploaded.is_some() {
            let id = entry.message_id.clone();
            let (to, per_day) = (entry.to.clone(), self.limits.new_contacts_per_day);
            let begun = self.owner().write(self.store(), move |ledger| {
                let (tx, account_id) = (&mut *ledger.tx, ledger.id);
                // Another message may have taken the day's last place since: this one is looked at again.
                if count_stranger(tx, account, account_id, &to, per_day, clock::now())?.is_err() {
                    return Ok(false);
                }
                if !rows::begin(tx, account, &id)? {
                    return Ok(false);
                }
                if let (Some(remote), Some((_, number))) = (&uploaded, medium)
                    && let Some(mut medium) = media_rows::get(&tx.view(), account, number)?
                {
                    medium.remote = Some(remote.clone());
                    media_rows::put(tx, account, number, &medium)?;
                }
                Ok(true)
            });
            if begun.await? != Some(true) {
                return Ok(HandOver::Gone);
            }
            entry.stage = Stage::Sending;
        }
        Ok(HandOver::Ready)
    }

    async fn upload(
        &self,
        entry: &Entry,
        message: &Message,
        session: &Session,
    ) -> Result<Remote, SendResult> {
        let refused = |words: &str| SendResult::Refused {
            code: None,
            words: words.to_owned(),
        };
        let path = self.waiting_file(&entry.message_id);
        let there = {
            let path = path.clone();
            smol::unblock(move || path.is_file()).await
        };
        let Some(kind) = message.kind.file().filter(|_| there) else {
            return Err(refused(FILE_LOST));
        };
        let slots = &self.fetcher.slots;
        let _slot = slots.take(slots::Kind::Upload, self.account).await;
        session
            .upload(kind, &path, &self.fetcher.wiring.spool)
            .await
            .map(|(remote, _)| remote)
            .map_err(|failure| match failure {
                SendFailure::NotConnected => SendResult::NotConnected,
                other => SendResult::NotSent(other.to_string()),
            })
    }

    /// Puts the file of a message that waited where sent ones are, if files of its size are kept.
    async fn file_was_sent(&self, entry: &Entry, message: Option<&Message>) {
        if entry.change.is_some() || message.is_some_and(|message| !message.has_media) {
            return;
        }
        let size = message.and_then(|message| message.media_size);
        let number = message
            .and_then(|m| m.media_id.as_deref())
            .and_then(media_rows::parse_id)
            .map(|(_, number)| number)
            .filter(|_| size <= Some(self.fetcher.wiring.media.auto_max_bytes));
        match number {
            Some(number) => {
                self.fetcher
                    .keep_waited(self.account, &entry.message_id, number)
                    .await;
            }
            None => self.remove_waiting(&entry.message_id).await,
        }
    }

    /// Takes an entry out and says why. Whether it was there.
    async fn end(&self, entry: &Entry, words: &'static str) -> Result<bool, StoreError> {
        let ended = self.record_failed(entry, words, None, true).await?;
        self.remove_waiting(&entry.message_id).await;
        Ok(ended)
    }

    /// Fails every entry with these words: another phone number may be paired next.
    pub async fn give_up(&self, words: &'static str) -> Result<(), StoreError> {
        loop {
            let account = self.account;
            let entries = self.store().read(|tx| rows::list(tx, account, 0, LOOK))?;
            if entries.is_empty() {
                return Ok(());
            }
            for (_, entry) in entries {
                self.end(&entry, words).await?;
            }
        }
    }
}
