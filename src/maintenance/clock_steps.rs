//! Applies steps of the server's time: moves timestamps made by the wrong time, and logs the step.

use std::time::Duration;

use crate::clock::{self, Step};
use crate::store::{self, Store};
use crate::sync::within;

/// The interval of polling a clock that is not set.
const LOOK: Duration = Duration::from_secs(2);

/// Runs until it is dropped.
pub async fn keep(store: Store) {
    let mut disbelieved = false;
    let began = clock::now();
    if !clock::is_set(began) {
        log::warn!(
            "the clock says {}: it is not set; nothing can connect before it is",
            clock::iso8601(began)
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
        match waits {
            true => drop(within(LOOK, news).await),
            false => news.await,
        }
    }
}

async fn take(store: &Store, step: Step) {
    // A timestamp in the future never expires. So for a step forwards timestamps are moved before the
    // clock, and for one backwards after it.
    if step.by < 0 {
        clock::adopt(step);
    }
    let moved = store.write(move |tx| store::restamp(tx, &step)).await;
    if let Err(error) = moved {
        log::error!("timestamps made by the wrong clock remain: {error}");
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
