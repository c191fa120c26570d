//! Sends one message. The message and its outbox entry are stored before it is sent; WhatsApp's answer and the
//! removal of the entry are stored together. After a lost connection or a power cut in between, the outbox
//! (`super::outbox`) sends it again under the same id.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Millis};
use crate::jid::ChatJid;
use crate::ledger::Fact;
use crate::media::Prepared;
use crate::message::{self, Context, Draft, Message};
use crate::metrics;
use crate::store::idempotency::{self, Answer, Known};
use crate::store::messages::{self, Arrival};
use crate::store::outbox::{self, Entry, Stage};
use crate::store::{StoreError, WriteTx, media as media_rows};
use crate::whatsapp::{Ack, SendFailure, Session, new_message_id};

use super::claims::{self, DeliveryOptions};
use super::contact_limiter::{Wait, count_stranger};
use super::contact_limits;
use super::draft::NewRecord;
use super::group_names::Named;
use super::live::InFlight;
use super::sender::{NOT_CONNECTED, Route, SendResult, Sending};
use super::types::{AccountError, KeyedRequest, Outcome, Sent};

const NO_ANSWER: &str = "WhatsApp has not acknowledged the message yet; the server goes on sending \
                         it, under this id, so it arrives once";

impl Sending {
    /// Sends or queues what was checked.
    pub async fn go(
        self,
        to: ChatJid,
        draft: Draft,
        about: Option<Message>,
        options: DeliveryOptions,
        route: Route,
    ) -> Result<Outcome, AccountError> {
        let message_id = new_message_id(self.own_jid().as_deref());
        // No other task sends it meanwhile.
        let in_flight = self.live.begin_send(&message_id);
        let (new, file) = self
            .new_message(&to, draft, about, &message_id, &route, &options.caller)
            .await?;
        let now = clock::now();
        let entry = Entry {
            message_id: message_id.clone(),
            to: to.to_string(),
            change: new.change.clone(),
            stage: match route {
                Route::Now(_) => Stage::Sending,
                Route::Later(_) => Stage::Queued,
            },
            created_at: now,
            send_at: options.send_at,
            expires_at: self.expires_at(now, &options),
            size: new.size,
            once: options.claim.as_ref().map(|claim| claim.once.key.clone()),
            typing: options.typing,
            mention_all: options.mention_all && new.change.is_none(),
        };
        let once = options.claim.as_ref().map(|claim| claim.once.clone());
        match route {
            Route::Later(words) => self.queue(new, entry, once, words, file, in_flight).await,
            Route::Now(session) => {
                let news = vec![(new, entry.clone())];
                let message = self.record(news, once, None).await?;
                let result = self.attempt(&session, &entry, message.as_ref()).await;
                let outcome = self.settle(&entry, result, options.queue).await;
                if let (Some(prepared), Some(message)) = (file, &message) {
                    self.keep_own(message, prepared).await;
                }
                drop(in_flight);
                outcome
            }
        }
    }

    /// When a message that is accepted now is given up.
    pub(super) fn expires_at(&self, now: Millis, options: &DeliveryOptions) -> Millis {
        let life = options.expires_in.unwrap_or(self.limits.expire_after);
        options.send_at.unwrap_or(now).max(now).saturating_add(life)
    }

    /// Puts a message into the outbox, its file first.
    async fn queue(
        &self,
        new: NewRecord,
        entry: Entry,
        once: Option<KeyedRequest>,
        words: String,
        file: Option<Prepared>,
        in_flight: InFlight,
    ) -> Result<Outcome, AccountError> {
        let (account, files) = (self.account, self.fetcher.wiring.files.clone());
        let has_file = file.is_some();
        if let Some(prepared) = file {
            let (files, id) = (files.clone(), entry.message_id.clone());
            smol::unblock(move || files.keep_waiting(prepared.file, account, &id))
                .await
                .map_err(crate::media::MediaError::Io)?;
        }
        let answer = Answer::Accepted {
            words,
            expires_at: entry.expires_at,
        };
        let message_id = entry.message_id.clone();
        let news = vec![(new, entry)];
        let recorded = self.record(news, once, Some(answer.clone())).await;
        if recorded.is_err() && has_file {
            self.remove_waiting(&message_id).await;
        }
        recorded?;
        // Wakes the outbox's task.
        drop(in_flight);
        claims::outcome(answer, message_id)
    }

    /// Stores messages as pending, their entries in the outbox and the idempotency key of them all, all or
    /// nothing; returns the last message as it is stored. There is at least one.
    pub(super) async fn record(
        &self,
        news: Vec<(NewRecord, Entry)>,
        once: Option<KeyedRequest>,
        answer: Option<Answer>,
    ) -> Result<Option<Message>, AccountError> {
        let (account, id, limits) = (self.account, Arc::clone(&self.id), self.limits);
        let stored = self.owner().write(self.store(), move |ledger| {
            let tx = &mut *ledger.tx;
            let Some((_, entry)) = news.first() else {
                return Ok(Ok(None));
            };
            let state = outbox::state(&tx.view(), account)?;
            let count = news.len() as u64;
            if !state.has_room(count, entry.size.saturating_mul(count), limits.outbox) {
                return Ok(Err(AccountRefusal::Full {
                    count: state.count,
                    bytes: state.bytes,
                }));
            }
            let now = entry.created_at;
            if once.is_some()
                && let Some(until) = idempotency::make_room(tx, account, limits.keys, now)?
            {
                return Ok(Err(AccountRefusal::Keys(until.saturating_sub(now))));
            }
            if entry.stage == Stage::Sending
                && let Err(until) = count_stranger(
                    tx,
                    account,
                    &id,
                    &entry.to,
                    limits.new_contacts_per_day,
                    now,
                )?
            {
                return Ok(Err(AccountRefusal::Day(until)));
            }
            if let Some(once) = &once {
                let known = Known {
                    request: once.request,
                    at: now,
                    message_id: entry.message_id.clone(),
                    answer: answer.clone(),
                };
                idempotency::put(tx, account, &once.key, &known)?;
            }
            let mut last = None;
            for (new, entry) in &news {
                last.clone_from(&new.message);
                if let Some(message) = &mut last {
                    messages::insert(tx, account, message, new.medium.as_ref(), Arrival::Live)?;
                }
                outbox::add(tx, account, entry)?;
            }
            Ok(Ok(last))
        });
        let stored = stored.await?.ok_or(AccountError::NotFound)?;
        stored.map_err(|refusal| match refusal {
            AccountRefusal::Day(until) => {
                let per_day = self.limits.new_contacts_per_day;
                AccountError::waits(&Wait::Day(until), per_day, clock::now())
            }
            AccountRefusal::Full { count, bytes } => AccountError::OutboxFull { count, bytes },
            AccountRefusal::Keys(wait) => AccountError::TooManyKeys {
                retry_after: wait.div_ceil(1_000).max(1),
            },
        })
    }

    /// Sends what an entry says, and waits for WhatsApp's word.
    pub async fn attempt(
        &self,
        session: &Session,
        entry: &Entry,
        message: Option<&Message>,
    ) -> SendResult {
        let Ok(to) = ChatJid::parse(&entry.to) else {
            return SendResult::NotSent("the recipient is no JID".to_owned());
        };
        let account = self.account;
        let read = self.store().read(|tx| {
            let quoted = match message {
                Some(message) => messages::quoted_by(tx, account, message)?,
                None => None,
            };
            let target = match &entry.change {
                Some(changing) => messages::find_target(tx, account, &changing.target)?,
                None => None,
            };
            let of = message.or(target.as_ref());
            let medium = match of.and_then(|m| media_rows::parse_id(m.media_id.as_deref()?)) {
                Some((_, number)) => media_rows::get(tx, account, number)?,
                None => None,
            };
            Ok((quoted, target.filter(|target| !target.deleted), medium))
        });
        let (quoted, target, medium) = match read {
            Ok(read) => read,
            Err(error) => return SendResult::NotSent(error.to_string()),
        };
        let to = match self.recipient(session, &to).await {
            Ok(to) => to,
            Err(result) => return result,
        };
        let mentions = match message {
            Some(message) => self.mentioned(session, &message.mentions).await,
            None => Vec::new(),
        };
        let linked = match message {
            Some(message) => match Box::pin(self.with_call_link(session, message)).await {
                Ok(message) => Some(message),
                Err(result) => return result,
            },
            None => None,
        };
        let linked = match linked {
            Some(message) => Some(Box::pin(self.with_preview(message)).await),
            None => None,
        };
        let named = Named {
            message: linked,
            mentions,
            quoted,
        };
        let named = Box::pin(self.named_for(session, &to, entry.mention_all, named)).await;
        let (message, mentions) = (named.message.as_ref(), &named.mentions);
        let context = match message {
            Some(message) => Context::of(message, mentions, named.quoted.as_ref()),
            None => Context::default(),
        };
        let encoded = match (&entry.change, message, &target) {
            (None, Some(message), _) => message::encode(message, medium.as_ref(), context)
                .map(|encoded| message::in_its_album(message, encoded)),
            (Some(changing), _, Some(target)) => {
                let own = session.own_jid_for(&to, target).await;
                let (change, file) = (&changing.change, medium.as_ref());
                change.encode(&to, target, file, &own, clock::now())
            }
            (None, None, _) | (Some(_), _, None) => Err("the message that it is about is gone"),
        };
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(words) => return SendResult::NotSent(words.to_owned()),
        };
        Box::pin(self.type_first(session, &to, entry, message)).await;
        let began = clock::ticks();
        let about = message.or(target.as_ref());
        let sent = Box::pin(self.deliver(session, &to, entry, about, &encoded)).await;
        match sent {
            Ok(Ack { timestamp }) => {
                let took = clock::ticks().saturating_sub(began);
                metrics::SEND_TIME.add(Duration::from_millis(took));
                SendResult::Acked(timestamp.unwrap_or_else(clock::now))
            }
            Err(SendFailure::NotConnected) => SendResult::NotConnected,
            Err(SendFailure::Refused { code, words }) => {
                metrics::REFUSED_SENDS.add(1);
                let result = SendResult::Refused { code, words };
                match (contact_limits::limit_of(code), code) {
                    (Some(limit), Some(code)) if to.is_person() => self
                        .refused_contact(session, &to.to_string(), code, limit, began)
                        .await
                        .unwrap_or_else(|error| {
                            log::error!("{}: a restriction could not be stored: {error}", self.id);
                            result
                        }),
                    _ => result,
                }
            }
            Err(SendFailure::Later { code, words }) => SendResult::Later { code, words },
            Err(SendFailure::NoAck) => SendResult::Unknown,
            Err(SendFailure::Other(words)) => SendResult::NotSent(words),
        }
    }

    /// Stores the result on a message that a caller waits for, and returns the answer. `may_wait`: the message may
    /// also be sent later.
    async fn settle(
        &self,
        entry: &Entry,
        result: SendResult,
        may_wait: bool,
    ) -> Result<Outcome, AccountError> {
        let message_id = entry.message_id.clone();
        match result {
            SendResult::Acked(timestamp) => {
                if let Err(error) = self.sent(entry, timestamp).await {
                    // WhatsApp has it: saying anything but "sent" would make the caller repeat it.
                    log::error!("{}: sent, but not marked as sent: {error}", self.id);
                }
                Ok(Outcome::Sent(Sent {
                    message_id,
                    timestamp,
                }))
            }
            SendResult::Unknown => self.promise(entry, NO_ANSWER).await,
            SendResult::Later { words, .. } if may_wait => {
                let words = format!("{words}; the server tries it again");
                self.promise(entry, &words).await
            }
            SendResult::NotConnected if may_wait => self.promise(entry, NOT_CONNECTED).await,
            SendResult::Later { code, words } => {
                self.note_failed(entry, &words, Some(code), false).await;
                Err(AccountError::Refused {
                    code: Some(code),
                    text: words,
                    message_id,
                })
            }
            SendResult::Refused { code, words } => {
                self.note_failed(entry, &words, code, is_final(code)).await;
                Err(AccountError::Refused {
                    code,
                    text: words,
                    message_id,
                })
            }
            SendResult::NotConnected => {
                self.note_failed(entry, "the connection to WhatsApp was lost", None, false)
                    .await;
                Err(self.not_connected())
            }
            SendResult::NotSent(words) => {
                self.note_failed(entry, &words, None, false).await;
                Err(AccountError::Session(words))
            }
        }
    }

    /// The answer for an entry that the outbox goes on with, for this reason; or that it was sent meanwhile.
    async fn promise(&self, entry: &Entry, words: &str) -> Result<Outcome, AccountError> {
        let answer = match self.is_there(entry) {
            Some(timestamp) => Answer::Sent(timestamp),
            None => Answer::Accepted {
                words: words.to_owned(),
                expires_at: entry.expires_at,
            },
        };
        let counts = match entry.once.clone() {
            Some(key) => {
                let (account, answer) = (self.account, answer.clone());
                self.store()
                    .write(move |tx| idempotency::answer(tx, account, &key, &answer))
                    .await
                    .ok()
                    .flatten()
            }
            None => None,
        };
        claims::outcome(counts.unwrap_or(answer), entry.message_id.clone())
    }

    /// Stores that WhatsApp has the message of an entry, with the event and the removal of the entry.
    pub async fn sent(&self, entry: &Entry, timestamp: Millis) -> Result<(), StoreError> {
        let own = self.own_jid().unwrap_or_default();
        let done = entry.clone();
        let stored = self.owner().write(self.store(), move |ledger| {
            let (account, now) = (ledger.account, clock::now());
            let state = outbox::state(&ledger.tx.view(), account)?;
            if contact_limits::is_marked(&state)
                && messages::is_new_contact(&ledger.tx.view(), account, &done.to)?
            {
                outbox::update_state(ledger.tx, account, |state| {
                    contact_limits::reached(state, now)
                })?;
            }
            let fact = Fact::Sent {
                entry: &done,
                timestamp,
                own: &own,
            };
            ledger.record(&fact, now)?;
            Ok(std::mem::take(&mut ledger.after.removed))
        });
        let removed = stored.await?.unwrap_or_default();
        self.reached(&entry.to);
        for (account, number) in removed.iter().filter_map(|id| media_rows::parse_id(id)) {
            self.fetcher.remove(account, number).await;
        }
        if self.limits.read_on_reply && entry.change.is_none() {
            Box::pin(self.read_on_reply(&entry.to)).await;
        }
        Ok(())
    }

    /// Stores that an entry will not be sent, and removes its file. `remembered`: its idempotency key keeps this
    /// answer; otherwise the key may be used again.
    pub async fn failed(
        &self,
        entry: &Entry,
        words: &str,
        code: Option<u16>,
        remembered: bool,
    ) -> Result<(), StoreError> {
        self.record_failed(entry, words, code, remembered).await?;
        self.remove_waiting(&entry.message_id).await;
        Ok(())
    }

    /// Records that an entry will not be sent; whether it was still in the outbox.
    pub async fn record_failed(
        &self,
        entry: &Entry,
        words: &str,
        code: Option<u16>,
        remembered: bool,
    ) -> Result<bool, StoreError> {
        let (done, words) = (entry.clone(), words.to_owned());
        let stored = self.owner().write(self.store(), move |ledger| {
            let fact = Fact::Failed {
                entry: &done,
                words: &words,
                code,
                remembered,
            };
            ledger.record(&fact, clock::now())
        });
        Ok(stored.await?.unwrap_or(false))
    }

    /// [`Self::failed`] for a caller that gets the error anyway: a failure is logged.
    async fn note_failed(&self, entry: &Entry, words: &str, code: Option<u16>, remembered: bool) {
        if let Err(error) = self.failed(entry, words, code, remembered).await {
            log::error!(
                "{}: a message that failed is still shown as pending: {error}",
                self.id
            );
        }
    }

    /// Removes the file of a message that waits no more.
    pub async fn remove_waiting(&self, message_id: &str) {
        let files = self.fetcher.wiring.files.clone();
        let (account, id) = (self.account, message_id.to_owned());
        if let Err(error) = smol::unblock(move || files.remove_waiting(account, &id)).await {
            log::error!("the file of a message that waits no more remains: {error}");
        }
    }

    /// Keeps a file that was sent, if files of its size are kept.
    async fn keep_own(&self, message: &Message, prepared: Prepared) {
        let keep = prepared.size <= self.fetcher.wiring.media.auto_max_bytes;
        if let Some((account, number)) = message.media_id.as_deref().and_then(media_rows::parse_id)
            && keep
        {
            self.fetcher.keep_own(account, number, prepared.file).await;
        }
    }
}

/// Why a message cannot be recorded.
enum AccountRefusal {
    Full {
        count: u64,
        bytes: u64,
    },
    /// Milliseconds until there is room for a key.
    Keys(Millis),
    /// As many new contacts as may be were begun to write to, until then.
    Day(Millis),
}

/// The answer to a key whose message is in the outbox, if none was given before.
pub fn answer_accepted(
    tx: &mut WriteTx<'_>,
    account: u32,
    key: &str,
    message_id: &str,
) -> Result<Answer, StoreError> {
    let expires_at = outbox::get(&tx.view(), account, message_id)?.map_or(0, |e| e.expires_at);
    let answer = accepted(expires_at);
    Ok(idempotency::answer(tx, account, key, &answer)?.unwrap_or(answer))
}

fn accepted(expires_at: Millis) -> Answer {
    Answer::Accepted {
        words: NO_ANSWER.to_owned(),
        expires_at,
    }
}

/// Whether a refusal is the answer to its idempotency key: WhatsApp's own trouble (5xx) is not.
pub fn is_final(code: Option<u16>) -> bool {
    code.is_none_or(|code| code < 500)
}
