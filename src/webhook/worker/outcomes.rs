//! Handles the result of an attempt: the event is done, repeated, or given up, or the hook is disabled.

use std::time::Duration;

use super::super::queue::Failed;
use super::super::send::Failure;
use super::{End, Outcome, Worker, now};
use crate::clock;
use crate::metrics;
use crate::store::dead_letters::{self, Burial, Most};
use crate::store::webhooks::Delivery;

/// Bytes of all dead letters of a hook.
const DEAD_BYTES: u64 = 4 << 20;

/// The status of a receiver that unsubscribes.
const GONE: u16 = 410;

impl Worker {
    /// Handles a finished attempt.
    pub(super) async fn outcome(&mut self, number: u64, outcome: Outcome) -> Result<(), End> {
        self.in_flight.remove(&number);
        let (delivery, asked) = delivery(&outcome, clock::now());
        self.progress.last_delivery = Some(delivery.clone());
        if delivery.ok {
            metrics::DELIVERIES.add(1);
            return self.delivered(number).await;
        }
        metrics::FAILED_DELIVERIES.add(1);
        let error = delivery.error.unwrap_or_default();
        if delivery.status == Some(GONE) {
            return self.disable(number, error).await;
        }
        let was_up = self.queue.next_attempt().is_none();
        let failed = self.queue.failed(number, asked, now(), fastrand::u32(..));
        if was_up {
            log::warn!("webhook {}: delivery failed: {error}", self.hook.id);
        } else {
            log::debug!("webhook {}: delivery failed again: {error}", self.hook.id);
        }
        if failed == Failed::GiveUp {
            let attempts = self.queue.attempts(number);
            self.give_up(vec![(number, attempts)], &error).await?;
            let expired = self.queue.expired(now());
            if !expired.is_empty() {
                self.give_up(expired, &error).await?;
            }
        }
        self.mark();
        Ok(())
    }

    async fn delivered(&mut self, number: u64) -> Result<(), End> {
        let was_down = self.queue.next_attempt().is_some();
        self.queue.done(number, true);
        if was_down {
            log::info!("webhook {}: its receiver takes events again", self.hook.id);
        }
        self.mark();
        let replayed = self.replayed.iter().position(|it| *it == number);
        if let Some(at) = replayed {
            self.replayed.swap_remove(at);
            let (id, progress) = (self.hook.id.clone(), self.progress.clone());
            let stored = self
                .store()
                .write(move |tx| dead_letters::delivered(tx, &id, number, &progress))
                .await;
            match stored {
                Ok(true) => {}
                Ok(false) => return Err(End::Gone),
                // Stays a dead letter marked for replay: delivered again after the next start.
                Err(error) => self.storage_failed(&error).await?,
            }
        }
        Ok(())
    }

    /// Turns events into dead letters. If that cannot be stored, they stay in the queue.
    async fn give_up(&mut self, events: Vec<(u64, u32)>, error: &str) -> Result<(), End> {
        let burials: Vec<Burial> = events
            .iter()
            .map(|(number, attempts)| Burial {
                number: *number,
                attempts: *attempts,
                error: Some(error.to_owned()),
            })
            .collect();
        if !self.bury(burials).await? {
            return Ok(());
        }
        metrics::DEAD_LETTERS.add(events.len() as u64);
        for (number, _) in &events {
            self.queue.remove(*number, now());
            self.replayed.retain(|it| it != number);
        }
        log::warn!(
            "webhook {}: {} events are given up, see GET /webhooks/{}/dead",
            self.hook.id,
            events.len(),
            self.hook.id
        );
        self.mark();
        Ok(())
    }

    /// Stores dead letters; false if the storage failed.
    async fn bury(&mut self, burials: Vec<Burial>) -> Result<bool, End> {
        let most = Most {
            count: self.shared.settings.max_dead,
            bytes: DEAD_BYTES,
        };
        self.shared.marks.drop_of(&self.hook.id);
        let (id, mut progress) = (self.hook.id.clone(), self.progress.clone());
        self.queue.show(&mut progress, super::now());
        // From this transaction on they are dead letters.
        progress
            .open
            .retain(|open| !burials.iter().any(|it| it.number == open.number));
        let now = clock::now();
        let stored = self
            .store()
            .write(move |tx| dead_letters::bury(tx, &id, &burials, &progress, most, now))
            .await;
        match stored {
            Ok(Some(dropped)) => {
                self.progress.missed += dropped;
                Ok(true)
            }
            Ok(None) => Err(End::Gone),
            Err(error) => {
                self.storage_failed(&error).await?;
                Ok(false)
            }
        }
    }

    /// Disables the hook until its URL is registered again.
    async fn disable(&mut self, number: u64, error: String) -> Result<(), End> {
        // Cancels the other attempts.
        self.in_flight.clear();
        let attempts = self.queue.attempts(number).saturating_add(1);
        self.progress.disabled_at = Some(clock::now());
        log::warn!(
            "webhook {}: disabled because its receiver answered 410 Gone; registering its URL again \
             enables it",
            self.hook.id
        );
        loop {
            let burial = Burial {
                number,
                attempts,
                error: Some(error.clone()),
            };
            if self.bury(vec![burial]).await? {
                self.queue.done(number, false);
                self.show();
                return Err(End::Disabled);
            }
        }
    }
}

/// The record of an attempt, and the receiver's `Retry-After`.
fn delivery(outcome: &Outcome, at: clock::Millis) -> (Delivery, Option<Duration>) {
    match outcome {
        Ok(received) => {
            let (status, ok) = (received.status, received.is_success());
            let redirects = (300..400).contains(&status);
            let note = match redirects {
                true => ", a redirect, and those are not followed",
                false => "",
            };
            let delivery = Delivery {
                at,
                ok,
                status: Some(status),
                error: (!ok).then(|| format!("the receiver answered {status}{note}")),
            };
            (delivery, received.retry_after)
        }
        Err(Failure(words)) => {
            let delivery = Delivery {
                at,
                ok: false,
                status: None,
                error: Some(words.clone()),
            };
            (delivery, None)
        }
    }
}
