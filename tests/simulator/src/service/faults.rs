//! Faults on purpose: what a client must survive.

use std::time::Duration;

use serde_json::{Value, json};
use wacore_binary::{Node, NodeContent};

use super::login::{LoginFailure, Stage};
use super::passkey::Demand;
use super::{ConnId, PageFault, Service};
use crate::directory::DeviceAddr;
use crate::media::auth_in;
use crate::phone::Hosted;

/// Faults that can wait at one time.
const MAX_FAULTS: usize = 64;
/// Requests to send again that can be held back at one time.
const MAX_HELD: usize = 1024;
/// Where a garbled message is wrong, in bytes from its end: behind that are at most ten bytes of ids and
/// a MAC of eight.
const FROM_THE_END: usize = 20;

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The connection breaks when the client sends a message, before the service has read it.
    DropOnMessage,
    /// Messages are taken, and no ack is sent.
    WithholdAcks,
    /// Acks for messages come late.
    DelayAcks(Duration),
    /// Every message is delivered twice.
    DeliverTwice,
    /// A message between two people that its sender sends again under its id is delivered again. Without this fault the
    /// service drops it.
    DeliverRepeats,
    /// Two messages change places.
    Reorder,
    /// Messages reach linked devices with a wrong bit in the ciphertext.
    Garble,
    /// Requests to send a message again reach the phone that is asked only once this is over.
    HoldRetries,
    /// Collections of the app state are refused with this error.
    RefuseAppState(u16),
    /// The phone shares no key of the app state.
    KeepAppStateKey,
    /// Receipts of a client are lost; of a number without linked devices, its phone's.
    LoseReceipts,
    /// Other own devices get what one read or played as `read` and `played`, not `read-self` and `played-self`.
    UnmarkOwnReads,
    /// Messages are refused with this error; only those to that number if there is one.
    RefuseSends(u16, Option<String>),
    /// Persisted queries are refused with this error.
    RefuseQueries(u16),
    /// Prekeys of a number's devices, or of this one, are not given: with an error in their place, or left out.
    /// Without a number the whole request is refused.
    WithholdKeys(Option<u16>, Option<u16>),
    /// Notifications of groups and devices are lost on their way to a client.
    LoseNotifications,
    /// Uploads to the media service go wrong.
    Uploads(TransferFault),
    /// Downloads from it do.
    Downloads(TransferFault),
    /// Phones answer requests to upload a file again with this result.
    RefuseMediaRetry(u16),
    /// A phone, or the service, names this path instead of the file's.
    ForgePath(Place, String),
    /// Phones sign for the devices that they link as hosted accounts do.
    SignHosted(Hosted),
    /// Pairings are asked for a passkey.
    RequirePasskey(Demand),
    /// Logins fail.
    FailLogin(LoginFailure),
    /// Everything to clients comes late.
    Latency(Duration),
    /// The page that names the current version goes wrong, with this HTTP status if it is refused.
    VersionPage(PageFault, Option<u16>),
}

/// How the transfer of a file goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferFault {
    /// It is answered with this HTTP status.
    Refuse(u16),
    /// The connection breaks in the middle.
    Break,
    /// One bit is wrong. (Of an upload the service would see it: that is a refusal.)
    Corrupt,
    /// So many bytes come behind the file's own.
    Overlong(u64),
    /// The file is sent in chunks, followed by endless data.
    Endless,
    /// One byte comes each time that so many milliseconds have passed.
    Drip(u64),
    /// Half of it comes, or is taken; then nothing more, and the connection stays open.
    Stall,
    /// The answer is a redirect to this port of this machine.
    Redirect(u16),
}

/// What a forged path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A piece of the history.
    History,
    /// A snapshot of the app state.
    AppState,
    /// The answer to a request to upload a file again.
    Retry,
}

/// A fault that waits for its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// To whom; `None` for everyone.
    pub number: Option<String>,
    /// For how many events; `None` until cleared.
    pub count: Option<u64>,
}

impl Fault {
    fn hits(&self, number: &str) -> bool {
        self.number.as_deref().is_none_or(|n| n == number)
    }
}

/// The faults that wait.
#[derive(Default)]
pub(super) struct Faults {
    waiting: Vec<Fault>,
    /// A message that a later one overtakes.
    held: Option<(DeviceAddr, Node)>,
    /// Requests to send a message again that wait, the oldest first.
    retries: Vec<(DeviceAddr, Node)>,
}

impl Faults {
    /// Uses up one event of the first fault that `pick` wants for `number`.
    fn take<T>(&mut self, number: &str, pick: impl Fn(&FaultKind) -> Option<T>) -> Option<T> {
        let (at, found) = self
            .waiting
            .iter()
            .enumerate()
            .filter(|(_, fault)| fault.hits(number))
            .find_map(|(at, fault)| Some((at, pick(&fault.kind)?)))?;
        self.use_up(at);
        Some(found)
    }

    fn use_up(&mut self, at: usize) {
        if let Some(count) = &mut self.waiting[at].count {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.waiting.remove(at);
            }
        }
    }

    pub(super) fn login_failure(&mut self, number: &str) -> Option<LoginFailure> {
        self.take(number, |kind| match kind {
            FaultKind::FailLogin(failure) => Some(failure.clone()),
            _ => None,
        })
    }

    pub(super) fn hosted(&mut self, number: &str) -> Hosted {
        self.take(number, |kind| match kind {
            FaultKind::SignHosted(hosted) => Some(*hosted),
            _ => None,
        })
        .unwrap_or_default()
    }

    pub(super) fn passkey_demand(&mut self, number: &str) -> Option<Demand> {
        self.take(number, |kind| match kind {
            FaultKind::RequirePasskey(demand) => Some(*demand),
            _ => None,
        })
    }

    pub(super) fn refusal(&mut self, number: &str, recipient: Option<&str>) -> Option<u16> {
        self.take(number, |kind| match kind {
            FaultKind::RefuseSends(code, to) => {
                (to.is_none() || to.as_deref() == recipient).then_some(*code)
            }
            _ => None,
        })
    }

    pub(super) fn refused_query(&mut self, number: &str) -> Option<u16> {
        self.take(number, |kind| match kind {
            FaultKind::RefuseQueries(code) => Some(*code),
            _ => None,
        })
    }

    /// The error of a request for prekeys, if all of it is refused.
    pub(super) fn keys_refused(&mut self) -> Option<u16> {
        let at = self.waiting.iter().position(|fault| {
            fault.number.is_none() && matches!(fault.kind, FaultKind::WithholdKeys(None, _))
        })?;
        let FaultKind::WithholdKeys(_, code) = self.waiting[at].kind else {
            return None;
        };
        self.use_up(at);
        Some(code.unwrap_or(503))
    }

    /// Whether the prekeys of a device are not given; with which error.
    pub(super) fn keys_withheld(&mut self, addr: &DeviceAddr) -> Option<Option<u16>> {
        self.take(&addr.number, |kind| match kind {
            FaultKind::WithholdKeys(device, code)
                if device.is_none_or(|device| device == addr.device) =>
            {
                Some(*code)
            }
            _ => None,
        })
    }

    pub(super) fn loses_notification(&mut self, to: &DeviceAddr, node: &Node) -> bool {
        let kind = node
            .attrs
            .get("type")
            .map(|kind| kind.as_str().into_owned());
        node.tag == "notification"
            && to.device != 0
            && matches!(kind.as_deref(), Some("w:gp2" | "devices"))
            && self
                .take(&to.number, |kind| {
                    (*kind == FaultKind::LoseNotifications).then_some(())
                })
                .is_some()
    }

    pub(super) fn refused_media_retry(&mut self, number: &str) -> Option<u16> {
        self.take(number, |kind| match kind {
            FaultKind::RefuseMediaRetry(code) => Some(*code),
            _ => None,
        })
    }

    pub(super) fn forged_path(&mut self, number: &str, place: Place) -> Option<String> {
        self.take(number, |kind| match kind {
            FaultKind::ForgePath(of, path) if *of == place => Some(path.clone()),
            _ => None,
        })
    }

    pub(super) fn refused_app_state(&mut self, number: &str) -> Option<u16> {
        self.take(number, |kind| match kind {
            FaultKind::RefuseAppState(code) => Some(*code),
            _ => None,
        })
    }

    pub(super) fn keeps_app_state_key(&mut self, number: &str) -> bool {
        self.take(number, |kind| {
            (*kind == FaultKind::KeepAppStateKey).then_some(())
        })
        .is_some()
    }

    pub(super) fn ack_withheld(&mut self, number: &str) -> bool {
        self.take(number, |kind| {
            (*kind == FaultKind::WithholdAcks).then_some(())
        })
        .is_some()
    }

    pub(super) fn ack_delay(&mut self, number: &str) -> Option<Duration> {
        self.take(number, |kind| match kind {
            FaultKind::DelayAcks(wait) => Some(*wait),
            _ => None,
        })
    }

    pub(super) fn delivers_repeats(&mut self, number: &str) -> bool {
        self.take(number, |kind| {
            (*kind == FaultKind::DeliverRepeats).then_some(())
        })
        .is_some()
    }

    pub(super) fn twice(&mut self, number: &str) -> bool {
        self.take(number, |kind| {
            (*kind == FaultKind::DeliverTwice).then_some(())
        })
        .is_some()
    }

    /// Latency is a state rather than an event: it is not used up.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.waiting.iter().find_map(|fault| match fault.kind {
            FaultKind::Latency(wait) => Some(wait),
            _ => None,
        })
    }

    fn breaks(&mut self, number: &str) -> bool {
        self.take(number, |kind| {
            (*kind == FaultKind::DropOnMessage).then_some(())
        })
        .is_some()
    }

    fn garbles(&mut self, number: &str) -> bool {
        self.take(number, |kind| (*kind == FaultKind::Garble).then_some(()))
            .is_some()
    }

    pub(super) fn loses_receipt(&mut self, number: &str) -> bool {
        self.take(number, |kind| {
            (*kind == FaultKind::LoseReceipts).then_some(())
        })
        .is_some()
    }

    pub(super) fn unmarks_own_read(&mut self, number: &str) -> bool {
        self.take(number, |kind| {
            (*kind == FaultKind::UnmarkOwnReads).then_some(())
        })
        .is_some()
    }

    fn holds_retry(&mut self, number: &str) -> bool {
        self.retries.len() < MAX_HELD
            && self
                .take(number, |kind| {
                    (*kind == FaultKind::HoldRetries).then_some(())
                })
                .is_some()
    }

    fn reorders(&mut self, number: &str) -> bool {
        self.take(number, |kind| (*kind == FaultKind::Reorder).then_some(()))
            .is_some()
    }
}

impl Service {
    /// What a fault wants of the version page.
    pub fn page_fault(&mut self) -> Option<(PageFault, Option<u16>)> {
        // The page is the same for every number.
        self.faults.take("", |kind| match kind {
            FaultKind::VersionPage(fault, code) => Some((*fault, *code)),
            _ => None,
        })
    }

    /// What a fault wants of this upload.
    pub fn upload_fault(&mut self, number: &str) -> Option<TransferFault> {
        self.faults.take(number, |kind| match kind {
            FaultKind::Uploads(fault) => Some(*fault),
            _ => None,
        })
    }

    /// The fault of this download. Clients may be anonymous: then only a fault for
    /// everyone hits.
    pub fn download_fault(&mut self, target: &str) -> Option<TransferFault> {
        let number = auth_in(target).and_then(|auth| self.media.account_of(auth));
        self.faults
            .take(number.unwrap_or_default(), |kind| match kind {
                FaultKind::Downloads(fault) => Some(*fault),
                _ => None,
            })
    }

    /// Adds a fault; `false` if too many wait already.
    pub fn add_fault(&mut self, fault: Fault) -> bool {
        if self.faults.waiting.len() >= MAX_FAULTS {
            return false;
        }
        self.faults.waiting.push(fault);
        true
    }

    /// Removes all faults, and delivers what one of them held back.
    pub fn clear_faults(&mut self) {
        self.faults.waiting.clear();
        let held = self.faults.held.take();
        let retries = std::mem::take(&mut self.faults.retries);
        for (to, node) in held.into_iter().chain(retries) {
            self.post(&to, node);
        }
    }

    /// Posts a request to send a message again, as soon as no fault holds it back.
    pub(super) fn post_retry(&mut self, to: &DeviceAddr, node: Node) {
        if self.faults.holds_retry(&to.number) {
            self.faults.retries.push((to.clone(), node));
        } else {
            self.post(to, node);
        }
    }

    /// The faults that wait.
    pub fn faults_json(&self) -> Value {
        self.faults
            .waiting
            .iter()
            .map(|f| json!({"kind": format!("{:?}", f.kind), "number": f.number, "count": f.count}))
            .collect()
    }

    /// Breaks the connections of a number, or all: the sockets close without a word.
    pub fn drop_connections(&mut self, number: Option<&str>) -> usize {
        let hit = self.sessions_of(number);
        for conn in &hit {
            self.end(*conn);
        }
        hit.len()
    }

    /// The sockets of a number, or all, stay open and are dead.
    pub fn half_open(&mut self, number: Option<&str>) -> usize {
        let hit = self.sessions_of(number);
        for conn in &hit {
            let Some(open) = self.conns.get_mut(conn) else {
                continue;
            };
            open.half_open = true;
            if let Stage::Online(session) = std::mem::replace(&mut open.stage, Stage::Ending)
                && self.online.get(&session.addr) == Some(conn)
            {
                self.went_offline(&session.addr);
            }
        }
        hit.len()
    }

    /// Ends the sessions of a number, or all, with a stream error.
    pub fn break_streams(&mut self, number: Option<&str>, code: u16) -> usize {
        let hit = self.sessions_of(number);
        for conn in &hit {
            self.stream_error(*conn, code);
        }
        hit.len()
    }

    fn sessions_of(&self, number: Option<&str>) -> Vec<ConnId> {
        let mut hit: Vec<ConnId> = self
            .online
            .iter()
            .filter(|(addr, _)| number.is_none_or(|n| addr.number == n))
            .map(|(_, conn)| *conn)
            .collect();
        hit.sort_unstable();
        hit
    }

    /// Whether a fault breaks the connection instead of letting this stanza in.
    pub(super) fn broken_by_fault(&mut self, from: &DeviceAddr, node: &Node) -> bool {
        if from.device == 0 || node.tag != "message" || !self.faults.breaks(&from.number) {
            return false;
        }
        if let Some(&conn) = self.online.get(from) {
            self.end(conn);
        }
        true
    }

    /// Posts a message for a device as the faults that hit the recipient will have it.
    pub(super) fn post_message(&mut self, to: &DeviceAddr, mut node: Node) {
        self.push_notification(to, &node);
        if to.device != 0 && self.faults.garbles(&to.number) {
            garble(&mut node);
        }
        if self.faults.held.is_none() && to.device != 0 && self.faults.reorders(&to.number) {
            self.faults.held = Some((to.clone(), node));
            return;
        }
        if to.device != 0 && self.faults.twice(&to.number) {
            self.post(to, node.clone());
        }
        self.post(to, node);
        if self
            .faults
            .held
            .as_ref()
            .is_some_and(|(addr, _)| addr == to)
            && let Some((to, node)) = self.faults.held.take()
        {
            self.post(&to, node);
        }
    }
}

/// Turns a bit of everything that is encrypted in a message: of the ciphertext, or of a group message's
/// signature. What comes behind them in a message that opens a session is its sender's business alone,
/// and what comes before would make it one of another kind.
fn garble(node: &mut Node) {
    let Some(NodeContent::Nodes(children)) = &mut node.content else {
        return;
    };
    for child in children.iter_mut().filter(|child| child.tag == "enc") {
        if let Some(NodeContent::Bytes(bytes)) = &mut child.content {
            let at = bytes.len().saturating_sub(FROM_THE_END);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
        }
    }
}
