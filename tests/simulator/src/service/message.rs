//! Messages: checked, acknowledged, and given to every device that the sender encrypted for.

use wacore::messages::MessageUtils;
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, JidExt as _, Node};

use super::node::{attr, bytes, jid_attr};
use super::{Form, Service, Timer, label, now_secs};
use crate::directory::DeviceAddr;

/// No such recipient.
pub(super) const NOT_FOUND: u16 = 404;
/// The stanza does not have the shape it must have; WhatsApp calls it `SmaxInvalid`.
pub(super) const INVALID: u16 = 479;

/// What a message stanza may be, by where it goes.
enum Route {
    /// To every device named in `<participants>`.
    FanOut(Vec<Target>),
    /// To the one device in `to`: peer messages and resends.
    One(Target),
}

/// One copy of a message.
struct Target {
    addr: DeviceAddr,
    /// As the sender named it.
    jid: Jid,
    encs: Vec<Node>,
}

impl Service {
    pub(super) fn message(&mut self, from: &DeviceAddr, node: &Node) {
        let to = jid_attr(node, "to").and_then(|to| self.number_of_jid(&to));
        let refusal = match from.device {
            0 => None,
            _ => self.faults.refusal(&from.number, to.as_deref()),
        };
        let begins = self.begins_chat(from, node);
        let limit = begins.then(|| self.limit(&from.number)).flatten();
        let outcome = match refusal.or(limit) {
            Some(code) => Err(code),
            None => self.accept(from, node),
        };
        if begins && outcome.is_ok() {
            self.count_chat(&from.number);
        }
        let (error, phash) = match outcome {
            Ok(phash) => (None, phash),
            Err(code) => (Some(code), None),
        };
        self.ack_message(from, node, error, phash);
    }

    /// Delivers a message; the hash of the right device list if the sender's was another.
    fn accept(&mut self, from: &DeviceAddr, node: &Node) -> Result<Option<String>, u16> {
        let id = attr(node, "id")
            .filter(|id| !id.is_empty())
            .ok_or(INVALID)?;
        let to = jid_attr(node, "to").ok_or(INVALID)?;
        if to.is_status_broadcast() {
            return self.accept_story(from, node, &id).map(|()| None);
        }
        let is_known = match to.is_group() {
            true => self.group(&to).is_some(),
            // There are no channels here.
            false => self.addr_of_jid(&to).is_some(),
        };
        if !is_known {
            return Err(NOT_FOUND);
        }
        if !names_its_media(node) {
            log::warn!("{}: media of an unnamed kind is dropped", label(from));
            return Ok(None);
        }
        if to.is_group() {
            return self.accept_group(from, node, &to);
        }
        let form = Form::of(&to).ok_or(NOT_FOUND)?;
        let recipient = self.addr_of_jid(&to).ok_or(NOT_FOUND)?;
        let route = self.route(from, node, &to, &recipient)?;
        self.check_identity(from, node, &route)?;
        self.acquaint(&from.number, &recipient.number);
        self.talk(&from.number, &recipient.number);

        let (targets, phash) = match route {
            Route::One(target) => (vec![target], None),
            Route::FanOut(targets) => {
                let phash = self.phash_mismatch(from, node, &recipient, form, &targets);
                (targets, phash)
            }
        };
        let deaf = self
            .accounts
            .get(&recipient.number)
            .is_some_and(|account| account.blocked.contains(&from.number));
        for target in targets {
            if target.addr == *from || (deaf && target.addr.number == recipient.number) {
                continue;
            }
            if self.device_mut(&target.addr).is_none() {
                continue;
            }
            let count = target.encs.iter().find_map(|enc| attr(enc, "count"));
            let once = copy_key(from, &id, &target.addr, count.as_deref());
            if self.first_time(once) || self.faults.delivers_repeats(&target.addr.number) {
                let copy = self.delivery(from, node, &to, form, &target);
                self.post_message(&target.addr, copy);
            }
        }
        Ok(phash)
    }

    fn route(
        &self,
        from: &DeviceAddr,
        node: &Node,
        to: &Jid,
        recipient: &DeviceAddr,
    ) -> Result<Route, u16> {
        let encs: Vec<Node> = node.get_children_by_tag("enc").cloned().collect();
        let peer = attr(node, "category").as_deref() == Some("peer");
        if peer && recipient.number != from.number {
            return Err(INVALID);
        }
        // A resend to one device may carry participants as well; the outer copy is the one.
        if !encs.is_empty() {
            return Ok(Route::One(Target {
                addr: recipient.clone(),
                jid: to.clone(),
                encs,
            }));
        }
        let participants = node.get_optional_child("participants").ok_or(INVALID)?;
        let mut targets: Vec<Target> = Vec::new();
        for entry in participants.get_children_by_tag("to") {
            let jid = jid_attr(entry, "jid").ok_or(INVALID)?;
            let addr = self.addr_of_jid(&jid).ok_or(INVALID)?;
            if addr.number != from.number && addr.number != recipient.number {
                return Err(INVALID);
            }
            let encs: Vec<Node> = entry.get_children_by_tag("enc").cloned().collect();
            if encs.is_empty() {
                return Err(INVALID);
            }
            if targets.iter().all(|t| t.addr != addr) {
                targets.push(Target { addr, jid, encs });
            }
        }
        if targets.is_empty() {
            return Err(INVALID);
        }
        Ok(Route::FanOut(targets))
    }

    /// A linked device that opens a session must include its device identity.
    fn check_identity(&self, from: &DeviceAddr, node: &Node, route: &Route) -> Result<(), u16> {
        let targets = match route {
            Route::FanOut(targets) => targets.as_slice(),
            Route::One(target) => std::slice::from_ref(target),
        };
        self.check_shown_identity(from, node, targets.iter().flat_map(|target| &target.encs))
    }

    /// The same for the pairwise copies of any message.
    pub(super) fn check_shown_identity<'a>(
        &self,
        from: &DeviceAddr,
        node: &Node,
        mut encs: impl Iterator<Item = &'a Node>,
    ) -> Result<(), u16> {
        let opens = encs.any(|enc| attr(enc, "type").as_deref() == Some("pkmsg"));
        if !opens || from.device == 0 {
            return Ok(());
        }
        let shown = node
            .get_optional_child("device-identity")
            .and_then(bytes)
            .and_then(|b| waproto::codec::adv_signed_device_identity_decode(b).ok())
            .ok_or(INVALID)?;
        let known = self
            .accounts
            .get(&from.number)
            .and_then(|account| account.devices.get(&from.device))
            .and_then(|d| waproto::codec::adv_signed_device_identity_decode(&d.identity).ok())
            .ok_or(INVALID)?;
        let same = shown.details == known.details
            && shown.account_signature == known.account_signature
            && shown.device_signature == known.device_signature;
        if same { Ok(()) } else { Err(INVALID) }
    }

    /// Compares the devices that the sender encrypted for with those there are. The hash is over
    /// the recipient's devices and the sender's other ones, in the form in which the sender names
    /// each of the two.
    fn phash_mismatch(
        &self,
        from: &DeviceAddr,
        node: &Node,
        recipient: &DeviceAddr,
        form: Form,
        targets: &[Target],
    ) -> Option<String> {
        let form_for = |number: &str| {
            targets
                .iter()
                .find(|target| target.addr.number == number)
                .and_then(|target| Form::of(&target.jid))
                .unwrap_or(form)
        };
        let mut numbers = vec![&recipient.number];
        if recipient.number != from.number {
            numbers.push(&from.number);
        }
        let mut right: Vec<Jid> = Vec::new();
        for number in numbers {
            let form = form_for(number);
            let devices = self.accounts.get(number)?.devices.keys();
            right.extend(
                devices
                    .map(|id| DeviceAddr {
                        number: number.clone(),
                        device: *id,
                    })
                    .filter(|addr| addr != from)
                    .map(|addr| self.device_jid(&addr, form)),
            );
        }
        let right = MessageUtils::participant_list_hash(&right).ok()?;
        let named = match attr(node, "phash") {
            Some(phash) => phash,
            None => {
                let jids = targets.iter().filter(|t| t.addr != *from).map(|t| &t.jid);
                MessageUtils::participant_list_hash(jids).ok()?
            }
        };
        (named != right).then_some(right)
    }

    /// The stanza that one device gets.
    fn delivery(
        &self,
        from: &DeviceAddr,
        node: &Node,
        to: &Jid,
        form: Form,
        target: &Target,
    ) -> Node {
        let own = target.addr.number == from.number;
        let hidden = !own && self.hides_number(&from.number);
        let form = if own {
            Form::of(&target.jid).unwrap_or(form)
        } else if hidden {
            Form::Lid
        } else {
            form
        };
        let mut builder = NodeBuilder::new("message")
            .attr("from", self.device_jid(from, form))
            .attr("id", attr(node, "id").unwrap_or_default())
            .attr("t", now_secs());
        for key in ["type", "category", "edit"] {
            if let Some(value) = attr(node, key) {
                builder = builder.attr(key, value);
            }
        }
        let name = self.accounts.get(&from.number).map(|a| a.name.clone());
        builder = builder.attr("notify", name.unwrap_or_default());
        let peer = attr(node, "category").as_deref() == Some("peer");
        if own && !peer {
            let alternative = match Form::of(to) {
                Some(Form::Lid) => "peer_recipient_pn",
                _ => "peer_recipient_lid",
            };
            builder = builder.attr("recipient", to.to_non_ad());
            if let (Some(form), Some(number)) = (Form::of(to), self.number_of_jid(to)) {
                if form == Form::Pn || !self.hides_number(&number) {
                    builder = builder.attr(alternative, self.user_jid(&number, form.other()));
                }
                if let Some(name) = self.username(&number) {
                    builder = builder.attr("peer_recipient_username", name);
                }
            }
        } else if !own {
            if let Some(name) = self.username(&from.number) {
                builder = builder.attr("username", name);
            }
            let alternative = match form {
                Form::Lid => "sender_pn",
                Form::Pn => "sender_lid",
            };
            builder = builder.attr("addressing_mode", form.as_str());
            if !hidden {
                builder = builder.attr(alternative, self.user_jid(&from.number, form.other()));
            }
        }
        let mut children = match is_withheld(node, &target.addr) {
            true => withheld_for(node),
            false => target.encs.clone(),
        };
        let opens = children
            .iter()
            .any(|enc| attr(enc, "type").as_deref() == Some("pkmsg"));
        for child in node.children().unwrap_or_default() {
            match &*child.tag {
                // These are for the service, or are in `encs` already.
                "enc" | "participants" | "tctoken" | "cstoken" => {}
                "device-identity" if !opens => {}
                // The phone has the message itself.
                "unavailable" if target.addr.device == 0 => {}
                _ => children.push(child.clone()),
            }
        }
        builder.children(children).build()
    }

    fn ack_message(
        &mut self,
        from: &DeviceAddr,
        node: &Node,
        error: Option<u16>,
        phash: Option<String>,
    ) {
        if from.device != 0 && self.faults.ack_withheld(&from.number) {
            return;
        }
        let mut builder = NodeBuilder::new("ack")
            .attr("class", "message")
            .attr("id", attr(node, "id").unwrap_or_default())
            .attr("t", now_secs());
        if let Some(to) = node.attrs.get("to") {
            builder = builder.attr("from", to.clone());
        }
        if let Some(code) = error {
            builder = builder.attr("error", code);
        }
        if let Some(phash) = phash {
            builder = builder.attr("phash", phash);
        }
        let ack = builder.build();
        let delay = (from.device != 0)
            .then(|| self.faults.ack_delay(&from.number))
            .flatten();
        match (delay, self.online.get(from)) {
            (Some(wait), Some(&conn)) => self.later(wait, Timer::Send(conn, ack)),
            _ => self.tell(from, ack),
        }
    }

    /// `by` asked for a message once more: the next copy for it is no repetition, also from a sender
    /// that does not number its attempts (Baileys, when it is a phone that asks).
    pub(super) fn expect_again(&mut self, from: &DeviceAddr, id: &str, by: &DeviceAddr) {
        self.seen.remove(&copy_key(from, id, by, None));
    }

    /// Two people who exchange messages are notified of each other's devices from then on.
    pub(super) fn acquaint(&mut self, one: &str, other: &str) {
        if let Some(account) = self.accounts.get_mut(one) {
            account.known_by.insert(other.to_owned());
        }
        if let Some(account) = self.accounts.get_mut(other) {
            account.known_by.insert(one.to_owned());
        }
    }
}

/// How the copy of a message for one device is remembered. A resend carries the number of the attempt.
pub(super) fn copy_key(
    from: &DeviceAddr,
    id: &str,
    to: &DeviceAddr,
    count: Option<&str>,
) -> String {
    let count = count.unwrap_or_default();
    format!("{}|{id}|{}|{count}", label(from), label(to))
}

/// Whether a device gets an empty copy of a message: `<unavailable/>` instead of the ciphertext. Linked devices get
/// view-once messages so, which their sender marks in `<meta>`.
pub(super) fn is_withheld(node: &Node, from: &DeviceAddr) -> bool {
    from.device != 0 && (node.get_optional_child("unavailable").is_some() || is_view_once(node))
}

fn is_view_once(node: &Node) -> bool {
    let meta = node.get_optional_child("meta");
    meta.is_some_and(|meta| attr(meta, "view_once").as_deref() == Some("true"))
}

/// What a withheld copy has that the sender's stanza has not.
pub(super) fn withheld_for(node: &Node) -> Vec<Node> {
    let mark = NodeBuilder::new("unavailable").attr("type", "view_once");
    let lacks = is_view_once(node) && node.get_optional_child("unavailable").is_none();
    lacks.then(|| mark.build()).into_iter().collect()
}

/// Media whose `<enc>` has no media type: WhatsApp accepts it and does not deliver it.
fn names_its_media(node: &Node) -> bool {
    if attr(node, "type").as_deref() != Some("media") {
        return true;
    }
    let named = |parent: &Node| {
        parent
            .get_children_by_tag("enc")
            .any(|enc| enc.attrs.get("mediatype").is_some())
    };
    let participants = node.get_optional_child("participants");
    named(node)
        || participants
            .into_iter()
            .flat_map(|list| list.get_children_by_tag("to"))
            .any(named)
}
