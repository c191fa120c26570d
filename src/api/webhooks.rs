//! Webhooks: register, list, remove, test.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Done, Json, Reply};
use super::auth::Caller;
use super::context::Req;
use super::error::ApiError;
use super::page::{Pagination, Paging};
use super::values::{AccountId, OfHook};
use crate::clock;
use crate::event::EventKind;
use crate::fields::{Addressee, Field, FieldError, StringMap, request};
use crate::jid::Recipient;
use crate::webhook::{
    DeadError, DeadLetter, HookError, HookView, IGNORABLE, NewWebhook, TestError, TestOutcome,
};

/// How many dead letters a page has, without a limit and at most, and how many bytes of them.
const USUAL: usize = 50;
const MOST: usize = 500;

/// A webhook's address: a string that is not empty.
#[derive(Debug)]
pub struct HookUrl(String);

impl Field for HookUrl {
    fn read(_name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match value.as_str() {
            Some(url) if !url.is_empty() => Ok(HookUrl(url.to_owned())),
            _ => Err(FieldError::Words(
                "url is required and must be a string".to_owned(),
            )),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "uri", "minLength": 8, "pattern": "^https?://", "maxLength": 2048})
    }
}

/// Names of events, each once.
#[derive(Debug)]
pub struct EventNames(Vec<EventKind>);

impl Field for EventNames {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let mut kinds = Vec::new();
        for name in Vec::<String>::read(name, value)? {
            let kind = EventKind::from_name(&name).ok_or_else(|| unknown_event(&name))?;
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        Ok(EventNames(kinds))
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        json_schema!({"type": "array", "items": {"type": "string", "enum": names}})
    }
}

fn unknown_event(name: &str) -> FieldError {
    let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    let shown: String = name.chars().take(64).collect();
    FieldError::Words(format!(
        "\"events\" has {shown:?}, which is no event; those that exist are {}",
        known.join(", ")
    ))
}

/// Chats, as JIDs or phone numbers: at most 256, each once.
#[derive(Debug)]
pub struct HookChats(Vec<String>);

/// The most entries of `chats` and `ignore`.
const MAX_CHATS: usize = 256;

fn chats(name: &'static str, value: &Value, words: &[&str]) -> Result<Vec<String>, FieldError> {
    let wrong = |expected| {
        Err(FieldError::Field {
            field: name,
            expected,
        })
    };
    let items = match value {
        Value::Array(items) if items.len() <= MAX_CHATS => items,
        _ => return wrong("a list of at most 256 entries"),
    };
    let mut found: Vec<String> = Vec::new();
    for item in items {
        let entry = match item.as_str().filter(|word| words.contains(word)) {
            Some(word) => word.to_owned(),
            None => match Addressee::read(name, item)?.recipient {
                Recipient::Chat(jid) => jid.to_string(),
                Recipient::Name { .. } => return wrong("a list of JIDs and phone numbers"),
            },
        };
        if !found.contains(&entry) {
            found.push(entry);
        }
    }
    Ok(found)
}

impl Field for HookChats {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        chats(name, value, &[]).map(HookChats)
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "maxItems": MAX_CHATS, "items": {"type": "string", "pattern": JID}})
    }
}

#[cfg(test)]
const JID: &str = "^(?:[1-9][0-9]{6,14}(?:@s\\.whatsapp\\.net)?|[0-9]{1,30}@g\\.us)$";

/// What is ignored: words and chats, at most 256, each once.
#[derive(Debug)]
pub struct Ignored(Vec<String>);

impl Field for Ignored {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        chats(name, value, &IGNORABLE).map(Ignored)
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "maxItems": MAX_CHATS, "items": {"anyOf": [
            {"type": "string", "enum": IGNORABLE},
            {"type": "string", "pattern": JID},
        ]}})
    }
}

/// The headers that deliveries have.
#[derive(Debug)]
pub struct HookHeaders(StringMap);

impl Field for HookHeaders {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        StringMap::read(name, value).map(HookHeaders)
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": 20,
            "propertyNames": {"pattern": "^[A-Za-z0-9-]{1,64}$"},
            "additionalProperties": {"type": "string", "pattern": "^[ -~]*$", "maxLength": 1024},
        })
    }
}

request! {
    /// A webhook to register.
    pub struct NewHook missing "url is required and must be a string" {
        url: HookUrl = "url",
        account: Option<AccountId> = "accountId",
        events: Option<EventNames> = "events",
        /// only what happens in these chats
        chats: Option<HookChats> = "chats",
        /// nothing of these: `groups`, `status` (stories and lists), `channels`, `own` (what the account itself does), chats
        ignore: Option<Ignored> = "ignore",
        secret: Option<String> = "secret",
        headers: Option<HookHeaders> = "headers",
    }
}

/// Whether it is new, and what counts now
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    id: String,
    url: String,
    created: bool,
    /// whether it was there with other settings
    updated: bool,
    account_id: Option<String>,
    /// that count now
    events: Vec<EventKind>,
    chats: Vec<String>,
    ignore: Vec<String>,
    header_names: Vec<String>,
    has_secret: bool,
}

/// 201 for a new webhook, 200 for one that was registered before.
impl Reply for Registered {
    fn into_answer(self) -> Result<Answer, ApiError> {
        match self.created {
            true => Answer::created(&self),
            false => Answer::ok(&self),
        }
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        operation.json::<Registered>(200);
        operation.json::<Registered>(201);
    }
}

pub async fn register(req: Req, new: NewHook) -> Result<Registered, ApiError> {
    let caller = Caller::of(&req);
    let HookUrl(url) = new.url;
    let new = NewWebhook {
        url: url.clone(),
        account_id: caller.narrow(new.account.map(|AccountId(id)| id))?,
        events: new.events.map(|EventNames(kinds)| kinds),
        chats: new.chats.map(|HookChats(jids)| jids),
        ignore: new.ignore.map(|Ignored(entries)| entries),
        secret: new.secret,
        headers: new.headers.map(|HookHeaders(StringMap(headers))| headers),
        local_urls: caller.only().is_none(),
    };
    let registered = req.state().deliveries.register(new).await?;
    let hook = registered.hook;
    Ok(Registered {
        id: hook.id,
        // The caller's own; in the list it has no credentials.
        url,
        created: registered.created,
        updated: registered.updated,
        account_id: hook.account_id,
        events: hook.events,
        chats: hook.chats,
        ignore: hook.ignore,
        header_names: hook.header_names,
        has_secret: hook.has_secret,
    })
}

/// All of them
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HookList {
    webhooks: Vec<HookView>,
}

pub async fn list(req: Req, _: ()) -> Result<Json<HookList>, ApiError> {
    let caller = Caller::of(&req);
    let mut webhooks = req.state().deliveries.list()?;
    webhooks.retain(|hook| sees(&caller, hook.account_id.as_deref()));
    Ok(Json(HookList { webhooks }))
}

pub async fn remove(req: Req, of: OfHook) -> Result<Json<Done>, ApiError> {
    removal(req.state().deliveries.remove(&of.id.0).await?)
}

request! {
    /// The webhook of an address.
    pub struct ByUrl missing "url is required" {
        url: String = query "url",
    }
}

pub async fn remove_by_url(req: Req, by: ByUrl) -> Result<Json<Done>, ApiError> {
    let only = Caller::of(&req).only().map(str::to_owned);
    removal(req.state().deliveries.remove_url(&by.url, only).await?)
}

/// Whether a hook, of one account or of all, is the caller's.
fn sees(caller: &Caller, account: Option<&str>) -> bool {
    match account {
        Some(account) => caller.may_see(account),
        None => caller.only().is_none(),
    }
}

fn removal(removed: bool) -> Result<Json<Done>, ApiError> {
    match removed {
        true => Ok(Done::new("Webhook removed")),
        false => Err(ApiError::NotFound("Webhook not found")),
    }
}

pub async fn test(req: Req, of: OfHook) -> Result<Json<TestOutcome>, ApiError> {
    // A receiver in the network may answer with what a key of one account must not read.
    let shown = Caller::of(&req).only().is_none();
    Ok(Json(req.state().deliveries.test(&of.id.0, shown).await?))
}

/// A dead letter as it is shown.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DeadLetter"))]
#[serde(rename_all = "camelCase")]
pub struct Dead {
    event_id: String,
    number: u64,
    failed_at: String,
    attempts: u32,
    error: Option<String>,
    /// whether it waits to be delivered again
    replaying: bool,
    /// the event as it is delivered
    #[cfg_attr(test, schemars(with = "serde_json::Map<String, Value>"))]
    body: Value,
}

/// The oldest events first
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeadList {
    dead: Vec<Dead>,
    pagination: Pagination,
}

pub async fn dead(
    req: Req,
    (of, paging): (OfHook, Paging<u64>),
) -> Result<Json<DeadList>, ApiError> {
    let (page, part) = paging.of(req.state().config.envelope, USUAL, MOST);
    let deliveries = &req.state().deliveries;
    let (letters, more, total) = deliveries.dead(&of.id.0, part)?;
    let next = letters.last().map(|letter| letter.number);
    let pagination = Pagination::new(page, total, next.filter(|_| more));
    let dead = letters.into_iter().map(shown).collect();
    Ok(Json(DeadList { dead, pagination }))
}

fn shown(letter: DeadLetter) -> Dead {
    Dead {
        event_id: letter.header.id,
        number: letter.number,
        failed_at: clock::iso8601(letter.header.failed_at),
        attempts: letter.header.attempts,
        error: letter.header.error,
        replaying: letter.header.again,
        // This program wrote it, as JSON.
        body: serde_json::from_str(&letter.body).unwrap_or_default(),
    }
}

request! {
    /// The dead letters to deliver again; all without `ids`.
    pub struct Replay {
        /// `eventId`s
        ids: Option<Vec<String>> = "ids",
    }
}

/// How many wait to be delivered again
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Replaying {
    replaying: u64,
}

pub async fn replay(req: Req, (of, wanted): (OfHook, Replay)) -> Result<Json<Replaying>, ApiError> {
    let replaying = req.state().deliveries.replay(&of.id.0, wanted.ids).await?;
    Ok(Json(Replaying { replaying }))
}

impl From<DeadError> for ApiError {
    fn from(error: DeadError) -> ApiError {
        match error {
            DeadError::NotFound => ApiError::NotFound("Webhook not found"),
            DeadError::Unknown(_) => ApiError::NotFound("There is no dead letter of that id"),
            DeadError::Disabled => ApiError::Conflict(error.to_string()),
            DeadError::Store(error) => ApiError::Store(error),
        }
    }
}

impl From<HookError> for ApiError {
    fn from(error: HookError) -> ApiError {
        match error {
            HookError::Url(words) => ApiError::Invalid(words.to_owned()),
            HookError::Field { field, expected } => ApiError::Field { field, expected },
            HookError::TooMany { .. } => ApiError::Conflict(error.to_string()),
            HookError::Store(error) => ApiError::Store(error),
        }
    }
}

impl From<TestError> for ApiError {
    fn from(error: TestError) -> ApiError {
        match error {
            TestError::NotFound => ApiError::NotFound("Webhook not found"),
            TestError::Store(error) => ApiError::Store(error),
        }
    }
}
