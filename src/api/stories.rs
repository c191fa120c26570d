//! Stories: those of contacts, and own ones.

use super::answer::Json;
use super::auth::Caller;
use super::chats::{MessageList, read_account};
use super::context::Req;
use super::delivery::{self, Begun, Delivery, Key};
use super::error::ApiError;
use super::fetch::{Headers, Wanted};
use super::file::{Received, Room};
use super::page::Paging;
use super::read::Incoming;
use super::recipients::all_reached;
use super::sending::{SentOrAccepted, fetcher};
use super::values::OfAccount;
use crate::fields::{Caption, Field, FieldError, Mentions, NonEmpty, Text, request};
use crate::jid::{ChatJid, STORIES};
use crate::media::{self, MediaKind, MediaRequest};
use crate::message::{self, Colour, Draft, Font, Message, MessageKind, Story};
use crate::store::messages::{self, Cursor, PageQuery};

/// How many entries the list has, without a limit and at most.
const USUAL: usize = 50;
const MOST: usize = 100;

pub async fn list(
    req: Req,
    (of, paging): (OfAccount, Paging<Cursor>),
) -> Result<Json<MessageList>, ApiError> {
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    let query = PageQuery {
        limit: part.limit,
        offset: part.skip,
        before: None,
        after: None,
        bytes: part.bytes,
        behind: part.behind,
    };
    let found = read_account(&req, &of.id.0, |tx, account| {
        messages::page(tx, account, STORIES, query)
    })?;
    Ok(Json(MessageList::new(page, found)))
}

/// The people who get a story: 1 to 1,024.
#[derive(Debug)]
pub struct Recipients(Mentions);

impl Field for Recipients {
    fn read(name: &'static str, value: &serde_json::Value) -> Result<Self, FieldError> {
        let people = Mentions::read(name, value)?;
        match people.0.is_empty() {
            // An empty list must not count as an absent one, which means all contacts.
            true => Err(FieldError::Field {
                field: name,
                expected: "a list of 1 to 1024 people",
            }),
            false => Ok(Recipients(people)),
        }
    }

    #[cfg(test)]
    fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Mentions::schema(generator);
        schema.insert("minItems".to_owned(), 1.into());
        schema
    }
}

request! {
    /// A story: a text, or a file.
    pub struct SendStory {
        /// the text of a story without a file
        message: Option<Text> = "message",
        /// of a file
        caption: Option<Caption> = "caption",
        /// behind a text: `#RRGGBB`; else WhatsApp's green
        background: Option<Colour> = "background" or "backgroundColor",
        /// of a text
        font: Option<Font> = "font",
        /// the people who get it; without them all contacts of the phone's address book
        recipients: Option<Recipients> = "recipients",
        /// counts where the bytes leave open what it is
        mimetype: Option<NonEmpty> = "mimetype",
        /// sent to the server of url, and to no other; in a form as JSON
        headers: Headers = "headers",
        /// fetched by the server, with the user and password in it as Basic authentication; or a data: URI
        url: Option<NonEmpty> = "url",
    }
}

impl SendStory {
    /// What it says, with the look of a text.
    fn message(&self, has_file: bool) -> Result<Message, FieldError> {
        let absent = |field, is_there: bool, expected| match is_there {
            true => Err(FieldError::Field { field, expected }),
            false => Ok(()),
        };
        const OF_TEXTS: &str = "absent: only a text has it, and a file has a caption";
        if has_file {
            absent("message", self.message.is_some(), OF_TEXTS)?;
            absent("background", self.background.is_some(), OF_TEXTS)?;
            absent("font", self.font.is_some(), OF_TEXTS)?;
        } else if self.message.is_none() {
            let words = "message, or a file in \"file\", \"url\" or \"base64\", is required";
            return Err(FieldError::Words(words.to_owned()));
        } else {
            let expected = "absent: a text has none";
            absent("caption", self.caption.is_some(), expected)?;
        }
        Ok(Message {
            kind: MessageKind::Text,
            text: self.message.as_ref().map(|Text(text)| text.clone()),
            caption: self.caption.as_ref().map(|Caption(text)| text.clone()),
            story: Some(Story {
                background: self.background.as_ref().map(|Colour(text)| text.clone()),
                font: self.font.map(|Font(number)| number),
                recipients: None,
            }),
            ..Message::default()
        })
    }
}

/// The request of the endpoint.
pub type StoryRequest = (OfAccount, SendStory, Delivery);

pub async fn send(incoming: Incoming<StoryRequest>) -> Result<SentOrAccepted, ApiError> {
    let id = incoming.head::<OfAccount>()?.id.0;
    let accounts = incoming.req.state().accounts.clone();
    match incoming.head::<Key>()?.is_given() {
        false => accounts.may_send(&id)?,
        // The answer of the first request with that key is repeated whatever the account's state.
        true => accounts.status(&id).map(drop)?,
    }
    let (req, (_, fields, delivery), file) = incoming.read().await?;
    let mut message = fields.message(file.is_some() || fields.url.is_some())?;
    let wanted = match (&file, &fields.url) {
        (None, Some(url)) => Some(Wanted::of(url, fields.headers)?),
        _ => None,
    };
    let options = match delivery::begin(&req, &id, "status", delivery, file.as_slice()).await? {
        Begun::Answered(outcome) => return Ok(outcome.into()),
        Begun::First(options) => options,
    };
    if let Some(Recipients(people)) = fields.recipients {
        let people = all_reached(people.0, &accounts, &id).await?;
        if !people.iter().all(ChatJid::is_person) {
            return Err(ApiError::Field {
                field: "recipients",
                expected: "people: stories go to no groups",
            });
        }
        let story = message.story.get_or_insert_default();
        story.recipients = Some(people.iter().map(ChatJid::to_string).collect());
    }
    let received = match (file, wanted) {
        (None, Some(wanted)) => {
            let fetcher = fetcher(req.state(), &Caller::of(&req));
            Some(wanted.fetch(fetcher, &Room::of(req.state())).await?)
        }
        (file, _) => file,
    };
    let draft = match received {
        Some(received) => {
            let mimetype = fields.mimetype.map(|NonEmpty(mimetype)| mimetype);
            of_file(received, mimetype, message).await?
        }
        None => Draft::message(message, None),
    };
    let to = ChatJid::stories();
    Ok(accounts.send(&id, to, draft, options).await?.into())
}

/// A story of a file, whose bytes say whether it is an image, a video or sound.
async fn of_file(
    received: Received,
    mimetype: Option<String>,
    message: Message,
) -> Result<Draft, ApiError> {
    let path = received.file.path().to_owned();
    let kind = smol::unblock(move || media::kind_of(&path)).await;
    let kind = kind.map_err(ApiError::Unreadable)?.ok_or(ApiError::Field {
        field: "file",
        expected: "an image, a video or sound",
    })?;
    if kind == MediaKind::Audio && message.caption.is_some() {
        return Err(ApiError::Field {
            field: "caption",
            expected: "absent: sound has none",
        });
    }
    let request = MediaRequest {
        kind,
        ptt: true,
        gif_playback: false,
        note: false,
        pack: None,
        mimetype,
        declared: received.mimetype,
        file_name: received.name,
    };
    Ok(message::file_draft(
        request,
        received.file,
        message,
        Vec::new(),
        None,
    ))
}
