//! Parses recipients, as JIDs, phone numbers and usernames, into one canonical form without a device:
//! `491701234567@s.whatsapp.net`. Whether a number is on WhatsApp is checked elsewhere.
//!
//! [`ChatJid::parse`] is strict, for JIDs of WhatsApp and the store. [`ChatJid::typed`] is lenient, for text that
//! people type, copy or export from spreadsheets ([`written`]); [`Recipient::typed`] also takes usernames.

mod username;
mod written;

use std::fmt;

pub use username::{NotARecipient, Recipient, Username};
pub use written::{NotANumber, other_form, phone_digits};

/// The user part of `status@broadcast`.
const STATUS_USER: &str = "status";
/// Where stories are: all people's, and the account's own.
pub const STORIES: &str = "status@broadcast";

/// A valid, canonical JID without a device.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChatJid {
    user: String,
    server: Server,
}

/// The part behind the `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Server {
    /// A person, by phone number.
    Person,
    /// A person, by LID.
    Lid,
    Group,
    Broadcast,
    Newsletter,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Server::Person => "s.whatsapp.net",
            Server::Lid => "lid",
            Server::Group => "g.us",
            Server::Broadcast => "broadcast",
            Server::Newsletter => "newsletter",
        }
    }
}

/// The text is not a JID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a WhatsApp JID")]
pub struct InvalidJid;

impl ChatJid {
    /// Parses a JID of WhatsApp: `<digits>@s.whatsapp.net` (also `@c.us`), `<digits>[-<digits>]@g.us`,
    /// `<digits>@lid`, `<digits>@broadcast`, `status@broadcast`, `<digits>@newsletter`. A device (`:3`) is
    /// removed.
    ///
    /// # Errors
    /// [`InvalidJid`] for anything else.
    pub fn parse(text: &str) -> Result<ChatJid, InvalidJid> {
        let (user, server) = text.split_once('@').ok_or(InvalidJid)?;
        Self::from_parts(user, server)
    }

    /// Parses a recipient that a person wrote: a JID, or a phone number ([`phone_digits`]), which may also
    /// precede `@s.whatsapp.net`. Invisible characters are ignored.
    ///
    /// # Errors
    /// [`NotANumber`], with the reason.
    pub fn typed(text: &str) -> Result<ChatJid, NotANumber> {
        let text = written::visible(text);
        let Some((user, server)) = text.split_once('@') else {
            return phone_digits(&text).map(ChatJid::person);
        };
        let server = server.to_ascii_lowercase();
        let jid = Self::from_parts(user, &server);
        match (jid, server.as_str()) {
            // International numbers do not start with 0, so this is a typed one; only WhatsApp's own
            // account is `0`.
            (Ok(jid), "s.whatsapp.net" | "c.us")
                if jid.user.len() > 1 && jid.user.starts_with('0') =>
            {
                phone_digits(&jid.user).map(ChatJid::person)
            }
            (Err(InvalidJid), "s.whatsapp.net" | "c.us") => phone_digits(user).map(ChatJid::person),
            (jid, _) => jid.map_err(|InvalidJid| NotANumber::Malformed),
        }
    }

    /// Where stories are.
    pub fn stories() -> ChatJid {
        ChatJid {
            user: STATUS_USER.to_owned(),
            server: Server::Broadcast,
        }
    }

    fn person(user: String) -> ChatJid {
        ChatJid {
            user,
            server: Server::Person,
        }
    }

    fn from_parts(user: &str, server: &str) -> Result<ChatJid, InvalidJid> {
        let server = match server {
            "s.whatsapp.net" | "c.us" => Server::Person,
            "lid" => Server::Lid,
            "g.us" => Server::Group,
            "broadcast" => Server::Broadcast,
            "newsletter" => Server::Newsletter,
            _ => return Err(InvalidJid),
        };
        let user = match server {
            Server::Person | Server::Lid => match user.split_once(':') {
                Some((user, device)) if is_digits(device, 5) => user,
                Some(_) => return Err(InvalidJid),
                None => user,
            },
            Server::Group | Server::Broadcast | Server::Newsletter => user,
        };
        let valid = match server {
            Server::Person => is_digits(user, 20),
            Server::Lid | Server::Newsletter => is_digits(user, 24),
            Server::Broadcast => user == STATUS_USER || is_digits(user, 24),
            Server::Group => match user.split_once('-') {
                Some((creator, created)) => is_digits(creator, 20) && is_digits(created, 20),
                None => is_digits(user, 30),
            },
        };
        if !valid {
            return Err(InvalidJid);
        }
        Ok(ChatJid {
            user: user.to_owned(),
            server,
        })
    }

    /// The part before the `@`.
    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn server(&self) -> Server {
        self.server
    }

    /// Whether this is where stories are.
    pub fn is_stories(&self) -> bool {
        self.server == Server::Broadcast && self.user == STATUS_USER
    }

    /// Whether this is a person, not a group, broadcast or channel.
    pub fn is_person(&self) -> bool {
        matches!(self.server, Server::Person | Server::Lid)
    }
}

impl fmt::Display for ChatJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.server.name())
    }
}

fn is_digits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_contract_is_parsed() {
        for (text, jid) in [
            ("919876543210@s.whatsapp.net", "919876543210@s.whatsapp.net"),
            (
                "919876543210:12@s.whatsapp.net",
                "919876543210@s.whatsapp.net",
            ),
            ("919876543210@c.us", "919876543210@s.whatsapp.net"),
            ("0@s.whatsapp.net", "0@s.whatsapp.net"),
            ("123456789-1234567890@g.us", "123456789-1234567890@g.us"),
            ("120363017953516826@g.us", "120363017953516826@g.us"),
            ("955000000177@lid", "955000000177@lid"),
            ("status@broadcast", "status@broadcast"),
            ("1234@broadcast", "1234@broadcast"),
            (
                "120363144038483540@newsletter",
                "120363144038483540@newsletter",
            ),
        ] {
            for read in [ChatJid::parse(text).ok(), ChatJid::typed(text).ok()] {
                let read = read.unwrap_or_else(|| panic!("{text}"));
                assert_eq!(read.to_string(), jid, "{text}");
            }
        }
    }

    #[test]
    fn typed_jids_may_have_spaces_and_invisible_characters() {
        for (text, jid) in [
            (
                " 919876543210@s.whatsapp.net\n",
                "919876543210@s.whatsapp.net",
            ),
            (
                "\u{202a}919876543210@S.WhatsApp.net\u{202c}",
                "919876543210@s.whatsapp.net",
            ),
            (
                "\u{feff}120363017953516826@g.us\u{200b}",
                "120363017953516826@g.us",
            ),
            ("+49 170 1234567@c.us", "491701234567@s.whatsapp.net"),
            ("٤٩١٧٠١٢٣٤٥٦٧@s.whatsapp.net", "491701234567@s.whatsapp.net"),
        ] {
            let read = ChatJid::typed(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(read.to_string(), jid, "{text}");
            assert_eq!(ChatJid::parse(text), Err(InvalidJid), "lenient only");
        }
        let read = ChatJid::typed("00491701234567@s.whatsapp.net").map(|jid| jid.to_string());
        assert_eq!(read.as_deref(), Ok("491701234567@s.whatsapp.net"));
        assert_eq!(
            ChatJid::typed("01701234567@s.whatsapp.net"),
            Err(NotANumber::LeadingZero)
        );
    }

    #[test]
    fn malformed_jids_are_refused() {
        for text in [
            "",
            "@",
            "@s.whatsapp.net",
            "abc@s.whatsapp.net",
            "491701234567@example.com",
            "491701234567@s.whatsapp.net@lid",
            "491701234567:@s.whatsapp.net",
            "491701234567:123456@s.whatsapp.net",
            "1-2-3@g.us",
            "-1@g.us",
            "status@g.us",
        ] {
            assert_eq!(ChatJid::parse(text), Err(InvalidJid), "{text}");
            assert_eq!(ChatJid::typed(text), Err(NotANumber::Malformed), "{text}");
        }
        assert_eq!(ChatJid::parse("491701234567"), Err(InvalidJid));
    }
}
