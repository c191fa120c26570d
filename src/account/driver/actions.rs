//! What a driver does for each action of its machine.

use crate::clock;
use crate::runtime::tasks::{self, Kind};
use crate::store::accounts::{EndReason, Ended, Wanted};
use crate::store::{Store, StoreError, signal};
use crate::whatsapp::Session;

use super::{Driver, LOGGED_OUT, Running};
use crate::account::machine::phase::{Action, Ending};

impl Driver {
    pub(super) async fn act(&mut self, action: Action) {
        match action {
            Action::Run => self.start_run().await,
            Action::Wake(until) => self.wake = Some(until),
            Action::Close => {
                if let Some(running) = &self.session {
                    let session = running.session.clone();
                    let name = format!("{}: the end of its session", self.id);
                    let closing = async move { session.close().await };
                    tasks::guard(&self.wiring.executor, Kind::Errand, name, closing).detach();
                }
            }
            Action::Forget => {
                self.close().await;
                if let Err(error) = self.sending.give_up(LOGGED_OUT).await {
                    log::error!("{}: the outbox could not be emptied: {error}", self.id);
                }
                if let Err(error) = self.sending.forget_limits().await {
                    log::error!("{}: restrictions could not be forgotten: {error}", self.id);
                }
                if let Err(error) = forget_keys(&self.wiring.store, self.number).await {
                    log::error!("{}: the old keys could not be removed: {error}", self.id);
                }
                self.forget_groups().await;
                self.remember(|record| {
                    record.jid = None;
                    record.lid = None;
                })
                .await;
            }
            Action::Want(connected) => {
                if self.is_wanted(connected) {
                    return;
                }
                self.remember(move |record| {
                    record.wanted = if connected {
                        Wanted::Connected
                    } else {
                        Wanted::Disconnected
                    };
                    if connected {
                        record.ended = None;
                        record.last_error = None;
                    }
                })
                .await;
            }
            Action::Ended(ending) => {
                let (reason, words, lasts) = match ending {
                    Ending::PairingOver(words) => (EndReason::LoggedOut, words, None),
                    Ending::Banned(ban) => (EndReason::Banned, ban.words, ban.lasts),
                };
                let at = clock::now();
                let until = lasts.map(|lasts| at.saturating_add(lasts));
                let ended = Ended { reason, at, until };
                self.ban = Some(ended).filter(|ended| ended.reason == EndReason::Banned);
                self.remember(move |record| {
                    record.ended = Some(ended);
                    record.last_error = Some(words.clone());
                })
                .await;
            }
            Action::ReportPasskey(told) => self.report_passkey(told).await,
            Action::Warn(words) => log::warn!(
                "{}: no QR code to scan yet, it goes on trying: {words}",
                self.id
            ),
            Action::ShowQr(code) => {
                let first = !std::mem::replace(&mut self.qr_shown, true);
                (self.wiring.on_qr)(&self.id, &code, first);
                self.report_qr(code).await;
            }
        }
    }

    /// Runs the session that is there, or a new one where that one is spent.
    async fn start_run(&mut self) {
        if self.session.as_ref().is_some_and(|r| r.session.is_spent()) {
            self.close().await;
        }
        if self.session.is_none() {
            let online = self.live.online.clone();
            match Session::open(&self.wiring.session, &self.owner(), online).await {
                Ok((session, news)) => self.session = Some(Running { session, news }),
                Err(error) => {
                    let words = error.to_string();
                    self.run = Some(self.spawn_run(async move { Some(words) }));
                    return;
                }
            }
        }
        if let Some(running) = &self.session {
            let session = running.session.clone();
            self.run = Some(self.spawn_run(async move { session.run().await }));
        }
    }

    fn spawn_run(
        &self,
        run: impl Future<Output = Option<String>> + Send + 'static,
    ) -> smol::Task<Option<Option<String>>> {
        let name = format!("{}: its session", self.id);
        tasks::guard(&self.wiring.executor, Kind::Session, name, run)
    }
}

/// Rows that one transaction deletes when keys are forgotten.
const FORGET_STEP: usize = 1_000;

/// Removes every key of an account, in small transactions.
async fn forget_keys(store: &Store, account: u32) -> Result<(), StoreError> {
    while store
        .write(move |tx| signal::clear_step(tx, account, FORGET_STEP))
        .await?
    {}
    Ok(())
}
