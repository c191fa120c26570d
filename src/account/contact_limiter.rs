//! The new-contact limiter: whether a message to a new contact may be sent now. It stores WhatsApp's limits and asks
//! for them, counts the new contacts of a day, and pauses people to whom WhatsApp refused messages.

use crate::clock::{self, Millis};
use crate::event::Restriction;
use crate::jid::ChatJid;
use crate::ledger::Fact;
use crate::store::outbox::{self, Stage, State};
use crate::store::{ReadTx, StoreError, WriteTx, accounts as records, messages, strangers};
use crate::sync::locked;
use crate::whatsapp::{Limit, LimitStatus, Session, is_trusted};

use super::contact_limits::{self, Restricted};
use super::sender::{SendResult, Sending};
use super::types::AccountError;

/// Why a message has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    Restricted(Restricted),
    /// WhatsApp has refused messages to this person only.
    Alone(Millis),
    /// The bound on new contacts within 24 hours is reached.
    Day(Millis),
}

impl Wait {
    /// When the wait ends, by [`clock::now`].
    pub fn until(&self) -> Millis {
        match self {
            Wait::Restricted(restricted) => restricted.until,
            Wait::Alone(until) | Wait::Day(until) => *until,
        }
    }
}

impl Sending {
    /// Loads the stored limits into memory. Call it before anything is sent.
    pub fn recall_limits(&self) {
        let account = self.account;
        match self.store().read(|tx| outbox::state(tx, account)) {
            Ok(state) => {
                locked(&self.live.limits).restricted =
                    contact_limits::restricted(&state, clock::now());
            }
            Err(error) => log::error!("{}: the outbox could not be read: {error}", self.id),
        }
    }

    /// Why a message to this chat has to wait; `None` if it may be sent.
    pub fn wait(
        &self,
        tx: &ReadTx<'_>,
        to: &str,
        stage: Stage,
        now: Millis,
    ) -> Result<Option<Wait>, StoreError> {
        if !ChatJid::parse(to).is_ok_and(|jid| jid.is_person()) {
            return Ok(None);
        }
        let state = outbox::state(tx, self.account)?;
        let restricted = contact_limits::restricted(&state, now);
        let per_day = self.limits.new_contacts_per_day;
        let is_stranger = is_stranger(tx, self.account, &self.id, to)?;
        if stage == Stage::Queued {
            let jid = messages::canonical_jid(tx, self.account, to)?;
            let rest = locked(&self.live.limits).refused_alone(&jid, is_stranger, clock::ticks());
            if let Some(rest) = rest {
                return Ok(Some(Wait::Alone(clock::now().saturating_add(rest))));
            }
        }
        if !is_stranger {
            return Ok(None);
        }
        // Also messages that may be at WhatsApp already: a receipt shows those that are.
        if let Some(restricted) = restricted {
            return Ok(Some(Wait::Restricted(restricted)));
        }
        if stage == Stage::Sending || per_day == 0 {
            return Ok(None);
        }
        Ok(day_is_full(tx, self.account, to, per_day, now)?.map(Wait::Day))
    }

    /// The limit to ask WhatsApp about before a message to this chat.
    pub fn to_ask(&self, to: &str) -> Result<Option<Limit>, StoreError> {
        let now = clock::now();
        self.store().read(|tx| {
            let limit = contact_limits::to_ask(&outbox::state(tx, self.account)?, now);
            Ok(match limit {
                Some(limit) if is_stranger(tx, self.account, &self.id, to)? => Some(limit),
                _ => None,
            })
        })
    }

    /// Asks about a limit whose time is over.
    pub async fn ask_again(&self, session: &Session, limit: Limit) -> Result<(), StoreError> {
        match self.ask(session, limit, clock::ticks()).await {
            Some(status) => self.learn(status).await,
            None => {
                self.change(|state, _, now| contact_limits::unanswered(state, now))
                    .await
            }
        }
    }

    /// WhatsApp has refused a message, sent at `began` by [`clock::ticks`], for a reason that concerns
    /// new contacts: asks it once how the limit stands. The result for the message.
    pub async fn refused_contact(
        &self,
        session: &Session,
        to: &str,
        code: u16,
        limit: Limit,
        began: Millis,
    ) -> Result<SendResult, StoreError> {
        let status = self.ask(session, limit, began).await;
        let (jid, is_stranger) = self.store().read(|tx| {
            let jid = messages::canonical_jid(tx, self.account, to)?;
            Ok((jid, is_stranger(tx, self.account, &self.id, to)?))
        })?;
        match status {
            Some(status) => self.learn(status).await?,
            None => self.change(contact_limits::guess).await?,
        }
        let restricted = self.live.restricted();
        // A restriction covers new contacts. An existing chat that is refused during one is paused too; without
        // one WhatsApp may take the next message.
        if restricted.is_some() != is_stranger {
            let first = self.limits.new_contact_pause;
            locked(&self.live.limits).refuse_alone(&jid, is_stranger, first, clock::ticks());
        }
        let words = match restricted {
            Some(restricted) => format!(
                "WhatsApp refused the message: this account may not write to new contacts until {} ({code})",
                clock::iso8601(restricted.until)
            ),
            None => format!(
                "WhatsApp refused the message: it does not let this account write to this person, and \
                 restricts nothing else; it goes once they have written, or the chat was begun on the \
                 phone ({code})"
            ),
        };
        Ok(SendResult::Refused {
            code: Some(code),
            words,
        })
    }

    /// A message has reached this chat.
    pub fn reached(&self, to: &str) {
        if locked(&self.live.limits).is_open() {
            return;
        }
        let jid = self
            .store()
            .read(|tx| messages::canonical_jid(tx, self.account, to));
        if let Ok(jid) = jid {
            locked(&self.live.limits).accept(&jid);
        }
    }

    /// WhatsApp's answer about a limit: asked for now unless that was done since `began`, so that messages that
    /// were refused together share one request.
    async fn ask(&self, session: &Session, limit: Limit, began: Millis) -> Option<LimitStatus> {
        let mut answers = self.live.answers.lock().await;
        let place = match limit {
            Limit::Lock => &mut answers[0],
            Limit::Cap => &mut answers[1],
        };
        if let Some((at, status)) = place
            && *at >= began
        {
            return status.clone();
        }
        let at = clock::ticks();
        let status = session.ask(limit).await;
        *place = Some((at, status.clone()));
        status
    }

    /// Stores WhatsApp's word about a limit.
    pub async fn learn(&self, status: LimitStatus) -> Result<(), StoreError> {
        self.change(move |state, first, now| contact_limits::learn(state, &status, first, now))
            .await
    }

    /// Forgets all limits: another phone number may be paired next.
    pub async fn forget_limits(&self) -> Result<(), StoreError> {
        locked(&self.live.limits).forget_people();
        self.change(|state, _, _| {
            state.strikes = 0;
            state.paused_until = 0;
            state.lock = None;
            state.cap = None;
        })
        .await
    }

    /// Changes what is stored of the limits, with the event that says so; status is the first pause that is
    /// guessed, and the time.
    async fn change(
        &self,
        change: impl Fn(&mut State, Millis, Millis) + Send + 'static,
    ) -> Result<(), StoreError> {
        let first = self.limits.new_contact_pause;
        let changed = self.owner().write(self.store(), move |ledger| {
            let now = clock::now();
            let before = outbox::state(&ledger.tx.view(), ledger.account)?;
            let mut state = before.clone();
            change(&mut state, first, now);
            let (was, is) = (
                contact_limits::restricted(&before, now),
                contact_limits::restricted(&state, now),
            );
            let is_news = was != is;
            let event = is_news.then(|| Restriction {
                account_id: ledger.id.to_owned(),
                restricted: is.is_some(),
                until: is.as_ref().map(|it| clock::iso8601(it.until)),
                reason: is.as_ref().map(|it| it.reason.name()),
                kind: is.as_ref().and_then(|it| it.kind.clone()),
                created_at: clock::iso8601(now),
            });
            if state != before {
                let fact = Fact::Limits {
                    state: &state,
                    event: event.as_ref(),
                };
                ledger.record(&fact, now)?;
            }
            Ok((is, is_news))
        });
        if let Some((restricted, is_news)) = changed.await? {
            if is_news {
                self.say(restricted.as_ref());
            }
            locked(&self.live.limits).restricted = restricted;
            self.live.kick();
        }
        Ok(())
    }

    fn say(&self, restricted: Option<&Restricted>) {
        match restricted {
            Some(it) => log::warn!(
                "{}: nothing goes to new contacts until {}: {}",
                self.id,
                clock::iso8601(it.until),
                it.reason.words()
            ),
            None => log::info!("{}: new contacts may be written to again", self.id),
        }
    }
}

/// Whether no message was ever exchanged with this person and no trusted-contact token of theirs is stored: WhatsApp
/// takes a chat with a token for an existing one. `id` is the account's own; its own JIDs are no strangers.
pub fn is_stranger(tx: &ReadTx<'_>, account: u32, id: &str, to: &str) -> Result<bool, StoreError> {
    if !messages::is_new_contact(tx, account, to)? {
        return Ok(false);
    }
    let names = messages::names(tx, account, to)?;
    let own = records::get(tx, id)?;
    let is_own = |jid: &str| {
        own.as_ref()
            .is_some_and(|own| own.jid.as_deref() == Some(jid) || own.lid.as_deref() == Some(jid))
    };
    for jid in std::iter::once(&names.jid).chain(&names.lid) {
        if is_own(jid) {
            return Ok(false);
        }
        if let Ok(jid) = ChatJid::parse(jid)
            && is_trusted(tx, account, jid.user(), clock::now())?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Counts this chat among the new contacts of the day, if it is one; in the transaction in which its
/// message becomes one that may be at WhatsApp. `per_day` is their bound, 0 for none.
///
/// # Errors
/// The inner one: the day is full until then.
pub fn count_stranger(
    tx: &mut WriteTx<'_>,
    account: u32,
    id: &str,
    to: &str,
    per_day: u32,
    now: Millis,
) -> Result<Result<(), Millis>, StoreError> {
    if per_day == 0 || !is_stranger(&tx.view(), account, id, to)? {
        return Ok(Ok(()));
    }
    if let Some(until) = day_is_full(&tx.view(), account, to, per_day, now)? {
        return Ok(Err(until));
    }
    let jid = messages::canonical_jid(&tx.view(), account, to)?;
    let known = strangers::since(&tx.view(), account, &jid)?;
    if !known.is_some_and(|begun| contact_limits::is_of_today(begun, now)) {
        strangers::note(tx, account, &jid, now, contact_limits::oldest_of_today(now))?;
    }
    Ok(Ok(()))
}

/// When a new chat may be begun again, if the day's bound is reached.
fn day_is_full(
    tx: &ReadTx<'_>,
    account: u32,
    to: &str,
    per_day: u32,
    now: Millis,
) -> Result<Option<Millis>, StoreError> {
    let jid = messages::canonical_jid(tx, account, to)?;
    let begun = strangers::since(tx, account, &jid)?;
    if begun.is_some_and(|begun| contact_limits::is_of_today(begun, now)) {
        return Ok(None);
    }
    Ok(contact_limits::full_until(
        &strangers::times(tx, account)?,
        per_day,
        now,
    ))
}

impl AccountError {
    /// Why a message to a person cannot go now; `per_day` is the bound of a day.
    pub fn waits(wait: &Wait, per_day: u32, now: Millis) -> AccountError {
        let retry_after = wait.until().saturating_sub(now).div_ceil(1_000).max(1);
        match wait {
            Wait::Restricted(restricted) => AccountError::NewContactsPaused {
                until: clock::iso8601(restricted.until),
                reason: restricted.reason.words(),
                retry_after,
            },
            Wait::Alone(_) => AccountError::ContactPaused { retry_after },
            Wait::Day(_) => AccountError::TooManyNewContacts {
                per_day,
                retry_after,
            },
        }
    }
}
