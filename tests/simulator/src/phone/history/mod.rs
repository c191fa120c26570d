//! The data that a phone sends to a newly linked device: the app-state key, the history and the push
//! names. History comes as WhatsApp's phones send it: the chats with their newest messages first
//! (`INITIAL_BOOTSTRAP`), then the push names, the rest of the last months (`RECENT`) and, for a client that
//! requires a full sync, older messages (`FULL`), in chunks. No message is sent twice.

mod chats;
mod past;
mod plan;

use std::ops::Range;

use wacore::download::MediaType;
use wacore_binary::{Jid, JidExt as _, Node};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp as wa;
use waproto::whatsapp::message::HistorySyncType;
use waproto::whatsapp::message::protocol_message::Type as ProtocolType;

use super::{Phone, PhoneError};
use crate::directory::{DeviceAddr, Directory};
use crate::service::{Place, token_of};

pub use past::{Past, PastChat, Peer};

use chats::Chat;
use plan::{Piece, Plan, Wanted};

/// Bytes of a payload that still goes into the message itself, where the client takes that.
const MAX_INLINE: usize = 48 * 1024;

impl Phone {
    /// The phone has had this past. To be called before a device is linked.
    pub fn remember(&mut self, past: Past) {
        for peer in &past.peers {
            self.contacts
                .entry(peer.number.clone())
                .or_insert_with(|| format!("Contact {}", peer.name));
        }
        self.past = Some(past);
    }

    /// The history given to [`remember`](Self::remember).
    pub fn past(&self) -> Option<&Past> {
        self.past.as_ref()
    }

    /// A linked device has logged in. After its first login the phone sends it the
    /// app-state key, the history and the push names, each as a peer message; later logins
    /// need nothing.
    pub fn device_online(
        &mut self,
        device: u16,
        first_login: bool,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Vec<Node> {
        if !first_login || !self.adv.is_linked(device) {
            return Vec::new();
        }
        let mut out = Vec::new();
        if let Err(error) = self.first_sync(device, dir, now_ms, &mut out) {
            log::warn!(
                "phone {}: first sync of device {device}: {error}",
                self.number
            );
        }
        out
    }

    fn first_sync(
        &mut self,
        device: u16,
        dir: &mut dyn Directory,
        now_ms: u64,
        out: &mut Vec<Node>,
    ) -> Result<(), PhoneError> {
        if !dir.keeps_app_state_key(&self.number) {
            let key = share(vec![self.app_state.to_proto(&self.adv)]);
            out.push(self.send_peer(device, key, dir)?);
        }

        let wanted = Wanted::of(
            dir.device_props(&self.number, device).as_ref(),
            now_ms / 1000,
        );
        let chats = self.chats(dir);
        let counts: Vec<_> = chats.iter().map(|chat| self.count(chat, &wanted)).collect();
        let plan = Plan::new(&counts, wanted.bootstrap);

        let mut chunk = Chunk {
            device,
            inline: wanted.inline,
            order: 1,
            done: 1,
            total: plan.total(),
            now_ms,
        };
        let mut first = self.sync(
            &chats,
            &plan.bootstrap,
            &chunk,
            HistorySyncType::INITIAL_BOOTSTRAP,
            dir,
        );
        first.phone_number_to_lid_mappings = self.mappings(&chats, dir);
        out.push(self.send_history(first, HistorySyncType::INITIAL_BOOTSTRAP, &chunk, dir)?);
        let names = self.push_names(&chats, dir);
        out.push(self.send_history(names, HistorySyncType::PUSH_NAME, &chunk, dir)?);
        for (kind, pieces) in [
            (HistorySyncType::RECENT, &plan.recent),
            (HistorySyncType::FULL, &plan.full),
        ] {
            for (n, pieces) in pieces.iter().enumerate() {
                chunk.order = u32::try_from(n + 1).unwrap_or(u32::MAX);
                chunk.done += 1;
                let sync = self.sync(&chats, pieces, &chunk, kind, dir);
                out.push(self.send_history(sync, kind, &chunk, dir)?);
            }
        }
        Ok(())
    }

    /// How many messages a chat has, and how many are too old for each kind of chunk.
    fn count(&self, chat: &Chat, wanted: &Wanted) -> (usize, usize, usize) {
        let older_than = |since: u64| {
            // Messages are in the order of their times.
            let (mut low, mut high) = (0, chat.len());
            while low < high {
                let middle = low + (high - low) / 2;
                if chat.time(self, middle) < since {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            low
        };
        let recent = older_than(wanted.recent_since);
        let full = wanted.full_since.map_or(recent, older_than).min(recent);
        (chat.len(), recent, full)
    }

    /// One chunk: the conversations of these pieces.
    fn sync(
        &self,
        chats: &[Chat],
        pieces: &[Piece],
        chunk: &Chunk,
        kind: HistorySyncType,
        dir: &dyn Directory,
    ) -> wa::HistorySync {
        use wa::history_sync::HistorySyncType as Kind;
        wa::HistorySync {
            sync_type: match kind {
                HistorySyncType::RECENT => Kind::RECENT,
                HistorySyncType::FULL => Kind::FULL,
                _ => Kind::INITIAL_BOOTSTRAP,
            },
            chunk_order: Some(chunk.order),
            progress: Some(chunk.progress()),
            conversations: pieces
                .iter()
                .filter_map(|(at, range)| Some(self.conversation(chats.get(*at)?, range, dir)))
                .collect(),
            ..Default::default()
        }
    }

    fn conversation(
        &self,
        chat: &Chat,
        range: &Range<usize>,
        dir: &dyn Directory,
    ) -> wa::Conversation {
        let newest = chat.len().checked_sub(1).map(|n| chat.time(self, n));
        let messages = range
            .clone()
            .rev()
            .filter_map(|n| {
                Some(wa::HistorySyncMsg {
                    message: MessageField::some(chat.message(self, n)?),
                    msg_order_id: Some(n as u64 + 1),
                })
            })
            .collect();
        let mut conversation = wa::Conversation {
            id: chat.jid.to_string(),
            messages,
            unread_count: u32::try_from(chat.unread).ok(),
            conversation_timestamp: newest,
            last_msg_timestamp: newest,
            end_of_history_transfer: Some(range.start == 0),
            not_spam: Some(true),
            ..Default::default()
        };
        if chat.jid.is_group() {
            self.describe_group(&mut conversation, &chat.jid, dir);
        } else if let Some(addr) = self.addr_of(&chat.jid, dir) {
            conversation.name = self.contacts.get(&addr.number).cloned();
            conversation.display_name = dir.name_of(&addr.number);
            conversation.username = dir.username_of(&addr.number);
            let pn = Jid::pn(addr.number.as_str()).to_string();
            let lid = self
                .jid_of(&addr, &Jid::lid(""), dir)
                .map(|jid| jid.to_string());
            conversation.pn_jid = Some(pn);
            conversation.lid_jid = lid;
            // By which the owner's devices show that this person has talked to him.
            conversation.tc_token = Some(token_of(&addr.number, &self.number).to_vec());
            conversation.tc_token_timestamp = Some(newest.unwrap_or_default());
        }
        conversation
    }

    fn describe_group(
        &self,
        conversation: &mut wa::Conversation,
        group: &Jid,
        dir: &dyn Directory,
    ) {
        let Some(view) = dir.group(&group.user) else {
            return;
        };
        let like = if view.lid { Jid::lid("") } else { Jid::pn("") };
        conversation.participant = view
            .members
            .iter()
            .filter_map(|number| {
                let addr = DeviceAddr {
                    number: number.clone(),
                    device: 0,
                };
                let admin = view.admins.contains(number);
                Some(wa::GroupParticipant {
                    user_jid: self.jid_of(&addr, &like, dir)?.to_string(),
                    rank: Some(match admin {
                        true => wa::group_participant::Rank::ADMIN,
                        false => wa::group_participant::Rank::REGULAR,
                    }),
                    ..Default::default()
                })
            })
            .collect();
        conversation.name = Some(view.subject);
    }

    /// Number and LID of the owner and of everyone in a chat.
    fn mappings(&self, chats: &[Chat], dir: &dyn Directory) -> Vec<wa::PhoneNumberToLIDMapping> {
        self.known_numbers(chats, dir)
            .into_iter()
            .filter_map(|number| {
                let addr = DeviceAddr { number, device: 0 };
                let lid = self.jid_of(&addr, &Jid::lid(""), dir)?;
                Some(wa::PhoneNumberToLIDMapping {
                    pn_jid: Some(Jid::pn(addr.number).to_string()),
                    lid_jid: Some(lid.to_string()),
                })
            })
            .collect()
    }

    /// The owner and the members of a chat.
    fn known_numbers(&self, chats: &[Chat], dir: &dyn Directory) -> Vec<String> {
        let mut numbers = std::collections::BTreeSet::from([self.number.clone()]);
        for chat in chats {
            match dir.group(&chat.jid.user).filter(|_| chat.jid.is_group()) {
                Some(view) => numbers.extend(view.members),
                None => numbers.extend(self.addr_of(&chat.jid, dir).map(|addr| addr.number)),
            }
        }
        numbers.into_iter().collect()
    }

    fn push_names(&self, chats: &[Chat], dir: &dyn Directory) -> wa::HistorySync {
        let named = self
            .known_numbers(chats, dir)
            .into_iter()
            .filter_map(|number| {
                let name = match number == self.number {
                    true => Some(self.name.clone()),
                    false => dir.name_of(&number),
                };
                Some(wa::Pushname {
                    id: Some(Jid::pn(number).to_string()),
                    pushname: Some(name?),
                })
            });
        wa::HistorySync {
            sync_type: wa::history_sync::HistorySyncType::PUSH_NAME,
            chunk_order: Some(1),
            progress: Some(100),
            pushnames: named.collect(),
            ..Default::default()
        }
    }

    /// The peer message that announces a chunk, or is one.
    fn send_history(
        &mut self,
        sync: wa::HistorySync,
        kind: HistorySyncType,
        chunk: &Chunk,
        dir: &mut dyn Directory,
    ) -> Result<Node, PhoneError> {
        let oldest = sync
            .conversations
            .iter()
            .flat_map(|it| &it.messages)
            .filter_map(|it| it.message.message_timestamp)
            .min()
            .unwrap_or(chunk.now_ms / 1000);
        let payload = zlib_stored(&sync.encode_to_vec());
        let mut notification = wa::message::HistorySyncNotification {
            file_length: Some(payload.len() as u64),
            sync_type: Some(kind),
            chunk_order: sync.chunk_order,
            progress: sync.progress,
            oldest_msg_in_chunk_timestamp_sec: i64::try_from(oldest).ok(),
            ..Default::default()
        };
        let fits = chunk.inline && payload.len() <= MAX_INLINE;
        let forged = dir.forged_path(&self.number, Place::History);
        if fits && forged.is_none() {
            notification.initial_hist_bootstrap_inline_payload = Some(payload);
        } else {
            let file = self.upload(
                MediaType::History,
                &mut payload.as_slice(),
                dir,
                chunk.now_ms,
            )?;
            notification.file_sha256 = Some(file.sha256.to_vec());
            notification.file_length = Some(file.len);
            notification.file_enc_sha256 = Some(file.stored.sha256.to_vec());
            notification.media_key = Some(file.key().to_vec());
            notification.direct_path =
                Some(forged.unwrap_or_else(|| file.stored.direct_path.clone()));
        }
        let message = protocol(wa::message::ProtocolMessage {
            r#type: Some(ProtocolType::HISTORY_SYNC_NOTIFICATION),
            history_sync_notification: MessageField::some(notification),
            ..Default::default()
        });
        self.send_peer(chunk.device, message, dir)
    }

    /// Answers a linked device that asks for app-state keys. Keys that the phone does not have are
    /// named without data: that is how a phone says so.
    pub(super) fn share_keys(
        &mut self,
        device: u16,
        request: &wa::message::AppStateSyncKeyRequest,
        dir: &mut dyn Directory,
    ) -> Result<Node, PhoneError> {
        let kept = dir.keeps_app_state_key(&self.number);
        let keys = request
            .key_ids
            .iter()
            .map(|asked| {
                if !kept && asked.key_id.as_deref() == Some(self.app_state.id()) {
                    self.app_state.to_proto(&self.adv)
                } else {
                    wa::message::AppStateSyncKey {
                        key_id: MessageField::some(asked.clone()),
                        ..Default::default()
                    }
                }
            })
            .collect();
        self.send_peer(device, share(keys), dir)
    }
}

/// Where in the history a chunk is.
struct Chunk {
    device: u16,
    inline: bool,
    /// Its number among those of its kind, from 1.
    order: u32,
    /// How many chunks there have been, this one included.
    done: usize,
    total: usize,
    now_ms: u64,
}

impl Chunk {
    /// Percent.
    fn progress(&self) -> u32 {
        u32::try_from(self.done * 100 / self.total.max(1)).unwrap_or(100)
    }
}

fn share(keys: Vec<wa::message::AppStateSyncKey>) -> wa::Message {
    protocol(wa::message::ProtocolMessage {
        r#type: Some(ProtocolType::APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: MessageField::some(wa::message::AppStateSyncKeyShare { keys }),
        ..Default::default()
    })
}

fn protocol(message: wa::message::ProtocolMessage) -> wa::Message {
    wa::Message {
        protocol_message: MessageField::some(message),
        ..Default::default()
    }
}

/// A zlib stream (RFC 1950) of stored blocks: the payloads are too small for compression to matter.
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xffff).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        // `chunks` keeps the length within 16 bits.
        let len = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in data {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    out.extend((b << 16 | a).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::zlib_stored;

    #[test]
    fn the_stream_inflates_to_its_input() {
        for data in [Vec::new(), b"history".to_vec(), vec![7; 200_000]] {
            let packed = zlib_stored(&data);
            let back = wacore_binary::zlib_pool::decompress_zlib_pooled(&packed, 1 << 20)
                .expect("a valid stream");
            assert_eq!(back, data);
        }
    }
}
