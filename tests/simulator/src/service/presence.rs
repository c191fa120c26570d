//! Presence and chat states, which are not queued for offline devices.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{JidExt as _, Node};

use super::account::Account;
use super::login::Stage;
use super::node::{attr, jid_attr};
use super::{Form, PeopleError, Service, now_secs};
use crate::directory::DeviceAddr;

/// Subscribers to one person's presence.
const MAX_WATCHERS: usize = 1000;

impl Service {
    pub(super) fn presence(&mut self, from: &DeviceAddr, node: &Node) {
        match attr(node, "type").as_deref() {
            Some("subscribe") => self.subscribe(from, node),
            Some("unsubscribe") => {
                if let Some(number) = jid_attr(node, "to").and_then(|to| self.number_of_jid(&to))
                    && let Some(account) = self.accounts.get_mut(&number)
                {
                    account
                        .watched_by
                        .remove(&(from.number.clone(), from.device));
                }
            }
            kind => {
                if let Some(name) = attr(node, "name").filter(|name| !name.is_empty())
                    && let Some(account) = self.accounts.get_mut(&from.number)
                {
                    account.name = name;
                }
                match kind {
                    Some("available") => self.set_available(from, true),
                    Some("unavailable") => self.set_available(from, false),
                    _ => {}
                }
            }
        }
    }

    fn subscribe(&mut self, from: &DeviceAddr, node: &Node) {
        let Some(number) = jid_attr(node, "to").and_then(|to| self.number_of_jid(&to)) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&number) else {
            return;
        };
        if account.watched_by.len() < MAX_WATCHERS {
            account
                .watched_by
                .insert((from.number.clone(), from.device));
        }
        let available = self.is_available(&number);
        let stanza = self.presence_of(&number, available, &from.number);
        self.tell_available(from, stanza);
    }

    fn set_available(&mut self, from: &DeviceAddr, available: bool) {
        let Some(Stage::Online(session)) = self
            .online
            .get(from)
            .and_then(|conn| self.conns.get_mut(conn))
            .map(|open| &mut open.stage)
        else {
            return;
        };
        if std::mem::replace(&mut session.available, available) != available {
            self.announce_presence(from, available);
        }
    }

    /// Notifies the subscribers; a number is available while one of its devices is.
    pub(super) fn announce_presence(&mut self, from: &DeviceAddr, available: bool) {
        let available = available || self.is_available(&from.number);
        let watchers: Vec<DeviceAddr> = self
            .accounts
            .get(&from.number)
            .into_iter()
            .flat_map(|account| &account.watched_by)
            .map(|(number, device)| DeviceAddr {
                number: number.clone(),
                device: *device,
            })
            .collect();
        if let Some(account) = self.accounts.get_mut(&from.number) {
            account.last_seen = Some(now_secs());
        }
        for watcher in watchers {
            let stanza = self.presence_of(&from.number, available, &watcher.number);
            self.tell_available(&watcher, stanza);
        }
    }

    /// The person opens WhatsApp on the phone, or closes it.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`].
    pub fn use_phone(&mut self, number: &str, in_use: bool) -> Result<(), PeopleError> {
        let account = self.accounts.get_mut(number);
        let account = account.ok_or_else(|| PeopleError::Unknown(number.to_owned()))?;
        account.in_use = in_use;
        let phone = DeviceAddr {
            number: number.to_owned(),
            device: 0,
        };
        self.announce_presence(&phone, in_use);
        Ok(())
    }

    /// A message reaches a phone: WhatsApp lets the phone ring, unless a device of its account is available.
    pub(super) fn push_notification(&mut self, to: &DeviceAddr, node: &Node) {
        let sender = jid_attr(node, "participant").or_else(|| jid_attr(node, "from"));
        let own = sender.and_then(|jid| self.number_of_jid(&jid)) == Some(to.number.clone());
        if to.device != 0 || own || self.is_available(&to.number) {
            return;
        }
        if let Some(account) = self.accounts.get_mut(&to.number) {
            account.pushes += 1;
        }
    }

    pub(super) fn is_available(&self, number: &str) -> bool {
        let is_own = |addr: &&DeviceAddr| addr.number == number;
        self.accounts.get(number).is_some_and(|it| it.in_use)
            || self
                .online
                .keys()
                .filter(is_own)
                .any(|it| self.device_is_available(it))
    }

    /// The presence of a number as `watcher` sees it, by the privacy settings of both: people who hide when
    /// they were online last do not see it of others.
    fn presence_of(&self, number: &str, available: bool, watcher: &str) -> Node {
        let shows_last = self.shows(number, watcher, "last") && self.shows(watcher, number, "last");
        let is_blocked = |account: &Account| account.blocked.contains(watcher);
        let shows_online = shows_last
            || self.privacy_of(number, "online") != "match_last_seen"
                && !self.accounts.get(number).is_some_and(is_blocked);
        let builder = NodeBuilder::new("presence").attr("from", self.user_jid(number, Form::Pn));
        if available && shows_online {
            return builder.build();
        }
        let last = self
            .accounts
            .get(number)
            .and_then(|account| account.last_seen);
        let last = match last {
            _ if !shows_last => "deny".to_owned(),
            Some(seconds) => seconds.to_string(),
            None => "none".to_owned(),
        };
        builder
            .attr("type", "unavailable")
            .attr("last", last)
            .build()
    }

    fn privacy_of(&self, number: &str, category: &str) -> &str {
        let account = self.accounts.get(number);
        account
            .and_then(|account| account.privacy.get(category))
            .map_or("", String::as_str)
    }

    /// Notifies a phone, and linked devices whose presence is `available`: others get no chat states, and no presence of
    /// others (whatsmeow's `SubscribePresence`).
    pub(super) fn tell_available(&mut self, to: &DeviceAddr, stanza: Node) {
        if to.device == 0 || self.device_is_available(to) {
            self.tell(to, stanza);
        }
    }

    fn device_is_available(&self, addr: &DeviceAddr) -> bool {
        let open = self.online.get(addr).and_then(|conn| self.conns.get(conn));
        matches!(
            open.map(|open| &open.stage),
            Some(Stage::Online(session)) if session.available
        )
    }

    /// `<chatstate to><composing/></chatstate>`, for the devices of the other side. Those of linked devices that are
    /// not available are dropped.
    pub(super) fn chatstate(&mut self, from: &DeviceAddr, node: &Node) {
        if from.device != 0 && !self.device_is_available(from) {
            return;
        }
        let Some(to) = jid_attr(node, "to") else {
            return;
        };
        if to.is_group() {
            self.group_chatstate(from, node, &to);
            return;
        }
        let (Some(form), Some(number)) = (Form::of(&to), self.number_of_jid(&to)) else {
            return;
        };
        let stanza = NodeBuilder::new("chatstate")
            .attr("from", self.user_jid(&from.number, form))
            .apply_content(node.content.clone())
            .build();
        for device in self.all_devices(&number) {
            self.tell_available(&device, stanza.clone());
        }
    }
}
