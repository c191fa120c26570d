//! What is to be sent, as a message: its words, its file made ready, its place in a chat.

use std::time::Duration;

use futures_lite::FutureExt as _;

use crate::clock;
use crate::jid::ChatJid;
use crate::media::{self, MediaError, MediaKind, Prepared, Work};
use crate::message::{DeliveryStatus, Message, MessageKind, Quoted};
use crate::runtime;
use crate::store::media::{NewMedium, Remote};
use crate::store::messages::{self, Author, Target};
use crate::store::outbox::{FileFacts, Outgoing, Upload, What};
use crate::whatsapp::SendFailure;

use super::caller::Caller;
use super::sending::{Sending, Way};
use super::slots;
use super::turns::Turns;
use super::types::{AccountError, OutgoingMedia, OutgoingText};

/// Pictures and what else is only looked at: what takes memory is done one after the other.
static LOOKED_AT: Turns = Turns::new(1, 1);
/// Sounds that are converted, which takes long and up to 4 MB each.
static CONVERTED: Turns = Turns::new(4, 2);
/// How long a sound is worked on before the others have their turn.
const SLICE: Duration = Duration::from_millis(250);
/// How much longer a sound is converted after its client has left: senders of short notes may not care for
/// the answer.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// A request to send, checked.
pub enum Draft {
    Text(OutgoingText, Option<Message>),
    Medium(OutgoingMedia, Option<Message>),
    Reaction {
        chat: ChatJid,
        target: Message,
        emoji: String,
    },
    Deletion {
        chat: ChatJid,
        target: Message,
    },
}

/// A message that is to be recorded.
pub struct New {
    pub to: ChatJid,
    pub message: Option<Message>,
    pub medium: Option<NewMedium>,
    pub what: What,
    pub size: u64,
}

impl Sending {
    /// What a draft comes to as a message, and its file.
    pub async fn new_message(
        &self,
        draft: Draft,
        message_id: &str,
        way: &Way,
        caller: &Caller,
    ) -> Result<(New, Option<Prepared>), AccountError> {
        Ok(match draft {
            Draft::Text(out, quoted) => {
                let size = out.text.len() as u64;
                let message = Message {
                    text: Some(out.text),
                    ..self.pending(
                        message_id,
                        &out.to,
                        MessageKind::Text,
                        quoted.as_ref(),
                        &out.mentions,
                    )
                };
                let new = New {
                    to: out.to,
                    message: Some(message),
                    medium: None,
                    what: What::Text,
                    size,
                };
                (new, None)
            }
            Draft::Medium(out, quoted) => {
                let (new, prepared) = self
                    .new_medium(out, quoted, message_id, way, caller)
                    .await?;
                (new, Some(prepared))
            }
            Draft::Reaction {
                chat,
                target,
                emoji,
            } => {
                let what = What::Reaction {
                    target: target_of(&target),
                    emoji,
                };
                (change_of(chat, what), None)
            }
            Draft::Deletion { chat, target } => {
                let what = What::Deletion {
                    target: target_of(&target),
                };
                (change_of(chat, what), None)
            }
        })
    }

    /// Prepares a file, and uploads it if it goes now.
    async fn new_medium(
        &self,
        out: OutgoingMedia,
        quoted: Option<Message>,
        message_id: &str,
        way: &Way,
        caller: &Caller,
    ) -> Result<(New, Prepared), AccountError> {
        let spool = self.fetcher.wiring.spool.clone();
        let OutgoingMedia {
            to,
            wish,
            file,
            caption,
            gif_playback,
            mentions,
            quoted_message_id: _,
        } = out;
        let prepared = self
            .prepare(Work::new(wish.clone(), file, spool.clone()), caller)
            .await?;
        let upload = match way {
            Way::Now(session) => {
                let slots = &self.fetcher.slots;
                let _slot = slots.take(slots::Kind::Upload, self.account).await;
                let uploaded = session.upload(wish.kind, prepared.file.path(), &spool);
                let uploaded = uploaded.await;
                Some(uploaded.map_err(|failure| self.upload_failed(failure))?)
            }
            Way::Later(_) => None,
        };
        let sha256 = match &upload {
            Some(upload) => upload.file_sha256,
            None => {
                let path = prepared.file.path().to_owned();
                self.fetcher.hash(path).await.map_err(MediaError::Io)?
            }
        };
        // Phones do not take a document without a name.
        let file_name = (wish.kind == MediaKind::Document).then(|| {
            let given = wish.file_name.clone();
            given.unwrap_or_else(|| media::usual_name(&prepared.mimetype))
        });
        let message = Message {
            caption: caption.clone(),
            ..self.pending(
                message_id,
                &to,
                kind_of(wish.kind, wish.ptt),
                quoted.as_ref(),
                &mentions,
            )
        };
        let medium = NewMedium {
            kind: name_of(wish.kind),
            wire_chat: to.to_string(),
            wire_sender: None,
            mimetype: prepared.mimetype.clone(),
            file_name,
            size: prepared.size,
            sha256: sha256.to_vec(),
            remote: upload.as_ref().map(remote_of),
            wanted: false,
        };
        let size = prepared
            .size
            .saturating_add(caption.map_or(0, |c| c.len() as u64));
        let what = What::Medium(Box::new(Outgoing {
            gif_playback,
            facts: facts_of(&prepared),
            upload,
        }));
        let new = New {
            to,
            message: Some(message),
            medium: Some(medium),
            what,
            size,
        };
        Ok((new, prepared))
    }

    /// Makes a file ready. What takes long does so in slices, and ends soon after its caller has left: nothing
    /// was promised yet.
    async fn prepare(&self, work: Work, caller: &Caller) -> Result<Prepared, AccountError> {
        if !work.is_long() {
            return self.in_slices(work, &LOOKED_AT).await;
        }
        let left = async {
            caller.left().await;
            smol::Timer::after(LEFT_ALONE).await;
            Err(AccountError::CallerLeft)
        };
        self.in_slices(work, &CONVERTED).or(left).await
    }

    async fn in_slices(
        &self,
        mut work: Work,
        turns: &'static Turns,
    ) -> Result<Prepared, AccountError> {
        let place = turns.enter(self.account);
        loop {
            let turn = place.turn().await;
            let is_long = work.is_long();
            let slice = move || {
                // The turn goes with the work, which ends its slice once its client has left.
                let _turn = turn;
                let done = work.step(SLICE);
                (work, done)
            };
            let done;
            (work, done) = match is_long {
                true => runtime::at_low_priority(slice)
                    .await
                    .map_err(MediaError::Io)?,
                false => smol::unblock(slice).await,
            };
            if let Some(prepared) = done? {
                return Ok(prepared);
            }
        }
    }

    fn upload_failed(&self, failure: SendFailure) -> AccountError {
        match failure {
            SendFailure::NotConnected => self.not_connected(),
            other => AccountError::Session(other.to_string()),
        }
    }

    /// The JIDs of people as WhatsApp has named them, as far as it did.
    fn numbers_of(&self, people: &[ChatJid]) -> Vec<String> {
        let account = self.account;
        let of = |jid: &ChatJid| {
            let jid = jid.to_string();
            let known = self
                .store()
                .read(|tx| messages::number_of(tx, account, &jid));
            known.unwrap_or(jid)
        };
        people.iter().map(of).collect()
    }

    fn pending(
        &self,
        message_id: &str,
        to: &ChatJid,
        kind: MessageKind,
        quoted: Option<&Message>,
        mentions: &[ChatJid],
    ) -> Message {
        Message {
            sender: self.own_jid().unwrap_or_default(),
            from_me: true,
            quoted_message: quoted.map(|quoted| Quoted {
                message_id: quoted.message_id.clone(),
                chat_id: is_elsewhere(quoted, to).then(|| quoted.chat_id.clone()),
                participant: Some(quoted.sender.clone()),
                text: quoted.words().map(str::to_owned),
                has_media: quoted.has_media,
            }),
            mentions: self.numbers_of(mentions),
            status: Some(DeliveryStatus::Pending),
            ..Message::empty(&*self.id, message_id, to.to_string(), kind, clock::now())
        }
    }
}

/// Whether a message that is answered in a person's chat is not in it.
fn is_elsewhere(quoted: &Message, to: &ChatJid) -> bool {
    to.is_person() && !ChatJid::parse(&quoted.chat_id).is_ok_and(|chat| chat.is_person())
}

fn target_of(message: &Message) -> Target {
    Target {
        chat: message.chat_id.clone(),
        message_id: message.message_id.clone(),
        author: Some(match message.from_me {
            true => Author::Me,
            false => Author::Them(Some(message.sender.clone())),
        }),
    }
}

/// A message about another one, which is not shown itself.
fn change_of(to: ChatJid, what: What) -> New {
    New {
        to,
        message: None,
        medium: None,
        what,
        size: 0,
    }
}

/// Where an uploaded file lies, to fetch it again.
pub fn remote_of(upload: &Upload) -> Remote {
    Remote {
        direct_path: upload.direct_path.clone(),
        media_key: upload.media_key.to_vec(),
        file_enc_sha256: upload.file_enc_sha256.to_vec(),
    }
}

fn facts_of(prepared: &Prepared) -> FileFacts {
    FileFacts {
        size: prepared.size,
        mimetype: prepared.mimetype.clone(),
        width: prepared.width,
        height: prepared.height,
        seconds: prepared.seconds,
        thumbnail: prepared.thumbnail.clone(),
        waveform: prepared.waveform.clone(),
        animated: prepared.animated,
    }
}

fn kind_of(kind: MediaKind, ptt: bool) -> MessageKind {
    match kind {
        MediaKind::Image => MessageKind::Image,
        MediaKind::Video => MessageKind::Video,
        MediaKind::Audio if ptt => MessageKind::Voice,
        MediaKind::Audio => MessageKind::Audio,
        MediaKind::Document => MessageKind::Document,
        MediaKind::Sticker => MessageKind::Sticker,
    }
}

/// What a stored message's file is sent as, and whether as a voice note.
pub fn media_of(kind: MessageKind) -> Option<(MediaKind, bool)> {
    match kind {
        MessageKind::Image => Some((MediaKind::Image, false)),
        MessageKind::Video => Some((MediaKind::Video, false)),
        MessageKind::Audio => Some((MediaKind::Audio, false)),
        MessageKind::Voice => Some((MediaKind::Audio, true)),
        MessageKind::Document => Some((MediaKind::Document, false)),
        MessageKind::Sticker => Some((MediaKind::Sticker, false)),
        MessageKind::Text
        | MessageKind::Location
        | MessageKind::Contact
        | MessageKind::Poll
        | MessageKind::Reaction
        | MessageKind::Unknown
        | MessageKind::Waiting
        | MessageKind::Unavailable => None,
    }
}

fn name_of(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Video => "video",
        MediaKind::Audio => "audio",
        MediaKind::Document => "document",
        MediaKind::Sticker => "sticker",
    }
}
