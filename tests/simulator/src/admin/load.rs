//! `POST /admin/load`: a flood, and how long it takes the recipient to take it.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use super::{AdminError, Answer};
use crate::net::Hub;
use crate::phone::Outgoing;

/// Messages of one flood.
const MAX_COUNT: usize = 50_000;
/// How long the recipient may take after the last one was sent.
const PATIENCE: Duration = Duration::from_secs(300);
/// Messages sent between two looks at the sockets.
const BURST: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Request {
    from: String,
    to: String,
    count: usize,
    /// As fast as possible if absent.
    per_second: Option<f64>,
    text: Option<String>,
}

/// Sends, then waits until every linked device of the recipient has acknowledged every message.
pub(super) async fn run(hub: &Hub, body: &Request) -> Answer {
    if !(1..=MAX_COUNT).contains(&body.count) {
        return Err(AdminError::Bad(format!("count is 1 to {MAX_COUNT}")));
    }
    let gap = match body.per_second {
        None => Duration::ZERO,
        Some(rate) if rate > 0.0 && rate.is_finite() => {
            Duration::try_from_secs_f64(1.0 / rate).unwrap_or(PATIENCE)
        }
        Some(_) => return Err(AdminError::Bad("perSecond must be positive".to_owned())),
    };
    hub.with(|service| service.ensure_account(&body.from, None).map(drop))?;
    let start = Instant::now();
    for n in 0..body.count {
        let text = match &body.text {
            Some(text) => text.clone(),
            None => format!("message {n}"),
        };
        let out = Outgoing::text(body.to.as_str(), text);
        hub.with(|service| service.phone_send(&body.from, out))?;
        if !gap.is_zero() {
            let due = gap.saturating_mul(u32::try_from(n + 1).unwrap_or(u32::MAX));
            smol::Timer::at(start + due).await;
        } else if n % BURST == BURST - 1 {
            futures_lite::future::yield_now().await;
        }
    }
    let waiting = |service: &crate::service::Service| service.unacknowledged(&body.to, &body.from);
    let done = super::eventually(hub, PATIENCE, |service| {
        (waiting(service) == 0).then_some(())
    })
    .await;
    let left = match done {
        Some(()) => 0,
        None => waiting(&hub.service.borrow()),
    };
    Ok(json!({
        "sent": body.count,
        "acknowledged": body.count.saturating_sub(left),
        "seconds": start.elapsed().as_secs_f64(),
    }))
}
