//! What a phone tells a device that was just linked: the app-state key, and a history that is
//! complete because nothing came before.

use wacore_binary::{Jid, Node};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp as wa;
use waproto::whatsapp::message::protocol_message::Type as ProtocolType;

use super::{Phone, PhoneError};
use crate::directory::Directory;

impl Phone {
    /// A linked device has logged in. After its first login the phone sends it the
    /// app-state key, the (empty) history and the push names, each as a peer message; later logins
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
        let messages = [
            share(vec![self.app_state.to_proto(&self.adv)]),
            history(
                &self.bootstrap(),
                wa::message::HistorySyncType::INITIAL_BOOTSTRAP,
                now_ms,
            ),
            history(
                &self.push_names(),
                wa::message::HistorySyncType::PUSH_NAME,
                now_ms,
            ),
        ];
        let mut out = Vec::with_capacity(messages.len());
        for message in messages {
            match self.send_peer(device, message, dir) {
                Ok(stanza) => out.push(stanza),
                Err(error) => {
                    log::warn!(
                        "phone {}: first sync of device {device}: {error}",
                        self.number
                    );
                    break;
                }
            }
        }
        out
    }

    /// Answers a linked device that asks for app-state keys. Keys that the phone does not have are
    /// named without data: that is how a phone says so.
    pub(super) fn share_keys(
        &mut self,
        device: u16,
        request: &wa::message::AppStateSyncKeyRequest,
        dir: &mut dyn Directory,
    ) -> Result<Node, PhoneError> {
        let keys = request
            .key_ids
            .iter()
            .map(|asked| {
                if asked.key_id.as_deref() == Some(self.app_state.id()) {
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

    fn bootstrap(&self) -> wa::HistorySync {
        wa::HistorySync {
            sync_type: wa::history_sync::HistorySyncType::INITIAL_BOOTSTRAP,
            chunk_order: Some(1),
            progress: Some(100),
            phone_number_to_lid_mappings: vec![wa::PhoneNumberToLIDMapping {
                pn_jid: Some(Jid::pn(self.number.as_str()).to_string()),
                lid_jid: Some(Jid::lid(self.lid.as_str()).to_string()),
            }],
            ..Default::default()
        }
    }

    fn push_names(&self) -> wa::HistorySync {
        wa::HistorySync {
            sync_type: wa::history_sync::HistorySyncType::PUSH_NAME,
            chunk_order: Some(1),
            progress: Some(100),
            pushnames: vec![wa::Pushname {
                id: Some(Jid::pn(self.number.as_str()).to_string()),
                pushname: Some(self.name.clone()),
            }],
            ..Default::default()
        }
    }
}

fn share(keys: Vec<wa::message::AppStateSyncKey>) -> wa::Message {
    protocol(wa::message::ProtocolMessage {
        r#type: Some(ProtocolType::APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: MessageField::some(wa::message::AppStateSyncKeyShare { keys }),
        ..Default::default()
    })
}

fn history(sync: &wa::HistorySync, kind: wa::message::HistorySyncType, now_ms: u64) -> wa::Message {
    let payload = zlib_stored(&sync.encode_to_vec());
    protocol(wa::message::ProtocolMessage {
        r#type: Some(ProtocolType::HISTORY_SYNC_NOTIFICATION),
        history_sync_notification: MessageField::some(wa::message::HistorySyncNotification {
            file_length: Some(payload.len() as u64),
            sync_type: Some(kind),
            chunk_order: Some(1),
            progress: Some(100),
            oldest_msg_in_chunk_timestamp_sec: i64::try_from(now_ms / 1000).ok(),
            initial_hist_bootstrap_inline_payload: Some(payload),
            ..Default::default()
        }),
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
    fn the_stream_inflates_to_what_went_in() {
        for data in [Vec::new(), b"history".to_vec(), vec![7; 200_000]] {
            let packed = zlib_stored(&data);
            let back = wacore_binary::zlib_pool::decompress_zlib_pooled(&packed, 1 << 20)
                .expect("a valid stream");
            assert_eq!(back, data);
        }
    }
}
