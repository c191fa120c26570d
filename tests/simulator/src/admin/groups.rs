//! `/admin/groups`: groups made, changed and looked at.

use serde::Deserialize;
use serde_json::json;
use wacore_binary::Jid;

use super::{AdminError, Answer};
use crate::net::Hub;
use crate::service::{Change, Form, GroupError, PeopleError, Service, Setting};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewGroup {
    subject: String,
    /// Numbers or JIDs; the first one creates the group.
    members: Vec<String>,
    /// `lid` (as groups are made today) or `pn`.
    addressing: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Changes {
    /// The requester; by default the group's creator, or its first admin.
    by: Option<String>,
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    promote: Vec<String>,
    #[serde(default)]
    demote: Vec<String>,
    subject: Option<String>,
    /// Empty takes it away.
    description: Option<String>,
    announcement: Option<bool>,
    locked: Option<bool>,
    /// Seconds; 0 is never.
    ephemeral: Option<u32>,
    join_approval: Option<bool>,
    /// Only admins add people.
    admins_add: Option<bool>,
    /// `by` leaves.
    #[serde(default)]
    leave: bool,
    /// These follow the group's invite link.
    #[serde(default)]
    join: Vec<String>,
    /// These follow the invitation that each of them got.
    #[serde(default)]
    accept: Vec<String>,
}

pub(super) fn create(hub: &Hub, body: &NewGroup) -> Answer {
    let form = match body.addressing.as_deref() {
        None | Some("lid") => Form::Lid,
        Some("pn") => Form::Pn,
        Some(other) => {
            return Err(AdminError::Bad(format!(
                "addressing {other:?} is neither \"lid\" nor \"pn\""
            )));
        }
    };
    let jid = hub.with(|service| service.admin_create_group(&body.subject, &body.members, form))?;
    Ok(json!({"jid": jid.to_string()}))
}

pub(super) fn change(hub: &Hub, id: &str, body: Changes) -> Answer {
    hub.with(|service| {
        let changes = changes(service, &body)?;
        service.admin_change_group(id, body.by.as_deref(), changes)
    })?;
    look(hub, id)
}

pub(super) fn look(hub: &Hub, id: &str) -> Answer {
    let known = hub.with(|service| service.group_json(id));
    Ok(known.ok_or(PeopleError::Group(GroupError::NotFound))?)
}

fn changes(service: &mut Service, body: &Changes) -> Result<Vec<Change>, PeopleError> {
    let mut people = |names: &[String]| -> Result<Vec<Jid>, PeopleError> {
        names
            .iter()
            .map(|name| Ok(Jid::pn(service.person_named(name)?)))
            .collect()
    };
    let mut all = Vec::new();
    for (names, change) in [
        (&body.add, Change::Add as fn(Vec<Jid>) -> Change),
        (&body.remove, Change::Remove),
        (&body.promote, Change::Promote),
        (&body.demote, Change::Demote),
    ] {
        if !names.is_empty() {
            all.push(change(people(names)?));
        }
    }
    if let Some(subject) = &body.subject {
        all.push(Change::Subject(subject.clone()));
    }
    if let Some(text) = &body.description {
        all.push(Change::Description {
            id: service.description_id(),
            text: (!text.is_empty()).then(|| text.clone()),
            prev: None,
        });
    }
    all.extend(
        [
            body.announcement.map(Setting::Announcement),
            body.locked.map(Setting::Locked),
            body.join_approval.map(Setting::Approval),
            body.admins_add.map(Setting::AdminsAdd),
            body.ephemeral
                .map(|seconds| Setting::Ephemeral((seconds > 0).then_some(seconds))),
        ]
        .into_iter()
        .flatten()
        .map(Change::Set),
    );
    for (numbers, change) in [
        (&body.join, Change::Join as fn(Vec<String>) -> Change),
        (&body.accept, Change::Accept),
    ] {
        if !numbers.is_empty() {
            all.push(change(numbers.clone()));
        }
    }
    if body.leave {
        all.push(Change::Leave);
    }
    Ok(all)
}
