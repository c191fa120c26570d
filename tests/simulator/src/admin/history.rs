//! What a phone has from before it was linked, and what its owner does that all of his devices learn.

use serde::Deserialize;
use serde_json::json;

use super::{AdminError, Answer};
use crate::net::Hub;
use crate::phone::PhoneError;
use crate::service::{PastRequest, PeopleError, now_ms};

/// Contacts in one request.
const MAX_CONTACTS: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contacts {
    contacts: Vec<Contact>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contact {
    number: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Act {
    chat: String,
    /// `mark-chat`: whether it is read; read if absent.
    read: Option<bool>,
    /// `archive`: whether it is; archived if absent.
    archived: Option<bool>,
    /// `pin`: whether it is; pinned if absent.
    pinned: Option<bool>,
    /// `mute`: until when, in Unix milliseconds, -1 for no end; 0 ends it.
    until: Option<i64>,
    /// `delete-for-me`: what.
    message_id: Option<String>,
    #[serde(default)]
    starred: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    /// Whose number and LID.
    of: String,
}

pub(super) fn build(hub: &Hub, number: &str, body: &PastRequest) -> Answer {
    Ok(hub.with(|service| {
        service.ensure_account(number, None)?;
        service.build_past(number, body)
    })?)
}

pub(super) fn contacts(hub: &Hub, number: &str, body: &Contacts) -> Answer {
    if body.contacts.len() > MAX_CONTACTS {
        return Err(AdminError::Bad(format!(
            "more than {MAX_CONTACTS} contacts"
        )));
    }
    hub.with(|service| {
        service.ensure_account(number, None)?;
        let named = body
            .contacts
            .iter()
            .map(|it| Ok((service.person_named(&it.number)?, it.name.clone())))
            .collect::<Result<Vec<_>, PeopleError>>()?;
        service.phone_acts(number, |phone, dir| {
            Ok(phone.name_contacts(&named, dir, now_ms()))
        })
    })?;
    Ok(json!({}))
}

pub(super) fn act(hub: &Hub, number: &str, act: &str, body: &Act) -> Answer {
    hub.with(|service| {
        service.phone_acts(number, |phone, dir| {
            let action = match act {
                "mark-chat" => {
                    let read = body.read.unwrap_or(true);
                    phone.mark_chat(&body.chat, read, dir, now_ms())
                }
                "archive" => {
                    let archived = body.archived.unwrap_or(true);
                    phone.archive_chat(&body.chat, archived, dir, now_ms())
                }
                "star" => {
                    let id = body.message_id.as_deref().unwrap_or_default();
                    let starred = body.starred.unwrap_or(true);
                    phone.star(&body.chat, id, starred, now_ms())
                }
                "pin" => phone.pin_chat(&body.chat, body.pinned.unwrap_or(true), now_ms()),
                "mute" => {
                    let until = Some(body.until.unwrap_or(-1)).filter(|until| *until != 0);
                    phone.mute_chat(&body.chat, until, now_ms())
                }
                "delete-chat" => phone.remove_chat(&body.chat, true, dir, now_ms()),
                "clear-chat" => phone.remove_chat(&body.chat, false, dir, now_ms()),
                _ => {
                    let id = body.message_id.as_deref().unwrap_or_default();
                    phone.delete_for_me(&body.chat, id, now_ms())
                }
            };
            Ok::<_, PhoneError>(vec![action?])
        })
    })?;
    Ok(json!({}))
}

pub(super) fn mapping(hub: &Hub, number: &str, body: &Mapping) -> Answer {
    hub.with(|service| {
        let of = service.person_named(&body.of)?;
        service.phone_does(number, |phone, dir| phone.tell_mapping(&of, dir))
    })?;
    Ok(json!({}))
}
