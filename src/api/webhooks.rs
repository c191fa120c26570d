//! Webhooks: register, list, remove, test.

use serde::Serialize;
use serde_json::Value;

use super::Req;
use super::answer::{Answer, One};
use super::auth::Caller;
use super::chats::Pagination;
use super::error::ApiError;
use super::input::{Fields, param, query};
use super::page::Page;
use crate::account::valid_account_id;
use crate::clock;
use crate::event::EventKind;
use crate::webhook::{DeadError, DeadLetter, HookError, NewWebhook, TestError};

/// How many dead letters a page has, without a limit and at most, and how many bytes of them.
const USUAL: usize = 50;
const MOST: usize = 500;

/// What counts now: as in the list, but for the URL, which is the caller's own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered<'a> {
    id: &'a str,
    url: &'a str,
    created: bool,
    updated: bool,
    account_id: Option<&'a str>,
    events: &'a [EventKind],
    header_names: &'a [String],
    has_secret: bool,
}

pub async fn register(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    let mut new = new_hook(&fields)?;
    let caller = Caller::of(&req);
    new.account_id = caller.narrow(new.account_id)?;
    new.local_urls = caller.only().is_none();
    let url = new.url.clone();
    let registered = req.state().deliveries.register(new).await?;
    let hook = &registered.hook;
    let answer = Registered {
        id: &hook.id,
        url: &url,
        created: registered.created,
        updated: registered.updated,
        account_id: hook.account_id.as_deref(),
        events: &hook.events,
        header_names: &hook.header_names,
        has_secret: hook.has_secret,
    };
    if registered.created {
        Answer::created(&answer)
    } else {
        Answer::ok(&answer)
    }
}

fn new_hook(fields: &Fields) -> Result<NewWebhook, ApiError> {
    let url = match fields.string("url") {
        Ok(Some(url)) if !url.is_empty() => url.to_owned(),
        Ok(_) | Err(_) => {
            return Err(ApiError::Invalid(
                "url is required and must be a string".to_owned(),
            ));
        }
    };
    let account_id = fields.string("accountId")?.filter(|id| !id.is_empty());
    if account_id.is_some_and(|id| !valid_account_id(id)) {
        return Err(ApiError::Field {
            field: "accountId",
            expected: "1 to 64 of A-Z a-z 0-9 _ -",
        });
    }
    Ok(NewWebhook {
        url,
        account_id: account_id.map(str::to_owned),
        events: events(fields)?,
        secret: fields.string("secret")?.map(str::to_owned),
        headers: match fields.is_absent("headers") {
            true => None,
            false => Some(fields.string_map("headers")?),
        },
        local_urls: false,
    })
}

/// The kinds of events that are asked for, none for the default ones; `None` if the request says nothing
/// of them.
fn events(fields: &Fields) -> Result<Option<Vec<EventKind>>, ApiError> {
    let Some(names) = fields.strings("events")? else {
        return Ok(None);
    };
    let mut kinds = Vec::new();
    for name in names {
        let kind = EventKind::from_name(name).ok_or_else(|| unknown_event(name))?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(Some(kinds))
}

fn unknown_event(name: &str) -> ApiError {
    let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    let shown: String = name.chars().take(64).collect();
    ApiError::Invalid(format!(
        "\"events\" has {shown:?}, which is no event; those that exist are {}",
        known.join(", ")
    ))
}

pub async fn list(req: Req) -> Result<Answer, ApiError> {
    let caller = Caller::of(&req);
    let mut hooks = req.state().deliveries.list()?;
    hooks.retain(|hook| sees(&caller, hook.account_id.as_deref()));
    Answer::ok(&One("webhooks", &hooks))
}

pub async fn remove(req: Req) -> Result<Answer, ApiError> {
    let id = param(&req, "id");
    let removed = req.state().deliveries.remove(&id).await?;
    removal(removed)
}

pub async fn remove_by_url(req: Req) -> Result<Answer, ApiError> {
    let url = query(&req, "url").ok_or(ApiError::Invalid("url is required".to_owned()))?;
    let only = Caller::of(&req).only().map(str::to_owned);
    let removed = req.state().deliveries.remove_url(&url, only).await?;
    removal(removed)
}

/// Whether a hook, of one account or of all, is the caller's.
fn sees(caller: &Caller, account: Option<&str>) -> bool {
    match account {
        Some(account) => caller.may_see(account),
        None => caller.only().is_none(),
    }
}

fn removal(removed: bool) -> Result<Answer, ApiError> {
    if removed {
        Answer::message("Webhook removed")
    } else {
        Err(ApiError::NotFound("Webhook not found"))
    }
}

pub async fn test(req: Req) -> Result<Answer, ApiError> {
    // A receiver in the network may answer with what a key of one account must not read.
    let shown = Caller::of(&req).only().is_none();
    let deliveries = &req.state().deliveries;
    let outcome = deliveries.test(&param(&req, "id"), shown).await?;
    Answer::ok(&outcome)
}

/// A dead letter as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dead {
    event_id: String,
    number: u64,
    failed_at: String,
    attempts: u32,
    error: Option<String>,
    /// Whether it waits to be delivered again.
    replaying: bool,
    /// The event as it is delivered.
    body: Value,
}

#[derive(Serialize)]
struct DeadList {
    dead: Vec<Dead>,
    pagination: Pagination,
}

pub async fn dead(req: Req) -> Result<Answer, ApiError> {
    let page = Page::of(&req, USUAL, MOST)?;
    let deliveries = &req.state().deliveries;
    let id = param(&req, "id");
    let part = page.part(&req, |text| text.parse().ok())?;
    let (letters, more, total) = deliveries.dead(&id, part)?;
    let next = letters.last().map(|letter| letter.number);
    let pagination = Pagination::new(page, total, next.filter(|_| more));
    let dead = letters.into_iter().map(shown).collect();
    Answer::ok(&DeadList { dead, pagination })
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

pub async fn replay(mut req: Req) -> Result<Answer, ApiError> {
    let fields = Fields::read(&mut req).await?;
    let ids = fields
        .strings("ids")?
        .map(|ids| ids.into_iter().map(str::to_owned).collect());
    let id = param(&req, "id");
    let count = req.state().deliveries.replay(&id, ids).await?;
    Answer::ok(&One("replaying", &count))
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
