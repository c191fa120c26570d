//! The outbox: every message that is on its way to WhatsApp, from the moment it is accepted until
//! WhatsApp has acknowledged or refused it, or it was given up. What stands here is sent (again) by
//! the server itself, under the id it has: after a lost connection, a restart, a power cut.
//!
//! The content of a message is in `messages`, where it is shown as pending, and what its file needs to be sent in
//! `media`; a file that waits lies in the outbox's folder (`crate::media::Files`).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::Result;
use super::rows::{Json, Rows};
use super::schema::{Id, OUTBOX, OUTBOX_EXPIRY, OUTBOX_IDS, OUTBOX_STATE};
use super::tx::{ReadTx, WriteTx};
use super::{accounts, media, messages};
use crate::clock::{Millis, Step};
use crate::media::Look;
use crate::message::{Change, Target};

/// A message, or a change of one, that waits to be sent or acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub message_id: String,
    /// The chat's JID.
    pub to: String,
    /// The change to send; without one, the stored message of that id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Changing>,
    pub stage: Stage,
    pub created_at: Millis,
    /// It is not sent before that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_at: Option<Millis>,
    /// From then on it is not sent any more.
    pub expires_at: Millis,
    /// Bytes of its text and its file.
    pub size: u64,
    /// The caller's idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// Whether the account is shown as typing before its text goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub typing: bool,
    /// Whether each member of its group is mentioned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mention_all: bool,
}

impl Entry {
    /// Whether it is one of those that [`State::queued`] counts.
    fn is_queued(&self) -> bool {
        self.stage == Stage::Queued && self.send_at.is_none()
    }
}

/// A change of a stored message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changing {
    pub target: Target,
    pub change: Change,
}

/// Whether it may be at WhatsApp already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Surely not: it waits.
    Queued,
    /// Perhaps: it was handed over, and no answer is known.
    Sending,
}

/// The state of an account's sending.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// The last sequence given.
    last: u64,
    /// Entries, and those of them that are [`Stage::Queued`] without waiting for a time.
    pub count: u64,
    pub queued: u64,
    /// Bytes of all entries.
    pub bytes: u64,
    /// Idempotency keys that are remembered.
    pub keys: u64,
    /// Consecutive refusals of messages to new contacts for which WhatsApp named no duration.
    pub strikes: u32,
    /// Until then no message is sent to new contacts, because WhatsApp named no duration; 0 for none.
    pub paused_until: Millis,
    /// WhatsApp's lock on writing to new contacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Restriction>,
    /// WhatsApp's cap of new chats, once it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Restriction>,
}

/// A restriction that WhatsApp reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restriction {
    pub until: Millis,
    /// WhatsApp's name for it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// The sequences of entries that wait for a time begin here, behind all others: this bit, the time, and 20 bits of the
/// number given to the entry. So they are in the order of their times.
pub const SCHEDULED: u64 = 1 << 62;
/// The latest time that such a sequence holds: in the year 2109.
const LATEST: Millis = (1 << 42) - 1;

/// How much an account's outbox may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub count: u64,
    pub bytes: u64,
}

impl State {
    /// Whether `count` entries of `bytes` bytes together fit.
    pub fn has_room(&self, count: u64, bytes: u64, bounds: Bounds) -> bool {
        self.count.saturating_add(count) <= bounds.count
            && self.bytes.saturating_add(bytes) <= bounds.bytes
    }
}

/// The state of the account's sending.
pub fn state(tx: &ReadTx<'_>, account: u32) -> Result<State> {
    Ok(OUTBOX_STATE.get(tx, (account,))?.unwrap_or_default())
}

/// Changes the account's [`State`].
pub fn update_state(
    tx: &mut WriteTx<'_>,
    account: u32,
    change: impl FnOnce(&mut State),
) -> Result<()> {
    let mut state = state(&tx.view(), account)?;
    change(&mut state);
    OUTBOX_STATE.put(tx, (account,), &state).map(drop)
}

/// Adds an entry at the end. Its message id is new.
pub fn add(tx: &mut WriteTx<'_>, account: u32, entry: &Entry) -> Result<()> {
    let mut sequence = 0;
    update_state(tx, account, |state| {
        state.last += 1;
        state.count += 1;
        state.queued += u64::from(entry.is_queued());
        state.bytes = state.bytes.saturating_add(entry.size);
        sequence = state.last;
    })?;
    if let Some(send_at) = entry.send_at {
        sequence = SCHEDULED | (send_at.min(LATEST) << 20) | (sequence & 0xF_FFFF);
        while OUTBOX.get(&tx.view(), (account, sequence))?.is_some() {
            sequence += 1;
        }
    }
    OUTBOX.put(tx, (account, sequence), entry)?;
    OUTBOX_IDS.put(tx, (account, &entry.message_id), sequence)?;
    OUTBOX_EXPIRY.put(tx, (account, entry.expires_at, sequence), ())?;
    Ok(())
}

/// The entries that wait for a time or waited for one, in the order of those times, each with its time; read one by one.
pub fn scheduled<'t>(
    tx: &ReadTx<'t>,
    account: u32,
) -> Result<impl Iterator<Item = Result<(Millis, Entry)>> + use<'t>> {
    let entries = behind(tx, account, SCHEDULED - 1)?;
    Ok(entries.map(|row| row.map(|(_, entry)| (entry.send_at.unwrap_or_default(), entry))))
}

/// The entry of that message id.
pub fn get(tx: &ReadTx<'_>, account: u32, message_id: &str) -> Result<Option<Entry>> {
    Ok(find(tx, account, message_id)?.map(|(_, entry)| entry))
}

/// The entries behind sequence `after`, at most `limit`, each with its sequence.
pub fn list(tx: &ReadTx<'_>, account: u32, after: u64, limit: usize) -> Result<Vec<(u64, Entry)>> {
    behind(tx, account, after)?.take(limit).collect()
}

/// The entries behind the number `after`, each with its own, in the order in which they go; read one by
/// one.
pub fn behind<'t>(
    tx: &ReadTx<'t>,
    account: u32,
    after: u64,
) -> Result<impl Iterator<Item = Result<(u64, Entry)>> + use<'t>> {
    let rows = OUTBOX.scan_from(tx, (account, after.saturating_add(1)), (account,))?;
    Ok(rows.map(|row| {
        let row = row?;
        Ok((row.parts()?.1, row.value()?))
    }))
}

/// The entry that is given up first, with the time of that.
pub fn first_to_expire(tx: &ReadTx<'_>, account: u32) -> Result<Option<(Millis, Entry)>> {
    let Some(row) = OUTBOX_EXPIRY.scan(tx, (account,))?.next() else {
        return Ok(None);
    };
    let (_, expires_at, sequence) = row?.parts()?;
    Ok(Some((expires_at, OUTBOX.named(tx, (account, sequence))?)))
}

/// Moves the times of entries along with a step of the clock.
pub fn restamp(tx: &mut WriteTx<'_>, account: u32, step: &Step) -> Result<()> {
    // All of them: a thousand by default, and no more are taken in than the outbox's bounds allow.
    for (sequence, mut entry) in list(&tx.view(), account, 0, usize::MAX)? {
        let created_at = step.moved(entry.created_at);
        if created_at == entry.created_at {
            continue;
        }
        let life = entry.expires_at.saturating_sub(entry.created_at);
        OUTBOX_EXPIRY.delete(tx, (account, entry.expires_at, sequence))?;
        entry.created_at = created_at;
        // The time at which a message is to go was said by a caller, whose clock was not set.
        if entry.send_at.is_none() {
            entry.expires_at = created_at.saturating_add(life);
        }
        OUTBOX.put(tx, (account, sequence), &entry)?;
        OUTBOX_EXPIRY.put(tx, (account, entry.expires_at, sequence), ())?;
    }
    Ok(())
}

/// Marks an entry as about to be handed to WhatsApp. False if it is not there any more: it was cancelled.
pub fn begin(tx: &mut WriteTx<'_>, account: u32, message_id: &str) -> Result<bool> {
    let Some((sequence, mut entry)) = find(&tx.view(), account, message_id)? else {
        return Ok(false);
    };
    if entry.stage == Stage::Queued {
        update_state(tx, account, |state| {
            state.queued = state.queued.saturating_sub(u64::from(entry.is_queued()));
        })?;
        entry.stage = Stage::Sending;
        OUTBOX.put(tx, (account, sequence), &entry)?;
    }
    Ok(true)
}

/// Takes an entry out, if it is there.
pub fn remove(tx: &mut WriteTx<'_>, account: u32, message_id: &str) -> Result<Option<Entry>> {
    let Some((sequence, entry)) = find(&tx.view(), account, message_id)? else {
        return Ok(None);
    };
    OUTBOX.delete(tx, (account, sequence))?;
    OUTBOX_IDS.delete(tx, (account, message_id))?;
    OUTBOX_EXPIRY.delete(tx, (account, entry.expires_at, sequence))?;
    update_state(tx, account, |state| {
        state.count = state.count.saturating_sub(1);
        state.queued = state.queued.saturating_sub(u64::from(entry.is_queued()));
        state.bytes = state.bytes.saturating_sub(entry.size);
    })?;
    Ok(Some(entry))
}

fn find(tx: &ReadTx<'_>, account: u32, message_id: &str) -> Result<Option<(u64, Entry)>> {
    let Some(sequence) = OUTBOX_IDS.get(tx, (account, message_id))? else {
        return Ok(None);
    };
    Ok(Some((sequence, OUTBOX.named(tx, (account, sequence))?)))
}

/// Layout 1 said in each entry what kind of message goes, and kept there what a file needs to be sent: that is with
/// the message's medium since.
pub(super) fn upgrade_from_1(tx: &mut WriteTx<'_>) -> Result<()> {
    let mut entries = Vec::new();
    // Some thousand rows at most: of each account as many as its outbox may hold.
    for account in accounts::list(&tx.view())? {
        for row in OF_LAYOUT_1.scan(&tx.view(), (account.number,))? {
            let row = row?;
            entries.push((row.parts()?, row.value()?));
        }
    }
    for (key, mut entry) in entries {
        let mut what = entry["what"].take();
        let target = |mut of: Value| of["target"].take();
        if what["medium"].is_object() {
            let id = entry["messageId"].as_str().unwrap_or_default().to_owned();
            keep_with_medium(tx, key.0, &id, what["medium"].take())?;
        } else if what["reaction"].is_object() {
            let emoji = what["reaction"]["emoji"].take();
            let target = target(what["reaction"].take());
            entry["change"] = json!({"target": target, "change": {"React": {"emoji": emoji}}});
        } else if what["deletion"].is_object() {
            let target = target(what["deletion"].take());
            entry["change"] = json!({"target": target, "change": "Delete"});
        }
        if let Some(fields) = entry.as_object_mut() {
            fields.remove("what");
        }
        OF_LAYOUT_1.put(tx, key, &entry)?;
    }
    Ok(())
}

/// [`OUTBOX`] as layout 1 had it, and as JSON of any kind.
const OF_LAYOUT_1: Rows<(u32, u64), Json<Value>> = Rows::new(Id::Outbox, &[1]);

/// Puts what layout 1 said of a file that goes out to the message's medium, if that is there.
fn keep_with_medium(
    tx: &mut WriteTx<'_>,
    account: u32,
    message_id: &str,
    mut outgoing: Value,
) -> Result<()> {
    let message = messages::get_own(&tx.view(), account, message_id)?;
    let number = message
        .and_then(|message| media::parse_id(message.media_id.as_deref()?))
        .map(|(_, number)| number);
    let Some(number) = number else { return Ok(()) };
    let Some(mut medium) = media::get(&tx.view(), account, number)? else {
        return Ok(());
    };
    let mut look: Look = serde_json::from_value(outgoing["facts"].take()).unwrap_or_default();
    look.gif_playback = outgoing["gifPlayback"] == true;
    medium.look = Some(Box::new(look));
    if let Ok(uploaded) = serde_json::from_value(outgoing["upload"].take()) {
        medium.remote = Some(uploaded);
    }
    media::put(tx, account, number, &medium).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::idempotency::{self, Answer, Known, LIFE};
    use super::super::tests::TestStore;
    use super::*;

    fn entry(id: &str, expires_at: Millis) -> Entry {
        Entry {
            message_id: id.into(),
            to: "491700000002@s.whatsapp.net".into(),
            change: Some(Changing {
                target: Target {
                    chat: "491700000002@s.whatsapp.net".into(),
                    message_id: "first".into(),
                    author: None,
                },
                change: Change::Delete,
            }),
            stage: Stage::Queued,
            created_at: 1,
            send_at: None,
            expires_at,
            size: 10,
            once: None,
            typing: false,
            mention_all: false,
        }
    }

    #[test]
    fn entries_that_wait_for_a_time_are_in_the_order_of_times_behind_the_others() {
        let store = TestStore::new();
        let at = |id: &str, send_at| Entry {
            send_at: Some(send_at),
            ..entry(id, send_at + 100)
        };
        let rows = [
            at("noon", 12_000),
            entry("now", 50),
            at("nine", 9_000),
            at("noon too", 12_000),
        ];
        store.run(move |tx| {
            for row in &rows {
                add(tx, 1, row)?;
            }
            add(tx, 2, &at("other", 1))
        });
        let all = store.read(|tx| list(tx, 1, 0, 9)).unwrap();
        let ids = |rows: Vec<(u64, Entry)>| -> Vec<String> {
            rows.into_iter().map(|(_, e)| e.message_id).collect()
        };
        assert_eq!(ids(all), ["now", "nine", "noon", "noon too"]);
        let waiting = store.read(|tx| scheduled(tx, 1)?.collect::<Result<Vec<_>>>());
        let waiting = waiting.unwrap();
        assert_eq!(waiting[0].0, 9_000);
        assert_eq!(ids(waiting), ["nine", "noon", "noon too"]);
        let now = store.read(|tx| state(tx, 1)).unwrap();
        assert_eq!((now.count, now.queued), (4, 1));
        // The clock was an hour slow: what was said by the wrong clock moves, what a caller said does not.
        let step = Step {
            from: 0,
            to: 10,
            by: 3_600_000,
        };
        store.run(move |tx| restamp(tx, 1, &step));
        let of = |id: &str| store.read(|tx| get(tx, 1, id)).unwrap().unwrap();
        let nine = of("nine");
        assert_eq!(
            (nine.created_at, nine.send_at, nine.expires_at),
            (3_600_001, Some(9_000), 9_100)
        );
        assert_eq!(of("now").expires_at, 3_600_050);
        store.run(|tx| {
            begin(tx, 1, "nine")?;
            for id in ["nine", "noon", "noon too"] {
                remove(tx, 1, id)?;
            }
            Ok(())
        });
        let now = store.read(|tx| state(tx, 1)).unwrap();
        assert_eq!((now.count, now.queued), (1, 1));
    }

    #[test]
    fn entries_keep_their_order_and_their_count() {
        let store = TestStore::new();
        store.run(|tx| {
            for (id, at) in [("a", 30), ("b", 10), ("c", 20)] {
                add(tx, 1, &entry(id, at))?;
            }
            add(tx, 2, &entry("a", 5))
        });
        let ids = |account, after| {
            let found = store.read(|tx| list(tx, account, after, 9)).unwrap();
            found
                .into_iter()
                .map(|(_, e)| e.message_id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(1, 0), ["a", "b", "c"]);
        assert_eq!(ids(1, 1), ["b", "c"]);
        assert_eq!(ids(2, 0), ["a"]);
        let first = store.read(|tx| first_to_expire(tx, 1)).unwrap().unwrap();
        assert_eq!((first.0, first.1.message_id.as_str()), (10, "b"));
        assert_eq!(
            store.read(|tx| get(tx, 1, "a")).unwrap(),
            Some(entry("a", 30))
        );

        assert!(store.run(|tx| begin(tx, 1, "b")));
        assert!(!store.run(|tx| begin(tx, 1, "x")));
        let bounds = Bounds {
            count: 4,
            bytes: 40,
        };
        let now = store.read(|tx| state(tx, 1)).unwrap();
        assert_eq!((now.count, now.queued, now.bytes), (3, 2, 30));
        assert!(
            now.has_room(1, 10, bounds)
                && !now.has_room(1, 11, bounds)
                && !now.has_room(2, 2, bounds)
        );
        store.run(|tx| {
            for id in ["b", "a", "c", "a"] {
                remove(tx, 1, id)?;
            }
            Ok(())
        });
        let now = store.read(|tx| state(tx, 1)).unwrap();
        assert_eq!((now.count, now.queued, now.bytes), (0, 0, 0));
        assert_eq!(store.read(|tx| first_to_expire(tx, 1)).unwrap(), None);
        assert_eq!(ids(2, 0), ["a"]);
    }

    #[test]
    fn keys_are_remembered_for_a_day_and_bounded() {
        let store = TestStore::new();
        let known = |at| Known {
            request: [7; 32],
            at,
            message_id: "m".into(),
            answer: None,
        };
        let long = "k".repeat(255);
        let key = long.clone();
        store.run(move |tx| {
            idempotency::put(tx, 1, &key, &known(1_000))?;
            idempotency::put(tx, 1, "b", &known(2_000))
        });
        let seen = |account, key: &str, now| {
            let known = store.read(|tx| idempotency::get(tx, account, key, now));
            known.unwrap().is_some()
        };
        assert!(seen(1, &long, 1_000 + LIFE - 1) && !seen(1, &long, 1_000 + LIFE));
        assert!(seen(1, &long, 0), "a clock that was set back");
        assert!(!seen(2, &long, 1_000) && !seen(1, &long[1..], 1_000));
        // The first answer counts.
        for answer in [Answer::Sent(5), Answer::Sent(6)] {
            let counts = store.run(move |tx| idempotency::answer(tx, 1, "b", &answer));
            assert_eq!(counts, Some(Answer::Sent(5)));
        }
        let room = |most, now| store.run(move |tx| idempotency::make_room(tx, 1, most, now));
        assert_eq!(room(3, 3_000), None);
        assert_eq!(room(2, 3_000), Some(1_000 + LIFE));
        assert_eq!(room(2, 1_000 + LIFE), None, "the first has expired");
        assert_eq!(store.read(|tx| state(tx, 1)).unwrap().keys, 1);
        store.run(|tx| idempotency::forget(tx, 1, "b"));
        assert_eq!(store.read(|tx| state(tx, 1)).unwrap().keys, 0);
        assert!(!seen(1, "b", 2_000));
    }

    /// Entries as layout 1 had them, word for word.
    #[test]
    fn entries_of_layout_1_say_the_same_after_the_upgrade() {
        use crate::media::MediaKind;
        use crate::message::{Message, MessageKind, NewMedium};
        use crate::store::messages::Arrival;

        const TO: &str = "491700000002@s.whatsapp.net";
        const WHATS: [(&str, &str); 4] = [
            ("T", r#""text""#),
            (
                "M",
                r#"{"medium":{"gifPlayback":true,"facts":{"size":9,"mimetype":"video/mp4","width":64,
                "height":48,"seconds":2,"thumbnail":"AP8H","waveform":null,"animated":false},"upload":{"url":
                "https://mmg/v/1","directPath":"/v/1","mediaKey":[1,2],"mediaKeyTimestamp":7,"fileSha256":[3],
                "fileEncSha256":[4,5],"fileLength":9,"streamingSidecar":"AAE"}}}"#,
            ),
            (
                "R",
                r#"{"reaction":{"target":{"chat":"c","message_id":"A","author":"Me"},"emoji":"x"}}"#,
            ),
            (
                "D",
                r#"{"deletion":{"target":{"chat":"c","message_id":"B","author":{"Them":"d"}}}}"#,
            ),
        ];
        let store = TestStore::new();
        store.run(|tx| {
            accounts::create(tx, "alice", None, String::new(), 0)?;
            for (n, (id, what)) in WHATS.iter().enumerate() {
                add(tx, 1, &entry(id, 5))?;
                let what: Value = serde_json::from_str(what).expect("JSON");
                let row = json!({"messageId": id, "to": TO, "what": what, "stage": "sending",
                    "createdAt": 1, "expiresAt": 5, "size": 9});
                OF_LAYOUT_1.put(tx, (1, n as u64 + 1), &row)?;
            }
            let mut video = Message::empty("alice", "M", TO, MessageKind::Video, 1);
            video.from_me = true;
            let file = NewMedium {
                kind: MediaKind::Video,
                wire_chat: TO.to_owned(),
                wire_sender: None,
                mimetype: "video/mp4".to_owned(),
                file_name: None,
                size: 9,
                sha256: vec![3],
                remote: None,
                look: None,
                wanted: false,
            };
            messages::insert(tx, 1, &mut video, Some(&file), Arrival::Live)?;
            upgrade_from_1(tx)
        });
        let entries = store.read(|tx| list(tx, 1, 0, 9)).unwrap();
        let changing = |id: &str, author, change| {
            let (chat, message_id) = ("c".to_owned(), id.to_owned());
            let target = Target {
                chat,
                message_id,
                author: Some(author),
            };
            Some(Changing { target, change })
        };
        use crate::message::Author;
        let react = Change::React { emoji: "x".into() };
        let expected = [
            None,
            None,
            changing("A", Author::Me, react),
            changing("B", Author::Them(Some("d".into())), Change::Delete),
        ];
        for ((_, entry), change) in entries.iter().zip(expected) {
            assert_eq!(entry.change, change, "{}", entry.message_id);
            assert_eq!((entry.to.as_str(), entry.stage), (TO, Stage::Sending));
        }
        assert_eq!(entries.len(), WHATS.len());
        let medium = store.read(|tx| media::get(tx, 1, 1)).unwrap().unwrap();
        let look = medium.look.expect("kept");
        assert_eq!(
            (look.width, look.height, look.seconds),
            (Some(64), Some(48), Some(2))
        );
        assert_eq!(
            (look.thumbnail, look.gif_playback),
            (Some(vec![0, 255, 7]), true)
        );
        let remote = medium.remote.expect("uploaded");
        assert_eq!(
            (remote.direct_path.as_str(), remote.media_key),
            ("/v/1", vec![1, 2])
        );
        assert_eq!(
            (remote.file_enc_sha256, remote.media_key_timestamp),
            (vec![4, 5], Some(7))
        );
        assert_eq!(remote.streaming_sidecar, Some(vec![0, 1]));
    }
}
