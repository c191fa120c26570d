//! Albums: several images and videos in one request.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::auth::Caller;
use super::delivery::{self, Begun, Delivery, Key};
use super::error::ApiError;
use super::fetch::{Headers, Wanted};
use super::file::{Received, Room};
use super::read::Incoming;
use super::recipients::{ToMany, all_reached, each_reached, reached};
use super::sending::{SentOrAccepted, fetcher, quotes_nothing};
use super::values::OfAccount;
use crate::fields::{Addressee, Caption, Field, FieldError, Mentions, NonEmpty, request};
use crate::media::{self, MediaRequest};
use crate::message::{self, Message};

/// Files of an album.
const LEAST: usize = 2;
const MOST: usize = 30;
const FILES: &str = "files";
const EXPECTED: &str =
    "a list of 2 to 30 objects, each with \"url\" or \"base64\", and \"caption\" if wanted";

/// Where a file of an album comes from.
#[derive(Debug)]
enum Source {
    /// It came with the request, as the file of that number.
    Here(usize),
    At(NonEmpty, Headers),
}

/// A file of an album in JSON.
#[derive(Debug)]
pub struct Item {
    source: Source,
    caption: Option<Caption>,
}

impl Item {
    fn read(value: &Value) -> Result<Item, FieldError> {
        let text = |name: &'static str| match value.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => NonEmpty::read(name, value).map(Some),
        };
        let headers = value.get("headers").filter(|headers| !headers.is_null());
        let caption = value.get("caption").filter(|caption| !caption.is_null());
        let (url, base64) = (text("url")?, text("base64")?);
        let source = match (url, base64) {
            (Some(NonEmpty(text)), None) | (None, Some(NonEmpty(text)))
                if text.starts_with("data:") =>
            {
                // The reader of the body has put the file's number there.
                let number = text["data:".len()..].parse();
                Source::Here(number.map_err(|_| wrong())?)
            }
            (Some(url), None) => {
                let headers = match headers {
                    Some(headers) => Headers::read("headers", headers)?,
                    None => Headers::absent("headers")?,
                };
                Source::At(url, headers)
            }
            _ => return Err(wrong()),
        };
        Ok(Item {
            source,
            caption: caption
                .map(|caption| Caption::read("caption", caption))
                .transpose()?,
        })
    }
}

fn wrong() -> FieldError {
    FieldError::Field {
        field: FILES,
        expected: EXPECTED,
    }
}

/// The files of an album in JSON; in a form that has none itself, the list as JSON.
#[derive(Debug)]
pub struct Items(Vec<Item>);

impl Field for Items {
    fn read(_name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let parsed;
        let list = match value {
            Value::Array(list) => list,
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Value::Array(list)) => {
                    parsed = list;
                    &parsed
                }
                Ok(_) | Err(_) => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        match (LEAST..=MOST).contains(&list.len()) {
            true => Ok(Items(
                list.iter().map(Item::read).collect::<Result<_, _>>()?,
            )),
            false => Err(wrong()),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "minItems": LEAST, "maxItems": MOST, "items": {
            "type": "object",
            "properties": {
                "url": {"type": "string", "minLength": 1},
                "base64": {"type": "string", "minLength": 1, "description": "base64 or a data: URI"},
                "caption": {"type": "string", "maxLength": 65_536},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            "anyOf": [
                {"type": "object", "required": ["url"]},
                {"type": "object", "required": ["base64"]},
            ],
        }})
    }
}

request! {
    /// What is said of an album to send.
    pub struct SendAlbum missing "to field is required" {
        to: Addressee = "to",
        /// in a form, of the first file
        caption: Option<Caption> = "caption",
        files: Option<Items> = "files",
        mentions: Mentions = "mentions",
        quoted: Option<NonEmpty> = "quotedMessageId",
    }
}

/// The request of the endpoint.
pub type AlbumRequest = (OfAccount, ToMany<SendAlbum>, Delivery);

/// A file of an album before it is sent.
enum Given {
    Here(Received),
    Wanted(Wanted),
}

pub async fn send(incoming: Incoming<AlbumRequest>) -> Result<SentOrAccepted, ApiError> {
    let id = incoming.head::<OfAccount>()?.id.0;
    let accounts = incoming.req.state().accounts.clone();
    match incoming.head::<Key>()?.is_given() {
        // Files that could be neither sent nor queued are not read.
        false => accounts.may_send(&id)?,
        true => accounts.status(&id).map(drop)?,
    }
    let (req, (_, to, delivery), files) = incoming.read_all(MOST).await?;
    let ToMany { request, all } = to;
    quotes_nothing(all.as_deref(), request.quoted.is_some())?;
    let begun = delivery::begin(&req, &id, "album", delivery, &files).await?;
    let options = match begun {
        Begun::Answered(outcome) => return Ok(outcome.into()),
        Begun::First(options) => options,
    };
    let given = given(request.caption, request.files, files)?;
    let to = match all {
        Some(all) => each_reached(all, &accounts, &id).await?,
        None => {
            let written = request.to.recipient.to_string();
            let chat = reached(request.to, &accounts, &id).await?;
            vec![(written, Ok(chat))]
        }
    };
    let people = all_reached(request.mentions.0, &accounts, &id).await?;
    let mut quoted = request.quoted.map(|NonEmpty(id)| id);
    let room = Room::of(req.state());
    let (mut parts, mut mentions) = (Vec::new(), people);
    for (given, caption) in given {
        let received = match given {
            Given::Here(received) => received,
            Given::Wanted(wanted) => {
                let fetcher = fetcher(req.state(), &Caller::of(&req));
                wanted.fetch(fetcher, &room).await?
            }
        };
        let Received {
            file,
            name: file_name,
            mimetype: declared,
        } = received;
        let path = file.path().to_owned();
        let kind = smol::unblock(move || media::image_or_video(&path)).await;
        let request = MediaRequest {
            kind,
            ptt: false,
            gif_playback: false,
            note: false,
            pack: None,
            mimetype: None,
            declared,
            file_name,
        };
        let message = Message {
            caption: caption.map(|Caption(text)| text),
            ..Message::default()
        };
        // The first has what is said of all.
        let mentions = std::mem::take(&mut mentions);
        parts.push(message::file_draft(
            request,
            file,
            message,
            mentions,
            quoted.take(),
        ));
    }
    Ok(accounts.send_album(&id, to, parts, options).await?.into())
}

/// The files in their order, each with its caption: those of a form, or those that the list names.
fn given(
    caption: Option<Caption>,
    items: Option<Items>,
    files: Vec<Received>,
) -> Result<Vec<(Given, Option<Caption>)>, ApiError> {
    let Some(Items(items)) = items else {
        if files.len() < LEAST {
            return Err(ApiError::Invalid(
                "files: at least 2 are required".to_owned(),
            ));
        }
        let captions = std::iter::once(caption).chain(std::iter::repeat_with(|| None));
        let files = files.into_iter().map(Given::Here);
        return Ok(files.zip(captions).collect());
    };
    let mut files: Vec<Option<Received>> = files.into_iter().map(Some).collect();
    let mut given = Vec::with_capacity(items.len());
    for Item { source, caption } in items {
        let file = match source {
            Source::Here(number) => {
                let file = files.get_mut(number).and_then(Option::take);
                Given::Here(file.ok_or_else(wrong)?)
            }
            Source::At(url, headers) => Given::Wanted(Wanted::of(&url, headers)?),
        };
        given.push((file, caption));
    }
    if let (Some((_, first @ None)), Some(_)) = (given.first_mut(), &caption) {
        *first = caption;
    }
    Ok(given)
}
