//! The REST API: [`ROUTES`] is its table of contents.
//!
//! The only importer of tide, which routes; `http1` and `serve` are the server beneath it. A
//! handler turns a request into an [`Answer`] or an [`ApiError`]; the envelope and the status codes
//! are put on in one place each.

mod accounts;
mod answer;
mod auth;
mod chats;
mod connection;
mod crowd;
mod error;
mod events;
mod fetch;
mod file_name;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod headers;
mod health;
mod http1;
mod input;
mod manner;
mod media;
mod messages;
mod openapi;
mod outbox;
mod page;
mod passkey;
#[cfg(feature = "sandbox")]
mod phones;
mod qr;
mod range;
mod sending;
mod serve;
mod siphon;
#[cfg(test)]
mod tests;
mod this_server;
mod upload;
mod web;
mod webhooks;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_types::{Method, Request, Response, StatusCode};
use smol::lock::Semaphore;

use crate::account::Accounts;
use crate::media::{Space, Spool};
use crate::net::http::Clients;
use crate::runtime::Pulse;
use crate::runtime::Shutdown;
use crate::runtime::tasks::{self, Kind};
use crate::settings::Envelope;
use crate::store::Store;
use crate::webhook::Deliveries;
use answer::Answer;
pub use auth::{AuthSettings, Gate};
use error::ApiError;
pub use fetch::FETCH;
#[cfg(feature = "sandbox")]
pub use phones::base as phones_base;
use serve::Respond;
pub use serve::{ServerLimits, serve};
pub use this_server::About;

/// What the handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct ApiContext {
    pub accounts: Accounts,
    pub store: Store,
    /// Whether files go because the disk has too little room.
    pub space: Space,
    pub deliveries: Deliveries,
    /// Where files that come in go.
    pub spool: Spool,
    /// Fetches files that are given by a URL.
    pub fetch: Clients,
    /// Lets requests in.
    pub gate: Arc<Gate>,
    /// One for each client that may wait at the event log.
    pub readers: Arc<Semaphore>,
    /// What waits for events ends with it.
    pub stopping: Shutdown,
    /// How the event thread does.
    pub pulse: Arc<Pulse>,
    pub about: Arc<About>,
    pub config: ApiConfig,
}

/// The settings of the API.
#[derive(Debug, Clone, Copy)]
pub struct ApiConfig {
    pub envelope: Envelope,
    /// The longest JSON body, in bytes. A text of 65,536 characters has up to 786,432 as escapes.
    pub max_json: usize,
    /// The largest file, in bytes.
    pub max_file: u64,
    /// Whether files are fetched from this machine, too, for keys of one account.
    pub local_urls: bool,
    /// How often an event stream without news says that it is alive.
    pub heartbeat: Duration,
    /// How long an account may be without its connection before that is a problem.
    pub patience: Duration,
    pub limits: ServerLimits,
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            envelope: Envelope::Both,
            max_json: 1024 * 1024,
            max_file: 50 * 1024 * 1024,
            local_urls: false,
            heartbeat: Duration::from_secs(15),
            patience: Duration::from_secs(120),
            limits: ServerLimits::default(),
        }
    }
}

/// A request as the handlers see it.
type Req = tide::Request<ApiContext>;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<Answer, ApiError>> + Send>>;

/// An endpoint.
pub struct Route {
    pub method: Method,
    /// With parameters as `:name`.
    pub path: &'static str,
    handler: fn(Req) -> HandlerFuture,
    /// What it does, in one line.
    pub doc: &'static str,
}

macro_rules! routes {
    ($($method:ident $path:literal $handler:path: $doc:literal,)*) => {
        &[$(Route {
            method: Method::$method,
            path: $path,
            handler: |req| Box::pin($handler(req)),
            doc: $doc,
        },)*]
    };
}

/// Every endpoint there is. The README's table is made of this.
pub const ROUTES: &[Route] = routes![
    Get "/ping" health::ping:
        "Whether the server is up",
    Get "/health" health::health:
        "200, or 503 with what is wrong: of each account, of storage, of the event thread",
    Get "/server" this_server::show:
        "This server: version, storage, and what the request's key may do; without a key only whether there are keys",
    Get "/keys" this_server::keys:
        "The keys' names and what each may do",
    Get "/settings" this_server::settings:
        "Every setting with its value",
    Get "/openapi.json" openapi::document:
        "This API as an OpenAPI document",
    Post "/accounts" accounts::create:
        "Create an account and start pairing it",
    Get "/accounts" accounts::list:
        "All accounts, in order of creation",
    Get "/accounts/:id" accounts::get:
        "One account",
    Patch "/accounts/:id" accounts::rename:
        "Give an account another name",
    Delete "/accounts/:id" accounts::delete:
        "Unlink an account and remove everything it stored",
    Get "/accounts/:id/status" connection::status:
        "Connection status, with the QR code's text while one waits",
    Post "/accounts/:id/connect" connection::connect:
        "Connect, or start a new pairing after a logout",
    Post "/accounts/:id/disconnect" connection::disconnect:
        "Disconnect and stay so; keeps the pairing",
    Get "/accounts/:id/qr" qr::show:
        "The QR code as `?format=png`, `svg`, `text` or `raw`",
    Post "/accounts/:id/pair-code" connection::pair_code:
        "The 8-character code for \"link with phone number\"",
    Get "/accounts/:id/passkey" passkey::show:
        "The passkey that WhatsApp asks for: its challenge, the code to compare, what to do",
    Post "/accounts/:id/passkey" passkey::answer:
        "Show WhatsApp the passkey's answer",
    Delete "/accounts/:id/passkey" passkey::give_up:
        "Give linking with a passkey up; a new QR code follows",
    Post "/accounts/:id/passkey/confirm" passkey::confirm:
        "Confirm that the phone shows the same code",
    Get "/accounts/:id/passkey/guide" passkey::guide:
        "What to do in a browser on WhatsApp's site, with the line to paste, as text",
    Post "/accounts/:id/message/send" sending::text:
        "Send a text, with mentions or as a reply if wanted",
    Post "/accounts/:id/message/send/image" sending::image:
        "Send an image: a form with the file, or JSON with `url` or `base64`",
    Post "/accounts/:id/message/send/video" sending::video:
        "Send a video, as a looping clip with `gifPlayback`",
    Post "/accounts/:id/message/send/audio" sending::audio:
        "Send audio, as a voice note with `ptt`",
    Post "/accounts/:id/message/send/document" sending::document:
        "Send any file",
    Post "/accounts/:id/message/send/sticker" sending::sticker:
        "Send a WebP as a sticker",
    Post "/accounts/:id/message/reply" sending::reply:
        "Answer a message with a text",
    Post "/accounts/:id/message/react" sending::react:
        "React with an emoji; an empty one takes it back",
    Post "/accounts/:id/message/delete" sending::delete:
        "Delete a message for everyone",
    Get "/accounts/:id/outbox" outbox::list:
        "Messages that wait to be sent, in the order in which they go",
    Delete "/accounts/:id/outbox/:messageId" outbox::cancel:
        "Cancel a message that waits",
    Get "/accounts/:id/chats" chats::list:
        "Chats, newest first",
    Get "/accounts/:id/chats/:chatId/messages" chats::messages:
        "The messages of a chat, newest first",
    Post "/accounts/:id/chats/:chatId/read" sending::read:
        "Mark a chat, or `messageIds` of it, as read",
    Get "/accounts/:id/messages/:messageId" messages::get:
        "One message",
    Get "/accounts/:id/messages/:messageId/media" media::of_message:
        "The file of a message",
    Get "/messages" messages::of_all:
        "Messages of all accounts or one, newest first",
    Get "/media" media::list:
        "The stored files and what they belong to",
    Get "/media/:mediaId" media::by_id:
        "One stored file",
    Get "/events" events::read:
        "What happened, from the event log: `after`, `limit`, `wait`, or as a stream",
    Post "/webhooks" webhooks::register:
        "Register a URL to receive events",
    Get "/webhooks" webhooks::list:
        "All webhooks and how their deliveries go",
    Delete "/webhooks/:id" webhooks::remove:
        "Remove a webhook by its id",
    Delete "/webhooks" webhooks::remove_by_url:
        "Remove a webhook by `?url=`",
    Post "/webhooks/:id/test" webhooks::test:
        "Send a `ping` event and show what the receiver answered",
    Get "/webhooks/:id/dead" webhooks::dead:
        "Events that were given up for a webhook",
    Post "/webhooks/:id/replay" webhooks::replay:
        "Deliver dead letters again: all, or those of `ids`",
];

/// The router with its context, ready to answer.
struct Api {
    app: tide::Server<ApiContext>,
    gate: Arc<Gate>,
    #[cfg(feature = "sandbox")]
    context: ApiContext,
}

impl Api {
    fn new(context: ApiContext) -> Api {
        let gate = Arc::clone(&context.gate);
        #[cfg(feature = "sandbox")]
        let phones = context.clone();
        let mut app = tide::with_state(context);
        for route in ROUTES {
            let handler = route.handler;
            app.at(route.path).method(route.method, move |req: Req| {
                let envelope = req.state().config.envelope;
                let permitted = auth::permit(route.path, &req);
                async move {
                    let answer = match permitted {
                        Ok(()) => handler(req).await,
                        Err(error) => Err(error),
                    };
                    Ok(match answer {
                        Ok(answer) => answer.into_response(envelope),
                        Err(error) => error.into_response(),
                    })
                }
            });
        }
        Api {
            app,
            gate,
            #[cfg(feature = "sandbox")]
            context: phones,
        }
    }
}

/// How long a request may take that moves a file to or from WhatsApp, which may be behind a slow line.
const WITH_FILE: Duration = Duration::from_secs(15 * 60);

/// The same for sound, which may be converted for 30 minutes, with turns for others between.
const WITH_SOUND: Duration = Duration::from_secs(45 * 60);

/// What tells a page without a key whether it needs one.
const SERVER: &str = "/server";

/// Where clients wait for events.
const EVENTS: &str = "/events";

impl Respond for Api {
    fn patience(&self, request: &Request, usual: Duration) -> Duration {
        let path = request.url().path().trim_end_matches('/');
        if path == EVENTS {
            return usual.saturating_add(events::MAX_WAIT);
        }
        // Who leaves before that ends the conversion.
        if path.ends_with("/message/send/audio") {
            return usual.max(WITH_SOUND);
        }
        let moves_a_file = ROUTES.iter().any(|route| {
            let is_file = route.path.contains("/send/") || route.path.contains("/media");
            is_file && route.method == request.method() && matches_path(route.path, path)
        });
        match moves_a_file {
            true => usual.max(WITH_FILE),
            false => usual,
        }
    }

    fn waits(&self, request: &Request) -> bool {
        let path = request.url().path().trim_end_matches('/');
        request.method() == Method::Get && path == EVENTS
    }

    /// The answer to a request, whatever happens.
    async fn respond(&self, mut request: Request) -> Response {
        // A slash at the end changes nothing, as WILDCAT 2.0 programs are used to.
        if let Some(path) = request.url().path().strip_suffix('/') {
            let path = path.to_owned();
            request.url_mut().set_path(&path);
        }
        let path = request.url().path().to_owned();
        let method = request.method();
        let page = web::answer(&request);
        // The page asks for a key itself: the browser's own prompt would come on top.
        let asks_itself = request.header("X-Api-Key").is_some();
        let answer = async {
            if let Some(page) = page {
                return Ok(page);
            }
            self.gate.admit(&mut request)?;
            #[cfg(feature = "sandbox")]
            if let Some(base) = self
                .context
                .about
                .phones
                .as_ref()
                .filter(|_| phones::is_for(&request))
            {
                return phones::pass(request, base, &self.context.fetch).await;
            }
            let answer = self.app.respond::<_, Response>(request).await;
            answer.map_err(|error| ApiError::Internal(error.to_string()))
        };
        let mut response = match without_panic(method, answer).await {
            // What the router itself says has no body; every handler's answer has one.
            Ok(Ok(response)) if is_routers_own(&response) => no_endpoint(&path).into_response(),
            Ok(Ok(response)) => response,
            Ok(Err(error)) | Err(error) => error.into_response(),
        };
        if asks_itself {
            response.remove_header("WWW-Authenticate");
        }
        // No page of somebody else may show it, not even as a picture.
        response.insert_header("Cross-Origin-Resource-Policy", "same-origin");
        response
    }
}

/// What `answer` comes to; a panic on the way is an error like others.
async fn without_panic<T>(method: Method, answer: impl Future<Output = T>) -> Result<T, ApiError> {
    let name = format!("a {method} request");
    let answered = tasks::caught(Kind::Request, &name, answer).await;
    answered.ok_or_else(|| ApiError::Internal(format!("{name} panicked")))
}

fn is_routers_own(response: &Response) -> bool {
    response.len() == Some(0)
        && matches!(
            response.status(),
            StatusCode::NotFound | StatusCode::MethodNotAllowed
        )
}

/// Why no handler answers for this path: 405 with the methods that it has, or 404.
fn no_endpoint(path: &str) -> ApiError {
    let mut allow: Vec<Method> = Vec::new();
    for route in ROUTES.iter().filter(|route| matches_path(route.path, path)) {
        allow.push(route.method);
        if route.method == Method::Get {
            allow.push(Method::Head);
        }
    }
    if allow.is_empty() {
        ApiError::NoRoute
    } else {
        ApiError::Method { allow }
    }
}

/// Whether the router takes `path` for `pattern`.
fn matches_path(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    pattern.split('/').all(|expected| {
        segments
            .next()
            .is_some_and(|found| match expected.starts_with(':') {
                true => !found.is_empty(),
                false => found == expected,
            })
    }) && segments.next().is_none()
}

#[cfg(test)]
mod route_tests {
    use super::*;

    #[test]
    fn every_route_is_there_once_and_finds_itself() {
        for (i, route) in ROUTES.iter().enumerate() {
            let same = |other: &Route| other.method == route.method && other.path == route.path;
            assert!(!ROUTES[..i].iter().any(same), "{} twice", route.path);
            assert!(matches_path(route.path, route.path), "{}", route.path);
            assert!(!route.doc.is_empty());
        }
    }

    #[test]
    fn wrong_methods_are_told_the_right_ones() {
        let allow = |path: &str| match no_endpoint(path) {
            ApiError::Method { allow } => allow
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            other => other.to_string(),
        };
        assert_eq!(allow("/ping"), "GET HEAD");
        assert_eq!(allow("/accounts"), "POST GET HEAD");
        assert_eq!(allow("/accounts/alice"), "GET HEAD DELETE");
        assert_eq!(allow("/accounts/alice/message/send"), "POST");
        assert_eq!(allow("/accounts//status"), "Not found");
        assert_eq!(allow("/nowhere"), "Not found");
        assert_eq!(allow("/"), "Not found");
    }
}
