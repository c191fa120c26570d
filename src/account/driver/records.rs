//! What a driver stores: the account's record, receipts, names, events.

use crate::clock::{self, Millis};
use crate::ledger::{Fact, Ledger};
use crate::message::DeliveryStatus;
use crate::runtime::tasks::{self, Kind};
use crate::store::accounts::{AccountRecord, Wanted};
use crate::store::{StoreError, accounts, messages};
use crate::whatsapp::SessionNews;

use super::Driver;
use crate::account::passkey::Progress;

/// Receipts that one transaction takes.
const RECEIPTS: usize = 256;

impl Driver {
    /// Whether the store says so already: a start need not write what it has just read.
    pub(super) fn is_wanted(&self, connected: bool) -> bool {
        let record = self.wiring.store.read(|tx| accounts::get(tx, &self.id));
        matches!(record, Ok(Some(record))
            if (record.wanted == Wanted::Connected) == connected && record.ended.is_none())
    }

    pub(super) async fn remember_identity(&mut self) {
        let Some(running) = &self.session else {
            return;
        };
        let (jid, lid, name) = (
            running.session.own_jid(),
            running.session.own_lid(),
            running.session.push_name(),
        );
        self.remember_own_lid(jid.as_deref(), lid.as_deref()).await;
        let known = self.wiring.store.read(|tx| accounts::get(tx, &self.id));
        if let Ok(Some(record)) = known {
            // An account that reconnects as itself writes nothing.
            let name = name.or_else(|| record.push_name.clone());
            if record.jid == jid && record.lid == lid && record.push_name == name {
                return;
            }
            self.remember(move |record| {
                record.jid = jid.clone();
                record.lid = lid.clone();
                record.push_name = name.clone();
            })
            .await;
        }
    }

    /// Own messages and reactions come under either of the account's JIDs.
    pub(super) async fn remember_own_lid(&self, jid: Option<&str>, lid: Option<&str>) {
        let (Some(jid), Some(lid)) = (jid, lid) else {
            return;
        };
        let (number, jid, lid) = (self.number, jid.to_owned(), lid.to_owned());
        let store = &self.wiring.store;
        let known = store.read(|tx| messages::canonical_jid(tx, number, &lid));
        if known.is_ok_and(|known| known == jid) {
            return;
        }
        let stored = store.write(move |tx| messages::link(tx, number, &lid, &jid));
        if let Err(error) = stored.await {
            log::error!("{}: the own LID could not be stored: {error}", self.id);
        }
    }

    pub(super) async fn remember(
        &self,
        change: impl Fn(&mut AccountRecord) + Send + Sync + Clone + 'static,
    ) {
        let (since, now) = (self.since, clock::now());
        let written = self.owner().write(&self.wiring.store, move |ledger| {
            accounts::update(ledger.tx, ledger.id, |record| {
                change(record);
                record.status_since = since;
                record.updated_at = now;
            })
        });
        if let Err(error) = written.await {
            log::error!(
                "{}: the account's state could not be stored: {error}",
                self.id
            );
        }
    }

    /// Stores these receipts and those that wait right behind them, in one transaction.
    pub(super) async fn receipts(
        &mut self,
        mut receipts: Vec<(String, Vec<String>, DeliveryStatus, String)>,
    ) {
        while receipts.len() < RECEIPTS {
            match self.next_news() {
                Some(SessionNews::Receipt {
                    chat,
                    message_ids,
                    status,
                    by,
                }) => receipts.push((chat, message_ids, status, by)),
                other => {
                    self.held = other;
                    break;
                }
            }
        }
        let stored = self.owner().write(&self.wiring.store, move |ledger| {
            let now = clock::now();
            for (chat, ids, status, by) in &receipts {
                for message_id in ids {
                    let fact = Fact::Receipt {
                        chat,
                        message_id,
                        status: *status,
                        by,
                    };
                    ledger.record(&fact, now)?;
                }
            }
            Ok(())
        });
        if let Err(error) = stored.await {
            log::error!("{}: receipts could not be stored: {error}", self.id);
        }
    }

    /// Fetches media as long as this connection lasts.
    pub(super) fn start_fetching(&mut self) {
        if let Some(running) = &self.session {
            let (kick, kicked) = async_channel::bounded(1);
            let (fetcher, session) = (self.fetcher.clone(), running.session.clone());
            let number = self.number;
            let name = format!("{}: media", self.id);
            let task = tasks::keep(&self.wiring.executor, Kind::Fetcher, name, move || {
                let (session, kicked) = (session.clone(), kicked.clone());
                fetcher.clone().fetch_wanted(session, number, kicked)
            });
            self.fetching = Some((task, kick));
        }
    }

    /// Appends the event of a fact; a failure is logged.
    async fn report(
        &self,
        fact: impl Fn(&mut Ledger<'_, '_>, Millis) -> Recorded + Send + 'static,
    ) {
        let written = self
            .owner()
            .write(&self.wiring.store, move |ledger| fact(ledger, clock::now()));
        if let Err(error) = written.await {
            log::error!("{}: an event could not be stored: {error}", self.id);
        }
    }

    pub(super) async fn report_qr(&self, code: String) {
        let turn = self.qr_turn;
        self.report(move |ledger, now| {
            let fact = Fact::Qr {
                code: &code,
                expires_at: turn.expires_at,
                number: turn.number,
            };
            ledger.record(&fact, now)
        })
        .await;
    }

    /// Appends an event about the progress with a passkey.
    pub(super) async fn report_passkey(&self, told: Progress) {
        let step = told.shown(&self.id, clock::ticks());
        self.report(move |ledger, now| ledger.record(&Fact::Passkey(&step), now))
            .await;
    }

    pub(super) async fn report_status(&self) {
        let status = self.machine.status().name();
        let (last_error, banned_until) = (self.machine.last_error(), self.banned_until());
        let standing = self.live.get().standing();
        self.report(move |ledger, now| {
            let fact = Fact::Status {
                status,
                last_error: last_error.as_deref(),
                banned_until,
                standing: &standing,
            };
            ledger.record(&fact, now)
        })
        .await;
    }
}

/// What [`Ledger::record`] returns.
type Recorded = Result<bool, StoreError>;
