//! WhatsApp's limits on writing to new contacts: the "reach-out time lock" and the cap of new chats.
//!
//! While one holds, messages of a linked device to people with whom its number has exchanged none are
//! refused (463, 475), unless the recipient's token comes with them: that is how WhatsApp distinguishes chats
//! that exist (whatsmeow#1197, Baileys#2441, Baileys#2445). A client learns of it in two ways: by asking
//! (`w:mex`, two persisted queries), and by a notification when it changes.

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wacore::iq::mex_operations::{fetch_new_chat_message_capping_info, fetch_reachout_timelock};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::{JidExt as _, Node};

use super::node::{self, attr, bytes, jid_attr, server};
use super::{PeopleError, Service, now_secs};
use crate::directory::DeviceAddr;

/// The refusal of a locked account, and of one that has begun too many chats.
const LOCKED: u16 = 463;
const CAPPED: u16 = 475;

/// The limits of a number.
#[derive(Debug, Default)]
pub struct Limits {
    lock: Option<Lock>,
    cap: Option<Cap>,
}

#[derive(Debug)]
struct Lock {
    /// Unix seconds; `None`: WhatsApp does not say.
    ends: Option<u64>,
    kind: String,
}

#[derive(Debug)]
struct Cap {
    total: u32,
    used: u32,
    /// Unix seconds.
    ends: u64,
}

/// `POST /admin/phones/:number/limits`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsRequest {
    /// Locks the account.
    lock: Option<LockRequest>,
    /// Caps its new chats.
    cap: Option<CapRequest>,
    /// Lifts the limit of that name.
    lift: Option<Lift>,
    /// Whether the linked devices are notified.
    #[serde(default)]
    push: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockRequest {
    /// Its duration; without it no end is sent, and it holds until it is lifted.
    seconds: Option<u64>,
    /// `WEB_COMPANION_ONLY` if absent.
    r#type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CapRequest {
    /// New chats that may be begun.
    total: u32,
    /// How many were.
    #[serde(default)]
    used: u32,
    /// When the count restarts.
    seconds: u64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lift {
    Lock,
    Cap,
}

impl Limits {
    fn locked(&self, now: u64) -> Option<&Lock> {
        let lock = self.lock.as_ref()?;
        lock.ends.is_none_or(|ends| ends > now).then_some(lock)
    }

    fn lock_json(&self, now: u64) -> Value {
        match self.locked(now) {
            Some(lock) => json!({
                "is_active": true,
                "enforcement_type": lock.kind,
                "time_enforcement_ends": lock.ends.map(|ends| ends.to_string()),
            }),
            None => json!({"is_active": false, "enforcement_type": "DEFAULT"}),
        }
    }

    fn cap_json(&self, now: u64) -> Value {
        match self.cap.as_ref().filter(|cap| cap.ends > now) {
            Some(cap) => json!({
                "capping_status": if cap.used >= cap.total { "CAPPED" } else { "NONE" },
                "total_quota": cap.total.to_string(),
                "used_quota": cap.used.to_string(),
                "cycle_end_timestamp": cap.ends.to_string(),
                "server_sent_timestamp": now.to_string(),
            }),
            None => json!({"capping_status": "NONE", "total_quota": "-1"}),
        }
    }
}

/// The token by which `holder` shows that `issuer` trusts him.
pub fn token_of(issuer: &str, holder: &str) -> [u8; 16] {
    let secret = Sha256::digest(format!("{issuer}|{holder}"));
    let mut token = [0; 16];
    token.copy_from_slice(&secret[..16]);
    token
}

impl Service {
    /// Changes a number's limits, and notifies its linked devices if requested.
    ///
    /// # Errors
    /// [`PeopleError::Unknown`].
    pub fn set_limits(&mut self, number: &str, request: &LimitsRequest) -> Result<(), PeopleError> {
        let now = now_secs();
        let account = self
            .accounts
            .get_mut(number)
            .ok_or_else(|| PeopleError::Unknown(number.to_owned()))?;
        let limits = &mut account.limits;
        if let Some(lock) = &request.lock {
            limits.lock = Some(Lock {
                ends: lock.seconds.map(|seconds| now + seconds),
                kind: lock
                    .r#type
                    .clone()
                    .unwrap_or_else(|| "WEB_COMPANION_ONLY".to_owned()),
            });
        }
        if let Some(cap) = &request.cap {
            limits.cap = Some(Cap {
                total: cap.total,
                used: cap.used,
                ends: now + cap.seconds,
            });
        }
        match request.lift {
            Some(Lift::Lock) => limits.lock = None,
            Some(Lift::Cap) => limits.cap = None,
            None => {}
        }
        if !request.push {
            return Ok(());
        }
        let is_lock = request.lock.is_some() || matches!(request.lift, Some(Lift::Lock));
        let (operation, field, told) = match is_lock {
            true => (
                "NotificationUserReachoutTimelockUpdate",
                "xwa2_notify_account_reachout_timelock",
                limits.lock_json(now),
            ),
            false => (
                "MessageCappingInfoNotification",
                "xwa2_notify_new_chat_messages_capping_info_update",
                limits.cap_json(now),
            ),
        };
        let payload = json!({"data": {field: told}}).to_string();
        let update = NodeBuilder::new("update")
            .attr("op_name", operation)
            .bytes(payload.into_bytes())
            .build();
        let node = NodeBuilder::new("notification")
            .attr("from", server())
            .attr("type", "mex")
            .attr("id", self.next_id())
            .attr("t", now)
            .children([update])
            .build();
        self.notify_account(number, &node);
        Ok(())
    }

    /// Whether a message begins a chat with a person, in WhatsApp's eyes.
    pub(super) fn begins_chat(&self, from: &DeviceAddr, message: &Node) -> bool {
        let Some(to) = jid_attr(message, "to").filter(|to| !to.is_group()) else {
            return false;
        };
        let Some(number) = self.number_of_jid(&to) else {
            return false;
        };
        let has_written = self
            .accounts
            .get(&from.number)
            .is_some_and(|account| account.chats_with.contains(&number));
        let token = message.get_optional_child("tctoken").and_then(bytes);
        let is_trusted = token.is_some_and(|token| token == token_of(&number, &from.number));
        from.device != 0 && number != from.number && !has_written && !is_trusted
    }

    /// The refusal of a message that begins a chat, if a limit holds.
    pub(super) fn limit(&self, number: &str) -> Option<u16> {
        let (limits, now) = (&self.accounts.get(number)?.limits, now_secs());
        if limits.locked(now).is_some() {
            return Some(LOCKED);
        }
        let cap = limits.cap.as_ref().filter(|cap| cap.ends > now)?;
        (cap.used >= cap.total).then_some(CAPPED)
    }

    /// One chat more was begun.
    pub(super) fn count_chat(&mut self, number: &str) {
        if let Some(account) = self.accounts.get_mut(number)
            && let Some(cap) = &mut account.limits.cap
        {
            cap.used += 1;
        }
    }

    /// Two people have exchanged a message.
    pub(super) fn talk(&mut self, one: &str, other: &str) {
        for (this, that) in [(one, other), (other, one)] {
            if let Some(account) = self.accounts.get_mut(this) {
                account.chats_with.insert(that.to_owned());
            }
        }
    }

    /// A persisted GraphQL query.
    pub(super) fn mex(&mut self, from: &DeviceAddr, iq: &Node) -> Node {
        if let Some(code) = self.faults.refused_query(&from.number) {
            return node::error(iq, code, "internal-server-error");
        }
        let query = iq.get_optional_child("query");
        let id = query.and_then(|query| attr(query, "query_id"));
        let (Some(id), Some(account)) = (id, self.accounts.get(&from.number)) else {
            return node::error(iq, 400, "bad-request");
        };
        let now = now_secs();
        let answer = match id.as_str() {
            fetch_reachout_timelock::DOC_ID => {
                json!({"data": {"xwa2_fetch_account_reachout_timelock": account.limits.lock_json(now)}})
            }
            fetch_new_chat_message_capping_info::DOC_ID => {
                json!({"data": {"xwa2_message_capping_info": account.limits.cap_json(now)}})
            }
            _ => json!({"data": null, "errors": [{
                "message": "persisted query not found",
                "extensions": {"error_code": 400, "is_summary": true, "severity": "CRITICAL"},
            }]}),
        };
        let result = NodeBuilder::new("result")
            .bytes(answer.to_string().into_bytes())
            .build();
        node::result(iq).children([result]).build()
    }
}
