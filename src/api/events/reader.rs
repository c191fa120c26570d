//! A reader of the event log: where it begins, what it may see, and how it waits.

use std::time::Duration;

use futures_lite::FutureExt as _;
use serde_json::Value;
use smol::Timer;
use smol::lock::SemaphoreGuardArc;

use super::super::auth::Caller;
use super::super::context::Req;
use super::super::error::ApiError;
use super::super::values::KnownAccount;
use crate::account::AccountError;
use crate::event::EventKind;
use crate::fields::{Field, FieldError};
use crate::runtime::Shutdown;
use crate::store::events::{self, Header, Most, Scan, State, StoredEvent};
use crate::store::{ReadTx, Store, StoreError, accounts};

/// Events that one step on the event thread looks at.
pub const LOOKS: usize = 256;

/// A place among those that wait.
pub fn turn(req: &Req) -> Result<SemaphoreGuardArc, ApiError> {
    let readers = &req.state().readers;
    readers.try_acquire_arc().ok_or(ApiError::TooManyReaders)
}

/// An event's body with its number in front. The body is an object that has fields.
pub fn numbered(event: &StoredEvent) -> String {
    let fields = event.body.strip_prefix('{').unwrap_or("}");
    format!("{{\"number\":{},{fields}", event.number)
}

/// Where a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event that there is.
    Oldest,
    /// With the next one that happens.
    Now,
    After(u64),
    AfterId(String),
}

impl Field for Start {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        value
            .as_str()
            .and_then(Start::parse)
            .ok_or(FieldError::Field {
                field: name,
                expected: "an event's number or id, or \"latest\"",
            })
    }

    #[cfg(test)]
    fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::schema(generator)
    }
}

/// The header that a browser sends when it connects again.
#[derive(Debug)]
pub struct LastEventId(pub Start);

impl Field for LastEventId {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = match value {
            Value::Array(values) => values.last().and_then(Value::as_str),
            value => value.as_str(),
        };
        let start = text.and_then(|text| Start::parse(text.trim()));
        start.map(LastEventId).ok_or(FieldError::Field {
            field: name,
            expected: "an event's number or id",
        })
    }

    fn is_blank(value: &Value) -> bool {
        value.as_str().is_some_and(|text| text.trim().is_empty())
    }

    #[cfg(test)]
    fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::schema(generator)
    }
}

/// Kinds of events: names with commas between them, also in several parameters.
#[derive(Debug)]
pub struct EventTypes(Vec<EventKind>);

impl Field for EventTypes {
    const REPEATS: bool = true;

    fn read(field: &'static str, value: &Value) -> Result<Self, FieldError> {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        let mut kinds = Vec::new();
        for text in values.iter().filter_map(Value::as_str) {
            for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                let kind = EventKind::from_name(name).ok_or(FieldError::Field {
                    field,
                    expected: "event names, separated by commas",
                })?;
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
        }
        Ok(EventTypes(kinds))
    }

    #[cfg(test)]
    fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::schema(generator)
    }
}

impl Start {
    pub fn parse(text: &str) -> Option<Start> {
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
pub struct Filter {
    /// Of this account alone.
    account_id: Option<String>,
    /// `None`: all.
    kinds: Option<Vec<EventKind>>,
}

impl Filter {
    /// The one place that decides what a request may see of the log.
    ///
    /// # Errors
    /// 404 for an account that is unknown or another one than the key's.
    pub fn of(
        req: &Req,
        account: Option<KnownAccount>,
        types: Option<EventTypes>,
    ) -> Result<Filter, ApiError> {
        let account_id = Caller::of(req).narrow(account.map(|id| id.0))?;
        if let Some(id) = &account_id {
            let known = req.state().store.read(|tx| accounts::number(tx, id))?;
            known.ok_or(ApiError::Account(AccountError::NotFound))?;
        }
        let kinds = types.map(|EventTypes(kinds)| kinds);
        Ok(Filter {
            account_id,
            kinds: kinds.filter(|kinds| !kinds.is_empty()),
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
            .is_none_or(|kinds| event.kind.is_among(kinds, event.own));
        of_account && of_kind
    }
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The log has grown.
    Events,
    /// Nothing happened for so long.
    Nothing,
    /// The server stops.
    Stop,
}

/// One client's way through the log.
pub struct Reader {
    pub store: Store,
    stopping: Shutdown,
    filter: Filter,
    /// Up to here the log was looked through.
    pub position: u64,
}

impl Reader {
    pub fn of(req: &Req, filter: Filter, start: &Start) -> Result<Reader, ApiError> {
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
    pub fn scan(&mut self, most: Most) -> Result<Scan, ApiError> {
        let kinds = self.filter.kinds.as_deref().unwrap_or_default();
        if kinds.contains(&EventKind::Typing) {
            self.store.note_typing_reader();
        }
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
    pub async fn news(&self, patience: Duration) -> News {
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
            own: false,
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
