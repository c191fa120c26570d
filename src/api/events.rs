//! `GET /events`: the event log, as a list, as a list that waits, or as a stream (server-sent
//! events).
//!
//! A reader names the last event that it has, by its number or its id, and gets those behind it. The
//! log is bounded: who names an event that was trimmed is told so, with 410, and never gets the rest
//! as if nothing were missing; so is who names one that this log never had.

mod stream;

use std::time::{Duration, Instant};

use futures_lite::{FutureExt as _, future};
use smol::Timer;
use smol::lock::SemaphoreGuardArc;

use super::Req;
use super::answer::Answer;
use super::auth::Caller;
use super::error::ApiError;
use super::input::{number, query};
use crate::account::AccountError;
use crate::event::EventKind;
use crate::runtime::Shutdown;
use crate::store::events::{self, Header, Most, Scan, State, StoredEvent};
use crate::store::{ReadTx, Store, StoreError, accounts};

/// The longest `wait`; a longer one counts as this.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// How many events a list has, without a limit and at most, and how many bytes of them.
const USUAL: usize = 100;
const MOST: usize = 1000;
const MOST_BYTES: usize = 512 * 1024;

/// Events that are looked at in one go on the event thread, and in one request that does not wait.
const LOOKS: usize = 256;
const ALL_LOOKS: u64 = 50_000;

pub async fn read(req: Req) -> Result<Answer, ApiError> {
    if wants_stream(&req) {
        return stream::open(&req);
    }
    let limit = match number(&req, "limit")? {
        None | Some(0) => USUAL,
        Some(n) => usize::try_from(n).unwrap_or(MOST).min(MOST),
    };
    let wait = Duration::from_secs(number(&req, "wait")?.unwrap_or(0)).min(MAX_WAIT);
    let mut reader = Reader::of(&req, Start::asked(&req)?.unwrap_or(Start::Oldest))?;
    let _turn = match wait.is_zero() {
        true => None,
        false => Some(turn(&req)?),
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

/// A place among those that wait.
fn turn(req: &Req) -> Result<SemaphoreGuardArc, ApiError> {
    let readers = &req.state().readers;
    readers.try_acquire_arc().ok_or(ApiError::TooManyReaders)
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

/// An event's body with its number in front. The body is an object that has fields.
fn numbered(event: &StoredEvent) -> String {
    let fields = event.body.strip_prefix('{').unwrap_or("}");
    format!("{{\"number\":{},{fields}", event.number)
}

/// Where a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    /// With the oldest event that there is.
    Oldest,
    /// With the next one that happens.
    Now,
    After(u64),
    AfterId(String),
}

impl Start {
    /// What `after` says.
    fn asked(req: &Req) -> Result<Option<Start>, ApiError> {
        query(req, "after")
            .map(|text| {
                Start::parse(&text).ok_or(ApiError::Field {
                    field: "after",
                    expected: "an event's number or id, or \"latest\"",
                })
            })
            .transpose()
    }

    fn parse(text: &str) -> Option<Start> {
        match text {
            "latest" => Some(Start::Now),
            id if id.starts_with("evt_") && id.len() <= 100 => Some(Start::AfterId(id.to_owned())),
            number => number.parse().ok().map(Start::After),
        }
    }

    /// The number behind which the reader begins.
    fn position(&self, tx: &ReadTx<'_>) -> Result<Result<u64, ApiError>, StoreError> {
        let log = events::state(tx)?;
        Ok(match self {
            Start::Oldest => Ok(log.trimmed),
            Start::Now => Ok(log.last),
            Start::After(number) => readable(*number, &log),
            Start::AfterId(id) => match events::number_of_id(tx, id)? {
                Some(number) => readable(number, &log),
                None => Err(unknown(&log)),
            },
        })
    }
}

/// `number`, if nothing behind it is missing.
fn readable(number: u64, log: &State) -> Result<u64, ApiError> {
    if number > log.last {
        Err(unknown(log))
    } else if number < log.trimmed {
        Err(trimmed(log))
    } else {
        Ok(number)
    }
}

/// The event is none of this log: the reader has it from another data directory, or this one was
/// put back to an older state. Numbers would mean other events.
fn unknown(log: &State) -> ApiError {
    let (first, last) = (log.trimmed + 1, log.last);
    ApiError::Gone {
        words: format!(
            "This log never had that event: it ends with {last}. Read on with after={}",
            first - 1
        ),
        first_available: first,
        last,
    }
}

/// The log was trimmed beyond what the reader has.
fn trimmed(log: &State) -> ApiError {
    let first = log.trimmed + 1;
    ApiError::Gone {
        words: format!(
            "Events were missed: the log now begins with {first}. Read on with after={}",
            first - 1
        ),
        first_available: first,
        last: log.last,
    }
}

/// Which events a reader may and wants to see.
#[derive(Debug, Clone, Default)]
struct Filter {
    /// Of this account alone.
    account_id: Option<String>,
    /// `None`: all.
    kinds: Option<Vec<EventKind>>,
}

impl Filter {
    /// The one place where it is decided what a request sees of the log.
    fn of(req: &Req) -> Result<Filter, ApiError> {
        let account_id = Caller::of(req).narrow(query(req, "accountId"))?;
        if let Some(id) = &account_id {
            let known = req.state().store.read(|tx| accounts::number(tx, id))?;
            known.ok_or(ApiError::Account(AccountError::NotFound))?;
        }
        let mut kinds = Vec::new();
        for (key, value) in req.url().query_pairs() {
            if key != "types" {
                continue;
            }
            for name in value.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                let kind = EventKind::from_name(name).ok_or(ApiError::Field {
                    field: "types",
                    expected: "event names, separated by commas",
                })?;
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
        }
        Ok(Filter {
            account_id,
            kinds: (!kinds.is_empty()).then_some(kinds),
        })
    }

    fn lets_pass(&self, event: &Header) -> bool {
        let of_account = self
            .account_id
            .as_ref()
            .is_none_or(|id| *id == event.account);
        let of_kind = self
            .kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&event.kind));
        of_account && of_kind
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// The log has grown.
    Events,
    /// Nothing happened for so long.
    Nothing,
    /// The server stops.
    Stop,
}

/// One client's way through the log.
struct Reader {
    store: Store,
    stopping: Shutdown,
    filter: Filter,
    /// Up to here the log was looked through.
    position: u64,
}

impl Reader {
    fn of(req: &Req, start: Start) -> Result<Reader, ApiError> {
        let filter = Filter::of(req)?;
        let context = req.state();
        let position = context.store.read(|tx| start.position(tx))??;
        Ok(Reader {
            store: context.store.clone(),
            stopping: context.stopping.clone(),
            filter,
            position,
        })
    }

    /// Looks through the next part of the log.
    ///
    /// # Errors
    /// [`ApiError::Gone`] if the log was trimmed beyond the reader's position.
    fn scan(&mut self, most: Most) -> Result<Scan, ApiError> {
        let found = self.store.read(|tx| {
            events::scan(tx, self.position, most, |event| {
                self.filter.lets_pass(event)
            })
        })?;
        if found.log.trimmed > self.position {
            return Err(trimmed(&found.log));
        }
        self.position = found.to;
        Ok(found)
    }

    /// Waits until there is something behind the position, for `patience` at most.
    async fn news(&self, patience: Duration) -> News {
        let stopped = async {
            self.stopping.wait().await;
            News::Stop
        };
        let grown = async {
            match self.store.events_committed(self.position).await {
                Ok(_) => News::Events,
                Err(_) => News::Stop,
            }
        };
        let late = async {
            Timer::after(patience).await;
            News::Nothing
        };
        stopped.or(grown).or(late).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_number_an_id_or_the_end() {
        assert_eq!(Start::parse("0"), Some(Start::After(0)));
        assert_eq!(Start::parse("17"), Some(Start::After(17)));
        assert_eq!(Start::parse("latest"), Some(Start::Now));
        let id = "evt_00ff_17";
        assert_eq!(Start::parse(id), Some(Start::AfterId(id.to_owned())));
        for bad in [
            "",
            "-1",
            "x",
            "1.5",
            "99999999999999999999",
            &"evt_".repeat(99),
        ] {
            assert_eq!(Start::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_filter_passes_what_it_names() {
        let event = Header {
            kind: EventKind::MessageSent,
            account: "alice".to_owned(),
            chat: None,
            at: 0,
        };
        let filter = |account: Option<&str>, kinds: Option<Vec<EventKind>>| Filter {
            account_id: account.map(str::to_owned),
            kinds,
        };
        assert!(filter(None, None).lets_pass(&event));
        assert!(filter(Some("alice"), Some(vec![EventKind::MessageSent])).lets_pass(&event));
        assert!(!filter(Some("bob"), None).lets_pass(&event));
        assert!(!filter(None, Some(vec![EventKind::Message])).lets_pass(&event));
    }
}
