//! Usernames: what a person can be written to by who shows no phone number.
//!
//! The rules are those that WhatsApp Web has before it asks: 3 to 35 of `A-Z a-z 0-9 _ .`, one of them a
//! letter, no dot at either end and no two together. A username is the same in capitals and small letters.

use std::fmt;

use super::{ChatJid, NotANumber, written};

/// Characters of a username.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=35;
/// Digits of a username key; WhatsApp has 4 today and lets its server change that.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 4..=8;
/// What stands behind the `@` of a JID: before it the user is missing, as where a template had none.
const SERVERS: [&str; 6] = [
    "s.whatsapp.net",
    "c.us",
    "g.us",
    "lid",
    "broadcast",
    "newsletter",
];

/// A username, checked, in small letters, without the `@` that it is shown with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// Reads a username without its `@`; `None` if WhatsApp has no such.
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

/// Whom a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    Chat(ChatJid),
    /// A person by username; whose JID that is, WhatsApp or the store says.
    Name {
        name: Username,
        /// The username key, which some people ask of those who write to them first.
        key: Option<String>,
    },
}

/// Without a username key: it is a secret.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recipient::Chat(jid) => jid.fmt(f),
            Recipient::Name { name, .. } => name.fmt(f),
        }
    }
}

/// Why a text names no recipient.
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
    /// Reads a recipient as people write it: what [`ChatJid::typed`] reads, or `@username`, where there is
    /// a username key `@username:1234`.
    ///
    /// # Errors
    /// [`NotARecipient`], with what is wrong as far as that shows.
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
    fn usernames_are_read_however_they_are_written() {
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
    fn what_whatsapp_takes_for_no_username_is_refused() {
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
    fn a_jid_without_its_user_is_no_username() {
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
