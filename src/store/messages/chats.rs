//! Chats: one for each person, group, list or channel, under whatever JIDs it is known by.
//!
//! Their rows are declared in [`super::super::schema`].

use serde::{Deserialize, Serialize};

use super::{
    Counters, Place, Result, UNSENT, counters, forget_due, id_key, media, put_counters,
    put_message, raw, search,
};
use crate::clock::{self, Millis};
use crate::event::{ChatState, Deed};
use crate::jid::{ChatJid, STORIES, Server, other_form};
use crate::message::names::{digits, renamed};
use crate::message::{DeliveryStatus, Message, MessageKind, bounds};
use crate::store::schema::{
    CHAT_IDS, CHATS, CHATS_BY_TIME, MESSAGE_IDS, MESSAGES, MESSAGES_BY_TIME, PEOPLE,
};
use crate::store::tx::{ReadTx, WriteTx};
use crate::store::usernames;

/// A chat as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chat {
    pub number: u64,
    /// The canonical JID: a person's phone-number JID once it is known.
    pub jid: String,
    #[serde(default)]
    pub lid: Option<String>,
    /// A group's subject, or what a person calls himself.
    #[serde(default)]
    pub name: Option<String>,
    /// What the account's owner calls a person: counts more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact_name: Option<String>,
    pub unread_count: u64,
    pub message_count: u64,
    /// Timestamp and sequence of the newest message; `None` for a chat that is not listed.
    pub last: Option<(Millis, u64)>,
    /// Seconds after which its messages disappear (0: they stay), and when that was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<(u32, Millis)>,
    /// Whether nothing was ever in it but own messages that failed, or are on their way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_failed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Until when its messages make no sound; [`FOREVER`] without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Millis>,
}

/// The end of what has none.
pub const FOREVER: Millis = Millis::MAX;

/// What the account's owner changes of a chat, here or on another device; `None` leaves it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChatMarks {
    pub archived: Option<bool>,
    pub pinned: Option<bool>,
    /// Until when it is muted, [`FOREVER`] without an end; `Some(None)` ends it.
    pub muted_until: Option<Option<Millis>>,
    /// Whether it is to be looked at again.
    pub unread: Option<bool>,
}

/// A chat as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Chat"))]
#[serde(rename_all = "camelCase")]
pub struct ChatSummary {
    pub chat_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_lid: Option<String>,
    /// `person`, `group`, `channel`, or `list` for a broadcast list.
    #[serde(rename = "type")]
    #[cfg_attr(test, schemars(extend("enum" = ["person", "group", "channel", "list"])))]
    pub kind: &'static str,
    pub name: Option<String>,
    /// A person's username, without `@`.
    pub username: Option<String>,
    pub unread_count: u64,
    pub last_message_time: Option<Millis>,
    pub message_count: u64,
    pub archived: bool,
    pub pinned: bool,
    pub muted: bool,
    /// ISO 8601; `null` if it is not muted, or without an end.
    pub muted_until: Option<String>,
    pub last_message: Option<LastMessage>,
    /// Seconds after which messages disappear; absent if they stay, as far as is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer: Option<u32>,
}

/// The newest message of a chat, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct LastMessage {
    pub message_id: String,
    /// The chat, as in a message.
    pub from: String,
    pub sender: String,
    pub sender_name: Option<String>,
    pub sender_username: Option<String>,
    /// The text, or a medium's caption.
    pub text: Option<String>,
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// Unix milliseconds.
    pub timestamp: Millis,
    pub from_me: bool,
    /// Only for own messages.
    pub status: Option<DeliveryStatus>,
    pub deleted: bool,
}

impl Chat {
    /// Until when it is muted, if it is now.
    pub fn is_muted(&self, now: Millis) -> Option<Millis> {
        self.muted_until.filter(|until| *until > now)
    }

    /// Its state as the event reports it.
    pub fn state(&self, account_id: &str, removed: bool, now: Millis) -> ChatState {
        let muted = self.is_muted(now);
        ChatState {
            account_id: account_id.to_owned(),
            chat_id: self.jid.clone(),
            chat_lid: self.lid.clone(),
            chat_name: self.title().map(str::to_owned),
            archived: self.archived,
            pinned: self.pinned,
            muted: muted.is_some(),
            muted_until: muted.and_then(end_of),
            unread_count: self.unread_count,
            removed,
            created_at: clock::iso8601(now),
        }
    }

    /// Whether it is where stories are: no chat that is listed, and nothing in it is unread.
    pub fn is_stories(&self) -> bool {
        self.jid == STORIES
    }

    pub fn is_person(&self) -> bool {
        ChatJid::parse(&self.jid).is_ok_and(|jid| jid.is_person())
    }

    /// What it is called: by the account's owner, or else by itself.
    pub fn title(&self) -> Option<&str> {
        self.contact_name.as_deref().or(self.name.as_deref())
    }

    /// Seconds after which its messages disappear.
    pub fn timer(&self) -> Option<u32> {
        self.timer
            .map(|(seconds, _)| seconds)
            .filter(|seconds| *seconds > 0)
    }

    /// Remembers a timer that was set at that time, or was still so; whether that changes what is remembered. Clients say
    /// the time in seconds.
    pub fn learn_timer(&mut self, seconds: u32, at: Millis) -> bool {
        let before = self.timer;
        if before.is_none_or(|(_, since)| at / 1_000 >= since / 1_000) {
            self.timer = Some((seconds, at));
        }
        self.timer != before
    }

    /// Puts the message under the chat's canonical JID, and each person in it under theirs (the sender,
    /// whom it answers and mentions, who reacted, voted and responded), and sets its names of chat and sender.
    pub fn make_canonical(
        &self,
        tx: &ReadTx<'_>,
        account: u32,
        message: &mut Message,
    ) -> Result<()> {
        message.chat_id.clone_from(&self.jid);
        if !message.from_me && self.lid.as_ref() == Some(&message.sender) {
            message.sender.clone_from(&self.jid);
        }
        rename_mentioned(tx, account, message)?;
        let quoted = message.quoted_message.as_mut();
        let others = quoted
            .and_then(|quoted| quoted.participant.as_mut())
            .into_iter()
            .chain(message.reactions.iter_mut().map(|r| &mut r.from))
            .chain(message.poll.iter_mut().flat_map(|poll| {
                let votes = poll.votes.iter_mut();
                votes.map(|vote| &mut vote.voter)
            }))
            .chain(message.event.iter_mut().flat_map(|event| {
                let responses = event.responses.iter_mut();
                responses.map(|response| &mut response.from)
            }))
            .chain(message.system.iter_mut().flat_map(|line| &mut line.members));
        for jid in std::iter::once(&mut message.sender).chain(others) {
            if is_lid(jid)
                && let Some(number) = other_jid(tx, account, jid)?
            {
                *jid = number;
            }
        }
        let sender = self.person(tx, account, &message.sender, message.from_me)?;
        message.chat_lid.clone_from(&self.lid);
        message.chat_name = self.title().map(str::to_owned);
        message.sender_lid = sender.lid.or_else(|| message.wire_lid.clone());
        message.sender_name = sender.name;
        message.sender_username = sender.username;
        Ok(())
    }

    /// The names of a person who writes here.
    fn person(&self, tx: &ReadTx<'_>, account: u32, jid: &str, is_me: bool) -> Result<Person> {
        if !is_me && jid == self.jid && self.is_person() {
            return Ok(Person {
                lid: self.lid.clone(),
                name: self.contact_name.clone(),
                username: usernames::of(tx, account, jid)?,
            });
        }
        person(tx, account, jid, is_me)
    }
}

/// Puts numbers in the place of the LIDs that a text mentions, where they are known: the list gets the same.
fn rename_mentioned(tx: &ReadTx<'_>, account: u32, message: &mut Message) -> Result<()> {
    let words = [&mut message.text, &mut message.caption];
    by_numbers(
        tx,
        account,
        &mut message.mentions,
        words.into_iter().flatten(),
    )
}

/// The same for a list and the texts that go with it.
pub fn by_numbers<'a>(
    tx: &ReadTx<'_>,
    account: u32,
    mentions: &mut [String],
    texts: impl Iterator<Item = &'a mut String>,
) -> Result<()> {
    let mut pairs = Vec::new();
    for jid in mentions.iter_mut().filter(|jid| is_lid(jid)) {
        if let Some(number) = other_jid(tx, account, jid)? {
            pairs.push((digits(jid).to_owned(), digits(&number).to_owned()));
            *jid = number;
        }
    }
    if !pairs.is_empty() {
        for words in texts {
            *words = renamed(words, &pairs);
        }
    }
    Ok(())
}

/// The names of a person besides the canonical JID.
#[derive(Debug, Default)]
struct Person {
    lid: Option<String>,
    /// What the account's owner calls them.
    name: Option<String>,
    /// Without `@`.
    username: Option<String>,
}

fn person(tx: &ReadTx<'_>, account: u32, jid: &str, is_me: bool) -> Result<Person> {
    let lid = match is_lid(jid) {
        true => Some(jid.to_owned()),
        false => other_jid(tx, account, jid)?.filter(|other| is_lid(other)),
    };
    let name = match is_me {
        true => None,
        false => by_jid(tx, account, jid)?.and_then(|chat| chat.contact_name),
    };
    let username = usernames::of(tx, account, jid)?;
    Ok(Person {
        lid,
        name,
        username,
    })
}

/// The names of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatNames {
    /// The canonical JID.
    pub jid: String,
    pub lid: Option<String>,
    /// See [`Chat::title`].
    pub title: Option<String>,
}

impl ChatNames {
    /// Whether the message's sender has one of these names.
    pub fn is(&self, message: &Message) -> bool {
        let names = [Some(&message.sender), message.wire_lid.as_ref()];
        names
            .into_iter()
            .flatten()
            .any(|name| *name == self.jid || Some(name) == self.lid.as_ref())
    }
}

/// The names of a chat that may not be known; `jid` is any of its JIDs.
pub fn names(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<ChatNames> {
    if let Some(chat) = by_jid(tx, account, jid)? {
        return Ok(ChatNames {
            title: chat.title().map(str::to_owned),
            jid: chat.jid,
            lid: chat.lid,
        });
    }
    let jid = canonical_jid(tx, account, jid)?;
    Ok(ChatNames {
        lid: person(tx, account, &jid, true)?.lid,
        jid,
        title: None,
    })
}

/// What a person did in a chat that may not be known; `sender` is canonical.
pub fn deed(
    tx: &ReadTx<'_>,
    account: u32,
    chat: &str,
    sender: &str,
    from_me: bool,
) -> Result<Deed> {
    let chat = names(tx, account, chat)?;
    let person = person(tx, account, sender, from_me)?;
    Ok(Deed {
        from: chat.jid.clone(),
        chat_id: chat.jid,
        chat_lid: chat.lid,
        chat_name: chat.title,
        sender: sender.to_owned(),
        sender_lid: person.lid,
        sender_name: person.name,
        sender_username: person.username,
        from_me,
    })
}

/// The other JID of a person, if it was learnt: of a LID the number's, of a number's the LID.
pub fn other_jid(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<String>> {
    Ok(PEOPLE.get(tx, (account, jid))?.map(str::to_owned))
}

/// The one JID of a person, group, list or channel, as far as it is known.
pub fn canonical_jid(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<String> {
    if is_lid(jid) {
        return Ok(other_jid(tx, account, jid)?.unwrap_or_else(|| jid.to_owned()));
    }
    number_of(tx, account, jid)
}

/// The JID that WhatsApp uses for a number, if it named another form of it; else the JID itself.
pub fn number_of(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<String> {
    let named = match is_number(jid) {
        true => other_jid(tx, account, jid)?.filter(|named| is_number(named)),
        false => None,
    };
    Ok(named.unwrap_or_else(|| jid.to_owned()))
}

/// Whether something was learnt of a number's JID: its LID, or the form that WhatsApp uses.
pub fn is_known_person(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<bool> {
    Ok(other_jid(tx, account, jid)?.is_some())
}

/// The JID by which the chat of a person is found, if only the other form of the number has one. For
/// look-ups only: WhatsApp decides to whom a message is sent.
pub fn found_as(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<String> {
    if by_jid(tx, account, jid)?.is_none()
        && let Ok(typed) = ChatJid::parse(jid)
        && typed.server() == Server::Person
        && let Some(other) = other_form(typed.user())
    {
        let other = format!("{other}@s.whatsapp.net");
        if by_jid(tx, account, &other)?.is_some() {
            return Ok(other);
        }
    }
    Ok(jid.to_owned())
}

/// WhatsApp resolved the number `typed` to `number`, which may be the same: one chat from
/// now on, under `number`, that both find. A number that has a LID of its own stays what it is.
pub fn answers_as(tx: &mut WriteTx<'_>, account: u32, typed: &str, number: &str) -> Result<()> {
    if !is_number(typed) || !is_number(number) {
        return Ok(());
    }
    let view = tx.view();
    if other_jid(&view, account, typed)?.is_some_and(|other| is_lid(&other)) {
        return Ok(());
    }
    PEOPLE.put(tx, (account, typed), number)?;
    if typed == number {
        return Ok(());
    }
    let view = tx.view();
    let Some(from) = by_own_jid(&view, account, typed)? else {
        return Ok(());
    };
    let lid = other_jid(&view, account, number)?.filter(|other| is_lid(other));
    let mut chat = match by_own_jid(&view, account, number)? {
        Some(into) if into.message_count < from.message_count => merge(tx, account, into, from)?,
        Some(into) => merge(tx, account, from, into)?,
        None => from,
    };
    number.clone_into(&mut chat.jid);
    chat.lid = lid.or(chat.lid);
    CHAT_IDS.delete(tx, (account, typed))?;
    CHAT_IDS.put(tx, (account, number), chat.number)?;
    if let Some(lid) = &chat.lid {
        CHAT_IDS.put(tx, (account, lid), chat.number)?;
    }
    put_row(tx, account, &chat)
}

/// Takes a chat out of the list in which nothing is but own messages that failed. What is in it is
/// found as before, by its chat and by its id.
pub fn unlist_if_failed(tx: &mut WriteTx<'_>, account: u32, number: u64) -> Result<()> {
    let mut chat = of(&tx.view(), account, number)?;
    if !chat.only_failed || chat.last.is_none() {
        return Ok(());
    }
    // Those before have failed, or the chat would not be marked so; of those that are on their way
    // the last to fail finds the others.
    for row in MESSAGES
        .scan_back(&tx.view(), (account, number))?
        .take(UNSENT)
    {
        if row?.value()?.status != Some(DeliveryStatus::Failed) {
            return Ok(());
        }
    }
    put(tx, account, &mut chat, None)
}

/// The chat's canonical JID, if `jid` is one of a known chat.
pub fn canonical(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<String>> {
    Ok(by_jid(tx, account, jid)?.map(|chat| chat.jid))
}

/// Marks the whole chat as read. Whether there was something unread.
pub fn mark_read(tx: &mut WriteTx<'_>, account: u32, jid: &str) -> Result<bool> {
    match by_jid(&tx.view(), account, jid)? {
        Some(mut chat) if chat.unread_count > 0 => {
            chat.unread_count = 0;
            put_row(tx, account, &chat)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The end as the API shows it.
pub fn end_of(until: Millis) -> Option<String> {
    (until != FOREVER).then(|| clock::iso8601(until))
}

/// Changes what the owner sets of a chat, and returns it if that changed it. One that is not known is remembered, for
/// its messages may come later.
pub fn mark_chat(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    marks: &ChatMarks,
) -> Result<Option<Chat>> {
    let known = by_jid(&tx.view(), account, jid)?;
    let sets = marks.archived == Some(true)
        || marks.pinned == Some(true)
        || matches!(marks.muted_until, Some(Some(_)));
    let mut chat = match known {
        Some(chat) => chat,
        None if !sets => return Ok(None),
        None => {
            let mut counters = counters(&tx.view(), account)?;
            let chat = ensure(tx, account, jid, &mut counters)?;
            put_counters(tx, account, &counters)?;
            chat
        }
    };
    let before = chat.clone();
    chat.archived = marks.archived.unwrap_or(chat.archived);
    chat.pinned = marks.pinned.unwrap_or(chat.pinned);
    chat.muted_until = marks.muted_until.unwrap_or(chat.muted_until);
    match marks.unread {
        Some(true) => chat.unread_count = chat.unread_count.max(1),
        Some(false) => chat.unread_count = 0,
        None => {}
    }
    if chat == before {
        return Ok(None);
    }
    put_row(tx, account, &chat)?;
    Ok(Some(chat))
}

/// Whether nothing ever came into a chat, or went out of it: WhatsApp knows nothing of it. `None` for one that is not
/// known.
pub fn is_only_here(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<bool>> {
    let chat = by_jid(tx, account, jid)?;
    Ok(chat.map(|chat| chat.only_failed || chat.message_count == 0))
}

/// The newest message of a chat.
pub fn last_message(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Message>> {
    let Some(chat) = by_jid(tx, account, jid)? else {
        return Ok(None);
    };
    // Other devices know no lines of this server.
    for row in MESSAGES.scan_back(tx, (account, chat.number))? {
        let message = row?.value()?;
        if message.kind != MessageKind::System {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Marks the chat as unread. Whether it is known.
pub fn mark_unread(tx: &mut WriteTx<'_>, account: u32, jid: &str) -> Result<bool> {
    let Some(mut chat) = by_jid(&tx.view(), account, jid)? else {
        return Ok(false);
    };
    if chat.unread_count == 0 {
        chat.unread_count = 1;
        put_row(tx, account, &chat)?;
    }
    Ok(true)
}

/// Marks everything up to `place` (timestamp and sequence) as read: later messages of others remain
/// unread. Costs as many rows as there are later ones, own messages included.
pub fn mark_read_up_to(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &mut Chat,
    (timestamp, sequence): (Millis, u64),
) -> Result<bool> {
    let start = (account, chat.number, timestamp, sequence.saturating_add(1));
    let mut later = 0;
    for row in MESSAGES.scan_from(&tx.view(), start, (account, chat.number))? {
        later += u64::from(row?.value()?.counts_as_unread());
        if later >= chat.unread_count {
            return Ok(false);
        }
    }
    chat.unread_count = later;
    put_row(tx, account, chat)?;
    Ok(true)
}

/// How many messages of a chat were unread when its history was written; more may have arrived since.
pub fn set_unread(tx: &mut WriteTx<'_>, account: u32, jid: &str, unread: u64) -> Result<()> {
    if let Some(mut chat) = by_jid(&tx.view(), account, jid)?
        && chat.unread_count < unread
    {
        chat.unread_count = unread.min(chat.message_count);
        put_row(tx, account, &chat)?;
    }
    Ok(())
}

/// Seconds after which a chat's messages disappear (0: they stay), set at that time; what was set later counts.
pub fn set_timer(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    seconds: u32,
    at: Millis,
) -> Result<()> {
    let mut chat = match by_jid(&tx.view(), account, jid)? {
        Some(chat) => chat,
        None if seconds == 0 => return Ok(()),
        None => {
            let mut counters = counters(&tx.view(), account)?;
            let chat = ensure(tx, account, jid, &mut counters)?;
            put_counters(tx, account, &counters)?;
            chat
        }
    };
    match chat.learn_timer(seconds, at) {
        true => put_row(tx, account, &chat),
        false => Ok(()),
    }
}

/// Names a chat, such as a group by its subject. Whether the chat is known; a group is from then on,
/// so that its first message finds the name.
pub fn set_name(tx: &mut WriteTx<'_>, account: u32, jid: &str, name: &str) -> Result<bool> {
    let mut chat = match by_jid(&tx.view(), account, jid)? {
        Some(chat) => chat,
        None if is_group(jid) => {
            let mut counters = counters(&tx.view(), account)?;
            let chat = ensure(tx, account, jid, &mut counters)?;
            put_counters(tx, account, &counters)?;
            chat
        }
        None => return Ok(false),
    };
    let name = bounds::name(name);
    if chat.name.as_ref() != Some(&name) {
        chat.name = Some(name);
        put_row(tx, account, &chat)?;
    }
    Ok(true)
}

/// What the account's owner calls a person; `None` if no more. Kept also for a person without
/// messages, so that the first one finds the name.
pub fn set_contact_name(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    name: Option<&str>,
) -> Result<()> {
    let mut chat = match (by_jid(&tx.view(), account, jid)?, name) {
        (Some(chat), _) => chat,
        (None, None) => return Ok(()),
        (None, Some(_)) => {
            let mut counters = counters(&tx.view(), account)?;
            let chat = ensure(tx, account, jid, &mut counters)?;
            put_counters(tx, account, &counters)?;
            chat
        }
    };
    let name = name.map(bounds::name);
    if chat.contact_name != name {
        chat.contact_name = name;
        put_row(tx, account, &chat)?;
    }
    Ok(())
}

/// Whether the chat has no name yet; false for one that is not known.
pub fn is_nameless(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<bool> {
    Ok(by_jid(tx, account, jid)?
        .is_some_and(|chat| chat.name.is_none() && chat.contact_name.is_none()))
}

/// `lid` and `pn`, two JIDs without a device, are the same person: one chat from now on, under
/// `pn`. If both have a chat, the one with fewer messages moves into the other, at a cost in
/// proportion to it; that happens once for a person. Saying it again costs two look-ups. Anything
/// but a LID and a number changes nothing.
pub fn link(tx: &mut WriteTx<'_>, account: u32, lid: &str, pn: &str) -> Result<()> {
    if !is_lid(lid) || !ChatJid::parse(pn).is_ok_and(|jid| jid.server() == Server::Person) {
        return Ok(());
    }
    introduce(tx, account, lid, pn)?;
    let view = tx.view();
    let by_lid = by_own_jid(&view, account, lid)?;
    let by_pn = by_own_jid(&view, account, pn)?;
    let mut chat = match (by_lid, by_pn) {
        (Some(a), Some(b)) if a.number == b.number => {
            if a.jid == pn && a.lid.as_deref() == Some(lid) {
                return Ok(());
            }
            a
        }
        (Some(a), Some(b)) if a.message_count > b.message_count => merge(tx, account, b, a)?,
        (Some(a), Some(b)) => merge(tx, account, a, b)?,
        (Some(chat), None) | (None, Some(chat)) => chat,
        // There is no chat of that person yet: `people` finds both JIDs for the first message. A chat to
        // which a JID led was another person's.
        (None, None) => {
            for jid in [lid, pn] {
                CHAT_IDS.delete(tx, (account, jid))?;
            }
            return Ok(());
        }
    };
    pn.clone_into(&mut chat.jid);
    chat.lid = Some(lid.to_owned());
    for jid in [lid, pn] {
        CHAT_IDS.put(tx, (account, jid), chat.number)?;
    }
    put_row(tx, account, &chat)
}

/// Remembers that two JIDs are one person, and forgets what either was before.
fn introduce(tx: &mut WriteTx<'_>, account: u32, lid: &str, pn: &str) -> Result<()> {
    for (this, other) in [(lid, pn), (pn, lid)] {
        let before = other_jid(&tx.view(), account, this)?;
        if before.as_deref() == Some(other) {
            continue;
        }
        if let Some(before) = before
            && other_jid(&tx.view(), account, &before)?.as_deref() == Some(this)
        {
            PEOPLE.delete(tx, (account, &before))?;
        }
        PEOPLE.put(tx, (account, this), other)?;
    }
    Ok(())
}

/// Moves everything of `from` into `into`, which is returned but not yet stored.
fn merge(tx: &mut WriteTx<'_>, account: u32, from: Chat, mut into: Chat) -> Result<Chat> {
    let mut places = Vec::new();
    for row in MESSAGES.scan(&tx.view(), (account, from.number))? {
        places.push(Place::of(&row?)?);
    }
    let mut twice = 0;
    for place in places {
        let Some(message) = MESSAGES.get(&tx.view(), place.key(account))? else {
            continue;
        };
        MESSAGES.delete(tx, place.key(account))?;
        MESSAGE_IDS.delete_at(tx, &id_key(account, &from, &message))?;
        let new_id = id_key(account, &into, &message);
        if MESSAGE_IDS.get_at(&tx.view(), &new_id)?.is_some() {
            MESSAGES_BY_TIME.delete(tx, place.time_key(account))?;
            let counters = counters(&tx.view(), account)?;
            search::remove(tx, account, place, &message, &counters)?;
            forget_due(tx, account, place, &message)?;
            raw::remove(tx, account, place)?;
            if let Some(id) = &message.media_id {
                media::remove(tx, account, id)?;
            }
            twice += 1;
            continue;
        }
        let was = place;
        let place = Place {
            chat: into.number,
            ..place
        };
        MESSAGE_IDS.put_at(tx, &new_id, place.id_value())?;
        put_message(tx, account, place, &message)?;
        search::change(tx, account, (was, &message), (place, &message))?;
    }
    if let Some((timestamp, _)) = from.last {
        CHATS_BY_TIME.delete(tx, (account, timestamp, from.number))?;
    }
    CHATS.delete(tx, (account, from.number))?;
    let mut counters = counters(&tx.view(), account)?;
    counters.messages = counters.messages.saturating_sub(twice);
    if from.last.is_some() {
        counters.chats = counters.chats.saturating_sub(1);
    }
    put_counters(tx, account, &counters)?;
    into.message_count += from.message_count.saturating_sub(twice);
    into.unread_count += from.unread_count;
    if let Some((seconds, at)) = from.timer {
        into.learn_timer(seconds, at);
    }
    into.name = into.name.or(from.name);
    into.contact_name = into.contact_name.or(from.contact_name);
    let last = match from.last.or(into.last) {
        Some(_) => newest(&tx.view(), account, into.number)?,
        None => None,
    };
    into.only_failed &= from.only_failed;
    into.archived |= from.archived;
    into.pinned |= from.pinned;
    into.muted_until = into.muted_until.max(from.muted_until);
    put(tx, account, &mut into, last)?;
    Ok(into)
}

/// The chat of `jid`, which is created if it is new.
pub fn ensure(
    tx: &mut WriteTx<'_>,
    account: u32,
    jid: &str,
    counters: &mut Counters,
) -> Result<Chat> {
    match by_jid(&tx.view(), account, jid)? {
        Some(chat) => Ok(chat),
        None => {
            let canonical = canonical_jid(&tx.view(), account, jid)?;
            let mut chat = create(tx, account, &canonical, counters)?;
            if let Some(lid) = other_jid(&tx.view(), account, &canonical)?
                && is_lid(&lid)
            {
                CHAT_IDS.put(tx, (account, &lid), chat.number)?;
                chat.lid = Some(lid);
                put_row(tx, account, &chat)?;
            }
            Ok(chat)
        }
    }
}

/// The caller stores the counters.
fn create(tx: &mut WriteTx<'_>, account: u32, jid: &str, counters: &mut Counters) -> Result<Chat> {
    counters.chat += 1;
    let chat = Chat {
        number: counters.chat,
        jid: jid.to_owned(),
        lid: is_lid(jid).then(|| jid.to_owned()),
        name: None,
        contact_name: None,
        unread_count: 0,
        message_count: 0,
        last: None,
        timer: None,
        only_failed: true,
        archived: false,
        pinned: false,
        muted_until: None,
    };
    CHAT_IDS.put(tx, (account, jid), chat.number)?;
    put_row(tx, account, &chat)?;
    Ok(chat)
}

/// Removes a chat that has no messages, and the rows of its JIDs that still lead to it.
pub fn forget(tx: &mut WriteTx<'_>, account: u32, chat: &Chat) -> Result<()> {
    for jid in std::iter::once(&chat.jid).chain(&chat.lid) {
        if CHAT_IDS.get(&tx.view(), (account, jid))? == Some(chat.number) {
            CHAT_IDS.delete(tx, (account, jid))?;
        }
    }
    CHATS.delete(tx, (account, chat.number)).map(drop)
}

/// Stores the chat with `last` as its newest message, in the order of chats, too, and counts it among
/// the listed ones. Counters that were read before are not to be stored after it.
pub fn put(
    tx: &mut WriteTx<'_>,
    account: u32,
    chat: &mut Chat,
    last: Option<(Millis, u64)>,
) -> Result<()> {
    let last = last.filter(|_| !chat.is_stories());
    let (before, after) = (chat.last.map(|l| l.0), last.map(|l| l.0));
    if before != after {
        if let Some(before) = before {
            CHATS_BY_TIME.delete(tx, (account, before, chat.number))?;
        }
        if let Some(after) = after {
            CHATS_BY_TIME.put(tx, (account, after, chat.number), ())?;
        }
    }
    if before.is_some() != after.is_some() {
        let mut counters = counters(&tx.view(), account)?;
        counters.chats = match after {
            Some(_) => counters.chats.saturating_add(1),
            None => counters.chats.saturating_sub(1),
        };
        put_counters(tx, account, &counters)?;
    }
    chat.last = last;
    put_row(tx, account, chat)
}

/// Timestamp and sequence of the chat's newest message.
pub fn newest(tx: &ReadTx<'_>, account: u32, chat: u64) -> Result<Option<(Millis, u64)>> {
    let mut rows = MESSAGES.scan_back(tx, (account, chat))?;
    rows.next()
        .map(|row| Ok(Place::of(&row?)?.id_value()))
        .transpose()
}

/// The chat of a number that an index names.
pub fn of(tx: &ReadTx<'_>, account: u32, number: u64) -> Result<Chat> {
    CHATS.named(tx, (account, number))
}

/// The chat that `jid` leads to, be it by the other JID of the same person.
pub fn by_jid(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Chat>> {
    if let Some(chat) = by_own_jid(tx, account, jid)? {
        return Ok(Some(chat));
    }
    match canonical_jid(tx, account, jid)? {
        number if number != jid => by_own_jid(tx, account, &number),
        _ => Ok(None),
    }
}

/// The chat that bears this very JID now.
fn by_own_jid(tx: &ReadTx<'_>, account: u32, jid: &str) -> Result<Option<Chat>> {
    let Some(number) = CHAT_IDS.get(tx, (account, jid))? else {
        return Ok(None);
    };
    let chat = CHATS.get(tx, (account, number))?;
    // The chat that the JID led to before it passed on is another person's, or has moved into another chat.
    Ok(chat.filter(|chat| chat.jid == jid || chat.lid.as_deref() == Some(jid)))
}

fn put_row(tx: &mut WriteTx<'_>, account: u32, chat: &Chat) -> Result<()> {
    CHATS.put(tx, (account, chat.number), chat).map(drop)
}

/// Whether the JID is a phone number's.
pub(super) fn is_number(jid: &str) -> bool {
    ChatJid::parse(jid).is_ok_and(|jid| jid.server() == Server::Person)
}

/// What a chat is, in a word.
pub fn kind_of(jid: &str) -> &'static str {
    match ChatJid::parse(jid).map(|jid| jid.server()) {
        Ok(Server::Group) => "group",
        Ok(Server::Newsletter) => "channel",
        Ok(Server::Broadcast) => "list",
        Ok(Server::Person | Server::Lid) | Err(_) => "person",
    }
}

fn is_group(jid: &str) -> bool {
    ChatJid::parse(jid).is_ok_and(|jid| jid.server() == Server::Group)
}

/// The groups among the `looks` chats with the newest messages that have no name yet.
pub fn nameless_groups(tx: &ReadTx<'_>, account: u32, looks: usize) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for row in CHATS_BY_TIME.scan_back(tx, (account,))?.take(looks) {
        let (_, _, number) = row?.parts()?;
        let chat = of(tx, account, number)?;
        if chat.name.is_none() && is_group(&chat.jid) {
            found.push(chat.jid);
        }
    }
    Ok(found)
}

/// People in the owner's address book, whose chats have numbers from `from` on, among the next `looks` chats: the LID of each
/// where it is known, else the number's JID; and the number of the chat to go on with, `None` at the end.
pub fn contacts(
    tx: &ReadTx<'_>,
    account: u32,
    from: u64,
    looks: usize,
) -> Result<(Vec<String>, Option<u64>)> {
    let mut found = Vec::new();
    for (look, row) in CHATS
        .scan_from(tx, (account, from), (account,))?
        .enumerate()
    {
        let chat = row?.value()?;
        if look == looks {
            return Ok((found, Some(chat.number)));
        }
        if chat.contact_name.is_some() && chat.is_person() {
            found.push(chat.lid.unwrap_or(chat.jid));
        }
    }
    Ok((found, None))
}

/// Whether the JID is a LID.
pub fn is_lid(jid: &str) -> bool {
    ChatJid::parse(jid).is_ok_and(|jid| jid.server() == Server::Lid)
}
