//! The supervisor of all tasks: no panic of a task stays unnoticed.
//!
//! - A long-lived task is [kept](keep): after a panic and a pause it starts again, from stored state.
//! - A task that does one thing is [guarded](guard): its awaiter gets `None` after a panic.
//!
//! Each panic is logged with the task's name, and counted for `/health`. Only this folder spawns on the
//! executor. In a build with the `sandbox` feature a test can make any task panic (`provoke`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_lite::FutureExt as _;

use super::Executor;
use crate::clock::{self, Millis};
use crate::sync::locked;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What a task is for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Accepts the API's connections. Kept.
    Api = "api",
    /// One connection of the API, also an event stream. Guarded: the client connects again.
    Connection = "connection",
    /// A request on a connection. Guarded: the answer is 500.
    Request = "request",
    /// The driver of an account. Keeps itself.
    Account = "account",
    /// A run of an account's session. Guarded: the account connects again.
    Session = "session",
    /// A task of an account's WhatsApp client. Guarded: a new session is opened.
    Client = "client",
    /// Reads an account's WebSocket. Guarded: the session ends, and the account connects again.
    Transport = "transport",
    /// Writes a session's state to disk. Guarded: a new session is opened from the store.
    Journal = "journal",
    /// Sends an account's outbox. Kept.
    Outbox = "outbox",
    /// Schedules an account's downloads of media. Kept.
    Fetcher = "fetcher",
    /// One download. Guarded: it is tried again later.
    Fetch = "fetch",
    /// Stores changes of an account's chats. Kept.
    Chats = "chats",
    /// Reads the history that an account's phone sends. Kept.
    History = "history",
    /// The worker of a webhook. Kept.
    Webhook = "webhook",
    /// One delivery. Guarded: a panic is a failed attempt.
    Delivery = "delivery",
    /// Stores the progress of the webhooks. Kept.
    Marks = "marks",
    /// Removes messages and files beyond the limits. Kept.
    Maintenance = "maintenance",
    /// Applies steps of the clock. Kept.
    Time = "time",
    /// Closes idle outgoing connections. Kept.
    Pool = "pool",
    /// Sends keep-alive pings to systemd. Kept.
    Watchdog = "watchdog",
    /// Any other task that does one thing. Guarded.
    Errand = "errand",
}

/// The pause after the first panic; it doubles with each further one in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// A run of this length, in ms, ends a row of panics.
const GOOD_RUN: Millis = 10 * 60 * 1_000;
/// Panics in a row from which `/health` reports a problem.
const MANY: u32 = 4;
/// The most names of panicking tasks in memory.
const REMEMBERED: usize = 64;

/// The number of a task's panics in a row. Pure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InARow(u32);

impl InARow {
    /// Counts a panic after a run of `lasted` ms; returns the pause before the next start.
    pub fn panicked(&mut self, lasted: Millis) -> Duration {
        self.0 = match lasted >= GOOD_RUN {
            true => 1,
            false => self.0.saturating_add(1),
        };
        let doublings = (self.0 - 1).min(16);
        FIRST_PAUSE
            .saturating_mul(1 << doublings)
            .min(LONGEST_PAUSE)
    }
}

/// The tasks in `/health`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Panics since the start.
    pub panics: u64,
    /// Restarts after panics.
    pub restarted: u64,
    pub last: Option<Panic>,
    /// The problem of a task that panics again and again.
    pub stuck: Option<String>,
}

/// A task's panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    pub kind: Kind,
    /// The task's name.
    pub name: String,
    pub at: Millis,
    /// File and line, if known.
    pub place: String,
}

#[derive(Default)]
struct State {
    panics: u64,
    restarted: u64,
    last: Option<Panic>,
    /// By name: panics in a row, and when the last was, by [`clock::ticks`].
    panicking: BTreeMap<String, (u32, Millis)>,
}

/// Global, like the log.
static STATE: Mutex<State> = Mutex::new(State {
    panics: 0,
    restarted: 0,
    last: None,
    panicking: BTreeMap::new(),
});

/// The place of the last panic, from the panic hook, until [`note`] takes it, maybe on another thread.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

fn state() -> MutexGuard<'static, State> {
    locked(&STATE)
}

/// Called by the panic hook, with file and line.
pub fn note_place(place: String) {
    *locked(&PLACE) = Some(place);
}

/// The counts so far.
pub fn tally() -> Tally {
    let state = state();
    let now = clock::ticks();
    let longest = u64::try_from(LONGEST_PAUSE.as_millis()).unwrap_or(u64::MAX);
    let stuck = state
        .panicking
        .iter()
        .find(|(_, (times, at))| *times >= MANY && now.saturating_sub(*at) < 2 * longest);
    Tally {
        panics: state.panics,
        restarted: state.restarted,
        last: state.last.clone(),
        // Without the name: it may contain another account's id.
        stuck: stuck.map(|(_, (times, _))| {
            format!("a task has panicked {times} times in a row; the log names it")
        }),
    }
}

/// Spawns a task that survives panics: `make` creates its future, now and after each panic. It ends with
/// that future, or when the task is dropped.
pub fn keep<F>(
    executor: &Arc<Executor>,
    kind: Kind,
    name: impl Into<Cow<'static, str>>,
    make: impl FnMut() -> F + Send + 'static,
) -> smol::Task<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    executor.spawn(kept(kind, name.into(), make))
}

/// As [`keep`], within the task that awaits it.
pub async fn kept<F: Future<Output = ()>>(
    kind: Kind,
    name: Cow<'static, str>,
    mut make: impl FnMut() -> F,
) {
    let mut row = InARow::default();
    loop {
        let began = clock::ticks();
        // Boxed: each async layer would hold the future twice, as argument and as awaitee.
        let run = Box::pin(async { make().await });
        if caught(kind, &name, run).await.is_some() {
            return;
        }
        rest(&name, &mut row, began).await;
    }
}

/// Waits before the task `name`, which ran since `began` and panicked, starts again.
pub async fn rest(name: &str, row: &mut InARow, began: Millis) {
    let now = clock::ticks();
    let pause = row.panicked(now.saturating_sub(began));
    {
        let mut state = state();
        if state.panicking.len() >= REMEMBERED {
            state.panicking.clear();
        }
        state.panicking.insert(name.to_owned(), (row.0, now));
    }
    log::warn!("{name}: starts again in {} s", pause.as_secs_f32());
    smol::Timer::after(pause).await;
    state().restarted += 1;
}

/// Spawns a task that does one thing; it yields `None` after a panic.
pub fn guard<T: Send + 'static>(
    executor: &Arc<Executor>,
    kind: Kind,
    name: impl Into<Cow<'static, str>>,
    future: impl Future<Output = T> + Send + 'static,
) -> smol::Task<Option<T>> {
    let (name, future) = (name.into(), Box::pin(future));
    executor.spawn(async move { caught(kind, &name, future).await })
}

/// As [`guard`]; calls `otherwise` after a panic.
pub fn guard_or<T: Send + 'static>(
    executor: &Arc<Executor>,
    kind: Kind,
    name: impl Into<Cow<'static, str>>,
    future: impl Future<Output = T> + Send + 'static,
    otherwise: impl FnOnce() + Send + 'static,
) -> smol::Task<Option<T>> {
    let (name, future) = (name.into(), Box::pin(future));
    executor.spawn(async move {
        let outcome = caught(kind, &name, future).await;
        if outcome.is_none() {
            otherwise();
        }
        outcome
    })
}

/// Spawns a task that handles its own panics, by [`caught`].
pub fn own<T: Send + 'static>(
    executor: &Arc<Executor>,
    future: impl Future<Output = T> + Send + 'static,
) -> smol::Task<T> {
    executor.spawn(future)
}

/// Awaits `future`; `None` if it panics, which is logged and counted.
pub async fn caught<T>(kind: Kind, name: &str, future: impl Future<Output = T>) -> Option<T> {
    #[cfg(feature = "sandbox")]
    let future = provoke::burning(kind, future);
    let outcome = AssertUnwindSafe(future).catch_unwind().await;
    if outcome.is_err() {
        note(kind, name);
    }
    outcome.ok()
}

/// Logs and counts a panic that was caught.
pub fn note(kind: Kind, name: &str) {
    let place = locked(&PLACE).take();
    let place = place.unwrap_or_else(|| "a place that is not known".to_owned());
    log::error!("{name}: a task ({}) panicked at {place}", kind.name());
    let mut state = state();
    state.panics += 1;
    state.last = Some(Panic {
        kind,
        name: name.to_owned(),
        at: clock::now(),
        place,
    });
}

/// Lets tests make a task panic: a datagram with the name of a kind, sent to the socket in
/// `WILDCAT_TEST_PANIC`, makes one task of that kind panic, a running one or else the next. Only in builds with
/// the `sandbox` feature.
#[cfg(feature = "sandbox")]
pub mod provoke {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Panics that are due, by kind.
    static DUE: [AtomicU32; Kind::ALL.len()] = [const { AtomicU32::new(0) }; Kind::ALL.len()];
    static LIT: event_listener::Event = event_listener::Event::new();

    /// Reads the socket, if the environment names one.
    pub fn listen(executor: &Arc<Executor>) {
        let Some(path) = std::env::var_os("WILDCAT_TEST_PANIC") else {
            return;
        };
        let heard = async move {
            let socket = smol::net::unix::UnixDatagram::bind(std::path::Path::new(&path))?;
            let mut name = [0; 64];
            loop {
                let length = socket.recv(&mut name).await?;
                let is_it = |kind: &&Kind| kind.name().as_bytes() == &name[..length];
                if let Some(kind) = Kind::ALL.iter().find(is_it) {
                    DUE[*kind as usize].fetch_add(1, Ordering::Relaxed);
                    LIT.notify(usize::MAX);
                }
            }
        };
        let heard = async {
            let failed: std::io::Result<std::convert::Infallible> = heard.await;
            log::error!("the tests' socket: {failed:?}");
        };
        executor.spawn(heard).detach();
    }

    /// Awaits `future`; panics when a panic of its kind is due.
    pub(super) async fn burning<T>(kind: Kind, future: impl Future<Output = T>) -> T {
        let fuse = async {
            loop {
                let lit = LIT.listen();
                let due = &DUE[kind as usize];
                let taken = due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                    due.checked_sub(1)
                });
                assert!(taken.is_err(), "requested by a test");
                lit.await;
            }
        };
        fuse.or(future).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_long_run() {
        let mut row = InARow::default();
        let pauses: Vec<u128> = (0..12).map(|_| row.panicked(10).as_millis()).collect();
        assert_eq!(pauses[..4], [500, 1_000, 2_000, 4_000]);
        assert_eq!(pauses[11], LONGEST_PAUSE.as_millis());
        assert_eq!(row.panicked(GOOD_RUN), FIRST_PAUSE);
        let mut row = InARow(u32::MAX);
        assert_eq!(row.panicked(0), LONGEST_PAUSE);
    }

    #[test]
    fn a_task_that_panics_starts_again_and_one_that_ends_does_not() {
        let executor = Arc::new(Executor::new());
        let (runs, counted) = async_channel::unbounded();
        let before = tally();
        let mut run = 0;
        let task = keep(&executor, Kind::Errand, "a test's task", move || {
            run += 1;
            let (run, runs) = (run, runs.clone());
            async move {
                let _ = runs.send(run).await;
                assert!(run > 1, "the first run");
            }
        });
        smol::block_on(executor.run(task));
        assert_eq!((counted.try_recv(), counted.try_recv()), (Ok(1), Ok(2)));
        let after = tally();
        assert!(after.panics > before.panics && after.restarted > before.restarted);
        assert_eq!(after.stuck, None);
    }

    #[test]
    fn the_awaiter_of_a_panicking_task_gets_none() {
        let executor = Arc::new(Executor::new());
        let good = guard(&executor, Kind::Errand, "good", async { 7 });
        let bad = guard(&executor, Kind::Errand, "bad", async {
            let none: Option<u32> = std::hint::black_box(None);
            none.expect("something")
        });
        assert_eq!(smol::block_on(executor.run(good)), Some(7));
        assert_eq!(smol::block_on(executor.run(bad)), None);
    }

    #[test]
    fn names_are_all_different() {
        let mut names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
