//! Media retry: a linked device found a link expired, and its phone uploads the file again.
//!
//! The request and the answer are encrypted with AES-256-GCM under a key that HKDF-SHA256 makes from the
//! media key, with the message's id as associated data: the requester has decrypted the message.

use rand::Rng as _;
use wacore::crypto::hkdf_sha256_into;
use wacore::media_retry::decrypt_media_retry_notification;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use wacore_libsignal::crypto::aes_256_gcm_encrypt;
use waproto::buffa::Message as _;
use waproto::whatsapp as wa;
use waproto::whatsapp::media_retry_notification::ResultType;

use crate::directory::Directory;
use crate::media::Kind;
use crate::phone::{Phone, attr, child_bytes};
use crate::service::Place;

const INFO: &[u8] = b"WhatsApp Media Retry Notification";
/// The code of `<error>` when the phone does not have the message.
const NOT_FOUND: u16 = 2;
/// The code of `<error>` when the request cannot be decrypted.
const DECRYPTION_ERROR: u16 = 3;

impl Phone {
    /// `<receipt type="server-error">` of one of the own linked devices: the answer, a
    /// `<notification type="mediaretry">` that the service routes to that device.
    pub(in crate::phone) fn on_media_retry(
        &mut self,
        node: &Node,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Option<Node> {
        let id = attr(node, "id")?;
        let asks = node.attrs.get("from")?.clone();
        let mut answer = NodeBuilder::new("notification")
            .attr("type", "mediaretry")
            .attr("to", asks)
            .attr("id", &id);
        let mut children = Vec::new();
        match self.retry_content(node, &id, dir, now_ms) {
            Ok(encrypted) => children.push(encrypted),
            Err(code) => {
                children.push(NodeBuilder::new("error").attr("code", code).build());
            }
        }
        children.extend(node.get_optional_child("rmr").cloned());
        answer = answer.children(children);
        Some(answer.build())
    }

    fn retry_content(
        &mut self,
        node: &Node,
        id: &str,
        dir: &mut dyn Directory,
        now_ms: u64,
    ) -> Result<Node, u16> {
        let file = self
            .media_of(id)
            .and_then(|media| media.file.clone())
            .ok_or(NOT_FOUND)?;
        let request = node.get_optional_child("encrypt").ok_or(DECRYPTION_ERROR)?;
        let sealed = child_bytes(request, "enc_p").ok_or(DECRYPTION_ERROR)?;
        let iv = child_bytes(request, "enc_iv").ok_or(DECRYPTION_ERROR)?;
        let plain = decrypt_media_retry_notification(&file.key, id, iv, sealed)
            .map_err(|_| DECRYPTION_ERROR)?;
        let asked =
            wa::ServerErrorReceipt::decode_from_slice(&plain).map_err(|_| DECRYPTION_ERROR)?;
        if asked.stanza_id.as_deref() != Some(id) {
            return Err(DECRYPTION_ERROR);
        }
        let mut answer = wa::MediaRetryNotification {
            stanza_id: Some(id.to_owned()),
            ..Default::default()
        };
        match dir.refused_media_retry(&self.number) {
            Some(code) => {
                answer.result = Some(match code {
                    2 => ResultType::NOT_FOUND,
                    3 => ResultType::DECRYPTION_ERROR,
                    _ => ResultType::GENERAL_ERROR,
                });
            }
            None => {
                let kind = Kind::from_segment(file.media_type.mms_type()).ok_or(NOT_FOUND)?;
                let stored = dir
                    .media()
                    .put(kind, file.blob.clone(), &self.number, now_ms / 1000);
                answer.result = Some(ResultType::SUCCESS);
                let forged = dir.forged_path(&self.number, Place::Retry);
                answer.direct_path = Some(forged.unwrap_or(stored.direct_path));
            }
        }
        self.seal_retry(&file.key, id, &answer.encode_to_vec())
            .ok_or(DECRYPTION_ERROR)
    }

    fn seal_retry(&mut self, media_key: &[u8; 32], id: &str, plain: &[u8]) -> Option<Node> {
        let mut key = [0; 32];
        hkdf_sha256_into(media_key, None, INFO, &mut key).ok()?;
        let mut iv = [0; 12];
        self.rng.fill_bytes(&mut iv);
        let mut sealed = Vec::new();
        aes_256_gcm_encrypt(&key, &iv, id.as_bytes(), plain, &mut sealed).ok()?;
        let bytes = |tag: &'static str, bytes: Vec<u8>| NodeBuilder::new(tag).bytes(bytes).build();
        Some(
            NodeBuilder::new("encrypt")
                .children([bytes("enc_p", sealed), bytes("enc_iv", iv.to_vec())])
                .build(),
        )
    }
}
