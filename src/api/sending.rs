//! Everything that goes into a chat: texts, files, replies, reactions, deletions, read marks.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Done, Json, Reply};
use super::auth::Caller;
use super::context::{ApiContext, Req};
use super::delivery::{self, Begun, Delivery, Key};
use super::error::ApiError;
use super::fetch::{Headers, Wanted};
use super::file::{Received, Room};
use super::file_name;
use super::read::Incoming;
use super::recipients::{ToMany, all_reached, each_reached, known, reached};
use super::values::OfAccount;
use crate::account::{AccountError, Outcome, Sent};
use crate::fields::{Addressee, Caption, Field, FieldError, Mentions, NonEmpty, request};
use crate::media::{MediaKind, MediaRequest, Pack};
use crate::message::{self, Draft, Message, Sendable};
use crate::net::reach::Reach;

/// A file is sent as what the endpoint says.
struct FileEndpoint {
    kind: MediaKind,
    name: &'static str,
    missing: &'static str,
}

const IMAGE: FileEndpoint = FileEndpoint {
    kind: MediaKind::Image,
    name: "image",
    missing: "image file is required",
};
const VIDEO: FileEndpoint = FileEndpoint {
    kind: MediaKind::Video,
    name: "video",
    missing: "video file is required",
};
const AUDIO: FileEndpoint = FileEndpoint {
    kind: MediaKind::Audio,
    name: "audio",
    missing: "audio file is required",
};
const DOCUMENT: FileEndpoint = FileEndpoint {
    kind: MediaKind::Document,
    name: "document",
    missing: "document file is required",
};
const STICKER: FileEndpoint = FileEndpoint {
    kind: MediaKind::Sticker,
    name: "sticker",
    missing: "sticker file is required",
};

/// 200 with the message that WhatsApp acknowledged, or 202 with the one that waits in the outbox.
pub struct SentOrAccepted {
    outcome: Outcome,
    word: Option<&'static str>,
}

/// WhatsApp's server has it
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Sent"))]
struct SentAnswer {
    #[serde(flatten)]
    sent: Sent,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
}

impl Reply for SentOrAccepted {
    fn into_answer(self) -> Result<Answer, ApiError> {
        match self.outcome {
            Outcome::Sent(sent) => Answer::ok(&SentAnswer {
                sent,
                message: self.word,
            }),
            Outcome::Accepted(accepted) => Answer::accepted(&accepted),
        }
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        operation.json::<SentAnswer>(200);
        operation.json::<crate::account::Accepted>(202);
    }
}

impl From<Outcome> for SentOrAccepted {
    fn from(outcome: Outcome) -> SentOrAccepted {
        SentOrAccepted {
            outcome,
            word: None,
        }
    }
}

/// Sends what a request of [`crate::message`] says.
pub async fn send<T: Sendable>(
    req: Req,
    (of, request, delivery): (OfAccount, T, Delivery),
) -> Result<SentOrAccepted, ApiError> {
    let drafted = request.into_draft()?;
    send_draft(req, of.id.0, T::ENDPOINT, None, drafted, delivery, T::DONE).await
}

/// The same to one recipient or to a list of them.
pub async fn send_to<T: Sendable, const MOST: usize>(
    req: Req,
    (of, to, delivery): (OfAccount, ToMany<T, MOST>, Delivery),
) -> Result<SentOrAccepted, ApiError> {
    let drafted = to.request.into_draft()?;
    send_draft(
        req,
        of.id.0,
        T::ENDPOINT,
        to.all,
        drafted,
        delivery,
        T::DONE,
    )
    .await
}

/// Only what is in all chats can be quoted in all.
pub(super) fn quotes_nothing(all: Option<&[Addressee]>, quoted: bool) -> Result<(), FieldError> {
    match all {
        Some(_) if quoted => Err(FieldError::Field {
            field: "to",
            expected: "one recipient with \"quotedMessageId\": the message is in one chat",
        }),
        Some(_) | None => Ok(()),
    }
}

/// Not generic, so that the binary has it once.
async fn send_draft(
    req: Req,
    id: String,
    endpoint: &'static str,
    all: Option<Vec<Addressee>>,
    (to, people, mut draft): (Addressee, Mentions, Draft),
    delivery: Delivery,
    word: Option<&'static str>,
) -> Result<SentOrAccepted, ApiError> {
    let accounts = &req.state().accounts;
    quotes_nothing(all.as_deref(), draft.quotes())?;
    let outcome = match delivery::begin(&req, &id, endpoint, delivery, &[]).await? {
        Begun::Answered(outcome) => outcome,
        Begun::First(options) => {
            match &mut draft {
                Draft::Message { mentions, .. } => {
                    *mentions = all_reached(people.0, accounts, &id).await?;
                }
                Draft::Forward { from, chat, .. } => {
                    *chat = Some(known(from.clone(), accounts, &id)?);
                }
                Draft::Change { .. } => {}
            }
            match all {
                Some(all) => {
                    let all = each_reached(all, accounts, &id).await?;
                    accounts.send_to_all(&id, all, draft, options).await?
                }
                None => {
                    let to = reached(to, accounts, &id).await?;
                    accounts.send(&id, to, draft, options).await?
                }
            }
        }
    };
    Ok(SentOrAccepted { outcome, word })
}

request! {
    /// What is said of a file to send.
    pub struct SendFile missing "to field is required" {
        to: Addressee = "to",
        caption: Option<Caption> = "caption",
        gif_playback: bool = "gifPlayback",
        /// a video as a round note; a square one, without a caption
        note: bool = "note",
        /// of a sticker: the pack that it shows, at most 128 characters
        pack_name: Option<NonEmpty> = "packName",
        /// of a sticker: who made the pack, at most 128 characters
        author: Option<NonEmpty> = "author",
        /// an image, a video or a voice note that can be opened once
        view_once: bool = "viewOnce",
        mentions: Mentions = "mentions",
        quoted: Option<NonEmpty> = "quotedMessageId",
        ptt: bool = "ptt",
        /// else the form's, the server's, the address's, or document.pdf and the like
        file_name: Option<NonEmpty> = "fileName" or "filename",
        /// counts where the bytes leave open what it is
        mimetype: Option<NonEmpty> = "mimetype",
        /// sent to the server of url, and to no other; in a form as JSON
        headers: Headers = "headers",
        /// fetched by the server, with the user and password in it as Basic authentication; or a data: URI
        url: Option<NonEmpty> = "url",
    }
}

/// Characters of a sticker pack's name, and of its author's.
const MAX_PACK: usize = 128;

impl SendFile {
    /// Whether its fields fit together, and to a file of that kind.
    fn fit(&self, kind: MediaKind) -> Result<(), ApiError> {
        for (field, name) in [("packName", &self.pack_name), ("author", &self.author)] {
            if name
                .as_ref()
                .is_some_and(|NonEmpty(name)| name.chars().count() > MAX_PACK)
            {
                return Err(ApiError::Field {
                    field,
                    expected: "at most 128 characters long",
                });
            }
        }
        let fits_once = match kind {
            MediaKind::Image | MediaKind::Video => true,
            MediaKind::Audio => self.ptt,
            MediaKind::Document | MediaKind::Sticker => false,
        };
        if self.view_once && !fits_once {
            return Err(ApiError::Field {
                field: "viewOnce",
                expected: "false, except for an image, a video or a voice note (\"ptt\": true)",
            });
        }
        if kind == MediaKind::Video && self.note && self.caption.is_some() {
            return Err(ApiError::Field {
                field: "caption",
                expected: "absent: a round video has none",
            });
        }
        Ok(())
    }
}

/// The request of the endpoints that send a file.
pub type FileRequest = (OfAccount, ToMany<SendFile>, Delivery);

pub async fn image(incoming: Incoming<FileRequest>) -> Result<SentOrAccepted, ApiError> {
    file(incoming, IMAGE).await
}

pub async fn video(incoming: Incoming<FileRequest>) -> Result<SentOrAccepted, ApiError> {
    file(incoming, VIDEO).await
}

pub async fn audio(incoming: Incoming<FileRequest>) -> Result<SentOrAccepted, ApiError> {
    file(incoming, AUDIO).await
}

pub async fn document(incoming: Incoming<FileRequest>) -> Result<SentOrAccepted, ApiError> {
    file(incoming, DOCUMENT).await
}

pub async fn sticker(incoming: Incoming<FileRequest>) -> Result<SentOrAccepted, ApiError> {
    file(incoming, STICKER).await
}

async fn file(
    incoming: Incoming<FileRequest>,
    endpoint: FileEndpoint,
) -> Result<SentOrAccepted, ApiError> {
    let id = incoming.head::<OfAccount>()?.id.0;
    let accounts = incoming.req.state().accounts.clone();
    match incoming.head::<Key>()?.is_given() {
        // A file that could be neither sent nor queued is not read.
        false => accounts.may_send(&id)?,
        // The answer of the first request with that key is repeated whatever the account's state.
        true => accounts.status(&id).map(drop)?,
    }
    let (req, (_, to, delivery), file) = incoming.read().await?;
    let ToMany {
        request: fields,
        all,
    } = to;
    quotes_nothing(all.as_deref(), fields.quoted.is_some())?;
    // Everything that can be wrong is checked before a file is fetched from elsewhere.
    fields.fit(endpoint.kind)?;
    let wanted = match (&file, &fields.url) {
        // A file in the request counts; `url` beside it is ignored.
        (Some(_), _) => None,
        (None, Some(url)) => Some(Wanted::of(url, fields.headers)?),
        (None, None) => return Err(ApiError::Invalid(endpoint.missing.to_owned())),
    };
    let begun = delivery::begin(&req, &id, endpoint.name, delivery, file.as_slice()).await?;
    let options = match begun {
        Begun::Answered(outcome) => return Ok(outcome.into()),
        Begun::First(options) => options,
    };
    let to = match all {
        Some(all) => Err(each_reached(all, &accounts, &id).await?),
        None => Ok(reached(fields.to, &accounts, &id).await?),
    };
    let mentions = all_reached(fields.mentions.0, &accounts, &id).await?;
    let received = match (file, wanted) {
        (Some(received), _) => received,
        (None, Some(wanted)) => {
            let fetcher = fetcher(req.state(), &Caller::of(&req));
            wanted.fetch(fetcher, &Room::of(req.state())).await?
        }
        (None, None) => return Err(ApiError::Invalid(endpoint.missing.to_owned())),
    };
    let Received {
        file,
        name,
        mimetype: declared,
    } = received;
    let given = fields
        .file_name
        .and_then(|NonEmpty(name)| file_name::clean(&name));
    // Stories have voice notes, and no other sound.
    let ptt = fields.ptt || matches!(&to, Ok(to) if to.is_stories());
    let request = MediaRequest {
        kind: endpoint.kind,
        ptt,
        gif_playback: fields.gif_playback,
        note: fields.note,
        pack: (fields.pack_name.is_some() || fields.author.is_some()).then(|| Pack {
            name: fields
                .pack_name
                .map(|NonEmpty(name)| name)
                .unwrap_or_default(),
            author: fields.author.map(|NonEmpty(name)| name).unwrap_or_default(),
        }),
        mimetype: fields.mimetype.map(|NonEmpty(mimetype)| mimetype),
        declared,
        file_name: given.or(name),
    };
    let message = Message {
        caption: fields.caption.map(|Caption(text)| text),
        view_once: fields.view_once,
        ..Message::default()
    };
    let quoted = fields.quoted.map(|NonEmpty(id)| id);
    let draft = message::file_draft(request, file, message, mentions, quoted);
    let outcome = match to {
        Ok(to) => accounts.send(&id, to, draft, options).await?,
        Err(all) => accounts.send_to_all(&id, all, draft, options).await?,
    };
    Ok(outcome.into())
}

/// At most 1,000 message ids.
#[derive(Debug)]
pub struct MessageIds(Vec<String>);

const MAX_READ: usize = 1_000;

impl Field for MessageIds {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let ids = Vec::<String>::read(name, value)?;
        match ids.len() > MAX_READ {
            true => Err(FieldError::Field {
                field: name,
                expected: "a list of at most 1000 message ids",
            }),
            false => Ok(MessageIds(ids)),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "maxItems": MAX_READ, "items": {"type": "string"}})
    }
}

request! {
    /// The messages to mark as read; without ids the whole chat.
    pub struct MarkRead {
        /// a JID, a phone number, or `@` and a username
        chat: Addressee = path "chatId",
        ids: Option<MessageIds> = "messageIds",
    }
}

pub async fn read(req: Req, (of, mark): (OfAccount, MarkRead)) -> Result<Json<Done>, ApiError> {
    let id = of.id.0;
    let accounts = &req.state().accounts;
    let chat = known(mark.chat, accounts, &id)?;
    let ids = mark.ids.map(|MessageIds(ids)| ids).unwrap_or_default();
    match accounts.mark_read(&id, chat, ids).await {
        Ok(()) => Ok(Done::new("Marked as read")),
        Err(AccountError::MessageNotFound) => Err(ApiError::NotFound("Message not found")),
        Err(error) => Err(error.into()),
    }
}

/// The client that fetches files by their URL for that caller.
pub fn fetcher<'a>(context: &'a ApiContext, caller: &Caller) -> &'a surf::Client {
    let everywhere = context.config.local_urls || caller.only().is_none();
    context.fetch.of(match everywhere {
        true => Reach::Everywhere,
        false => Reach::OtherHosts,
    })
}
