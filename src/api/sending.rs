//! Everything that goes into a chat: texts, files, replies, reactions, deletions, read marks.

use serde::Serialize;

use super::Req;
use super::answer::Answer;
use super::auth::Caller;
use super::error::ApiError;
use super::fetch::Wanted;
use super::file_name;
use super::input::{Fields, Named, chat_param, param};
use super::manner::{self, Begun};
use super::upload::{Received, Room, Upload};
use crate::account::{AccountError, Accounts, Outcome, Sent};
use crate::jid::ChatJid;
use crate::media::{MediaKind, MediaRequest};
use crate::message::{Change, Draft, Message, MessageKind};
use crate::net::reach::Reach;

/// A file is sent as what the endpoint says.
struct FileEndpoint {
    kind: MediaKind,
    /// The form's field that holds the file.
    field: &'static str,
    missing: &'static str,
}

const IMAGE: FileEndpoint = FileEndpoint {
    kind: MediaKind::Image,
    field: "image",
    missing: "image file is required",
};
const VIDEO: FileEndpoint = FileEndpoint {
    kind: MediaKind::Video,
    field: "video",
    missing: "video file is required",
};
const AUDIO: FileEndpoint = FileEndpoint {
    kind: MediaKind::Audio,
    field: "audio",
    missing: "audio file is required",
};
const DOCUMENT: FileEndpoint = FileEndpoint {
    kind: MediaKind::Document,
    field: "document",
    missing: "document file is required",
};
const STICKER: FileEndpoint = FileEndpoint {
    kind: MediaKind::Sticker,
    field: "sticker",
    missing: "sticker file is required",
};

/// What was sent, and a word about it.
#[derive(Debug, Serialize)]
struct SentWith {
    #[serde(flatten)]
    sent: Sent,
    message: &'static str,
}

/// 200 with what was sent and perhaps a word about it, or 202 with what waits.
fn answer(outcome: Outcome, word: Option<&'static str>) -> Result<Answer, ApiError> {
    match (outcome, word) {
        (Outcome::Sent(sent), None) => Answer::ok(&sent),
        (Outcome::Sent(sent), Some(message)) => Answer::ok(&SentWith { sent, message }),
        (Outcome::Accepted(accepted), _) => Answer::accepted(&accepted),
    }
}

pub async fn text(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    if fields.is_missing("to") || fields.is_absent("message") {
        return Err(ApiError::Invalid("to and message are required".to_owned()));
    }
    send_text(&req, &fields, "send").await
}

pub async fn reply(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    if fields.is_missing("to") && fields.is_missing("chatId")
        || fields.is_absent("message")
        || fields.is_missing("quotedMessageId")
    {
        return Err(ApiError::Invalid(
            "to, message, and quotedMessageId are required".to_owned(),
        ));
    }
    send_text(&req, &fields, "reply").await
}

async fn send_text(req: &Req, fields: &Fields, endpoint: &str) -> Result<Answer, ApiError> {
    let named = fields.recipient_of("to", "chatId")?;
    let text = fields.text("message")?.to_owned();
    let mentions = fields.mentions()?;
    let quoted_message_id = fields.filled("quotedMessageId")?.map(str::to_owned);
    let id = param(req, "id");
    let accounts = &req.state().accounts;
    let manner = match manner::begin(req, &id, endpoint, fields, None).await? {
        Begun::Answered(outcome) => return answer(outcome, None),
        Begun::First(manner) => manner,
    };
    let to = named.reached(accounts, &id).await?;
    let mentions = all_reached(mentions, accounts, &id).await?;
    let draft = Draft::text(text, mentions, quoted_message_id);
    answer(accounts.send(&id, to, draft, manner).await?, None)
}

pub async fn image(req: Req) -> Result<Answer, ApiError> {
    file(req, IMAGE).await
}

pub async fn video(req: Req) -> Result<Answer, ApiError> {
    file(req, VIDEO).await
}

pub async fn audio(req: Req) -> Result<Answer, ApiError> {
    file(req, AUDIO).await
}

pub async fn document(req: Req) -> Result<Answer, ApiError> {
    file(req, DOCUMENT).await
}

pub async fn sticker(req: Req) -> Result<Answer, ApiError> {
    file(req, STICKER).await
}

async fn file(mut req: Req, endpoint: FileEndpoint) -> Result<Answer, ApiError> {
    let id = param(&req, "id");
    let accounts = req.state().accounts.clone();
    match manner::key(&req)? {
        // A file that could neither go nor wait is not read.
        None => accounts.may_send(&id)?,
        // What was sent is answered again whether it could go now or not.
        Some(_) => accounts.status(&id).map(drop)?,
    }
    let room = req.state().room();
    let upload = Upload::read(&mut req, &room, endpoint.field, |before| {
        // The rest may still come behind the file.
        match before.is_missing("to") {
            true => Ok(()),
            false => before.recipient("to").map(|_| ()),
        }
    })
    .await?;
    let fields = upload.fields;
    if fields.is_missing("to") {
        return Err(ApiError::Invalid("to field is required".to_owned()));
    }
    let named_recipient = fields.recipient("to")?;
    // Everything that can be wrong is looked at before a file is fetched from elsewhere.
    let caption = fields.caption()?;
    let gif_playback = fields.flag("gifPlayback")?;
    let mentions = fields.mentions()?;
    let quoted_message_id = fields.filled("quotedMessageId")?.map(str::to_owned);
    let ptt = fields.flag("ptt")?;
    let named = match fields.filled("fileName")? {
        Some(name) => Some(name),
        // As some write it who call other programs, too.
        None => fields.filled("filename")?,
    };
    let named = named.and_then(file_name::clean);
    let mimetype = fields.filled("mimetype")?.map(str::to_owned);
    let wanted = match upload.file {
        // A file that came counts; an address beside it is not looked at.
        Some(_) => None,
        None => Wanted::of(&fields)?,
    };
    if upload.file.is_none() && wanted.is_none() {
        return Err(ApiError::Invalid(endpoint.missing.to_owned()));
    }
    let begun = manner::begin(&req, &id, endpoint.field, &fields, upload.file.as_ref()).await?;
    let manner = match begun {
        Begun::Answered(outcome) => return answer(outcome, None),
        Begun::First(manner) => manner,
    };
    let to = named_recipient.reached(&accounts, &id).await?;
    let mentions = all_reached(mentions, &accounts, &id).await?;
    let received = match (upload.file, wanted) {
        (Some(received), _) => received,
        (None, Some(wanted)) => {
            let fetcher = req.state().fetcher(&Caller::of(&req));
            wanted.fetch(fetcher, &room).await?
        }
        (None, None) => return Err(ApiError::Invalid(endpoint.missing.to_owned())),
    };
    let Received {
        file,
        name,
        mimetype: came_with,
    } = received;
    let request = MediaRequest {
        kind: endpoint.kind,
        ptt,
        gif_playback,
        mimetype,
        declared: came_with,
        file_name: named.or(name),
    };
    let message = Message {
        kind: match (endpoint.kind, ptt) {
            (MediaKind::Image, _) => MessageKind::Image,
            (MediaKind::Video, _) => MessageKind::Video,
            (MediaKind::Audio, false) => MessageKind::Audio,
            (MediaKind::Audio, true) => MessageKind::Voice,
            (MediaKind::Document, _) => MessageKind::Document,
            (MediaKind::Sticker, _) => MessageKind::Sticker,
        },
        caption,
        ..Message::default()
    };
    let draft = Draft::Message {
        message: Box::new(message),
        file: Some((request, file)),
        mentions,
        quoted: quoted_message_id,
    };
    answer(accounts.send(&id, to, draft, manner).await?, None)
}

/// The people whom a message mentions.
async fn all_reached(
    people: Vec<Named>,
    accounts: &Accounts,
    id: &str,
) -> Result<Vec<ChatJid>, ApiError> {
    let mut found = Vec::with_capacity(people.len());
    for person in people {
        found.push(person.reached(accounts, id).await?);
    }
    Ok(found)
}

/// The chat and the message that a request means.
fn chat_and_message(fields: &Fields) -> Result<(Named, String), ApiError> {
    let missing = || ApiError::Invalid("chatId and messageId are required".to_owned());
    if fields.is_missing("to") && fields.is_missing("chatId") {
        return Err(missing());
    }
    let message_id = fields.filled("messageId")?.ok_or_else(missing)?.to_owned();
    Ok((fields.recipient_of("chatId", "to")?, message_id))
}

/// The longest reaction, in bytes: an emoji is a sequence of up to some ten code points.
const MAX_EMOJI: usize = 64;

pub async fn react(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    let (chat, message_id) = chat_and_message(&fields)?;
    let emoji = fields.string("emoji")?.unwrap_or_default();
    if emoji.len() > MAX_EMOJI {
        return Err(ApiError::Field {
            field: "emoji",
            expected: "one emoji, or empty to take the reaction back",
        });
    }
    let id = param(&req, "id");
    let accounts = &req.state().accounts;
    let outcome = match manner::begin(&req, &id, "react", &fields, None).await? {
        Begun::Answered(outcome) => outcome,
        Begun::First(manner) => {
            let chat = chat.reached(accounts, &id).await?;
            let change = Change::React {
                emoji: emoji.to_owned(),
            };
            let draft = Draft::Change { message_id, change };
            accounts.send(&id, chat, draft, manner).await?
        }
    };
    answer(outcome, Some("Reaction sent"))
}

pub async fn delete(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    let (chat, message_id) = chat_and_message(&fields)?;
    let id = param(&req, "id");
    let accounts = &req.state().accounts;
    let outcome = match manner::begin(&req, &id, "delete", &fields, None).await? {
        Begun::Answered(outcome) => outcome,
        Begun::First(manner) => {
            let chat = chat.reached(accounts, &id).await?;
            let change = Change::Delete;
            let draft = Draft::Change { message_id, change };
            accounts.send(&id, chat, draft, manner).await?
        }
    };
    answer(outcome, Some("Message deleted"))
}

/// The most messages that one request marks as read.
const MAX_READ: usize = 1_000;

pub async fn read(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    let chat = chat_param(&req)?;
    let ids: Vec<String> = fields
        .strings("messageIds")?
        .unwrap_or_default()
        .into_iter()
        .map(str::to_owned)
        .collect();
    if ids.len() > MAX_READ {
        return Err(ApiError::Field {
            field: "messageIds",
            expected: "a list of at most 1000 message ids",
        });
    }
    let id = param(&req, "id");
    let accounts = &req.state().accounts;
    let chat = chat.known(accounts, &id)?;
    match accounts.mark_read(&id, chat, ids).await {
        Ok(()) => Answer::message("Marked as read"),
        Err(AccountError::MessageNotFound) => Err(ApiError::NotFound("Message not found")),
        Err(error) => Err(error.into()),
    }
}

impl super::ApiContext {
    /// What fetches files by their URL for that caller.
    fn fetcher(&self, caller: &Caller) -> &surf::Client {
        let everywhere = self.config.local_urls || caller.only().is_none();
        self.fetch.of(match everywhere {
            true => Reach::Everywhere,
            false => Reach::OtherHosts,
        })
    }

    pub(super) fn room(&self) -> Room {
        Room {
            spool: self.spool.clone(),
            max_file: self.config.max_file,
            max_json: self.config.max_json,
        }
    }
}
