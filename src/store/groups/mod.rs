//! The groups that an account is in, with their members, as WhatsApp's notifications keep them up to date.
//!
//! Their rows are declared in [`super::schema`]. A group's members are a row of their own (see [`members`]), which a list of
//! groups does not touch. It may be missing: then the members are not known, and WhatsApp is asked for them once.

pub mod members;
mod news;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use members::{Member, Role};
pub use news::{Act, GroupNews, How, Setting, Versions, apply, link};

use super::error::{Result, StoreError};
use super::messages::{self, Part, Room};
use super::rows::Scan;
use super::schema::{GROUP_MEMBERS, GROUPS, GROUPS_ASKED};
use super::tx::{ReadTx, WriteTx};
use super::usernames;
use crate::clock::{self, Millis};
use crate::event::GroupPerson;
use crate::message::bounds;

/// Members of one group that are stored; WhatsApp names fewer than 20,000.
pub const MOST_MEMBERS: usize = 20_000;
/// Characters of a description that are kept: WhatsApp allows 2,048.
const DESCRIPTION: usize = 4_096;

/// Who may add members, in WhatsApp's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberAddMode {
    AdminAdd,
    #[default]
    AllMemberAdd,
}

/// A group as it is stored, without its members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    pub jid: String,
    pub subject: String,
    pub description: Option<String>,
    /// Names the description; a change of it has to name the one that it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description_id: Option<String>,
    /// The JID of the person who created it, as the group names people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Millis>,
    /// Only admins write.
    pub announcement: bool,
    /// Only admins change the group's subject, description and picture.
    pub locked: bool,
    /// An admin has to approve people who join by the invite link.
    pub join_approval: bool,
    pub member_add_mode: MemberAddMode,
    /// Seconds after which messages disappear; 0: they stay.
    pub ephemeral: u32,
    /// The community that it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub community: Option<String>,
    /// It is a community itself.
    pub is_community: bool,
    /// The group of a community in which its admins write to all.
    pub is_announcement_group: bool,
    /// It names its members by LIDs, and is asked about them so.
    pub by_lid: bool,
    /// Members, as far as is known.
    pub size: u32,
    /// WhatsApp's version of the members that are stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The code of the invite link, if it was asked for and is not revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite: Option<String>,
}

/// A group as WhatsApp's server describes it, with its members if they were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub group: Group,
    pub members: Option<Vec<Member>>,
}

/// Where a page of groups ended: the part of the JID before the `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCursor(String);

impl GroupCursor {
    /// Of a text that this type has given out.
    pub fn parse(text: &str) -> Option<GroupCursor> {
        let is_one =
            (1..=51).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        is_one.then(|| GroupCursor(text.to_owned()))
    }

    fn after(jid: &str) -> GroupCursor {
        GroupCursor(jid.split('@').next().unwrap_or_default().to_owned())
    }
}

impl fmt::Display for GroupCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A page of groups.
#[derive(Debug)]
pub struct GroupPage {
    pub groups: Vec<GroupSummary>,
    pub total: u64,
    pub next: Option<GroupCursor>,
}

/// A group as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct GroupSummary {
    pub group_id: String,
    pub subject: String,
    pub description: Option<String>,
    /// The person who created it.
    pub owner: Option<String>,
    /// ISO 8601.
    pub created_at: Option<String>,
    /// How many members it has.
    pub size: u32,
    /// Only admins write.
    pub announcement: bool,
    /// Only admins change subject, description and picture.
    pub locked: bool,
    /// An admin has to approve people who join by the invite link.
    pub join_approval: bool,
    pub member_add_mode: MemberAddMode,
    /// Seconds after which messages disappear; 0: they stay.
    pub ephemeral: u32,
    /// The JID of the community that it is part of.
    pub community: Option<String>,
    /// It is a community itself.
    pub is_community: bool,
    /// The group of a community in which its admins write to all.
    pub is_announcement_group: bool,
}

/// A member of a group as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    #[serde(flatten)]
    pub person: GroupPerson,
    /// `member`, `admin`, or `owner` for the admin whom no other can remove.
    #[cfg_attr(test, schemars(extend("enum" = ["member", "admin", "owner"])))]
    pub role: &'static str,
}

impl Group {
    fn cut(&mut self) {
        self.subject = bounds::name(&self.subject);
        bounds::cut_some(&mut self.description, DESCRIPTION);
    }

    /// As the API lists it.
    ///
    /// # Errors
    /// The store's.
    pub fn summary(self, tx: &ReadTx<'_>, account: u32) -> Result<GroupSummary> {
        let owner = self
            .owner
            .map(|jid| messages::canonical_jid(tx, account, &jid))
            .transpose()?;
        Ok(GroupSummary {
            group_id: self.jid,
            subject: self.subject,
            description: self.description,
            owner,
            created_at: self.created_at.map(clock::iso8601),
            size: self.size,
            announcement: self.announcement,
            locked: self.locked,
            join_approval: self.join_approval,
            member_add_mode: self.member_add_mode,
            ephemeral: self.ephemeral,
            community: self.community,
            is_community: self.is_community,
            is_announcement_group: self.is_announcement_group,
        })
    }
}

/// The group of that JID, if the account is in it.
pub fn get(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Group>> {
    GROUPS.get(tx, (account, jid))
}

/// The members of a group; `None` if they are not known.
pub fn members(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Vec<Member>>> {
    let row = GROUP_MEMBERS.get(tx, (account, jid))?;
    row.map(|bytes| {
        members::decode(bytes)
            .ok_or_else(|| StoreError::corrupt("groups", jid.as_bytes(), "no members"))
    })
    .transpose()
}

/// Stores a group and its members; members that are not known any more are removed.
pub fn put(
    tx: &mut WriteTx<'_>,
    account: u32,
    group: &Group,
    members: Option<&[Member]>,
) -> Result<()> {
    GROUPS.put(tx, (account, &group.jid), group)?;
    match members {
        Some(members) => {
            GROUP_MEMBERS.put(tx, (account, &group.jid), &members::encode(members))?;
        }
        None => {
            GROUP_MEMBERS.delete(tx, (account, &group.jid))?;
        }
    }
    Ok(())
}

/// Stores what WhatsApp's server says of a group. Where it does not name the members, those that are stored stay as long as
/// they are of the version that it names. An invite link that is known stays, too. `at` is when WhatsApp said it: what
/// the chat has of later stays.
pub fn learn(tx: &mut WriteTx<'_>, account: u32, snapshot: &Snapshot, at: Millis) -> Result<()> {
    let told = &snapshot.group;
    if !told.subject.is_empty() {
        messages::set_name(tx, account, &told.jid, &told.subject)?;
    }
    messages::set_timer(tx, account, &told.jid, told.ephemeral, at)?;
    let mut group = snapshot.group.clone();
    group.cut();
    let before = get(&tx.view(), account, &group.jid)?;
    group.invite = before.as_ref().and_then(|before| before.invite.clone());
    if snapshot.members.is_none() {
        let is_same = before
            .as_ref()
            .is_some_and(|before| before.version.is_some() && before.version == group.version);
        if is_same {
            return GROUPS.put(tx, (account, &group.jid), &group).map(drop);
        }
        group.version = None;
    }
    put(tx, account, &group, snapshot.members.as_deref())
}

/// Changes a group, if the account is in it.
pub fn change(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    change: impl FnOnce(&mut Group),
) -> Result<()> {
    if let Some(mut group) = get(&tx.view(), account, jid)? {
        change(&mut group);
        GROUPS.put(tx, (account, jid), &group)?;
    }
    Ok(())
}

/// Removes a group that the account is in no more. Whether it was there.
pub fn remove(tx: &mut WriteTx<'_>, account: u32, jid: &str) -> Result<bool> {
    GROUP_MEMBERS.delete(tx, (account, jid))?;
    GROUPS.delete(tx, (account, jid))
}

/// Stores the list of all groups that the account is in: others are removed.
pub fn learn_all(tx: &mut WriteTx<'_>, account: u32, all: &[Snapshot], now: Millis) -> Result<()> {
    let known: Vec<String> = scan(&tx.view(), account)?
        .map(|row| Ok(row?.value()?.jid))
        .collect::<Result<_>>()?;
    for jid in known {
        if !all.iter().any(|snapshot| snapshot.group.jid == jid) {
            remove(tx, account, &jid)?;
        }
    }
    for snapshot in all {
        learn(tx, account, snapshot, now)?;
    }
    GROUPS_ASKED.put(tx, (account,), now).map(drop)
}

/// When WhatsApp was last asked for the list of groups, in Unix milliseconds.
pub fn asked_at(tx: &ReadTx<'_>, account: u32) -> Result<Option<Millis>> {
    GROUPS_ASKED.get(tx, (account,))
}

/// Makes the list of groups be asked for with the next connection.
pub fn forget_asked(tx: &mut WriteTx<'_>, account: u32) -> Result<()> {
    GROUPS_ASKED.delete(tx, (account,)).map(drop)
}

fn scan<'t>(
    tx: &ReadTx<'t>,
    account: u32,
) -> Result<Scan<'t, (u32, super::rows::Text), super::rows::Json<Group>>> {
    GROUPS.scan(tx, (account,))
}

/// All groups that the account is in.
pub fn all(tx: &ReadTx<'_>, account: u32) -> Result<Vec<Group>> {
    scan(tx, account)?.map(|row| row?.value()).collect()
}

/// The groups that the account is in, in the order of their JIDs.
pub fn list(tx: &ReadTx<'_>, account: u32, part: &Part<GroupCursor>) -> Result<GroupPage> {
    let mut total = 0;
    for row in scan(tx, account)? {
        row?;
        total += 1;
    }
    let rows = match &part.behind {
        None => scan(tx, account)?,
        Some(GroupCursor(user)) => {
            let jid = format!("{user}@g.us");
            GROUPS.scan_from(tx, (account, jid.as_str()), (account,))?
        }
    };
    let behind = part
        .behind
        .as_ref()
        .map(|GroupCursor(user)| format!("{user}@g.us"));
    let mut room = Room::new(part.limit, part.bytes);
    let (mut groups, mut skip) = (Vec::<GroupSummary>::new(), part.skip);
    for row in rows {
        let group = row?.value()?;
        if behind.as_ref() == Some(&group.jid) {
            continue;
        }
        if skip > 0 {
            skip -= 1;
            continue;
        }
        let group = group.summary(tx, account)?;
        if !room.take(&group) {
            let next = groups.last().map(|last| GroupCursor::after(&last.group_id));
            return Ok(GroupPage {
                groups,
                total,
                next,
            });
        }
        groups.push(group);
    }
    Ok(GroupPage {
        groups,
        total,
        next: None,
    })
}

/// A group that a person is in, too
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct CommonGroup {
    pub chat_id: String,
    /// Its subject.
    pub name: String,
}

/// Those of the next `looks` groups behind the one of the JID `behind` whose members, as far as they are known, have a
/// person among them; and the JID behind which to go on, `None` at the end.
pub fn with_member(
    tx: &ReadTx<'_>,
    account: u32,
    who: &Member,
    behind: Option<&str>,
    looks: usize,
) -> Result<(Vec<CommonGroup>, Option<String>)> {
    let mut found = Vec::new();
    let rows = match behind {
        None => scan(tx, account)?,
        Some(jid) => GROUPS.scan_from(tx, (account, jid), (account,))?,
    };
    for (n, row) in rows.enumerate() {
        let group = row?.value()?;
        if Some(&*group.jid) == behind {
            continue;
        }
        let members = members(tx, account, &group.jid)?.unwrap_or_default();
        let is_in = members.iter().any(|member| member.is(who));
        if is_in {
            found.push(CommonGroup {
                chat_id: group.jid.clone(),
                name: group.subject,
            });
        }
        if n >= looks {
            return Ok((found, Some(group.jid)));
        }
    }
    Ok((found, None))
}

/// A person in a group as the API names people.
pub fn person(tx: &ReadTx<'_>, account: u32, member: &Member) -> Result<GroupPerson> {
    let (lid, number) = (member.lid_jid(), member.number_jid());
    let named = number.as_deref().or(lid.as_deref()).unwrap_or_default();
    let names = messages::names(tx, account, named)?;
    let username = usernames::of(tx, account, lid.as_deref().unwrap_or(named))?;
    Ok(GroupPerson {
        lid: lid.or(names.lid),
        jid: names.jid,
        name: names.title,
        username,
    })
}

/// The members of a group as the API shows them.
pub fn shown(tx: &ReadTx<'_>, account: u32, members: &[Member]) -> Result<Vec<MemberView>> {
    let show = |member: &Member| {
        Ok(MemberView {
            person: person(tx, account, member)?,
            role: member.role.name(),
        })
    };
    members.iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::TestStore;

    fn group(n: u64, members: u64, version: u64) -> Snapshot {
        let people = (0..members).map(|m| Member {
            lid: Some(200_000_000_000_000 + m),
            number: Some(491_700_000_000 + m),
            role: Role::Member,
        });
        Snapshot {
            group: Group {
                jid: format!("{}@g.us", 120_363_000_000_000_000 + n),
                subject: format!("Group {n}"),
                size: u32::try_from(members).unwrap_or(0),
                version: Some(version),
                ..Group::default()
            },
            members: Some(people.collect()),
        }
    }

    #[test]
    fn members_stay_as_long_as_their_version_is_whatsapps() {
        let store = TestStore::new();
        let known = |jid: &str| {
            let jid = jid.to_owned();
            store
                .read(|tx| members(tx, 1, &jid))
                .expect("read")
                .is_some()
        };
        let first = group(1, 5, 10);
        let jid = first.group.jid.clone();
        let learnt = first.clone();
        store.run(move |tx| learn(tx, 1, &learnt, 1));
        assert!(known(&jid));
        for (version, stays) in [(10, true), (11, false)] {
            let mut listed = group(1, 5, version);
            listed.members = None;
            store.run(move |tx| learn_all(tx, 1, std::slice::from_ref(&listed), 7));
            assert_eq!(known(&jid), stays);
        }
        assert_eq!(store.read(|tx| asked_at(tx, 1)).expect("read"), Some(7));
        store.run(|tx| learn_all(tx, 1, &[], 8));
        assert_eq!(store.read(|tx| get(tx, 1, &jid)).expect("read"), None);
    }

    #[test]
    fn groups_are_listed_in_pages_and_a_thousand_members_are_16_kb() {
        let store = TestStore::new();
        store.run(|tx| (0..30).try_for_each(|n| learn(tx, 1, &group(n, 1_000, 1), 1)));
        let bytes = store.read(|tx| GROUP_MEMBERS.size(tx, (1, &group(3, 0, 0).group.jid)));
        assert!(bytes.expect("read").expect("members") <= 16_000);
        let (mut seen, mut behind) = (Vec::new(), None);
        loop {
            let part = Part {
                behind: behind.take(),
                ..Part::of(7, 0)
            };
            let page = store.read(|tx| list(tx, 1, &part)).expect("read");
            assert_eq!(page.total, 30);
            seen.extend(page.groups.into_iter().map(|group| group.subject));
            match page.next {
                Some(next) => behind = GroupCursor::parse(&next.to_string()),
                None => break,
            }
        }
        let all: Vec<String> = (0..30).map(|n| format!("Group {n}")).collect();
        assert_eq!(seen, all);
        assert_eq!(
            store
                .read(|tx| list(tx, 2, &Part::of(7, 0)))
                .expect("read")
                .total,
            0
        );
    }
}
