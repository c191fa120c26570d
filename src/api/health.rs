//! `GET /ping` and `GET /health`.

use http_types::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::{Answer, Json, Reply};
use super::auth::Caller;
use super::context::{ApiContext, Req};
use super::error::{ApiError, failure};
use crate::account::{AccountHealth, Status};
use crate::clock::{self, Millis};
use crate::runtime::Stall;
use crate::runtime::tasks::{self, Tally};
use crate::store::Condition;

/// A commit that takes longer is a disk that hangs.
const STUCK: Millis = 10_000;
/// A refusal of storage counts for so long, also when something else could be stored since.
const REFUSAL_COUNTS: Millis = 15_000;
/// A step on the event thread that takes longer is a problem, for as long as the following says.
const LONG_STALL: Millis = 5_000;
const STALL_COUNTS: Millis = 60_000;

/// The server is up
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pong {
    #[cfg_attr(test, schemars(extend("const" = true)))]
    pong: bool,
    time: String,
}

/// Touches nothing but the clock.
pub async fn ping(_req: Req, _: ()) -> Result<Json<Pong>, ApiError> {
    Ok(Json(Pong {
        pong: true,
        time: clock::iso8601(clock::now()),
    }))
}

/// How everything does. The form is stable: monitors read it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Health {
    healthy: bool,
    time: String,
    accounts: Vec<OfAccount>,
    storage: OfStorage,
    media: OfMedia,
    event_thread: OfEventThread,
    webhooks: OfWebhooks,
    tasks: OfTasks,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct OfAccount {
    id: String,
    status: Status,
    /// Since when the status holds.
    since: String,
    healthy: bool,
    /// in words; null while healthy
    problem: Option<String>,
    /// For information: until when nothing goes to new contacts.
    restricted_until: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct OfStorage {
    healthy: bool,
    /// in words; null while healthy
    problem: Option<String>,
    /// Since when nothing can be stored.
    since: Option<String>,
}

/// For information: the files of messages can be fetched again, and messages come in.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct OfMedia {
    /// Whether the oldest files go because the disk has too little room.
    making_room: bool,
    /// Since when they do.
    since: Option<String>,
}

/// The steps on the event thread since the start, in milliseconds.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct OfEventThread {
    healthy: bool,
    /// in words; null while healthy
    problem: Option<String>,
    /// since the start
    steps: u64,
    median_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    longest_ms: f64,
}

/// For information: a receiver that is away is no fault of this server.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct OfWebhooks {
    hooks: usize,
    /// Events that the hook that is furthest behind has not passed yet.
    behind: u64,
}

/// The server's own tasks.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct OfTasks {
    healthy: bool,
    /// in words; null while healthy
    problem: Option<String>,
    /// Since the start, each a mistake of this program or of a library.
    panics: u64,
    /// Tasks that were started again after one.
    restarted: u64,
    last: Option<OfPanic>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct OfPanic {
    kind: &'static str,
    at: String,
    /// File and line.
    place: String,
}

fn of_tasks(tally: Tally) -> OfTasks {
    OfTasks {
        healthy: tally.stuck.is_none(),
        problem: tally.stuck,
        panics: tally.panics,
        restarted: tally.restarted,
        last: tally.last.map(|panic| OfPanic {
            kind: panic.kind.name(),
            at: clock::iso8601(panic.at),
            place: panic.place,
        }),
    }
}

/// 200, or 503 with what is wrong. Reads memory only, so that monitors wear out no memory card.
pub async fn health(req: Req, _: ()) -> Result<Health, ApiError> {
    Ok(report(req.state(), &Caller::of(&req)))
}

impl Reply for Health {
    fn into_answer(self) -> Result<Answer, ApiError> {
        let problems = problems(&self);
        if problems.is_empty() {
            return Answer::ok(&self);
        }
        let fields = match serde_json::to_value(&self) {
            Ok(Value::Object(fields)) => fields,
            // It serializes to an object.
            Ok(_) | Err(_) => Map::new(),
        };
        Ok(Answer::response(failure(
            StatusCode::ServiceUnavailable,
            &problems.join("; "),
            fields,
        )))
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        operation.json_as::<Health>(200, "All is well");
        let words = "Something is wrong: `error` says what, and the fields are the same";
        operation.json_as::<Health>(503, words);
    }
}

/// As `caller` may see it.
fn report(context: &ApiContext, caller: &Caller) -> Health {
    let (now, ticks) = (clock::now(), clock::ticks());
    let patience = u64::try_from(context.config.patience.as_millis()).unwrap_or(u64::MAX);
    let accounts: Vec<OfAccount> = context
        .accounts
        .health(patience)
        .into_iter()
        .filter(|account| caller.may_see(&account.id))
        .map(of_account)
        .collect();
    let storage = of_storage(&context.store.condition(), ticks);
    let beat = context.pulse.beat();
    let problem = beat.stall.and_then(|stall| stall_problem(stall, ticks));
    let ms = |length: std::time::Duration| length.as_micros() as f64 / 1000.0;
    let event_thread = OfEventThread {
        healthy: problem.is_none(),
        problem,
        steps: beat.steps,
        median_ms: ms(beat.median),
        p99_ms: ms(beat.p99),
        p999_ms: ms(beat.p999),
        longest_ms: ms(beat.longest),
    };
    let (hooks, behind) = context.deliveries.backlog();
    let short_since = context.space.short_since();
    let tasks = of_tasks(tasks::tally());
    Health {
        healthy: storage.healthy
            && event_thread.healthy
            && tasks.healthy
            && accounts.iter().all(|account| account.healthy),
        time: clock::iso8601(now),
        accounts,
        storage,
        media: OfMedia {
            making_room: short_since.is_some(),
            since: short_since.map(clock::iso8601),
        },
        event_thread,
        webhooks: OfWebhooks { hooks, behind },
        tasks,
    }
}

fn of_account(account: AccountHealth) -> OfAccount {
    OfAccount {
        id: account.id,
        status: account.status,
        since: clock::iso8601(account.since),
        healthy: account.problem.is_none(),
        problem: account.problem,
        restricted_until: account.restricted_until.map(clock::iso8601),
    }
}

fn of_storage(condition: &Condition, ticks: Millis) -> OfStorage {
    let busy = condition.busy_for.map_or(0, |busy| {
        u64::try_from(busy.as_millis()).unwrap_or(u64::MAX)
    });
    let lately = condition
        .refused
        .as_ref()
        .filter(|refusal| ticks.saturating_sub(refusal.ticks) < REFUSAL_COUNTS)
        .map(|refusal| (&refusal.error, refusal.at));
    let failing = condition.failing.as_ref();
    let refusal = failing
        .map(|failing| (&failing.error, failing.since))
        .or(lately);
    let problem = match refusal {
        Some((error, _)) => Some(error.for_callers()),
        None if busy > STUCK => Some(format!("a write has been stuck for {} s", busy / 1000)),
        None => None,
    };
    OfStorage {
        healthy: problem.is_none(),
        problem,
        since: refusal.map(|(_, since)| clock::iso8601(since)),
    }
}

fn stall_problem(stall: Stall, ticks: Millis) -> Option<String> {
    let length = u64::try_from(stall.length.as_millis()).unwrap_or(u64::MAX);
    let counts = length > LONG_STALL && ticks.saturating_sub(stall.ticks) < STALL_COUNTS;
    counts.then(|| {
        format!(
            "everything had to wait for {} s until {}",
            length / 1000,
            clock::iso8601(stall.at)
        )
    })
}

/// What is wrong, each with its place.
fn problems(report: &Health) -> Vec<String> {
    let of_accounts = report.accounts.iter().filter_map(|account| {
        let problem = account.problem.as_ref()?;
        Some(format!("account {}: {problem}", account.id))
    });
    let places = [
        ("storage", &report.storage.problem),
        ("event thread", &report.event_thread.problem),
        ("tasks", &report.tasks.problem),
    ];
    let of_places = places
        .into_iter()
        .filter_map(|(place, problem)| Some(format!("{place}: {}", problem.as_ref()?)));
    of_places.chain(of_accounts).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Failing, Refusal, Room, StoreError};

    #[test]
    fn storage_that_refuses_or_hangs_is_a_problem() {
        let condition = |failing: Option<StoreError>, busy: u64| Condition {
            failing: failing.map(|error| Failing { since: 0, error }),
            refused: None,
            busy_for: Some(Duration::from_millis(busy)),
        };
        let of_storage = |condition: &Condition| of_storage(condition, 1_000_000);
        assert!(of_storage(&Condition::default()).healthy);
        assert!(of_storage(&condition(None, STUCK)).healthy);
        let stuck = of_storage(&condition(None, STUCK + 2_000));
        assert_eq!(
            stuck.problem.as_deref(),
            Some("a write has been stuck for 12 s")
        );
        let full = of_storage(&condition(Some(StoreError::Full(Room::Disk)), 0));
        let problem = full.problem.unwrap_or_default();
        assert!(
            problem.starts_with("storage is full: no space left on the disk: make room"),
            "{problem}"
        );
        assert_eq!(full.since.as_deref(), Some("1970-01-01T00:00:00.000Z"));
        // What fitted since does not make it well at once.
        let lately = |ticks| Condition {
            refused: Some(Refusal {
                at: 0,
                ticks,
                error: StoreError::Full(Room::Disk),
            }),
            ..Condition::default()
        };
        assert!(!of_storage(&lately(1_000_000 - REFUSAL_COUNTS + 1)).healthy);
        assert!(of_storage(&lately(1_000_000 - REFUSAL_COUNTS)).healthy);
    }

    #[test]
    fn a_long_stall_counts_for_a_minute() {
        let stall = |ms| Stall {
            at: 0,
            ticks: 1_000_000,
            length: Duration::from_millis(ms),
        };
        assert!(stall_problem(stall(5_000), 1_000_000).is_none());
        assert!(stall_problem(stall(5_001), 1_059_999).is_some());
        assert!(stall_problem(stall(5_001), 1_060_000).is_none());
    }
}
