//! What a route is: one declaration, of which the router, the check of rights, the 405 answers, the OpenAPI
//! document and the README's table are made.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http_types::Method;

use super::answer::Answer;
use super::auth::Caller;
use super::context::{Req, param};
use super::error::ApiError;
use crate::account::AccountError;

pub type HandlerFuture = Pin<Box<dyn Future<Output = Result<Answer, ApiError>> + Send>>;

/// An endpoint.
pub struct Route {
    pub method: Method,
    /// With parameters as `:name`.
    pub path: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    pub right: Right,
    pub patience: Patience,
    pub handler: fn(Req) -> HandlerFuture,
    /// The method's name in generated clients.
    #[cfg(test)]
    pub operation: &'static str,
    /// The group in generated documents and clients.
    #[cfg(test)]
    pub tag: &'static str,
    /// Describes request and answers.
    #[cfg(test)]
    pub describe: fn(&mut super::describe::Operation),
}

/// Which keys a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// No key is needed.
    Open,
    /// No key is needed; one that is sent must be right. The handler shows less without one.
    Keyless,
    /// Keys for all accounts.
    AllAccounts,
    /// Also keys of the account that `:id` names.
    Account,
    /// Also keys of the account that the webhook `:id` belongs to.
    Webhook,
    /// Every key: the handler leaves out what belongs to other accounts.
    Filtered,
}

/// How long a request may take once its body has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// The server's setting.
    Usual,
    /// 15 minutes: a file goes to or comes from WhatsApp, which may be behind a slow line.
    File,
    /// 45 minutes: sound may be converted for 30 minutes, with turns for others between. The conversion ends when the
    /// client leaves.
    Sound,
    /// The usual time and the longest `wait` of an event reader, which ends when the client leaves.
    Events,
}

/// The longest `wait` at the event log; a longer one counts as this.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

impl Patience {
    /// The time, where `usual` is the server's setting.
    pub fn time(self, usual: Duration) -> Duration {
        const MINUTE: Duration = Duration::from_secs(60);
        match self {
            Patience::Usual => usual,
            Patience::File => usual.max(15 * MINUTE),
            Patience::Sound => usual.max(45 * MINUTE),
            Patience::Events => usual.saturating_add(MAX_WAIT),
        }
    }
}

impl Route {
    /// Whether the router takes `path` for this route. A slash at the end does not matter.
    pub fn matches(&self, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments = path.split('/');
        self.path.split('/').all(|expected| {
            segments
                .next()
                .is_some_and(|found| match expected.starts_with(':') {
                    true => !found.is_empty(),
                    false => found == expected,
                })
        }) && segments.next().is_none()
    }

    /// The number of segments that are no parameters.
    pub fn words(&self) -> usize {
        let segments = self.path.split('/');
        segments.filter(|segment| !segment.starts_with(':')).count()
    }

    /// Whether it answers that method: what answers GET answers HEAD.
    pub fn takes(&self, method: Method) -> bool {
        self.method == method || (self.method == Method::Get && method == Method::Head)
    }

    /// Whether the caller may use this route with these parameters.
    ///
    /// # Errors
    /// 404 for another account or its webhooks, 403 for routes that need a key for all accounts.
    pub fn permit(&self, req: &Req) -> Result<(), ApiError> {
        let caller = Caller::of(req);
        if caller.only().is_none() {
            return Ok(());
        }
        match self.right {
            Right::Open | Right::Keyless | Right::Filtered => Ok(()),
            Right::Account => match caller.may_see(&param(req, "id")) {
                true => Ok(()),
                false => Err(ApiError::Account(AccountError::NotFound)),
            },
            Right::Webhook => {
                let id = param(req, "id");
                let hooks = req.state().deliveries.list()?;
                let account = hooks
                    .iter()
                    .find(|hook| hook.id == id)
                    .and_then(|hook| hook.account_id.as_deref());
                match account.is_some_and(|account| caller.may_see(account)) {
                    true => Ok(()),
                    false => Err(ApiError::NotFound("Webhook not found")),
                }
            }
            Right::AllAccounts => Err(ApiError::Forbidden(
                "This key is for one account, and this is not only its own".to_owned(),
            )),
        }
    }
}

/// Declares the routes.
///
/// ```ignore
/// Post "/accounts" createAccount Accounts, Filtered, Usual,
///     accounts::create: NewAccount => Created<OneAccount>,
///     "Create an account and start pairing it";
/// ```
///
/// In this order: method, path, operation id, tag, [`Right`], [`Patience`]; the handler, its request and its answer; what
/// it does. `file "field"` behind the request's type: the handler reads the request itself, with the file that a form
/// has in that field.
macro_rules! routes {
    (@handler $path:literal, $handler:path, $Request:ty => $Reply:ty) => {
        |mut req| Box::pin(async move {
            let input: $Request = $crate::api::read::read(&mut req, $path).await?;
            let reply: $Reply = $handler(req, input).await?;
            $crate::api::answer::Reply::into_answer(reply)
        })
    };
    (@handler $path:literal, $handler:path, file $file:literal $Request:ty => $Reply:ty) => {
        |req| Box::pin(async move {
            let incoming = $crate::api::read::Incoming::<$Request>::new(req, $path, $file);
            let reply: $Reply = $handler(incoming).await?;
            $crate::api::answer::Reply::into_answer(reply)
        })
    };
    (@describe file $file:literal $Request:ty => $Reply:ty) => {
        |operation| {
            operation.upload::<$Request>($file);
            <$Reply as $crate::api::answer::Reply>::describe(operation);
        }
    };
    (@describe $Request:ty => $Reply:ty) => {
        |operation| {
            operation.request::<$Request>();
            <$Reply as $crate::api::answer::Reply>::describe(operation);
        }
    };
    ($(
        $method:ident $path:literal $operation:ident $tag:ident, $right:ident, $patience:ident,
        $handler:path: $Request:ty $(, file $file:literal)? => $Reply:ty,
        $doc:literal;
    )*) => {
        &[$($crate::api::route::Route {
            method: http_types::Method::$method,
            path: $path,
            doc: $doc,
            right: $crate::api::route::Right::$right,
            patience: $crate::api::route::Patience::$patience,
            handler: $crate::api::route::routes!(
                @handler $path, $handler, $(file $file)? $Request => $Reply
            ),
            #[cfg(test)]
            operation: stringify!($operation),
            #[cfg(test)]
            tag: stringify!($tag),
            #[cfg(test)]
            describe: $crate::api::route::routes!(@describe $(file $file)? $Request => $Reply),
        },)*]
    };
}
pub(crate) use routes;
