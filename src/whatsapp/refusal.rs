//! WhatsApp's refusals in words, and recipients that cannot be written to.

use whatsapp_rust::IqError;
use whatsapp_rust::send::SendError;

use crate::jid::{ChatJid, Server};

use super::error::SendFailure;

/// Why a message was given up that could be encrypted for none of the recipient's devices.
pub const UNREACHED: &str = "WhatsApp gave no keys for any of the recipient's devices, so the message could not be \
                             encrypted for them and did not reach the recipient; try again later";

/// Why nothing can be sent to a recipient, whatever WhatsApp says; `None` if it can.
pub fn unwritable(to: &ChatJid) -> Option<&'static str> {
    match to.server() {
        Server::Broadcast if to.is_stories() => None,
        Server::Broadcast => Some(
            "Broadcast lists can be written to on the phone only: write to each person instead",
        ),
        Server::Person | Server::Lid | Server::Group | Server::Newsletter => None,
    }
}

/// A refusal with this code, in words.
pub fn words(to: Server, code: Option<u16>) -> String {
    let Some(code) = code else {
        return "WhatsApp refused the message".into();
    };
    match reason(to, code) {
        Some(reason) => format!("WhatsApp refused the message: {reason} ({code})"),
        None => format!("WhatsApp refused the message (code {code})"),
    }
}

/// WhatsApp's own codes, as its web client names them.
fn reason(to: Server, code: u16) -> Option<&'static str> {
    use Server::{Group, Newsletter};
    Some(match (code, to) {
        (400, Group) => "it knows no group with this id",
        (404 | 410, Group) => "there is no such group",
        (401 | 403 | 405 | 420, Group) => {
            "this account is not in the group, or only admins may write there"
        }
        (404 | 410, Newsletter) => "there is no such channel",
        (401 | 403 | 405 | 420, Newsletter) => "this account may not write in this channel",
        (404 | 406 | 410, _) => "it does not know the recipient",
        (401 | 403 | 405, _) => "this account may not write there",
        (429, _) => "this account has asked too much of it in a short time",
        (463, _) => "this account may not write to new contacts now",
        (475, _) => "this account has begun as many new chats as it may for now",
        (479, _) => "it was not encrypted for the recipient's current devices",
        (500.., _) => "it cannot do that now",
        _ => return None,
    })
}

/// A refusal of a request about a group, by WhatsApp's code.
pub fn of_group(code: u16) -> SendFailure {
    let reason = match code {
        400 => "it does not understand the request",
        401 | 403 => "this account is not in the group, or only its admins may do that",
        404 => "there is no such group, or this person is not in it",
        406 => "a value is not acceptable, or the invite link is not valid",
        409 => "it is so already, or was changed by another device at the same time",
        410 => "the invite link was revoked",
        419 => "the group is full, or this account is in too many groups",
        429 => "this account has asked too much of it in a short time",
        500.. => "it cannot do that now",
        _ => {
            let words = format!("WhatsApp refused (code {code})");
            let code = Some(code);
            return SendFailure::Refused { code, words };
        }
    };
    let words = format!("WhatsApp refused: {reason} ({code})");
    match is_for_later(code) {
        true => SendFailure::Later { code, words },
        false => SendFailure::Refused {
            code: Some(code),
            words,
        },
    }
}

/// Whether WhatsApp would perhaps take later what it refuses with this code, for reasons of its own.
fn is_for_later(code: u16) -> bool {
    code == 429 || code >= 500
}

/// A refusal with this code, as a failure.
pub fn refused(code: Option<u16>, to: Server) -> SendFailure {
    let words = words(to, code);
    match code {
        Some(code) if is_for_later(code) => SendFailure::Later { code, words },
        _ => SendFailure::Refused { code, words },
    }
}

/// The failure of a send, from the client's error.
pub fn of(error: &SendError, to: Server) -> SendFailure {
    // Here alone: it makes thiserror's own methods ambiguous.
    use whatsapp_rust::ErrorChainExt as _;
    // A request before the message, such as for the members of a group: the message has not left.
    if let Some(rejection) = error.server_rejection() {
        return refused(Some(rejection.code), to);
    }
    let failure = match error {
        SendError::NotLoggedIn => SendFailure::NotConnected,
        // What is asked before anything is sent.
        SendError::Iq(IqError::Timeout) => SendFailure::NotConnected,
        SendError::Iq(e) if e.is_transport_unavailable() => SendFailure::NotConnected,
        // A stanza may have been sent although its write failed.
        other if other.is_transport_unavailable() => SendFailure::NoAck,
        SendError::Iq(_) => {
            SendFailure::Other("WhatsApp gave an answer that is not understood".into())
        }
        SendError::InvalidRequest(_) => {
            SendFailure::Other("such a message cannot be sent to this recipient".into())
        }
        SendError::Client(_) | SendError::Internal(_) => {
            SendFailure::Other("the message could not be encrypted for the recipient".into())
        }
        // The enum grows with the client.
        _ => SendFailure::Other("the message could not be sent".into()),
    };
    // It can name people.
    log::debug!("not sent: {error}");
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::anyhow::anyhow;

    fn refused(code: u16) -> SendError {
        SendError::Iq(IqError::ServerError {
            code,
            text: "item-not-found".into(),
            error_type: None,
            backoff: None,
        })
    }

    #[test]
    fn each_refusal_has_its_code_and_words_of_ours() {
        for server in [
            Server::Person,
            Server::Lid,
            Server::Group,
            Server::Broadcast,
            Server::Newsletter,
        ] {
            for code in 400..=600 {
                let told = words(server, Some(code));
                assert!(told.contains(&code.to_string()), "{told}");
                let failure = of(&refused(code), server);
                let expected = match code {
                    429 | 500.. => SendFailure::Later { code, words: told },
                    _ => SendFailure::Refused {
                        code: Some(code),
                        words: told,
                    },
                };
                assert_eq!(failure, expected);
            }
        }
        assert!(words(Server::Group, Some(404)).contains("no such group"));
        assert!(words(Server::Group, Some(403)).contains("not in the group"));
        assert!(words(Server::Person, Some(404)).contains("does not know the recipient"));
    }

    #[test]
    fn no_word_of_the_clients_own_is_passed_on() {
        let wrapped = SendError::Internal(anyhow!(IqError::ServerError {
            code: 404,
            text: "item-not-found".into(),
            error_type: None,
            backoff: None,
        }));
        assert!(matches!(
            of(&wrapped, Server::Group),
            SendFailure::Refused {
                code: Some(404),
                ..
            }
        ));
        for (error, expected) in [
            (SendError::NotLoggedIn, Some(SendFailure::NotConnected)),
            (
                SendError::Iq(IqError::Timeout),
                Some(SendFailure::NotConnected),
            ),
            (
                SendError::Iq(IqError::NotConnected),
                Some(SendFailure::NotConnected),
            ),
            (
                SendError::Client(whatsapp_rust::ClientError::NotConnected),
                Some(SendFailure::NoAck),
            ),
            (SendError::InvalidRequest("secret".into()), None),
            (SendError::Internal(anyhow!("secret")), None),
        ] {
            match (of(&error, Server::Person), expected) {
                (failure, Some(expected)) => assert_eq!(failure, expected),
                (SendFailure::Other(words), None) => assert!(!words.contains("secret"), "{words}"),
                (other, None) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn lists_are_not_written_to() {
        let jid = |text: &str| ChatJid::parse(text).expect("a JID");
        assert!(unwritable(&jid("1234@broadcast")).is_some());
        for open in [
            "status@broadcast",
            "491701234567@s.whatsapp.net",
            "955@lid",
            "1@g.us",
            "1@newsletter",
        ] {
            assert_eq!(unwritable(&jid(open)), None);
        }
    }
}
