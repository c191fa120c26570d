//! Which messages go into which chunk of the history.

use std::ops::Range;

use waproto::whatsapp as wa;

/// Messages of each chat in the first chunk, unless the client names a number.
const BOOTSTRAP_MESSAGES: usize = 20;
/// Days of `RECENT`, unless the client names a number: what WhatsApp Web gets.
const RECENT_DAYS: u32 = 90;
/// Days of `FULL`, unless the client names a number.
const FULL_DAYS: u32 = 365;
/// Messages of a chunk.
const CHUNK_MESSAGES: usize = 1000;
/// How much history a client asked for when it was linked.
pub(super) struct Wanted {
    /// Messages of each chat in the first chunk.
    pub(super) bootstrap: usize,
    /// Nothing older than this, Unix seconds, in `RECENT`.
    pub(super) recent_since: u64,
    /// Nothing older than this in `FULL`; `None` for a client that does not require it.
    pub(super) full_since: Option<u64>,
    /// Whether small payloads may go into the message.
    pub(super) inline: bool,
}

impl Wanted {
    pub(super) fn of(props: Option<&wa::DeviceProps>, now: u64) -> Wanted {
        let config = props.and_then(|props| props.history_sync_config.as_option());
        let since = |days: Option<u32>, default: u32| {
            match u64::from(days.unwrap_or(default)) {
                // No days: not even current messages.
                0 => u64::MAX,
                days => now.saturating_sub(days * 24 * 60 * 60),
            }
        };
        let full = props.is_some_and(|props| props.require_full_sync == Some(true));
        Wanted {
            bootstrap: config
                .and_then(|config| config.initial_sync_max_messages_per_chat)
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(BOOTSTRAP_MESSAGES),
            recent_since: since(
                config.and_then(|config| config.recent_sync_days_limit),
                RECENT_DAYS,
            ),
            full_since: full.then(|| {
                since(
                    config.and_then(|config| config.full_sync_days_limit),
                    FULL_DAYS,
                )
            }),
            // A client that says nothing about it is an old one, which takes it.
            inline: config
                .and_then(|config| config.inline_initial_payload_in_e2_ee_msg)
                .unwrap_or(true),
        }
    }
}

/// Messages of one chat, by number, that go into one chunk.
pub(super) type Piece = (usize, Range<usize>);

/// How the messages of all chats are spread over the chunks.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) bootstrap: Vec<Piece>,
    pub(super) recent: Vec<Vec<Piece>>,
    pub(super) full: Vec<Vec<Piece>>,
}

impl Plan {
    /// `counts` are, for each chat, how many messages there are, how many of them are older than
    /// `RECENT` goes back, and how many are older than `FULL` does.
    pub(super) fn new(counts: &[(usize, usize, usize)], bootstrap: usize) -> Plan {
        let mut plan = Plan::default();
        let (mut recent, mut full) = (Vec::new(), Vec::new());
        for (chat, &(len, before_recent, before_full)) in counts.iter().enumerate() {
            let newest = len - bootstrap.min(len - before_recent);
            // A chat whose last message is too old is not in the history at all.
            if before_recent < len || before_full < len {
                plan.bootstrap.push((chat, newest..len));
            }
            recent.push((chat, before_recent..newest));
            full.push((chat, before_full..before_recent.max(before_full)));
        }
        plan.recent = chunks(recent);
        plan.full = chunks(full);
        plan
    }

    pub(super) fn total(&self) -> usize {
        1 + self.recent.len() + self.full.len()
    }
}

/// Cuts pieces so that a chunk has so many messages and no more.
fn chunks(pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    let mut all = Vec::new();
    let mut chunk = Vec::new();
    let mut room = CHUNK_MESSAGES;
    for (chat, mut range) in pieces {
        while !range.is_empty() {
            // The newest go first, as everywhere in history.
            let from = range.end - room.min(range.len());
            room -= range.end - from;
            chunk.push((chat, from..range.end));
            range.end = from;
            if room == 0 {
                all.push(std::mem::take(&mut chunk));
                room = CHUNK_MESSAGES;
            }
        }
    }
    if !chunk.is_empty() {
        all.push(chunk);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_MESSAGES, Plan};

    #[test]
    fn every_message_is_in_one_chunk_and_none_is_too_old() {
        let counts = [(2500, 100, 40), (3, 0, 0), (10, 10, 10), (5, 5, 0)];
        let plan = Plan::new(&counts, 20);
        let mut seen: Vec<Vec<bool>> = counts.iter().map(|it| vec![false; it.0]).collect();
        let all = std::iter::once(&plan.bootstrap)
            .chain(&plan.recent)
            .chain(&plan.full);
        for chunk in all {
            assert!(chunk.iter().map(|it| it.1.len()).sum::<usize>() <= CHUNK_MESSAGES);
            for (chat, range) in chunk {
                for n in range.clone() {
                    assert!(
                        !std::mem::replace(&mut seen[*chat][n], true),
                        "{chat}/{n} twice"
                    );
                }
            }
        }
        for (chat, (len, _, before_full)) in counts.iter().enumerate() {
            let due: Vec<bool> = (0..*len).map(|n| n >= *before_full).collect();
            assert_eq!(seen[chat], due, "{chat}");
        }
        assert_eq!(
            plan.bootstrap.len(),
            3,
            "a chat that is too old is not there"
        );
        assert_eq!(plan.bootstrap[0], (0, 2480..2500));
        assert!(plan.recent.len() == 3 && plan.full.len() == 1);
    }
}
