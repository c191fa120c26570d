//! What WhatsApp says of writing to new contacts: the "reach-out time lock", and the cap of new chats.
//! It answers when it is asked, over its GraphQL transport (`w:mex`), and pushes changes in
//! notifications of that transport (whatsmeow#1197, Baileys#2445, waha#2186). Its answers are read
//! leniently: numbers come as JSON numbers and as strings.

use std::time::Duration;

use serde_json::{Value, json};
use whatsapp_rust::wacore::iq::mex_operations::{
    fetch_new_chat_message_capping_info, fetch_reachout_timelock,
};
use whatsapp_rust::{Client, MexRequest};

use crate::clock::Millis;
use crate::sync::within;

/// How long WhatsApp may take to say how a limit stands: a caller waits for it.
const PATIENCE: Duration = Duration::from_secs(4);
/// Characters of WhatsApp's own word for a restriction that are kept.
const MAX_KIND: usize = 64;
/// No restriction is believed that ends later, in Unix seconds (2100-01-01).
const LATEST: u64 = 4_102_444_800;

/// One of WhatsApp's limits on writing to new contacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The reach-out time lock, whose refusal is 463.
    Lock,
    /// The cap of new chats, whose refusal is 475.
    Cap,
}

/// How a limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// New contacts may be written to.
    Free,
    /// Not before `until`, or for a while if WhatsApp names no end; `kind` is its own word for it.
    Until {
        until: Option<Millis>,
        kind: Option<String>,
    },
}

/// What WhatsApp has said of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitStatus {
    pub limit: Limit,
    pub answer: Answer,
}

/// Asks WhatsApp how a limit stands; `None` if it does not say. No message goes to any person for it.
pub async fn ask(client: &Client, limit: Limit) -> Option<LimitStatus> {
    let mex = client.mex();
    match within(PATIENCE, mex.query(request(limit))).await {
        Some(Ok(response)) => return answered(limit, response.data.as_ref()?),
        Some(Err(error)) => log::debug!("how a limit stands is not known: {error}"),
        None => log::debug!("how a limit stands is not known: no answer in time"),
    }
    None
}

fn request(limit: Limit) -> MexRequest<Value> {
    match limit {
        Limit::Lock => MexRequest::new(
            fetch_reachout_timelock::NAME,
            fetch_reachout_timelock::DOC_ID,
            json!({}),
        ),
        Limit::Cap => MexRequest::new(
            fetch_new_chat_message_capping_info::NAME,
            fetch_new_chat_message_capping_info::DOC_ID,
            // As WhatsApp Web asks it.
            json!({"input": {"type": "INDIVIDUAL_NEW_CHAT_THREAD"}}),
        ),
    }
}

/// What the answer to [`request`] says.
fn answered(limit: Limit, data: &Value) -> Option<LimitStatus> {
    let answer = match limit {
        Limit::Lock => lock(data.get("xwa2_fetch_account_reachout_timelock")?)?,
        Limit::Cap => cap(data.get("xwa2_message_capping_info")?)?,
    };
    Some(LimitStatus { limit, answer })
}

/// What a notification says that WhatsApp has pushed, if it is about a limit.
pub fn pushed(operation: &str, payload: &Value) -> Option<LimitStatus> {
    let data = payload.get("data")?;
    let (limit, answer) = match operation {
        "NotificationUserReachoutTimelockUpdate" => {
            let status = data.get("xwa2_notify_account_reachout_timelock")?;
            (Limit::Lock, lock(status)?)
        }
        "MessageCappingInfoNotification" => {
            let status = data.get("xwa2_notify_new_chat_messages_capping_info_update")?;
            (Limit::Cap, cap(status)?)
        }
        _ => return None,
    };
    Some(LimitStatus { limit, answer })
}

fn lock(status: &Value) -> Option<Answer> {
    Some(match status.get("is_active")?.as_bool()? {
        false => Answer::Free,
        true => Answer::Until {
            until: moment(status.get("time_enforcement_ends")),
            kind: kind(status.get("enforcement_type")),
        },
    })
}

fn cap(status: &Value) -> Option<Answer> {
    Some(match status.get("capping_status")?.as_str()? {
        "CAPPED" => Answer::Until {
            until: moment(status.get("cycle_end_timestamp")),
            kind: kind(status.get("capping_status")),
        },
        // None, or a warning that it comes near.
        _ => Answer::Free,
    })
}

/// Unix seconds, as a number or in a string; 0 is none.
fn moment(value: Option<&Value>) -> Option<Millis> {
    let seconds = match value? {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    (1..=LATEST).contains(&seconds).then(|| seconds * 1_000)
}

/// One of WhatsApp's words in capitals.
fn kind(value: Option<&Value>) -> Option<String> {
    let word = value?.as_str()?;
    let is_word = word.len() <= MAX_KIND
        && !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_word.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(seconds: Option<u64>, word: &str) -> Answer {
        Answer::Until {
            until: seconds.map(|it| it * 1_000),
            kind: Some(word.to_owned()).filter(|word| !word.is_empty()),
        }
    }

    #[test]
    fn locks_are_read_from_answers_and_from_what_is_pushed() {
        let lock = json!({"is_active": true, "time_enforcement_ends": "1788414761",
            "enforcement_type": "RESTRICT_ALL_COMPANIONS"});
        let status = LimitStatus {
            limit: Limit::Lock,
            answer: until(Some(1_788_414_761), "RESTRICT_ALL_COMPANIONS"),
        };
        let data = json!({"xwa2_fetch_account_reachout_timelock": lock});
        assert_eq!(answered(Limit::Lock, &data), Some(status.clone()));
        let push = json!({"data": {"xwa2_notify_account_reachout_timelock": lock}});
        let operation = "NotificationUserReachoutTimelockUpdate";
        assert_eq!(pushed(operation, &push), Some(status));
        assert_eq!(pushed("UsernameSetNotification", &push), None);
        for (lock, answer) in [
            (
                json!({"is_active": false, "time_enforcement_ends": "1788414761"}),
                Some(Answer::Free),
            ),
            (json!({"is_active": true}), Some(until(None, ""))),
            (
                json!({"is_active": true, "time_enforcement_ends": 1_788_414_761}),
                Some(until(Some(1_788_414_761), "")),
            ),
            (
                json!({"is_active": true, "time_enforcement_ends": "0"}),
                Some(until(None, "")),
            ),
            (
                json!({"is_active": true, "time_enforcement_ends": "soon"}),
                Some(until(None, "")),
            ),
            (
                json!({"is_active": true, "time_enforcement_ends": u64::MAX}),
                Some(until(None, "")),
            ),
            (
                json!({"is_active": true, "enforcement_type": "a\nb"}),
                Some(until(None, "")),
            ),
            (json!({"is_active": "yes"}), None),
            (json!(null), None),
        ] {
            let push = json!({"data": {"xwa2_notify_account_reachout_timelock": lock}});
            assert_eq!(
                pushed(operation, &push).map(|status| status.answer),
                answer,
                "{lock}"
            );
        }
        assert_eq!(answered(Limit::Lock, &json!({})), None);
    }

    #[test]
    fn a_cap_counts_once_it_is_reached() {
        let cap = |status: &str| {
            json!({"capping_status": status, "total_quota": "50", "used_quota": 50,
                "cycle_end_timestamp": "1779604800"})
        };
        let reached = Some(LimitStatus {
            limit: Limit::Cap,
            answer: until(Some(1_779_604_800), "CAPPED"),
        });
        let push = |status| json!({"data": {"xwa2_notify_new_chat_messages_capping_info_update": cap(status)}});
        let operation = "MessageCappingInfoNotification";
        assert_eq!(pushed(operation, &push("CAPPED")), reached);
        let data = json!({"xwa2_message_capping_info": cap("CAPPED")});
        assert_eq!(answered(Limit::Cap, &data), reached);
        for status in ["NONE", "FIRST_WARNING", "SECOND_WARNING"] {
            let status = pushed(operation, &push(status)).map(|status| status.answer);
            assert_eq!(status, Some(Answer::Free));
        }
    }
}
