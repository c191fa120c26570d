//! Numbers: made when first needed, linked, unlinked, cut off from the network.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wacore_binary::{Jid, Node};

use super::account::{Account, DeviceKeys};
use super::{Form, GroupError, Service, now_ms, now_secs};
use crate::directory::{Bundle, DeviceAddr};
use crate::phone::{Action, Outgoing, Phone, PhoneError};

/// Numbers that one simulator holds.
const MAX_ACCOUNTS: usize = 20_000;

/// Why an admin request about people was refused.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// Not 7 to 15 digits.
    #[error("{0:?} is no phone number: 7 to 15 digits, without + or spaces")]
    BadNumber(String),
    /// The simulator is full.
    #[error("there are {MAX_ACCOUNTS} numbers already")]
    Full,
    /// The number is unknown.
    #[error("nobody has the number {0}")]
    Unknown(String),
    /// WhatsApp has no such usernames.
    #[error("{0:?} is no username: 3 to 35 letters, digits, _ and .")]
    BadUsername(String),
    /// Another person has it.
    #[error("the username {0:?} is taken")]
    UsernameTaken(String),
    /// The number has no such linked device.
    #[error("{0} has no linked device {1}")]
    NoDevice(String, u16),
    /// About a group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The phone refused.
    #[error(transparent)]
    Phone(#[from] PhoneError),
}

impl Service {
    /// Creates a number, or changes its name; `Ok(true)` if it is new.
    ///
    /// # Errors
    /// [`PeopleError::BadNumber`], [`PeopleError::Full`].
    pub fn ensure_account(
        &mut self,
        number: &str,
        name: Option<&str>,
    ) -> Result<bool, PeopleError> {
        if !(7..=15).contains(&number.len()) || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PeopleError::BadNumber(number.to_owned()));
        }
        if let Some(account) = self.accounts.get_mut(number) {
            if let Some(name) = name {
                account.name = name.to_owned();
            }
            return Ok(false);
        }
        if self.accounts.len() >= MAX_ACCOUNTS {
            return Err(PeopleError::Full);
        }
        let name = name.map_or_else(|| format!("Person {number}"), str::to_owned);
        let lid = self.lid_for(number);
        let phone = Phone::new(number, &lid, &name, self.seed, now_ms());
        self.phones.insert(number.to_owned(), Some(phone));
        self.accounts
            .insert(number.to_owned(), Account::new(&lid, &name, now_secs()));
        self.lids.insert(lid, number.to_owned());
        Ok(true)
    }

    /// A unique LID of 15 digits for the number.
    fn lid_for(&self, number: &str) -> String {
        let mut round = 0u32;
        loop {
            let lid = digits(
                &[b"lid", number.as_bytes(), &round.to_be_bytes()],
                100_000_000_000_000,
            );
            let lid = format!("1{lid:014}");
            if !self.lids.contains_key(&lid) {
                return lid;
            }
            round += 1;
        }
    }

    /// Everyone, by number.
    pub fn accounts(&self) -> impl Iterator<Item = (&String, &Account)> {
        self.accounts.iter()
    }

    /// A number's phone, to look at.
    pub fn phone(&self, number: &str) -> Option<&Phone> {
        self.phones.get(number)?.as_ref()
    }

    /// Whether a linked device of this number is logged in.
    pub fn has_session(&self, number: &str) -> bool {
        self.online.keys().any(|addr| addr.number == number)
    }

    /// Whether stanzas of a group that goes by `form` name the number beside the person's JID.
    pub(super) fn number_goes_along(&self, form: Form, number: &str) -> bool {
        form == Form::Lid && !self.hides_number(number)
    }

    /// Whether others see only this number's LID.
    pub(super) fn hides_number(&self, number: &str) -> bool {
        self.accounts
            .get(number)
            .is_some_and(|account| account.hidden)
    }

    /// Hides a number from others, or shows it.
    pub fn hide_number(&mut self, number: &str, hidden: bool) {
        if let Some(account) = self.accounts.get_mut(number) {
            account.hidden = hidden;
        }
    }

    /// Lets everyone add a number to groups, or its contacts alone; the service knows no contacts, so that is no one.
    pub fn refuse_groups(&mut self, number: &str, refuses: bool) {
        if let Some(account) = self.accounts.get_mut(number) {
            let choice = if refuses { "contacts" } else { "all" };
            account
                .privacy
                .insert("groupadd".to_owned(), choice.to_owned());
        }
    }

    /// What the person does on the phone, as all devices of the account learn it by app state.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`], or what the phone says.
    pub fn phone_acts(
        &mut self,
        number: &str,
        act: impl FnOnce(&mut Phone, &mut Service) -> Result<Vec<Action>, PhoneError>,
    ) -> Result<(), PeopleError> {
        let actions = self
            .with_phone(number, act)
            .ok_or_else(|| PeopleError::Unknown(number.to_owned()))??;
        self.publish(number, actions);
        Ok(())
    }

    /// A number and its devices, for `GET /admin/phones`.
    pub fn person_json(&self, number: &str) -> Option<Value> {
        let account = self.accounts.get(number)?;
        let devices: Vec<Value> = account
            .devices
            .iter()
            .map(|(id, device)| {
                let addr = DeviceAddr {
                    number: number.to_owned(),
                    device: *id,
                };
                json!({
                    "device": id,
                    "online": *id == 0 && account.reachable || self.online.contains_key(&addr),
                    "queued": device.outbox.len(),
                    "prekeys": device.keys.as_ref().map(DeviceKeys::left),
                })
            })
            .collect();
        Some(json!({
            "number": number,
            "jid": self.user_jid(number, Form::Pn).to_string(),
            "lid": self.user_jid(number, Form::Lid).to_string(),
            "name": account.name,
            "username": self.username(number),
            "about": account.about,
            "picture": account.picture.as_ref().map(|it| json!({"id": it.id, "size": it.bytes.len()})),
            "privacy": account.privacy,
            "blocked": account.blocked,
            "defaultTimer": account.default_timer.0,
            "reachable": account.reachable,
            "available": self.is_available(number),
            "pushes": account.pushes,
            "retries": account.retries,
            "lateRetries": account.late_retries,
            "passkeyCode": self.phone(number).and_then(Phone::passkey_code),
            "devices": devices,
        }))
    }

    /// How many of `from`'s messages the linked devices of `to` (a number or JID) have not acknowledged.
    pub fn unacknowledged(&self, to: &str, from: &str) -> usize {
        let jid: Option<Jid> = to.parse().ok();
        if let Some(group) = jid.as_ref().and_then(|jid| self.group(jid)) {
            return self.unacknowledged_in(group);
        }
        let number = jid.and_then(|jid| self.number_of_jid(&jid));
        let number = number.unwrap_or_else(|| to.to_owned());
        self.accounts
            .get(&number)
            .into_iter()
            .flat_map(|account| &account.devices)
            .filter(|(id, _)| **id != 0)
            .map(|(_, device)| device.outbox.messages_from(from))
            .max()
            .unwrap_or(0)
    }

    /// The person sends something; the message's id.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`], or what the phone says.
    pub fn phone_send(&mut self, number: &str, mut out: Outgoing) -> Result<String, PeopleError> {
        // People with a hidden number write under the LID, and can only be answered there.
        if self.hides_number(number)
            && let Ok(to) = crate::phone::parse_chat(&out.to)
            && let Some(known) = self.number_of_jid(&to)
        {
            out.to = self.user_jid(&known, Form::Lid).to_string();
        }
        let (id, stanzas) = self
            .with_phone(number, |phone, service| phone.send(out, service, now_ms()))
            .ok_or_else(|| PeopleError::Unknown(number.to_owned()))??;
        self.phone_sends(number, stanzas);
        Ok(id)
    }

    /// The person does something else with the phone that makes it send stanzas.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`], or what the phone says.
    pub fn phone_does(
        &mut self,
        number: &str,
        act: impl FnOnce(&mut Phone, &mut Service) -> Result<Vec<Node>, PhoneError>,
    ) -> Result<(), PeopleError> {
        let stanzas = self
            .with_phone(number, act)
            .ok_or_else(|| PeopleError::Unknown(number.to_owned()))??;
        self.phone_sends(number, stanzas);
        Ok(())
    }

    /// "Log out" on the phone: one linked device, or all. How many there were.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`], [`PeopleError::NoDevice`].
    pub fn unlink(&mut self, number: &str, device: Option<u16>) -> Result<usize, PeopleError> {
        let account = self
            .accounts
            .get(number)
            .ok_or_else(|| PeopleError::Unknown(number.to_owned()))?;
        let devices: Vec<u16> = match device {
            Some(0) => return Err(PeopleError::NoDevice(number.to_owned(), 0)),
            Some(id) if !account.devices.contains_key(&id) => {
                return Err(PeopleError::NoDevice(number.to_owned(), id));
            }
            Some(id) => vec![id],
            None => account
                .devices
                .keys()
                .copied()
                .filter(|id| *id != 0)
                .collect(),
        };
        for id in &devices {
            self.remove_device(&DeviceAddr {
                number: number.to_owned(),
                device: *id,
            });
        }
        Ok(devices.len())
    }

    /// Removes a linked device, and notifies it and all contacts of the number.
    pub(super) fn remove_device(&mut self, addr: &DeviceAddr) {
        if let Some(&conn) = self.online.get(addr) {
            self.stream_error(conn, 401);
        }
        self.with_phone(&addr.number, |phone, _| {
            phone.remove_device(addr.device, now_ms());
        });
        let removed = self
            .accounts
            .get_mut(&addr.number)
            .and_then(|account| account.devices.remove(&addr.device));
        if removed.is_some() {
            self.announce_devices(addr, false);
        }
    }

    /// The number's devices lose the network, or get it back.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`].
    pub fn set_reachable(&mut self, number: &str, reachable: bool) -> Result<(), PeopleError> {
        let account = self
            .accounts
            .get_mut(number)
            .ok_or_else(|| PeopleError::Unknown(number.to_owned()))?;
        account.reachable = reachable;
        if reachable {
            self.deliver_to_phone(number);
            return Ok(());
        }
        let gone: Vec<_> = self
            .online
            .iter()
            .filter(|(addr, _)| addr.number == number)
            .map(|(_, conn)| *conn)
            .collect();
        for conn in gone {
            self.end(conn);
        }
        Ok(())
    }

    /// A device's key bundle, with a one-time prekey that is now gone.
    pub(super) fn bundle(&mut self, addr: &DeviceAddr) -> Option<Bundle> {
        if addr.device == 0 {
            return self
                .phones
                .get_mut(&addr.number)?
                .as_mut()
                .map(Phone::take_bundle);
        }
        let device = self.device_mut(addr)?;
        let identity = device.identity.clone();
        let keys = device.keys.as_mut()?;
        let had_one_time = keys.left() > 0;
        let bundle = keys.take_bundle(&identity);
        if had_one_time {
            self.warn_of_low_prekeys(addr);
        }
        Some(bundle)
    }
}

/// The number of a person with a push name only; without one, from the Noise key.
pub(super) fn number_for(push_name: &str, noise_key: &[u8; 32]) -> String {
    let seed: &[u8] = if push_name.is_empty() {
        noise_key
    } else {
        push_name.as_bytes()
    };
    // +1 555 with seven digits: numbers that are not assigned.
    format!("1555{:07}", digits(&[b"number", seed], 10_000_000))
}

pub(super) fn digits(parts: &[&[u8]], below: u64) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let hash = hash.finalize();
    let mut first = [0u8; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first) % below
}
