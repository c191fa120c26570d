//! The driver of one account: it owns the account's [`Machine`] and its session, carries out the machine's
//! actions, and publishes the result in [`Live`].

mod actions;
mod groups;
mod records;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;

use crate::clock::{self, Millis, Step};
use crate::ledger::Owner;
use crate::runtime::tasks::{self, InARow, Kind};
use crate::store::accounts::{AccountRecord, Ended};
use crate::store::{StoreError, media, probe};
use crate::sync::within;
use crate::whatsapp::{Online, Session, SessionNews};

use super::at_start::{ban_of, comes_back, machine_of};
use super::live::{Live, LiveState, QrTurn};
use super::machine::Machine;
use super::machine::phase::{Input, Phase, Stopped};
use super::media::Fetcher;
use super::outbox;
use super::passkey::{self, Turn};
use super::sender::Sending;
use super::types::{SendingLimits, Status};
use super::wiring::Wiring;

/// Commands that may wait for one driver; more are made to wait by their senders.
const COMMANDS: usize = 16;
/// How long a session may take to store its pending writes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long WhatsApp may take to unlink a device.
const UNLINK_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks whether a full disk has room again.
const ROOM_LOOK: Millis = 3_000;
/// The error of queued messages when a new pairing begins.
const LOGGED_OUT: &str = "the account was logged out before it could be sent";

/// What the registry asks of a driver.
pub enum Command {
    Connect(async_channel::Sender<Status>),
    /// Connect at that time, by [`clock::ticks`], because the server starts.
    Start(Millis),
    Disconnect(async_channel::Sender<Status>),
    /// A step of linking with a passkey.
    Passkey(Turn, async_channel::Sender<Status>),
    /// Unlink at WhatsApp if connected, end, and answer.
    Remove(async_channel::Sender<()>),
    /// End without changing what is wanted, and answer.
    Stop(async_channel::Sender<()>),
}

/// A driver that runs.
#[derive(Clone)]
pub struct Handle {
    pub number: u32,
    pub commands: async_channel::Sender<Command>,
    pub live: Arc<Live>,
}

/// Starts the driver of an account, which waits for a command to connect.
/// When it connects, its id is sent to `connected` unless that is full.
pub fn start(
    fetcher: &Fetcher,
    record: &AccountRecord,
    limits: SendingLimits,
    connected: async_channel::Sender<String>,
) -> Handle {
    let wiring = &fetcher.wiring;
    let (commands, inbox) = async_channel::bounded(COMMANDS);
    let (kick, kicked) = async_channel::bounded(1);
    let (machine, ban) = (machine_of(record), ban_of(record));
    let state = LiveState {
        status: machine.status(),
        active: false,
        since: record.status_since,
        ticks: machine.since(),
        cut_off_since: None,
        qr: None,
        qr_turn: QrTurn::default(),
        reason: machine.reason(),
        attempt: None,
        next_attempt: None,
        passkey: None,
        last_error: machine.last_error(),
        banned_until: ban.and_then(|ban| ban.until),
        paired: machine.paired(),
        session: None,
        no_room: None,
    };
    let online = Online::new(wiring.session.presence.online);
    let live = Arc::new(Live::new(state, &limits, online, kick));
    let sending = Sending {
        fetcher: fetcher.clone(),
        limits,
        account: record.number,
        id: record.id.as_str().into(),
        live: live.clone(),
    };
    sending.recall_limits();
    let name = format!("{}: outbox", record.id);
    let emptied = sending.clone();
    let outbox = tasks::keep(&wiring.executor, Kind::Outbox, name, move || {
        outbox::run(emptied.clone(), kicked.clone())
    });
    let driver = Driver {
        wiring: Arc::clone(wiring),
        fetcher: fetcher.clone(),
        id: record.id.clone(),
        number: record.number,
        wake: machine.ban_ends(),
        machine,
        since: record.status_since,
        live: live.clone(),
        inbox,
        connected,
        sending,
        _outbox: outbox,
        session: None,
        held: None,
        run: None,
        fetching: None,
        asked: HashSet::new(),
        ban,
        qr_shown: false,
        qr_turn: QrTurn::default(),
        clock_seen: clock::taken().0,
        for_room: false,
        leave: None,
    };
    tasks::own(&wiring.executor, supervise(driver)).detach();
    Handle {
        number: record.number,
        commands,
        live,
    }
}

/// Runs a driver until it leaves; a panic in it costs one session, not the account.
async fn supervise(mut driver: Driver) {
    let name = driver.id.clone();
    let mut row = InARow::default();
    loop {
        let began = clock::ticks();
        if let Some(done) = tasks::caught(Kind::Account, &name, driver.drive()).await {
            // The receiver may be gone.
            let _ = done.try_send(());
            return;
        }
        driver.run = None;
        driver.held = None;
        driver.fetching = None;
        if let Some(running) = driver.session.take() {
            running.session.abandon();
        }
        tasks::rest(&name, &mut row, began).await;
        let ended = driver.feed(Input::Ended(Some("internal error".into())));
        // A panic here is followed by another step of the driver all the same.
        tasks::caught(Kind::Account, &name, Box::pin(ended)).await;
    }
}

struct Running {
    session: Arc<Session>,
    news: async_channel::Receiver<SessionNews>,
}

struct Driver {
    wiring: Arc<Wiring>,
    fetcher: Fetcher,
    id: String,
    number: u32,
    machine: Machine,
    /// Since when the status holds, by [`clock::now`].
    since: Millis,
    live: Arc<Live>,
    inbox: async_channel::Receiver<Command>,
    connected: async_channel::Sender<String>,
    sending: Sending,
    /// Empties the outbox; ends with the driver.
    _outbox: smol::Task<()>,
    session: Option<Running>,
    /// The next news, already taken from the queue.
    held: Option<SessionNews>,
    /// The session's run, while one is under way.
    run: Option<smol::Task<Option<Option<String>>>>,
    /// The task that fetches media while the account is connected, and the sender that wakes it.
    fetching: Option<(smol::Task<()>, async_channel::Sender<()>)>,
    /// Groups that were asked about.
    asked: HashSet<String>,
    /// By [`clock::ticks`].
    wake: Option<Millis>,
    /// The ban that holds.
    ban: Option<Ended>,
    /// Whether a QR code was shown since the status changed.
    qr_shown: bool,
    qr_turn: QrTurn,
    /// Steps of the clock that are known here.
    clock_seen: u64,
    /// Waits for room on the disk rather than for a time.
    for_room: bool,
    /// Where to send the answer when the driver ends.
    leave: Option<async_channel::Sender<()>>,
}

enum Woken {
    Command(Command),
    News(SessionNews),
    Ended(Option<String>),
    /// The session's run panicked.
    Panicked,
    Due,
    /// The clock was set.
    ClockSet(Step),
    /// The registry is gone.
    Abandoned,
}

impl Driver {
    /// Works until a command ends it; returns the channel for the answer.
    async fn drive(&mut self) -> async_channel::Sender<()> {
        loop {
            if let Some(done) = self.leave.take() {
                return done;
            }
            let woken = self.wait().await;
            // In a box of its own: a task takes for its whole life what its largest step takes, and
            // this one waits nearly always.
            Box::pin(self.step(woken)).await;
        }
    }

    async fn step(&mut self, woken: Woken) {
        match woken {
            Woken::Command(command) => self.command(command).await,
            Woken::News(news) => self.news(news).await,
            Woken::Ended(error) => {
                self.run = None;
                self.ended(error).await;
                if let Phase::Stopped(_) = self.machine.phase() {
                    // An account at rest keeps no client in memory.
                    self.close().await;
                }
            }
            Woken::Panicked => {
                self.run = None;
                // The client still takes itself for running: it never runs again.
                if let Some(running) = self.session.take() {
                    running.session.abandon();
                }
                self.close().await;
                self.feed(Input::Ended(Some("internal error".into()))).await;
            }
            Woken::Due => {
                self.wake = None;
                self.due().await;
            }
            Woken::ClockSet(step) => self.clock_set(step).await,
            Woken::Abandoned => {
                self.close().await;
                self.leave = Some(async_channel::bounded(1).0);
            }
        }
    }

    /// A pause is over. While the storage is full the account stays offline, because WhatsApp would deliver
    /// messages that cannot be stored. It connects as soon as there is room.
    async fn due(&mut self) {
        if !self.for_room {
            self.feed(Input::Due).await;
        } else if self.wiring.store.write(probe).await.is_err() {
            self.wake = Some(clock::ticks() + ROOM_LOOK);
        } else {
            self.for_room = false;
            self.feed(match self.machine.must_wait() {
                true => Input::Due,
                false => Input::Connect,
            })
            .await;
        }
    }

    /// Recomputes the times that depend on the clock.
    async fn clock_set(&mut self, step: Step) {
        self.since = step.moved(self.since);
        if let Some(ban) = &mut self.ban {
            // It lasts as long as it was said to from when it was said.
            let at = step.moved(ban.at);
            ban.until = ban
                .until
                .map(|until| until.saturating_add(at).saturating_sub(ban.at));
            ban.at = at;
        }
        self.publish();
        if let Some(ends) = self.ban.as_ref().and_then(comes_back) {
            self.feed(Input::BanEnds(ends)).await;
        }
        let waits = matches!(self.machine.phase(), Phase::Waiting { .. });
        if waits && !self.for_room && !self.machine.must_wait() {
            self.feed(Input::Connect).await;
        }
    }

    fn owner(&self) -> Owner {
        Owner {
            number: self.number,
            id: self.id.as_str().into(),
        }
    }

    /// Why nothing can be stored, if that is so: a full disk, or one that fails.
    fn no_room(&self) -> Option<StoreError> {
        Some(self.wiring.store.condition().failing?.error)
    }

    /// The run is over. News from before the end is handled first.
    async fn ended(&mut self, mut error: Option<String>) {
        while let Some(news) = self.next_news() {
            match news {
                // One end is enough.
                SessionNews::Broken(words) => {
                    self.close().await;
                    error = Some(words);
                }
                news => self.news(news).await,
            }
        }
        self.feed(Input::Ended(error)).await;
    }

    fn next_news(&mut self) -> Option<SessionNews> {
        match self.held.take() {
            Some(news) => Some(news),
            None => self.session.as_ref()?.news.try_recv().ok(),
        }
    }

    async fn wait(&mut self) -> Woken {
        if let Some(news) = self.held.take() {
            return Woken::News(news);
        }
        let Driver {
            inbox,
            session,
            run,
            wake,
            clock_seen,
            ..
        } = self;
        let command = async {
            match inbox.recv().await {
                Ok(command) => Woken::Command(command),
                Err(_) => Woken::Abandoned,
            }
        };
        let news = async {
            match session {
                Some(running) => match running.news.recv().await {
                    Ok(news) => Woken::News(news),
                    // The client is gone; its run's end is what counts.
                    Err(_) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        let ended = async {
            match run {
                Some(task) => task.await.map_or(Woken::Panicked, Woken::Ended),
                None => std::future::pending().await,
            }
        };
        let due = async {
            match *wake {
                Some(until) => {
                    let left = until.saturating_sub(clock::ticks());
                    clock::sleep(Duration::from_millis(left)).await;
                    Woken::Due
                }
                None => std::future::pending().await,
            }
        };
        let clock = async { Woken::ClockSet(clock::set(clock_seen).await) };
        // Commands first: a flood of receipts must not keep them waiting.
        command.or(news).or(ended).or(due).or(clock).await
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Connect(answer) => {
                self.feed(Input::Connect).await;
                let _ = answer.try_send(self.machine.status());
            }
            Command::Start(at) => self.feed(Input::Start(at)).await,
            Command::Disconnect(answer) => {
                self.feed(Input::Disconnect).await;
                let _ = answer.try_send(self.machine.status());
            }
            Command::Passkey(turn, answer) => {
                self.feed(Input::Passkey(turn)).await;
                let _ = answer.try_send(self.machine.status());
            }
            Command::Remove(answer) => {
                if let (Some(running), Phase::Connected) = (&self.session, self.machine.phase()) {
                    let session = running.session.clone();
                    if within(UNLINK_TIMEOUT, session.unlink()).await.is_none() {
                        log::warn!(
                            "{}: WhatsApp did not answer the unlink in time: remove the device on the phone",
                            self.id
                        );
                    }
                }
                self.leave(answer).await;
            }
            Command::Stop(answer) => self.leave(answer).await,
        }
    }

    /// Ends for good and closes the inbox, so that waiting callers get an error.
    async fn leave(&mut self, answer: async_channel::Sender<()>) {
        self.close().await;
        self.inbox.close();
        while self.inbox.try_recv().is_ok() {}
        self.leave = Some(answer);
    }

    /// Ends the session, whatever it does.
    async fn close(&mut self) {
        if let Some(running) = self.session.take() {
            let session = running.session.clone();
            if within(CLOSE_TIMEOUT, session.close()).await.is_none() {
                log::warn!(
                    "{}: the session did not end in time and is cut off",
                    self.id
                );
            }
            running.session.abandon();
        }
        self.run = None;
        self.held = None;
        self.fetching = None;
        self.live.lock().session = None;
    }

    async fn news(&mut self, news: SessionNews) {
        match news {
            SessionNews::Qr { code, lasts } => {
                self.qr_turn = QrTurn {
                    expires_at: clock::now().saturating_add(lasts),
                    number: self.qr_turn.number + 1,
                };
                self.feed(Input::Qr(code)).await;
            }
            SessionNews::QrExhausted => {
                self.qr_turn = QrTurn::default();
                self.feed(Input::QrExhausted).await;
            }
            SessionNews::Passkey(news) => self.feed(Input::Passkey(passkey::turn(news))).await,
            SessionNews::Unlinkable(words) => self.feed(Input::Unlinkable(words)).await,
            SessionNews::Paired { jid, lid } => {
                log::info!("{}: paired", self.id);
                self.remember(move |record| {
                    record.jid = Some(jid.clone());
                    record.lid = lid.clone();
                    record.ended = None;
                })
                .await;
                self.feed(Input::Paired).await;
            }
            SessionNews::LoggedIn => self.logged_in(Input::LoggedIn).await,
            SessionNews::Usable(missing) => self.logged_in(Input::Usable(missing)).await,
            SessionNews::LoggedOut(words) => self.feed(Input::LoggedOut(words)).await,
            SessionNews::Outdated(outdated) => self.feed(Input::Outdated(outdated)).await,
            SessionNews::Banned(ban) => self.feed(Input::Banned(ban)).await,
            SessionNews::Unwelcome(refusal) => self.feed(Input::Unwelcome(refusal)).await,
            SessionNews::Replaced => self.feed(Input::Replaced).await,
            SessionNews::Limit(told) => {
                if let Err(error) = self.sending.learn(told).await {
                    log::error!("{}: a restriction could not be stored: {error}", self.id);
                }
            }
            SessionNews::PushName(name) => {
                self.remember(move |record| record.push_name = Some(name.clone()))
                    .await;
            }
            SessionNews::Broken(words) => {
                log::error!("{}: the session starts again: {words}", self.id);
                self.close().await;
                self.feed(Input::Ended(Some(words))).await;
            }
            SessionNews::Receipt {
                chat,
                message_ids,
                status,
                by,
            } => {
                self.receipts(vec![(chat, message_ids, status, by)]).await;
            }
            SessionNews::Nameless(group) => self.ask_group(group),
            SessionNews::GroupsStale => self.ask_groups(true),
            SessionNews::MediaWanted => {
                if let Some((_, kick)) = &self.fetching {
                    // Full: it will look anyway.
                    let _ = kick.try_send(());
                }
            }
            SessionNews::CallRejected(chat) => {
                if let Some(text) = self.wiring.session.calls.message.clone() {
                    self.sending.tell_caller(&chat, &text).await;
                }
            }
            SessionNews::MediaRemoved(ids) => {
                for (account, number) in ids.iter().filter_map(|id| media::parse_id(id)) {
                    self.fetcher.remove(account, number).await;
                }
            }
        }
    }

    async fn logged_in(&mut self, input: Input) {
        let is_first = *self.machine.phase() != Phase::Connected;
        self.remember_identity().await;
        self.feed(input).await;
        if is_first {
            self.start_fetching();
            self.ask_groups(false);
            self.ask_missing_subjects();
        }
        // Only the first one after a start is waited for.
        let _ = self.connected.try_send(self.id.clone());
    }

    /// Gives the machine an input and does what it says.
    async fn feed(&mut self, input: Input) {
        let before = self.machine.status();
        let actions = self.machine.on(input, clock::ticks(), fastrand::f64());
        let after = self.machine.status();
        if after != before {
            self.since = clock::now();
            self.qr_shown = false;
        }
        self.wake = None;
        self.for_room = false;
        if let Some(exchange) = self.machine.passkey() {
            self.wake = Some(exchange.until);
        }
        if let Some(ends) = self.machine.ban_ends() {
            self.wake = Some(ends);
        }
        if let Phase::Waiting { until } = self.machine.phase() {
            self.for_room = self.no_room().is_some();
            self.wake = Some(match self.for_room {
                true => clock::ticks() + ROOM_LOOK,
                false => *until,
            });
        }
        self.publish();
        for action in actions {
            self.act(action).await;
        }
        self.publish();
        if after != before {
            self.report_status().await;
            // Logged after the change is stored.
            match self.machine.last_error() {
                Some(error) => log::info!("{}: {}: {error}", self.id, after.name()),
                None => log::info!("{}: {}", self.id, after.name()),
            }
        }
    }

    /// When the ban is over under which the account is.
    fn banned_until(&self) -> Option<Millis> {
        let is_banned = matches!(self.machine.phase(), Phase::Stopped(Stopped::Banned { .. }));
        self.ban.filter(|_| is_banned)?.until
    }

    fn publish(&self) {
        let mut live = self.live.lock();
        live.status = self.machine.status();
        live.active = !matches!(self.machine.phase(), Phase::Stopped(_));
        live.since = self.since;
        live.ticks = self.machine.since();
        live.cut_off_since = self.machine.cut_off_since();
        live.no_room = self.for_room.then(|| self.no_room()).flatten();
        live.qr = self.machine.qr().map(str::to_owned);
        live.qr_turn = self.qr_turn;
        live.reason = self.machine.reason();
        live.attempt = self.machine.attempt();
        live.next_attempt = match self.machine.phase() {
            Phase::Waiting { until } => Some(*until),
            Phase::Stopped(_)
            | Phase::Connecting { .. }
            | Phase::Connected
            | Phase::Closing { .. } => None,
        };
        live.passkey = self.machine.passkey().cloned();
        live.last_error = self.machine.last_error();
        live.banned_until = self.banned_until();
        live.paired = self.machine.paired();
        live.session = self.session.as_ref().map(|r| r.session.clone());
        drop(live);
        self.live.kick();
    }
}
