//! What happens to groups: each thing is a line in the chat, a change of the group's rows and an event, in one transaction.

use super::{Ledger, Result};
use crate::clock::{self, Millis};
use crate::event::{Event, EventKind, GroupChange, GroupPerson};
use crate::message::{Line, Message, MessageKind, System};
use crate::store::accounts;
use crate::store::groups::{self, Act, GroupNews, How, Member};
use crate::store::messages::{self, Arrival, Inserted};

/// An act as the event and the line report it.
struct Report {
    kind: EventKind,
    action: &'static str,
    people: Vec<Member>,
    changes: serde_json::Map<String, serde_json::Value>,
}

impl Ledger<'_, '_> {
    /// Records what a notification says of a group. False if all of it was known before.
    pub(super) fn group(&mut self, news: &GroupNews, now: Millis) -> Result<bool> {
        let record = accounts::by_number(&self.tx.view(), self.account)?;
        let own = record.and_then(|record| {
            Member::of_jids(
                [record.jid, record.lid]
                    .iter()
                    .flatten()
                    .map(String::as_str),
            )
        });
        let mut is_new = false;
        for (index, act) in news.acts.iter().enumerate() {
            is_new |= self.group_act(news, (index, act), own.as_ref(), now)?;
        }
        Ok(is_new)
    }

    fn group_act(
        &mut self,
        news: &GroupNews,
        (index, act): (usize, &Act),
        own: Option<&Member>,
        now: Millis,
    ) -> Result<bool> {
        let report = report(act, news.by.as_ref(), own);
        for person in news.by.iter().chain(&report.people) {
            if let (Some(lid), Some(number)) = (person.lid_jid(), person.number_jid()) {
                messages::link(self.tx, self.account, &lid, &number)?;
            }
        }
        let (tx, account) = (self.tx.view(), self.account);
        let by = news.by.as_ref().map(|by| groups::person(&tx, account, by));
        let by = by.transpose()?;
        let by_me = matches!((&news.by, own), (Some(by), Some(own)) if by.is(own));
        let people = report.people.iter();
        let people = people.map(|member| groups::person(&tx, account, member));
        let members: Vec<GroupPerson> = people.collect::<Result<_>>()?;
        let id = format!("{}-{index}", news.id);
        let line = Message {
            sender: by.as_ref().map_or(&news.group, |by| &by.jid).clone(),
            from_me: by_me,
            timestamp: news.at,
            text: Some(sentence(&report, by.as_ref(), by_me, &members)),
            system: Some(System {
                event: report.kind.name().to_owned(),
                action: report.action.to_owned(),
                members: members.iter().map(|person| person.jid.clone()).collect(),
            }),
            ..Message::empty(self.id, id, &*news.group, MessageKind::System, now)
        };
        let mut stored = line;
        match messages::insert(self.tx, account, &mut stored, None, Arrival::Live)? {
            Inserted::Duplicate => return Ok(false),
            Inserted::New => {}
        }
        self.change_group(news, act, &report)?;
        let change = GroupChange {
            kind: report.kind,
            account_id: self.id.to_owned(),
            chat_id: news.group.clone(),
            chat_name: messages::names(&self.tx.view(), account, &news.group)?.title,
            action: report.action,
            by,
            by_me,
            members,
            changes: report.changes,
            message_id: stored.message_id,
            timestamp: news.at,
            created_at: clock::iso8601(now),
        };
        self.append(&Event::Group(Box::new(change)), now)
    }

    fn change_group(&mut self, news: &GroupNews, act: &Act, report: &Report) -> Result<()> {
        let (account, jid) = (self.account, &*news.group);
        if report.kind == EventKind::GroupLeft {
            groups::remove(self.tx, account, jid)?;
            return Ok(());
        }
        if let Act::Joined { snapshot, .. } = act {
            return groups::learn(self.tx, account, snapshot, news.at);
        }
        match act {
            Act::Set(groups::Setting::Subject(subject)) => {
                messages::set_name(self.tx, account, jid, subject)?;
            }
            Act::Set(groups::Setting::Ephemeral(seconds)) => {
                messages::set_timer(self.tx, account, jid, *seconds, news.at)?;
            }
            _ => {}
        }
        let Some(mut group) = groups::get(&self.tx.view(), account, jid)? else {
            if !self.after.nameless.iter().any(|known| known == jid) {
                self.after.nameless.push(jid.to_owned());
            }
            return Ok(());
        };
        let mut members = groups::members(&self.tx.view(), account, jid)?;
        match act {
            Act::Set(setting) => setting.apply(&mut group),
            Act::Members {
                how,
                people,
                versions,
                ..
            } => groups::apply(&mut group, &mut members, *how, people, *versions),
            Act::Joined { .. } | Act::Requests { .. } | Act::Ended => return Ok(()),
        }
        groups::put(self.tx, account, &group, members.as_deref())
    }
}

fn report(act: &Act, by: Option<&Member>, own: Option<&Member>) -> Report {
    let by_me = matches!((by, own), (Some(by), Some(own)) if by.is(own));
    let mut changes = serde_json::Map::new();
    let (kind, action, people) = match act {
        Act::Joined { created: true, .. } => (EventKind::GroupJoined, "created", &[][..]),
        Act::Joined { .. } if by_me => (EventKind::GroupJoined, "joined", &[][..]),
        Act::Joined { .. } => (EventKind::GroupJoined, "added", &[][..]),
        Act::Members { how, people, .. } => {
            let concerns_me = own.is_some_and(|own| people.iter().any(|person| person.is(own)));
            match (how, concerns_me) {
                (How::Add, true) if by_me => (EventKind::GroupJoined, "joined", &[][..]),
                (How::Add, true) => (EventKind::GroupJoined, "added", &[][..]),
                (How::Remove, true) if by_me || by.is_none() => {
                    (EventKind::GroupLeft, "left", &[][..])
                }
                (How::Remove, true) => (EventKind::GroupLeft, "removed", &[][..]),
                (how, _) => (EventKind::GroupMembers, how.name(), people.as_slice()),
            }
        }
        Act::Set(setting) => {
            let (name, value) = setting.shown();
            changes.insert(name.to_owned(), value);
            (EventKind::GroupUpdated, "updated", &[][..])
        }
        Act::Requests { people, made: true } => {
            (EventKind::GroupRequest, "requested", people.as_slice())
        }
        Act::Requests { people, .. } => (EventKind::GroupRequest, "withdrawn", people.as_slice()),
        Act::Ended => (EventKind::GroupLeft, "ended", &[][..]),
    };
    Report {
        kind,
        action,
        people: people.to_vec(),
        changes,
    }
}

fn sentence(
    report: &Report,
    by: Option<&GroupPerson>,
    by_me: bool,
    members: &[GroupPerson],
) -> String {
    let by = by.map(called);
    let members: Vec<String> = members.iter().map(called).collect();
    let line = Line {
        action: report.action,
        by: by.as_deref(),
        by_me,
        members: &members,
        change: report
            .changes
            .iter()
            .next()
            .map(|(name, value)| (&**name, value)),
    };
    line.words()
}

/// What a line calls a person.
fn called(person: &GroupPerson) -> String {
    if let Some(name) = &person.name {
        return name.clone();
    }
    if let Some(username) = &person.username {
        return format!("@{username}");
    }
    match person.jid.split_once('@') {
        Some((number, "s.whatsapp.net")) => format!("+{number}"),
        _ => person.jid.clone(),
    }
}
