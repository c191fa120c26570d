//! Recipients: JIDs and phone numbers as people write them, parsed into one canonical form.
//!
//! Only the shapes of the contract are known here; whether a number is on WhatsApp is WhatsApp's to
//! say. The canonical form never carries a device: `491701234567@s.whatsapp.net`.

use std::fmt;

/// The user part of `status@broadcast`.
const STATUS_USER: &str = "status";

/// A JID without a device, checked and canonical.
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
    /// A person, by WhatsApp's hidden id.
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

/// The text is neither a JID nor a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a WhatsApp JID nor a phone number")]
pub struct InvalidJid;

impl ChatJid {
    /// Reads a JID or a phone number.
    ///
    /// Accepted: `<digits>@s.whatsapp.net` (also as `@c.us`), `<digits>[-<digits>]@g.us`,
    /// `<digits>@lid`, `<digits>@broadcast`, `status@broadcast`, `<digits>@newsletter`; or 7 to 15
    /// digits with an optional `+`, spaces, hyphens and brackets. A device (`:3`) is cut off.
    ///
    /// # Errors
    /// [`InvalidJid`] for anything else.
    pub fn parse(text: &str) -> Result<ChatJid, InvalidJid> {
        let text = text.trim();
        match text.split_once('@') {
            Some((user, server)) => Self::from_parts(user, server),
            None => phone_digits(text).map(|user| ChatJid {
                user,
                server: Server::Person,
            }),
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

    /// Whether the chat is one person's.
    pub fn is_person(&self) -> bool {
        matches!(self.server, Server::Person | Server::Lid)
    }
}

impl fmt::Display for ChatJid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.user, self.server.name())
    }
}

/// A phone number as people write it, reduced to its 7 to 15 digits (E.164's limit).
///
/// # Errors
/// [`InvalidJid`] if it has other characters or another length.
pub fn phone_digits(text: &str) -> Result<String, InvalidJid> {
    let text = text.trim();
    let number = text.strip_prefix('+').unwrap_or(text);
    let mut digits = String::with_capacity(15);
    for c in number.chars() {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '-' | '(' | ')' => {}
            _ => return Err(InvalidJid),
        }
    }
    if (7..=15).contains(&digits.len()) {
        Ok(digits)
    } else {
        Err(InvalidJid)
    }
}

fn is_digits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        ChatJid::parse(text)
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .to_string()
    }

    #[test]
    fn every_form_of_the_contract_is_read() {
        for (text, jid) in [
            ("919876543210@s.whatsapp.net", "919876543210@s.whatsapp.net"),
            (
                "919876543210:12@s.whatsapp.net",
                "919876543210@s.whatsapp.net",
            ),
            ("919876543210@c.us", "919876543210@s.whatsapp.net"),
            ("+49 (170) 123-4567", "491701234567@s.whatsapp.net"),
            ("4917012", "4917012@s.whatsapp.net"),
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
            assert_eq!(canonical(text), jid, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "@",
            "@s.whatsapp.net",
            "abc@s.whatsapp.net",
            "123456",
            "1234567890123456",
            "12345678a",
            "49170 1234567 x1",
            "++491701234567",
            "491701234567@example.com",
            "491701234567@s.whatsapp.net@lid",
            "491701234567:@s.whatsapp.net",
            "491701234567:123456@s.whatsapp.net",
            "1-2-3@g.us",
            "-1@g.us",
            "status@g.us",
            "４９１７０１２３４５@s.whatsapp.net",
        ] {
            assert_eq!(ChatJid::parse(text), Err(InvalidJid), "{text}");
        }
    }
}
