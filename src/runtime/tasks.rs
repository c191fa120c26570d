//! Every task of the server under one supervisor, so that nothing dies in silence.
//!
//! - A task that lives as long as what it serves is [kept](keep): after a panic it is made anew, from
//!   what is stored, once a pause is over.
//! - A task that does one thing is [guarded](guard): who waits for it learns that it panicked.
//!
//! Each panic is logged with the task's name, and counted for `/health`. Nothing outside of this folder
//! spawns on the executor. In a build with the `sandbox` feature a test can make any of them panic
//! (`provoke`).

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
            /// All there are.
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
    /// One of them, with the streams of events. Guarded: the client connects again.
    Connection = "connection",
    /// A request within it. Guarded: the answer is 500.
    Request = "request",
    /// The driver of an account. Kept, by itself.
    Account = "account",
    /// A run of its session. Guarded: the account connects again.
    Session = "session",
    /// A task of its WhatsApp client. Guarded: the session is made anew.
    Client = "client",
    /// Reads its WebSocket. Guarded: the session ends, and the account connects again.
    Transport = "transport",
    /// Brings to disk what its session writes. Guarded: the session is made anew, from the store.
    Journal = "journal",
    /// Empties its outbox. Kept.
    Outbox = "outbox",
    /// Fetches its media. Kept.
    Fetcher = "fetcher",
    /// Fetches one of them. Guarded: it is tried again later.
    Fetch = "fetch",
    /// Stores what is said of its chats. Kept.
    Chats = "chats",
    /// Reads its phone's past. Kept.
    History = "history",
    /// Delivers for a webhook. Kept.
    Webhook = "webhook",
    /// One delivery. Guarded: it is an attempt that failed.
    Delivery = "delivery",
    /// Stores how far the webhooks are. Kept.
    Marks = "marks",
    /// Removes what is too old or too much. Kept.
    Upkeep = "upkeep",
    /// Sets the server's time. Kept.
    Time = "time",
    /// Closes connections that were kept for a next request. Kept.
    Pool = "pool",
    /// Tells systemd that the server is alive. Kept.
    Watchdog = "watchdog",
    /// Does one thing and ends. Guarded.
    Errand = "errand",
}

/// The pause after the first panic; each further one in a row takes twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// A run that lasted so long has nothing to do with the panic before it.
const GOOD_RUN: Millis = 10 * 60 * 1_000;
/// So many panics in a row are a problem that `/health` names.
const MANY: u32 = 4;
/// Names of tasks that are remembered as panicking.
const REMEMBERED: usize = 64;

/// How often a task has panicked in a row. Pure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InARow(u32);

impl InARow {
    /// The task has panicked after a run of `lasted` ms: how long to wait before it starts again.
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

/// What `/health` says of the tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Panics since the start.
    pub panics: u64,
    /// How often a task was started again after one.
    pub restarted: u64,
    pub last: Option<Panic>,
    /// A task that does nothing but panic.
    pub stuck: Option<String>,
}

/// A task's panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    pub kind: Kind,
    /// The task's.
    pub name: String,
    pub at: Millis,
    /// File and line, where that is known.
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

/// Of the whole process, as its log is.
static STATE: Mutex<State> = Mutex::new(State {
    panics: 0,
    restarted: 0,
    last: None,
    panicking: BTreeMap::new(),
});

/// Where the last panic was that is not told yet. Its thread may be another than that which tells of it.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

fn state() -> MutexGuard<'static, State> {
    // No code that can panic runs under the lock.
    locked(&STATE)
}

/// To be called by the process's hook for panics, with file and line.
pub fn note_place(place: String) {
    *locked(&PLACE) = Some(place);
}

/// What has happened so far.
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
        // Not its name, which may be of an account that is not the caller's.
        stuck: stuck.map(|(_, (times, _))| {
            format!("a task has panicked {times} times in a row; the log names it")
        }),
    }
}

/// Spawns a task that lives on: `make` makes its future, now and after each panic. It ends when that
/// future does, or when the task is dropped.
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
        // In a box: each layer around a future holds it whole, and again where it hands it on.
        let run = Box::pin(async { make().await });
        if caught(kind, &name, run).await.is_some() {
            return;
        }
        rest(&name, &mut row, began).await;
    }
}

/// Waits after a panic of the task `name`, which ran since `began`, until it may start again.
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

/// Spawns a task that does one thing; `None` from it is a panic.
pub fn guard<T: Send + 'static>(
    executor: &Arc<Executor>,
    kind: Kind,
    name: impl Into<Cow<'static, str>>,
    future: impl Future<Output = T> + Send + 'static,
) -> smol::Task<Option<T>> {
    let (name, future) = (name.into(), Box::pin(future));
    executor.spawn(async move { caught(kind, &name, future).await })
}

/// As [`guard`]; `otherwise` is called behind a panic.
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

/// Spawns a task that looks after its own panics, by [`caught`].
pub fn own<T: Send + 'static>(
    executor: &Arc<Executor>,
    future: impl Future<Output = T> + Send + 'static,
) -> smol::Task<T> {
    executor.spawn(future)
}

/// Awaits `future`; `None` if it panicked, which is logged and counted.
pub async fn caught<T>(kind: Kind, name: &str, future: impl Future<Output = T>) -> Option<T> {
    #[cfg(feature = "sandbox")]
    let future = provoke::burning(kind, future);
    let outcome = AssertUnwindSafe(future).catch_unwind().await;
    if outcome.is_err() {
        note(kind, name);
    }
    outcome.ok()
}

/// Logs and counts a panic that was just caught.
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

/// How a test makes a task panic where it stands: a datagram with a kind's name, sent to the socket that
/// `WILDCAT_TEST_PANIC` names. One task of that kind panics: one that runs, or else the next one.
/// No build without the `sandbox` feature has any of this.
#[cfg(feature = "sandbox")]
pub mod provoke {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Panics that are due, by kind.
    static DUE: [AtomicU32; Kind::ALL.len()] = [const { AtomicU32::new(0) }; Kind::ALL.len()];
    static LIT: event_listener::Event = event_listener::Event::new();

    /// Hears what the socket says, if the environment names one.
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

    /// `future`, until a panic of its kind is due.
    pub(super) async fn burning<T>(kind: Kind, future: impl Future<Output = T>) -> T {
        let fuse = async {
            loop {
                let lit = LIT.listen();
                let due = &DUE[kind as usize];
                let taken = due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                    due.checked_sub(1)
                });
                assert!(taken.is_err(), "a test wants this");
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
    fn pauses_grow_and_a_good_run_ends_the_row() {
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
    fn who_waits_for_a_task_learns_that_it_panicked() {
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
