//! The REST API: [`routes`] is its table of contents, [`route`] what an entry of it says.
//!
//! The only importer of tide, which routes; `http1` and `serve` are the server beneath it. A
//! handler turns a request into an [`Answer`] or an [`ApiError`]; the envelope and the status codes
//! are put on in one place each.

mod accounts;
mod album;
mod answer;
mod auth;
mod base64;
mod body;
mod calls;
mod chats;
mod connection;
mod contacts;
mod context;
mod crowd;
mod data_uri;
mod delivery;
#[cfg(test)]
mod describe;
mod error;
mod events;
mod fetch;
mod file;
mod file_name;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod groups;
mod headers;
mod health;
mod http1;
mod json_file;
mod media;
mod messages;
mod metrics;
mod multipart;
mod openapi;
mod outbox;
mod page;
mod passkey;
mod people;
#[cfg(feature = "sandbox")]
mod phones;
mod presence;
mod profile;
mod qr;
mod range;
mod read;
mod recipients;
mod route;
mod routes;
mod search;
mod sending;
mod serve;
mod stories;
#[cfg(test)]
mod tests;
mod this_server;
mod timer;
mod typing;
mod upload;
mod values;
mod web;
mod webhooks;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_types::{Method, Request, Response, StatusCode};
use smol::Executor;
use smol::net::TcpListener;

use crate::runtime::tasks::{self, Kind};
pub use auth::{AuthSettings, Authenticator};
use context::Req;
pub use context::{About, ApiConfig, ApiContext};
use error::ApiError;
pub use fetch::FETCH;
#[cfg(feature = "sandbox")]
pub use phones::base as phones_base;
pub use route::Route;
use route::{Patience, Right};
pub use routes::ROUTES;
use serve::Respond;
pub use serve::ServerLimits;

/// Serves the API on `listener` until `stop` is ready, then answers the requests in flight and
/// returns. The caller bounds how long that may take by dropping the future.
///
/// Connections are tasks on `executor`.
pub async fn serve(
    listener: TcpListener,
    context: ApiContext,
    executor: Arc<Executor<'static>>,
    stop: impl Future<Output = ()>,
) {
    let limits = context.config.limits;
    let api = Arc::new(Api::new(context));
    serve::serve_with(listener, api, limits, executor, stop).await;
}

/// The router with its context, ready to answer.
struct Api {
    app: tide::Server<ApiContext>,
    authenticator: Arc<Authenticator>,
    #[cfg(feature = "sandbox")]
    context: ApiContext,
}

impl Api {
    fn new(context: ApiContext) -> Api {
        let authenticator = Arc::clone(&context.authenticator);
        #[cfg(feature = "sandbox")]
        let phones = context.clone();
        let mut app = tide::with_state(context);
        for route in ROUTES {
            let handler = route.handler;
            app.at(route.path).method(route.method, move |req: Req| {
                let envelope = req.state().config.envelope;
                let permitted = route.permit(&req);
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
            authenticator,
            #[cfg(feature = "sandbox")]
            context: phones,
        }
    }
}

impl Respond for Api {
    fn no_endpoint(&self, path: &str) -> ApiError {
        no_endpoint(path)
    }

    fn patience(&self, request: &Request, usual: Duration) -> Duration {
        route_of(request).map_or(usual, |route| route.patience.time(usual))
    }

    fn waits(&self, request: &Request) -> bool {
        route_of(request).is_some_and(|route| route.patience == Patience::Events)
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
            let right = route_of(&request).map(|route| route.right);
            if right != Some(Right::Open) {
                let keyless = right == Some(Right::Keyless);
                self.authenticator.admit(&mut request, keyless)?;
            }
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
            // The router would go on to a route with a parameter in the place of a word.
            if route_of(&request).is_none() {
                return Err(no_endpoint(&path));
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

/// The route that answers a request, before the router has looked at it.
fn route_of(request: &Request) -> Option<&'static Route> {
    let (method, path) = (request.method(), request.url().path());
    routes_at(path).find(|route| route.takes(method))
}

/// The routes of a path. A route that names a segment (`/contacts/check`) hides those that take it as a parameter
/// (`/contacts/:contactId`), for all methods: a path has one meaning.
fn routes_at(path: &str) -> impl Iterator<Item = &'static Route> {
    let matching = move || ROUTES.iter().filter(move |route| route.matches(path));
    let most = matching().map(Route::words).max();
    matching().filter(move |route| Some(route.words()) == most)
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
    for route in routes_at(path) {
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

#[cfg(test)]
mod route_tests {
    use super::*;

    #[test]
    fn every_route_is_there_once_and_finds_itself() {
        for (i, route) in ROUTES.iter().enumerate() {
            let same = |other: &Route| other.method == route.method && other.path == route.path;
            assert!(!ROUTES[..i].iter().any(same), "{} twice", route.path);
            assert!(route.matches(route.path), "{}", route.path);
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
        assert_eq!(allow("/accounts/alice"), "GET HEAD PATCH DELETE");
        assert_eq!(allow("/accounts/alice/message/send"), "POST");
        assert_eq!(allow("/accounts/alice/contacts/491"), "GET HEAD PUT DELETE");
        assert_eq!(allow("/accounts/alice/contacts/check"), "POST");
        assert_eq!(allow("/accounts//status"), "Not found");
        assert_eq!(allow("/nowhere"), "Not found");
        assert_eq!(allow("/"), "Not found");
    }
}
