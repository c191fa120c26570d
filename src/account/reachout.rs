//! Messages to new contacts, and whether one may go now: WhatsApp's limits as they are stored,
//! asked about and told of; the bound of a day; and people who alone were refused.

use crate::clock::{self, Millis};
use crate::event::Restriction;
use crate::jid::ChatJid;
use crate::ledger::Fact;
use crate::store::outbox::{self, Stage, State};
use crate::store::{ReadTx, StoreError, WriteTx, accounts as records, messages, strangers};
use crate::sync::locked;
use crate::whatsapp::{Limit, Session, Told, is_trusted};

use super::reach::{self, Restricted};
use super::sender::{Sending, Verdict};
use super::types::AccountError;

/// Why a message to this person has to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    Restricted(Restricted),
    /// WhatsApp has refused this person, and restricts no others, or none of those who are not new.
    Alone(Millis),
    /// As many as may be were begun to write to within 24 hours.
    Day(Millis),
}

impl Wait {
    /// When it is over, by [`clock::now`].
    pub fn until(&self) -> Millis {
        match self {
            Wait::Restricted(restricted) => restricted.until,
            Wait::Alone(until) | Wait::Day(until) => *until,
        }
    }
}

impl Sending {
    /// Reads what is stored of WhatsApp's limits, for those who look at memory. To be called before
    /// anything is sent.
    pub fn recall_limits(&self) {
        let account = self.account;
        match self.store().read(|tx| outbox::state(tx, account)) {
            Ok(state) => {
                locked(&self.live.limits).restricted = reach::restricted(&state, clock::now());
            }
            Err(error) => log::error!("{}: the outbox could not be read: {error}", self.id),
        }
    }

    /// Why a message to this chat has to wait, if it has to.
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
        let restricted = reach::restricted(&state, now);
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
        // Also what may be at WhatsApp already: if it is, its receipt says so, and if not, it stays out
        // of the lock.
        if let Some(restricted) = restricted {
            return Ok(Some(Wait::Restricted(restricted)));
        }
        if stage == Stage::Sending || per_day == 0 {
            return Ok(None);
        }
        Ok(day_is_full(tx, self.account, to, per_day, now)?.map(Wait::Day))
    }

    /// What WhatsApp is to be asked before a message goes to this chat.
    pub fn to_ask(&self, to: &str) -> Result<Option<Limit>, StoreError> {
        let now = clock::now();
        self.store().read(|tx| {
            let limit = reach::to_ask(&outbox::state(tx, self.account)?, now);
            Ok(match limit {
                Some(limit) if is_stranger(tx, self.account, &self.id, to)? => Some(limit),
                _ => None,
            })
        })
    }

    /// Asks about a limit that is over by the clock.
    pub async fn ask_again(&self, session: &Session, limit: Limit) -> Result<(), StoreError> {
        match self.ask(session, limit, clock::ticks()).await {
            Some(told) => self.learn(told).await,
            None => {
                self.change(|state, _, now| reach::unanswered(state, now))
                    .await
            }
        }
    }

    /// WhatsApp has refused a message, sent at `began` by [`clock::ticks`], for a reason that concerns
    /// new contacts: asks it once how the limit stands. The verdict on the message.
    pub async fn refused_contact(
        &self,
        session: &Session,
        to: &str,
        code: u16,
        limit: Limit,
        began: Millis,
    ) -> Result<Verdict, StoreError> {
        let told = self.ask(session, limit, began).await;
        let (jid, is_stranger) = self.store().read(|tx| {
            let jid = messages::canonical_jid(tx, self.account, to)?;
            Ok((jid, is_stranger(tx, self.account, &self.id, to)?))
        })?;
        match told {
            Some(told) => self.learn(told).await?,
            None => self.change(reach::guess).await?,
        }
        let restricted = self.live.restricted();
        // A restriction holds up those who are new. A chat that exists and was refused within one is left
        // alone, too; without one WhatsApp may take the next message.
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
        Ok(Verdict::Refused {
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

    /// WhatsApp's answer about a limit, asked for now, unless it was asked since `began`: those whose messages
    /// were refused at the same time share one.
    async fn ask(&self, session: &Session, limit: Limit, began: Millis) -> Option<Told> {
        let mut answers = self.live.answers.lock().await;
        let place = match limit {
            Limit::Lock => &mut answers[0],
            Limit::Cap => &mut answers[1],
        };
        if let Some((at, told)) = place
            && *at >= began
        {
            return told.clone();
        }
        let at = clock::ticks();
        let told = session.ask(limit).await;
        *place = Some((at, told.clone()));
        told
    }

    /// WhatsApp has said how a limit stands, by itself or because it was asked.
    pub async fn learn(&self, told: Told) -> Result<(), StoreError> {
        self.change(move |state, first, now| reach::learn(state, &told, first, now))
            .await
    }

    /// Another number may be paired next: nothing of this one's limits concerns it.
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

    /// Changes what is stored of the limits, with the event that says so; told is the first pause that is
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
                reach::restricted(&before, now),
                reach::restricted(&state, now),
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

/// Whether nothing was ever exchanged with this person, and no token of theirs is here: to have one
/// is what makes a chat an old one for WhatsApp. `id` is the account's, which is no stranger to itself.
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
    if !known.is_some_and(|begun| reach::is_of_today(begun, now)) {
        strangers::note(tx, account, &jid, now, reach::oldest_of_today(now))?;
    }
    Ok(Ok(()))
}

/// Until when this chat may not be begun, because as many were as may be.
fn day_is_full(
    tx: &ReadTx<'_>,
    account: u32,
    to: &str,
    per_day: u32,
    now: Millis,
) -> Result<Option<Millis>, StoreError> {
    let jid = messages::canonical_jid(tx, account, to)?;
    let begun = strangers::since(tx, account, &jid)?;
    if begun.is_some_and(|begun| reach::is_of_today(begun, now)) {
        return Ok(None);
    }
    Ok(reach::full_until(
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
