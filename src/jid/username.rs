//! Usernames, by which people without a visible phone number can be addressed.
//!
//! The rules are WhatsApp Web's: 3 to 35 of `A-Z a-z 0-9 _ .`, at least one letter, no dot at either end and
//! no two in a row. Usernames are case-insensitive.

use std::fmt;

use super::{ChatJid, NotANumber, written};

/// The number of characters.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=35;
/// Digits of a username key. WhatsApp's have 4; its server can change that.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 4..=8;
/// Servers of JIDs: `@lid` is a JID without its user, as from an empty template field, not a username.
const SERVERS: [&str; 6] = [
    "s.whatsapp.net",
    "c.us",
    "g.us",
    "lid",
    "broadcast",
    "newsletter",
];

/// A valid username in lower case, without its `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// Parses a username without its `@`; `None` if it is invalid.
    pub fn parse(text: &str) -> Option<Username> {
        let valid = LENGTH.contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
            && text.bytes().any(|b| b.is_ascii_alphabetic())
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..");
        let name = valid.then(|| text.to_ascii_lowercase())?;
        (!SERVERS.contains(&name.as_str())).then_some(Username(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

/// The recipient in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    Chat(ChatJid),
    /// A person by username, to be resolved by the store or WhatsApp.
    Name {
        name: Username,
        /// The username key, which some people require for a first message.
        key: Option<String>,
    },
}

/// Without the username key, which is secret.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::Chat(jid) => jid.fmt(f),
            Recipient::Name { name, .. } => name.fmt(f),
        }
    }
}

/// Why a text is not a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotARecipient {
    #[error(transparent)]
    Number(#[from] NotANumber),
    #[error(
        "not a username: \"@\" and 3 to 35 letters, digits, \"_\" and \".\", one of them a letter"
    )]
    Username,
}

impl Recipient {
    /// Parses a recipient that a person wrote: as [`ChatJid::typed`], or `@username`, or with a username key
    /// `@username:1234`.
    ///
    /// # Errors
    /// [`NotARecipient`], with the reason.
    pub fn typed(text: &str) -> Result<Recipient, NotARecipient> {
        let text = written::visible(text);
        let Some(name) = text.strip_prefix(['@', '\u{fe6b}', '\u{ff20}']) else {
            return Ok(Recipient::Chat(ChatJid::typed(&text)?));
        };
        if name.is_empty() || SERVERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(NotANumber::Malformed.into());
        }
        let (name, key) = match name.split_once(':') {
            Some((name, key)) => (name, Some(key)),
            None => (name, None),
        };
        let is_key =
            |key: &str| KEY_LENGTH.contains(&key.len()) && key.bytes().all(|b| b.is_ascii_digit());
        match Username::parse(name) {
            Some(name) if key.is_none_or(is_key) => Ok(Recipient::Name {
                name,
                key: key.map(str::to_owned),
            }),
            _ => Err(NotARecipient::Username),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<(String, Option<String>), NotARecipient> {
        match Recipient::typed(text)? {
            Recipient::Name { name, key } => Ok((name.to_string(), key)),
            Recipient::Chat(jid) => panic!("{text} is {jid}"),
        }
    }

    #[test]
    fn usernames_are_parsed_in_every_notation() {
        let longest = format!("@{}", "a".repeat(35));
        for (text, read) in [
            ("@bob", "@bob"),
            ("@Bob.The_Builder", "@bob.the_builder"),
            (" @bob99\n", "@bob99"),
            ("\u{202a}@bob\u{202c}", "@bob"),
            ("＠bob", "@bob"),
            ("@1a2", "@1a2"),
            ("@_._a", "@_._a"),
            (&longest, longest.as_str()),
        ] {
            assert_eq!(name(text), Ok((read.to_owned(), None)), "{text}");
        }
        assert_eq!(
            name("@bob:0042"),
            Ok(("@bob".to_owned(), Some("0042".to_owned())))
        );
    }

    #[test]
    fn invalid_usernames_are_refused() {
        for text in [
            "@ab",
            &format!("@{}", "a".repeat(36)),
            "@123",
            "@bob!",
            "@bob smith",
            "@bób",
            "@.bob",
            "@bob.",
            "@b..b",
            "@@bob",
            "@bob@lid",
            "@bob:",
            "@bob:12",
            "@bob:abcd",
            "@bob:123456789",
            "@bob:1234:5",
        ] {
            assert_eq!(
                Recipient::typed(text),
                Err(NotARecipient::Username),
                "{text}"
            );
        }
    }

    #[test]
    fn a_jid_without_its_user_is_not_a_username() {
        for text in [
            "@",
            "@s.whatsapp.net",
            "@c.us",
            "@g.us",
            "@LID",
            "@newsletter",
        ] {
            assert_eq!(
                Recipient::typed(text),
                Err(NotARecipient::Number(NotANumber::Malformed)),
                "{text}"
            );
        }
        assert_eq!(
            Recipient::typed("+49 170 1234567"),
            Ok(Recipient::Chat(
                ChatJid::parse("491701234567@s.whatsapp.net").unwrap()
            ))
        );
    }
}
