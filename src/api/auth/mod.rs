//! Who may do what: the authenticator before the router, and what a caller may see behind it.
//!
//! Every request passes [`Authenticator::admit`] unless its route is declared [`Open`](super::route::Right::Open), or it asks for a file of
//! the web page; every route then checks its [`Right`](super::route::Right) before its handler runs.

mod failures;
mod names;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_types::{Method, Request};

use super::error::ApiError;
use crate::account::AccountError;
use crate::keys::{self, Key, Watched};
use crate::sync::locked;
use failures::Failures;
use names::{Names, Sender};

/// What proxies tell about the request that they pass on. A request with one of these comes from
/// somewhere else.
const PROXIED: &[&str] = &[
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "Via",
];

/// Where a request comes from, as the connection knows it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The sender of a request that was admitted, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(Reach);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    /// Every account.
    All,
    /// One account, by its id.
    Account(String),
    /// Nothing: the request was not checked yet.
    Nothing,
}

impl Caller {
    /// The caller of a request.
    pub fn of(req: &impl AsRef<Request>) -> Caller {
        let request: &Request = req.as_ref();
        request
            .ext()
            .get::<Caller>()
            .cloned()
            .unwrap_or(Caller(Reach::Nothing))
    }

    /// Whether it may see that account, and everything of it.
    pub fn may_see(&self, account: &str) -> bool {
        match &self.0 {
            Reach::All => true,
            Reach::Account(own) => own == account,
            Reach::Nothing => false,
        }
    }

    /// The only account that it may see; `None` if it may see all.
    pub fn only(&self) -> Option<&str> {
        match &self.0 {
            Reach::All => None,
            Reach::Account(own) => Some(own),
            // The id of no account.
            Reach::Nothing => Some(""),
        }
    }

    /// The account that a list is narrowed down to, from the one that is asked for, if any.
    ///
    /// # Errors
    /// 404 if that is not this caller's, as for one that does not exist.
    pub fn narrow(&self, asked: Option<String>) -> Result<Option<String>, ApiError> {
        match (asked, self.only()) {
            (Some(asked), _) if !self.may_see(&asked) => {
                Err(ApiError::Account(AccountError::NotFound))
            }
            (Some(asked), _) => Ok(Some(asked)),
            (None, only) => Ok(only.map(str::to_owned)),
        }
    }
}

/// What a request may do, and how it came.
#[derive(Debug)]
pub struct Access {
    /// Whether it was let in: with a key, or because none is needed.
    pub admitted: bool,
    /// The key that it carries.
    pub key: Option<Key>,
    pub has_keys: bool,
    /// Whether it was made on this machine.
    pub local: bool,
    /// Whether every request is let in, by `auth.open`.
    pub open: bool,
}

/// The settings of [`Authenticator`].
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// The file of the keys.
    pub keys: PathBuf,
    /// Whether everybody is let in, also without a key.
    pub open: bool,
    /// Names under which browsers reach this server, besides those that are its own anyway.
    pub hosts: Vec<String>,
}

/// What stands before the router.
#[derive(Debug)]
pub struct Authenticator {
    open: bool,
    names: Names,
    keys: Mutex<Watched>,
    failures: Mutex<Failures>,
}

/// How a key is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// In a header that no web page can add to a request to another server.
    Header,
    /// As the password of Basic authentication, which a browser adds by itself once it has it.
    Basic,
}

/// A key that a request carries.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Presented {
    key: String,
    how: How,
}

/// Which caller a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    Known {
        caller: Caller,
        read_only: bool,
    },
    /// Let in without a key.
    Anybody,
    Wrong,
    /// There are keys, but the request has none.
    Missing,
    /// There are no keys yet.
    NoKeysYet,
}

/// Pure.
fn judge(presented: Option<&Presented>, keys: &[Key], local: bool, open: bool) -> Identity {
    let found = presented.and_then(|presented| keys::find(keys, &presented.key));
    match (found, presented) {
        (Some(key), _) => Identity::Known {
            caller: Caller(match &key.account {
                Some(account) => Reach::Account(account.clone()),
                None => Reach::All,
            }),
            read_only: key.read_only,
        },
        _ if open || (local && keys.is_empty()) => Identity::Anybody,
        _ if keys.is_empty() => Identity::NoKeysYet,
        (None, Some(_)) => Identity::Wrong,
        (None, None) => Identity::Missing,
    }
}

impl Authenticator {
    pub fn new(settings: AuthSettings) -> Authenticator {
        if settings.open {
            log::warn!("auth.open is true: everybody who reaches the port can use the accounts");
        }
        Authenticator {
            open: settings.open,
            names: Names::of_this_machine(settings.hosts),
            keys: Mutex::new(Watched::new(settings.keys)),
            failures: Mutex::default(),
        }
    }

    /// Admits a request, and notes its [`Caller`] on it. With `keyless`, a request without a key is admitted as a caller that may
    /// see no account.
    ///
    /// # Errors
    /// 401 without a key that counts, 403 for web pages of others and for what a key may not do, 429
    /// after too many wrong keys, 500 if the keys cannot be read.
    pub fn admit(&self, request: &mut Request, keyless: bool) -> Result<(), ApiError> {
        let is_read = matches!(request.method(), Method::Get | Method::Head);
        let peer = peer(request);
        let presented = presented(request);
        let keys = self.keys()?;
        let identity = judge(
            presented.as_ref(),
            &keys,
            is_local(peer, request),
            self.open,
        );
        let with_header = matches!(identity, Identity::Known { .. })
            && presented.is_some_and(|presented| presented.how == How::Header);
        self.names
            .check(&Sender::of(request), with_header)
            .map_err(ApiError::Forbidden)?;
        let caller = match identity {
            Identity::Known {
                read_only: true, ..
            } if !is_read => {
                return Err(ApiError::Forbidden("This key may only read".to_owned()));
            }
            Identity::Known { caller, .. } => caller,
            Identity::Anybody => Caller(Reach::All),
            Identity::Missing | Identity::NoKeysYet if keyless => Caller(Reach::Nothing),
            Identity::Missing => return Err(ApiError::NoKey),
            Identity::NoKeysYet => return Err(ApiError::NoKeysYet),
            Identity::Wrong => return Err(self.wrong(asks_for(request))),
        };
        request.ext_mut().insert(caller);
        Ok(())
    }

    /// What a request that was admitted may do.
    ///
    /// # Errors
    /// If the keys cannot be read.
    pub fn access(&self, request: &Request) -> Result<Access, ApiError> {
        let keys = self.keys()?;
        let presented = presented(request);
        let local = is_local(peer(request), request);
        let identity = judge(presented.as_ref(), &keys, local, self.open);
        let key = presented.and_then(|presented| keys::find(&keys, &presented.key).cloned());
        Ok(Access {
            admitted: matches!(identity, Identity::Known { .. } | Identity::Anybody),
            key,
            has_keys: !keys.is_empty(),
            local,
            open: self.open,
        })
    }

    /// The keys as they are now.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn keys(&self) -> Result<Arc<[Key]>, ApiError> {
        match lock(&self.keys).current() {
            Ok(keys) => Ok(keys),
            // No key is needed.
            Err(error) if self.open => {
                log::warn!("the keys: {error}");
                Ok(Arc::new([]))
            }
            Err(error) => Err(ApiError::Keys(error)),
        }
    }

    /// The name of this machine, if it tells one.
    pub fn machine(&self) -> Option<&str> {
        self.names.machine()
    }

    /// The answer to a wrong key from `address`; held back if there were too many. A right one is
    /// let in at once all the same, so nobody is locked out by a neighbour.
    fn wrong(&self, address: Option<IpAddr>) -> ApiError {
        let address = address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let failed = lock(&self.failures).fail(address, Instant::now());
        match failed {
            None => {
                log::warn!("a request from {address} with a wrong key");
                ApiError::WrongKey
            }
            Some(left) => ApiError::WrongKeys {
                retry_after: left.as_secs() + 1,
            },
        }
    }
}

/// Nothing panics while it is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    locked(mutex)
}

/// Whether a request was made on this machine, and not passed on by a proxy here.
fn is_local(peer: Option<IpAddr>, request: &Request) -> bool {
    peer.is_some_and(|ip| ip.to_canonical().is_loopback())
        && !PROXIED.iter().any(|name| request.header(*name).is_some())
}

/// The address that connected.
fn peer(request: &Request) -> Option<IpAddr> {
    request.ext().get::<Peer>().map(|peer| peer.0.ip())
}

/// The address that a request counts against.
pub(super) fn asks_for(request: &Request) -> Option<IpAddr> {
    counted(peer(request), request)
}

/// That of the connection, or what a proxy on this machine, which is the connection's then, says last.
fn counted(peer: Option<IpAddr>, request: &Request) -> Option<IpAddr> {
    let peer = peer?.to_canonical();
    if !peer.is_loopback() {
        return Some(peer);
    }
    let last = request
        .header("X-Forwarded-For")
        .map(|values| values.last().as_str())
        .and_then(|list| list.rsplit(',').next())
        .and_then(|last| last.trim().parse().ok());
    Some(last.unwrap_or(peer))
}

/// The key that a request carries, in the first of the three places that has one.
fn presented(request: &Request) -> Option<Presented> {
    let header = |name: &str| request.header(name).map(|values| values.last().as_str());
    // A page that has no key sends an empty header: it is no wrong key.
    if let Some(key) = header("X-Api-Key").filter(|key| !key.trim().is_empty()) {
        return Some(Presented {
            key: key.trim().to_owned(),
            how: How::Header,
        });
    }
    let authorization = header("Authorization")?.trim();
    let (scheme, rest) = authorization.split_once(' ').unwrap_or((authorization, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("Basic") {
        let pair = STANDARD.decode(rest).ok()?;
        let pair = String::from_utf8_lossy(&pair).into_owned();
        // The name does not matter.
        let (_, password) = pair.split_once(':')?;
        return Some(Presented {
            key: password.to_owned(),
            how: How::Basic,
        });
    }
    Some(Presented {
        key: match scheme.eq_ignore_ascii_case("Bearer") {
            true => rest.to_owned(),
            // Some programs send the bare key.
            false => authorization.to_owned(),
        },
        how: How::Header,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKING: &str = "wc_made";

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Method::Get, "http://localhost/accounts");
        for (name, value) in headers {
            request.append_header(*name, *value);
        }
        request
    }

    fn key(account: Option<&str>, read_only: bool) -> Key {
        use sha2::Digest as _;
        Key {
            name: "k".to_owned(),
            sha256: sha2::Sha256::digest(MAKING).into(),
            account: account.map(str::to_owned),
            read_only,
            created: String::new(),
        }
    }

    fn sent(key: &str) -> Option<Presented> {
        Some(Presented {
            key: key.to_owned(),
            how: How::Header,
        })
    }

    #[test]
    fn a_key_is_found_wherever_it_may_stand() {
        let of = |headers: &[(&str, &str)]| presented(&request(headers)).map(|p| (p.key, p.how));
        let key = |how| Some(("wc_1".to_owned(), how));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("x-api-key", " wc_1")]), key(How::Header));
        assert_eq!(of(&[("Authorization", "bearer  wc_1")]), key(How::Header));
        assert_eq!(of(&[("Authorization", "wc_1")]), key(How::Header));
        // "anyone:wc_1"
        let basic = ("Authorization", "Basic YW55b25lOndjXzE=");
        assert_eq!(of(&[basic]), key(How::Basic));
        assert_eq!(of(&[("X-Api-Key", " ")]), None);
        // A proxy's own password beside the key.
        assert_eq!(of(&[("X-Api-Key", "wc_1"), basic]), key(How::Header));
        assert_eq!(of(&[("Authorization", "Basic !!")]), None);
    }

    #[test]
    fn without_keys_this_machine_is_served_and_nobody_else() {
        assert_eq!(judge(None, &[], true, false), Identity::Anybody);
        // What a program always sends does no harm.
        assert_eq!(
            judge(sent("x").as_ref(), &[], true, false),
            Identity::Anybody
        );
        assert_eq!(judge(None, &[], false, false), Identity::NoKeysYet);
        assert_eq!(
            judge(sent("x").as_ref(), &[], false, false),
            Identity::NoKeysYet
        );
        assert_eq!(judge(None, &[], false, true), Identity::Anybody);
    }

    #[test]
    fn with_keys_everybody_needs_one() {
        let keys = [key(None, true)];
        for local in [true, false] {
            assert_eq!(judge(None, &keys, local, false), Identity::Missing);
            assert_eq!(
                judge(sent("wc_other").as_ref(), &keys, local, false),
                Identity::Wrong
            );
            let known = Identity::Known {
                caller: Caller(Reach::All),
                read_only: true,
            };
            assert_eq!(judge(sent(MAKING).as_ref(), &keys, local, false), known);
            // Also where nobody needs one: it keeps its limits.
            assert_eq!(judge(sent(MAKING).as_ref(), &keys, local, true), known);
            assert_eq!(judge(None, &keys, local, true), Identity::Anybody);
        }
    }

    #[test]
    fn a_key_of_one_account_sees_that_one() {
        let keys = [key(Some("alice"), false)];
        let Identity::Known { caller, .. } = judge(sent(MAKING).as_ref(), &keys, false, false)
        else {
            panic!("not known");
        };
        assert!(caller.may_see("alice") && !caller.may_see("bob") && !caller.may_see(""));
        assert_eq!(caller.narrow(None).unwrap().as_deref(), Some("alice"));
        assert!(caller.narrow(Some("bob".to_owned())).is_err());
        let all = Caller(Reach::All);
        assert!(all.may_see("bob") && all.narrow(None).unwrap().is_none());
        let nothing = Caller(Reach::Nothing);
        assert!(!nothing.may_see("bob") && nothing.narrow(None).unwrap().is_some());
    }

    #[test]
    fn what_a_proxy_passes_on_is_not_local() {
        let loopback = Some(IpAddr::from([127, 0, 0, 1]));
        let mapped = Some("::ffff:127.0.0.1".parse().unwrap());
        let lan = Some(IpAddr::from([192, 168, 1, 7]));
        assert!(is_local(loopback, &request(&[])));
        assert!(is_local(mapped, &request(&[])));
        assert!(!is_local(lan, &request(&[])));
        assert!(!is_local(None, &request(&[])));
        for name in PROXIED {
            assert!(!is_local(loopback, &request(&[(name, "")])), "{name}");
        }
        let forwarded = request(&[("X-Forwarded-For", "6.6.6.6, 10.0.0.9")]);
        assert_eq!(
            counted(loopback, &forwarded),
            Some(IpAddr::from([10, 0, 0, 9]))
        );
        assert_eq!(counted(lan, &forwarded), lan);
        assert_eq!(counted(loopback, &request(&[])), loopback);
    }
}
