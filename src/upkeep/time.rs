//! The one who sets the server's time: moves along what was stamped by the wrong one, and tells.

use std::time::Duration;

use futures_lite::FutureExt as _;

use crate::clock::{self, Step};
use crate::store::{Store, StoreError, accounts, idempotency, outbox, strangers};

/// Between two looks at a clock that is not set.
const LOOK: Duration = Duration::from_secs(2);

/// Keeps the time until it is dropped.
pub async fn keep(store: Store) {
    let mut disbelieved = false;
    let said = clock::now();
    if !clock::is_set(said) {
        log::warn!(
            "the clock says {}: it is not set; nothing can connect before it is",
            clock::iso8601(said)
        );
    }
    loop {
        let news = clock::news();
        while let Some(step) = clock::pending() {
            take(&store, step).await;
        }
        let system = clock::disbelieved();
        if let Some(system) = system.filter(|_| !disbelieved) {
            log::warn!(
                "the clock says {}, WhatsApp says {}: WhatsApp's time counts until the clock is right",
                clock::iso8601(system),
                clock::iso8601(clock::now())
            );
        }
        disbelieved = system.is_some();
        let waits = clock::is_doubted() || !clock::is_set(clock::now());
        let look = async {
            match waits {
                true => drop(smol::Timer::after(LOOK).await),
                false => std::future::pending().await,
            }
        };
        news.or(look).await;
    }
}

async fn take(store: &Store, step: Step) {
    // Stamps of the future are never too old. So forwards they go ahead of the time, and backwards
    // behind it.
    if step.by < 0 {
        clock::adopt(step);
    }
    if let Err(error) = restamp(store, step).await {
        log::error!("what was stamped by the wrong clock stays so: {error}");
    }
    if step.by >= 0 {
        clock::adopt(step);
    }
    log::warn!(
        "the clock was set from {} to {}",
        clock::iso8601(step.to),
        clock::iso8601(step.moved(step.to))
    );
}

/// What expires, in one transaction: a step is taken as a whole.
async fn restamp(store: &Store, step: Step) -> Result<(), StoreError> {
    store
        .write(move |tx| {
            for account in accounts::list(&tx.view())? {
                outbox::restamp(tx, account.number, &step)?;
                strangers::restamp(tx, account.number, &step)?;
                idempotency::restamp(tx, account.number, &step)?;
            }
            Ok(())
        })
        .await
}
