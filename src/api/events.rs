//! `GET /events`: the event log, as a list, as a list that waits, or as a stream (server-sent
//! events).
//!
//! A reader sends the number or the id of the last event that it has, and gets the events behind it. The log is
//! bounded: a reader whose event was trimmed, or was never in this log, gets 410, so that it knows that events
//! are missing.

mod reader;
mod stream;

use std::time::{Duration, Instant};

use futures_lite::future;
#[cfg(test)]
use serde_json::Value;

use super::answer::{Answer, Reply};
use super::context::Req;
use super::error::ApiError;
use super::route::MAX_WAIT;
use super::values::KnownAccount;
use crate::fields::{Whole, request};
use crate::store::events::{Most, Scan};
use reader::{EventTypes, Filter, LOOKS, LastEventId, News, Reader, Start, numbered, turn};

/// How many events a list has, without a limit and at most, and how many bytes of them.
const USUAL: usize = 100;
const MOST: usize = 1000;
const MOST_BYTES: usize = 512 * 1024;

/// Events that one request looks at without waiting.
const ALL_LOOKS: u64 = 50_000;

request! {
    /// Which events are wanted, and how long to wait for the first one.
    pub struct Wanted {
        /// the number or the id of the last event that the reader has, or `latest`; without it from the oldest on, a stream
        /// from now on
        after: Option<Start> = query "after",
        /// rows at most; 0 for as many as without it
        limit: Option<Whole> = query "limit",
        /// seconds to wait for an event if there is none, 60 at most
        wait: Option<Whole> = query "wait",
        /// only this account
        account: Option<KnownAccount> = query "accountId",
        /// names of events, separated by commas
        types: Option<EventTypes> = query "types",
        /// for a stream, as `after`
        last_event_id: Option<LastEventId> = header "Last-Event-ID",
    }
}

/// Events, as a list or as a stream.
pub struct Events(Answer);

impl Reply for Events {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Ok(self.0)
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        let list = operation.schema::<List>();
        let text = schemars::json_schema!({"type": "string"});
        operation.content(
            200,
            "Events in order. With `Accept: text/event-stream` they come one by one, as they happen",
            [("application/json", list), ("text/event-stream", text)],
        );
        operation.error(
            410,
            "The log was trimmed beyond `after`, or never had that event",
        );
    }
}

/// What [`page`] writes.
#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "EventList", rename_all = "camelCase")]
#[allow(dead_code)] // Only its schema is used.
struct List {
    /// what a webhook receives, each with its `number`
    events: Vec<serde_json::Map<String, Value>>,
    /// `after` of the next request
    next: u64,
    /// the number of the last event in the log
    last: u64,
    has_more: bool,
}

pub async fn read(req: Req, wanted: Wanted) -> Result<Events, ApiError> {
    let filter = Filter::of(&req, wanted.account, wanted.types)?;
    if wants_stream(&req) {
        let last = wanted.last_event_id.map(|LastEventId(start)| start);
        let start = last.or(wanted.after).unwrap_or(Start::Now);
        return stream::open(&req, filter, &start).map(Events);
    }
    let limit = match wanted.limit {
        None | Some(Whole(0)) => USUAL,
        Some(Whole(n)) => usize::try_from(n).unwrap_or(MOST).min(MOST),
    };
    let wait = wanted.wait.map_or(0, |Whole(seconds)| seconds);
    let wait = Duration::from_secs(wait).min(MAX_WAIT);
    let start = wanted.after.unwrap_or(Start::Oldest);
    list(&req, Reader::of(&req, filter, &start)?, limit, wait)
        .await
        .map(Events)
}

/// The next events, at least one unless none comes within `wait`.
async fn list(
    req: &Req,
    mut reader: Reader,
    limit: usize,
    wait: Duration,
) -> Result<Answer, ApiError> {
    let _turn = match wait.is_zero() {
        true => None,
        false => Some(turn(req)?),
    };
    let most = Most {
        events: limit,
        bytes: MOST_BYTES,
        looks: LOOKS,
    };
    let (began, first) = (Instant::now(), reader.position);
    loop {
        let found = reader.scan(most)?;
        let is_at_end = found.to >= found.log.last;
        let enough = !found.events.is_empty() || found.to - first >= ALL_LOOKS;
        if enough || is_at_end && began.elapsed() >= wait {
            return Ok(Answer::serialized(page(&found)));
        }
        if !is_at_end {
            // Others have their turn between two looks.
            future::yield_now().await;
            continue;
        }
        let left = wait.saturating_sub(began.elapsed());
        if let News::Stop = reader.news(left).await {
            return Ok(Answer::serialized(page(&found)));
        }
    }
}

fn wants_stream(req: &Req) -> bool {
    let asks = |value: &str| {
        let kinds = value.split(',').map(|kind| kind.split(';').next());
        kinds
            .flatten()
            .any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
    };
    req.header("Accept")
        .is_some_and(|values| values.iter().any(|value| asks(value.as_str())))
}

/// The answer's fields.
fn page(found: &Scan) -> String {
    let mut json = String::from("{\"events\":[");
    for (n, event) in found.events.iter().enumerate() {
        if n > 0 {
            json.push(',');
        }
        json.push_str(&numbered(event));
    }
    let more = found.to < found.log.last;
    json.push_str(&format!(
        "],\"next\":{},\"last\":{},\"hasMore\":{more}}}",
        found.to, found.log.last
    ));
    json
}
