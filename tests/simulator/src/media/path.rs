//! Names: the kinds of upload paths, tokens, and the signed paths of downloads.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Hash, digest};

/// What WhatsApp's media paths distinguish. Stickers travel as images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `image`: pictures and stickers.
    Image,
    /// `video`.
    Video,
    /// `audio`: music and voice notes.
    Audio,
    /// `document`.
    Document,
    /// `md-msg-hist`: the history that a phone sends to its linked devices.
    History,
    /// `md-app-state`: snapshots and patches of the app state that are too large for a stanza.
    AppState,
    /// `sticker-pack`.
    StickerPack,
    /// `thumbnail-sticker-pack`.
    StickerPackThumbnail,
    /// `thumbnail-link`: the large preview of a link.
    LinkThumbnail,
}

impl Kind {
    const ALL: [(Kind, &'static str, &'static str); 9] = [
        (Kind::Image, "image", "t62.7118-24"),
        (Kind::Video, "video", "t62.7161-24"),
        (Kind::Audio, "audio", "t62.7117-24"),
        (Kind::Document, "document", "t62.7119-24"),
        (Kind::History, "md-msg-hist", "t62.36145-24"),
        (Kind::AppState, "md-app-state", "t62.36144-24"),
        (Kind::StickerPack, "sticker-pack", "t62.15575-24"),
        (
            Kind::StickerPackThumbnail,
            "thumbnail-sticker-pack",
            "t62.15576-24",
        ),
        (Kind::LinkThumbnail, "thumbnail-link", "t62.36150-24"),
    ];

    /// The kind whose upload path is `/mms/<segment>`.
    pub fn from_segment(segment: &str) -> Option<Kind> {
        Self::ALL
            .iter()
            .find(|(_, name, _)| *name == segment)
            .map(|(kind, ..)| *kind)
    }

    fn folder(self) -> &'static str {
        // The table has every kind.
        Self::ALL
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("t62.0-24", |(.., folder)| folder)
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The hash in an upload's name: URL-safe base64, with or without padding, as clients differ.
pub fn token_of(text: &str) -> Option<Hash> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    bytes.try_into().ok()
}

/// The path of an object, without its query.
pub(super) fn object_name(kind: Kind, id: &Hash) -> String {
    let number = |at: usize| u32::from_be_bytes([id[at], id[at + 1], id[at + 2], id[at + 3]]);
    format!(
        "/v/{}/{}_{}{}_n.enc",
        kind.folder(),
        number(0),
        number(4),
        number(8)
    )
}

/// A path with the query that makes it valid.
pub(super) struct Signed<'a> {
    name: &'a str,
    oh: String,
    until: u64,
}

impl<'a> Signed<'a> {
    pub(super) fn new(secret: &Hash, name: &'a str, until: u64) -> Signed<'a> {
        let signature = digest(&[b"path", secret, name.as_bytes(), &until.to_be_bytes()]);
        Signed {
            name,
            oh: format!("01_{}", base64(&signature[..24])),
            until,
        }
    }
}

impl fmt::Display for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signed { name, oh, until } = self;
        write!(f, "{name}?ccb=11-4&oh={oh}&oe={until:X}&_nc_sid=5e03e0")
    }
}

/// The checked parameters of a download's query.
#[derive(Default)]
pub(super) struct Query<'a> {
    oh: Option<&'a str>,
    oe: Option<&'a str>,
    pub(super) token: Option<&'a str>,
    pub(super) auth: Option<&'a str>,
}

impl Query<'_> {
    pub(super) fn signed_by(&self, secret: &Hash, name: &str, until: u64) -> bool {
        let right = Signed::new(secret, name, until);
        self.oh == Some(&right.oh)
            && self.oe.and_then(|oe| u64::from_str_radix(oe, 16).ok()) == Some(until)
    }
}

/// Takes a request's target apart. Clients append `?auth=…&token=…` to a path that has a query
/// already, so a second `?` separates as `&` does.
pub(super) fn split(target: &str) -> (&str, Query<'_>) {
    let mut parts = target.split(['?', '&']);
    let name = parts.next().unwrap_or_default();
    let mut query = Query::default();
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match key {
            "oh" => query.oh = Some(value),
            "oe" => query.oe = Some(value),
            // whatsmeow calls it `hash`.
            "token" | "hash" => query.token = Some(value),
            "auth" => query.auth = Some(value),
            _ => {}
        }
    }
    (name, query)
}

/// The auth token in a download's target, if the client sent one.
pub(crate) fn auth_in(target: &str) -> Option<&str> {
    split(target).1.auth
}
