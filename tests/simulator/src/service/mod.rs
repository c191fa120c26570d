//! WhatsApp's service: one owner of all state, driven from outside, without I/O.
//!
//! The edge calls [`Service::open`], [`Service::stanza`], [`Service::closed`] and [`Service::tick`]; the
//! admin endpoints call the rest. What a call causes is put into a list of work and done by
//! [`Service::settle`], one item after another: a stanza that reaches a phone makes the phone send
//! stanzas, which take the same way as those of a connected client. Stanzas for clients go into the
//! bounded queue of their connection.

mod account;
mod calls;
mod faults;
mod groups;
mod iq;
mod limits;
mod login;
mod message;
mod node;
mod notify;
mod outbox;
mod pairing;
mod passkey;
mod past;
mod people;
mod presence;
mod receipt;
mod stories;
mod trace;
mod usernames;
mod version;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_channel::Sender;
use event_listener::Event;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node};
use wacore_libsignal::protocol::KeyPair;
use waproto::buffa::Message as _;

use crate::Options;
use crate::directory::{Bundle, DeviceAddr, Directory, GroupView};
use crate::media::MediaStore;
use crate::phone::Phone;

pub use account::Account;
pub use faults::{Fault, FaultKind, Place, TransferFault};
pub use groups::{Change, GroupError, Setting};
pub use iq::Business;
pub use limits::token_of;
pub use login::{LoginFailure, MORE as FAILURE_ATTRIBUTES};
pub use node::Form;
pub use pairing::{PairError, Paired, Pairing};
pub use passkey::{Demand, Failure, Passkey};
pub use past::PastRequest;
pub use people::PeopleError;
pub use version::PageFault;

use faults::Faults;
use login::Stage;
use node::{attr, jid_attr};
use outbox::Deliver;
use trace::{Direction, Trace};
use version::Versions;

/// Names a connection for as long as the simulator runs.
pub type ConnId = u64;

/// How many (sender, id, recipient) are remembered, so that a message sent twice arrives once.
const MAX_SEEN: usize = 200_000;
/// How long a client has to close its connection.
const CLOSING: Duration = Duration::from_secs(1);
/// Work items that one call may cause. Far beyond any real cascade: it bounds a loop between two
/// phones that keep answering each other.
const MAX_CASCADE: usize = 1_000_000;

/// One client's connection.
struct Conn {
    out: Sender<Node>,
    noise_key: [u8; 32],
    stage: Stage,
    /// The socket stays open, and nothing is heard or said any more.
    half_open: bool,
}

enum Work {
    /// A device said something.
    From(DeviceAddr, Node),
    /// A phone gets something.
    ToPhone(String, Node),
}

enum Timer {
    /// The references of a registration have run out.
    RefsSpent(ConnId),
    /// A stanza that a fault has delayed.
    Send(ConnId, Node),
    /// A connection that its client has not closed in [`CLOSING`].
    Close(ConnId),
}

/// WhatsApp's service. See the module.
pub struct Service {
    options: Options,
    media: MediaStore,
    seed: u64,
    rng: StdRng,
    accounts: BTreeMap<String, Account>,
    lids: HashMap<String, String>,
    groups: groups::Groups,
    /// `None` while a phone is at work: then it is on the stack.
    phones: BTreeMap<String, Option<Phone>>,
    conns: BTreeMap<ConnId, Conn>,
    online: HashMap<DeviceAddr, ConnId>,
    work: VecDeque<Work>,
    timers: BTreeMap<(Instant, u64), Timer>,
    seen: HashSet<String>,
    seen_order: VecDeque<String>,
    /// On which connection a device got a message first.
    delivered: HashMap<String, ConnId>,
    delivered_order: VecDeque<String>,
    faults: Faults,
    versions: Versions,
    calls: Vec<calls::Call>,
    trace: Trace,
    changed: Rc<Event>,
    serial: u64,
}

impl Service {
    /// A service without anyone in it.
    pub fn new(options: Options, media: MediaStore, seed: u64) -> Service {
        let log = options.log_stanzas;
        Service {
            options,
            media,
            seed,
            rng: StdRng::seed_from_u64(seed),
            accounts: BTreeMap::new(),
            lids: HashMap::new(),
            groups: groups::Groups::new(),
            phones: BTreeMap::new(),
            conns: BTreeMap::new(),
            online: HashMap::new(),
            work: VecDeque::new(),
            timers: BTreeMap::new(),
            seen: HashSet::new(),
            seen_order: VecDeque::new(),
            delivered: HashMap::new(),
            delivered_order: VecDeque::new(),
            faults: Faults::default(),
            versions: Versions::default(),
            calls: Vec::new(),
            trace: Trace::new(log),
            changed: Rc::new(Event::new()),
            serial: 0,
        }
    }

    /// A fresh key pair from the service's own generator.
    pub fn new_key(&mut self) -> KeyPair {
        KeyPair::generate(&mut self.rng)
    }

    /// The files of the media service.
    pub fn media(&self) -> &MediaStore {
        &self.media
    }

    /// The same, to change.
    pub fn media_mut(&mut self) -> &mut MediaStore {
        &mut self.media
    }

    /// Notified after everything that may have changed what an admin request sees.
    pub fn changed(&self) -> Rc<Event> {
        self.changed.clone()
    }

    /// The last stanzas, decoded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// How long until [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.earliest()
            .map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// When [`tick`](Self::tick) next has something to do.
    pub fn earliest(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(due, _)| *due)
    }

    /// Runs due timers.
    pub fn tick(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Timer::RefsSpent(conn) => self.refs_spent(conn),
                Timer::Send(conn, node) => self.put(conn, node),
                Timer::Close(conn) => self.end(conn),
            }
        }
    }

    /// A connected client's stanza.
    pub fn stanza(&mut self, conn: ConnId, node: Node) {
        let Some(open) = self.conns.get(&conn) else {
            return;
        };
        if open.half_open {
            return;
        }
        let who = self.describe(conn);
        self.trace.record(Direction::In, &who, &node);
        match &open.stage {
            Stage::Registering(_) => self.registering(conn, &node),
            Stage::Online(session) => {
                let addr = session.addr.clone();
                self.work.push_back(Work::From(addr, node));
            }
            Stage::Ending => {}
        }
    }

    /// A connection is gone.
    pub fn closed(&mut self, conn: ConnId) {
        let Some(open) = self.conns.remove(&conn) else {
            return;
        };
        if let Stage::Online(session) = open.stage
            && self.online.get(&session.addr) == Some(&conn)
        {
            self.went_offline(&session.addr);
        }
    }

    /// Does all the work that is pending.
    pub fn settle(&mut self) {
        for _ in 0..MAX_CASCADE {
            let Some(work) = self.work.pop_front() else {
                self.changed.notify(usize::MAX);
                return;
            };
            match work {
                Work::From(addr, node) => self.handle(&addr, &node),
                Work::ToPhone(number, node) => {
                    let sent = self.with_phone(&number, |phone, service| {
                        phone.receive(&node, service, now_ms())
                    });
                    self.phone_sends(&number, sent.unwrap_or_default());
                }
            }
        }
        log::error!("phones keep answering each other; the rest of their talk is dropped");
        self.work.clear();
    }

    /// Runs `f` on a phone, with the service as its directory. `None` if there is no such phone.
    fn with_phone<T>(
        &mut self,
        number: &str,
        f: impl FnOnce(&mut Phone, &mut Service) -> T,
    ) -> Option<T> {
        let mut phone = self.phones.get_mut(number)?.take()?;
        let out = f(&mut phone, self);
        if let Some(slot) = self.phones.get_mut(number) {
            *slot = Some(phone);
        }
        Some(out)
    }

    /// What a phone sent goes the way of every client's stanzas.
    fn phone_sends(&mut self, number: &str, stanzas: Vec<Node>) {
        let addr = DeviceAddr {
            number: number.to_owned(),
            device: 0,
        };
        for node in stanzas {
            self.trace.record(Direction::In, &label(&addr), &node);
            self.work.push_back(Work::From(addr.clone(), node));
        }
    }

    fn handle(&mut self, from: &DeviceAddr, node: &Node) {
        if self.broken_by_fault(from, node) {
            return;
        }
        match &*node.tag {
            "iq" => self.iq(from, node),
            "message" => self.message(from, node),
            "receipt" => self.receipt(from, node),
            "ack" => self.ack(from, node),
            "presence" => self.presence(from, node),
            "chatstate" => self.chatstate(from, node),
            "ib" => self.ib(from, node),
            "notification" if from.device == 0 => self.media_retried(from, node),
            "call" => self.call_stanza(from, node),
            other => log::warn!("{} sent an unknown <{other}>", label(from)),
        }
    }

    fn ib(&mut self, from: &DeviceAddr, node: &Node) {
        if let Some(batch) = node.get_optional_child("offline_batch") {
            let count = node::num_attr(batch, "count").unwrap_or(0);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            if let Some(device) = self.device_mut(from) {
                device.outbox.request(count);
            }
            self.deliver(from, count);
        }
    }

    /// An acknowledgement by a client takes the stanza out of its queue.
    fn ack(&mut self, from: &DeviceAddr, node: &Node) {
        let Some(class) = attr(node, "class") else {
            return;
        };
        self.acknowledged(from, &class, node);
    }

    /// Takes a stanza out of a device's queue: `node` is the receipt or ack for it.
    fn acknowledged(&mut self, by: &DeviceAddr, tag: &str, node: &Node) {
        let Some(first) = attr(node, "id") else {
            return;
        };
        let from = self.queue_name(jid_attr(node, "to").as_ref());
        let Some(device) = self.device_mut(by) else {
            return;
        };
        // One receipt can stand for many messages of a chat.
        let more = node
            .get_optional_child("list")
            .into_iter()
            .flat_map(|list| {
                list.get_children_by_tag("item")
                    .filter_map(|item| attr(item, "id"))
            });
        for id in std::iter::once(first).chain(more) {
            device.outbox.acknowledge(&outbox::Key {
                tag: tag.to_owned(),
                id,
                from: from.clone(),
            });
        }
        let more = device.outbox.next_batch();
        if more > 0 {
            self.deliver(by, more);
        }
    }

    /// How a queue names the sender of a stanza: both forms of a person's JID are one.
    fn queue_name(&self, from: Option<&Jid>) -> String {
        match from {
            Some(jid) => self
                .number_of_jid(jid)
                .unwrap_or_else(|| jid.user.to_string()),
            None => String::new(),
        }
    }

    fn device_mut(&mut self, addr: &DeviceAddr) -> Option<&mut account::Device> {
        self.accounts
            .get_mut(&addr.number)?
            .devices
            .get_mut(&addr.device)
    }

    /// Queues a stanza for a device until the device acknowledges it, and delivers what may go now.
    fn post(&mut self, to: &DeviceAddr, node: Node) {
        if self.faults.loses_notification(to, &node) {
            return;
        }
        let key = outbox::Key {
            tag: node.tag.to_string(),
            id: attr(&node, "id").unwrap_or_default(),
            from: self.queue_name(jid_attr(&node, "from").as_ref()),
        };
        let Some(device) = self.device_mut(to) else {
            return;
        };
        device.outbox.push(key, node);
        self.deliver(to, 0);
    }

    /// Delivers from a device's queue, `count` stanzas of an offline delivery at most.
    fn deliver(&mut self, to: &DeviceAddr, count: usize) {
        if to.device == 0 {
            self.deliver_to_phone(&to.number);
            return;
        }
        let Some(&conn) = self.online.get(to) else {
            return;
        };
        if !self.listens(conn) {
            return;
        }
        let Some(device) = self.device_mut(to) else {
            return;
        };
        let batch = device.outbox.take(count);
        for item in batch {
            match item {
                Deliver::Stanza(mut node, offline) => {
                    self.note_delivery(to, &node, conn);
                    if let Some(place) = offline {
                        node.attrs.insert("offline", place.to_string());
                    }
                    self.send(conn, node);
                }
                Deliver::Complete(total) => {
                    let done = NodeBuilder::new("offline").attr("count", total).build();
                    self.send(conn, ib(done));
                }
            }
        }
    }

    fn note_delivery(&mut self, to: &DeviceAddr, node: &Node, conn: ConnId) {
        let Some(id) = attr(node, "id").filter(|_| node.tag == "message") else {
            return;
        };
        let key = delivery_key(to, &id);
        if self.delivered.contains_key(&key) {
            return;
        }
        self.delivered.insert(key.clone(), conn);
        self.delivered_order.push_back(key);
        if self.delivered_order.len() > MAX_SEEN
            && let Some(old) = self.delivered_order.pop_front()
        {
            self.delivered.remove(&old);
        }
    }

    fn deliver_to_phone(&mut self, number: &str) {
        let Some(account) = self.accounts.get_mut(number) else {
            return;
        };
        if !account.reachable {
            return;
        }
        let Some(device) = account.devices.get_mut(&0) else {
            return;
        };
        // A phone takes stanzas at once, so its queue is empty.
        device.outbox.login();
        let batch = device.outbox.take(usize::MAX);
        device.outbox = outbox::Outbox::default();
        for item in batch {
            if let Deliver::Stanza(node, _) = item {
                self.give_phone(number, node);
            }
        }
    }

    fn give_phone(&mut self, number: &str, node: Node) {
        let who = label(&DeviceAddr {
            number: number.to_owned(),
            device: 0,
        });
        self.trace.record(Direction::Out, &who, &node);
        self.work.push_back(Work::ToPhone(number.to_owned(), node));
    }

    /// Sends an unqueued stanza (answer, presence), which is lost if the device is offline.
    fn tell(&mut self, to: &DeviceAddr, node: Node) {
        if to.device == 0 {
            if self.accounts.get(&to.number).is_some_and(|a| a.reachable) {
                self.give_phone(&to.number.clone(), node);
            }
        } else if let Some(&conn) = self.online.get(to) {
            self.send(conn, node);
        }
    }

    /// Puts a stanza on the wire, now or as late as a fault says.
    fn send(&mut self, conn: ConnId, node: Node) {
        match self.faults.latency() {
            Some(wait) => self.later(wait, Timer::Send(conn, node)),
            None => self.put(conn, node),
        }
    }

    fn put(&mut self, conn: ConnId, node: Node) {
        let Some(open) = self.conns.get(&conn) else {
            return;
        };
        if open.half_open {
            return;
        }
        let who = self.describe(conn);
        self.trace.record(Direction::Out, &who, &node);
        if open.out.try_send(node).is_err() && !open.out.is_closed() {
            log::warn!("{who} does not read; its connection is closed");
            self.end(conn);
        }
    }

    fn later(&mut self, wait: Duration, timer: Timer) {
        self.serial += 1;
        self.timers
            .insert((Instant::now() + wait, self.serial), timer);
    }

    /// Closes a connection after its queued stanzas.
    fn end(&mut self, conn: ConnId) {
        if let Some(open) = self.conns.get(&conn) {
            open.out.close();
        }
        self.dismiss(conn);
    }

    /// Leaves the closing to the client for [`CLOSING`], as after `515` and `<failure>`.
    fn end_later(&mut self, conn: ConnId) {
        self.dismiss(conn);
        self.later(CLOSING, Timer::Close(conn));
    }

    /// Ends what a connection was; what its client still sends is ignored.
    fn dismiss(&mut self, conn: ConnId) {
        let Some(open) = self.conns.get_mut(&conn) else {
            return;
        };
        if let Stage::Online(session) = std::mem::replace(&mut open.stage, Stage::Ending)
            && self.online.get(&session.addr) == Some(&conn)
        {
            self.went_offline(&session.addr);
        }
    }

    fn went_offline(&mut self, addr: &DeviceAddr) {
        self.online.remove(addr);
        if let Some(device) = self.device_mut(addr) {
            device.outbox.logout();
        }
        self.announce_presence(addr, false);
    }

    fn describe(&self, conn: ConnId) -> String {
        match self.conns.get(&conn).map(|open| &open.stage) {
            Some(Stage::Online(session)) => label(&session.addr),
            _ => format!("connection {conn}"),
        }
    }

    /// An id for a stanza of the service's own: decimal, as WhatsApp's notifications have it.
    fn next_id(&mut self) -> String {
        (u64::from(self.rng.next_u32()) + 1_000_000_000).to_string()
    }

    /// Whether this is the first time; remembers it.
    fn first_time(&mut self, key: String) -> bool {
        if !self.seen.insert(key.clone()) {
            return false;
        }
        self.seen_order.push_back(key);
        if self.seen_order.len() > MAX_SEEN
            && let Some(old) = self.seen_order.pop_front()
        {
            self.seen.remove(&old);
        }
        true
    }

    fn lid(&self, number: &str) -> &str {
        self.accounts.get(number).map_or("", |a| a.lid.as_str())
    }
}

impl Directory for Service {
    fn media(&mut self) -> &mut MediaStore {
        &mut self.media
    }

    fn refused_media_retry(&mut self, number: &str) -> Option<u16> {
        self.faults.refused_media_retry(number)
    }

    fn keeps_app_state_key(&mut self, number: &str) -> bool {
        self.faults.keeps_app_state_key(number)
    }

    fn forged_path(&mut self, number: &str, place: Place) -> Option<String> {
        self.faults.forged_path(number, place)
    }

    fn lid_of(&self, number: &str) -> Option<String> {
        self.accounts.get(number).map(|a| a.lid.clone())
    }

    fn number_of(&self, lid: &str) -> Option<String> {
        self.lids.get(lid).cloned()
    }

    fn username_of(&self, number: &str) -> Option<String> {
        self.username(number).map(str::to_owned)
    }

    fn devices(&self, number: &str) -> Vec<u16> {
        self.accounts
            .get(number)
            .map(|a| a.devices.keys().copied().collect())
            .unwrap_or_default()
    }

    fn take_bundle(&mut self, addr: &DeviceAddr) -> Option<Bundle> {
        self.bundle(addr)
    }

    fn name_of(&self, number: &str) -> Option<String> {
        self.accounts.get(number).map(|a| a.name.clone())
    }

    fn device_props(&self, number: &str, device: u16) -> Option<waproto::whatsapp::DeviceProps> {
        let device = self.accounts.get(number)?.devices.get(&device)?;
        waproto::whatsapp::DeviceProps::decode_from_slice(&device.props).ok()
    }

    fn group(&self, id: &str) -> Option<GroupView> {
        self.group_view(id)
    }
}

fn delivery_key(to: &DeviceAddr, id: &str) -> String {
    format!("{} {id}", label(to))
}

/// `number:device`, for logs and traces.
fn label(addr: &DeviceAddr) -> String {
    format!("{}:{}", addr.number, addr.device)
}

/// `<ib>` around one child: clients dispatch on the first.
fn ib(child: Node) -> Node {
    NodeBuilder::new("ib")
        .attr("from", node::server())
        .children([child])
        .build()
}

/// Unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Unix seconds.
pub fn now_secs() -> u64 {
    now_ms() / 1000
}
