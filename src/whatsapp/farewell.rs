//! How WhatsApp ends a session or refuses one: what it was, how long it lasts, and WhatsApp's own words. Pure.
//!
//! The sources are wacore's `stanza::connect_failure` (`<failure reason= code= expire= message= url= …>`, at the login)
//! and `Client::handle_stream_error` (`<stream:error code=>`, within a session). WhatsApp says these things once.

use whatsapp_rust::types::events::{
    ConnectFailure, ConnectFailureReason, LoggedOut, LogoutMessage, TempBanReason, TemporaryBan,
};
use whatsapp_rust::wacore_binary::{Node, NodeRef};

use crate::clock::Millis;
use crate::text;

/// Characters that are kept of WhatsApp's own words.
const MOST_WORDS: usize = 300;
/// Characters that a link may have; a longer one is left out.
const MOST_LINK: usize = 500;

/// How long to wait before the next connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It is asked too much (429).
    Busy,
    /// It is out of service (503).
    Down,
    /// It refuses this client as it is (400, 409, 413 to 418): asking again soon changes nothing.
    Refused,
    /// It refuses for a reason that is not known here.
    Unclear,
}

/// WhatsApp does not serve this client now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub words: String,
    pub rest: Rest,
}

/// WhatsApp bars an account for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    pub words: String,
    /// From now; `None` if WhatsApp named no end.
    pub lasts: Option<Millis>,
}

/// What a refused login means.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// As a lost connection: it is tried again soon.
    Lost(String),
    NotNow(Refusal),
    Banned(Ban),
}

/// A refused login that is neither a logout nor a ban with an end nor an outdated version.
pub fn refused(failure: &ConnectFailure) -> Refused {
    use ConnectFailureReason as Reason;
    let code = failure.reason.code();
    let said = said(failure.message.as_deref());
    let rest = match failure.reason {
        Reason::InternalServerError => {
            return Refused::Lost(format!(
                "WhatsApp has trouble with the login ({code}){said}"
            ));
        }
        Reason::TempBanned => {
            let link = link(attribute(failure.raw.as_ref(), "url").as_deref());
            return Refused::Banned(Ban {
                words: format!(
                    "WhatsApp banned this account and named no end ({code}){said}{link}"
                ),
                lasts: None,
            });
        }
        Reason::ServiceUnavailable => Rest::Down,
        Reason::Unknown(429) => Rest::Busy,
        Reason::Generic
        | Reason::BadUserAgent
        | Reason::CatExpired
        | Reason::CatInvalid
        | Reason::NotFound
        | Reason::ClientUnknown
        | Reason::Unknown(413..=418) => Rest::Refused,
        // The first three never come here.
        Reason::LoggedOut
        | Reason::AccountLocked
        | Reason::UnknownLogout
        | Reason::ClientOutdated
        | Reason::Experimental
        | Reason::Unknown(_) => Rest::Unclear,
    };
    let what = match rest {
        Rest::Busy => "WhatsApp is asked too much by this account",
        Rest::Down => "WhatsApp is out of service",
        Rest::Refused | Rest::Unclear => "WhatsApp refused the connection",
    };
    Refused::NotNow(Refusal {
        words: format!("{what} ({code}){said}"),
        rest,
    })
}

/// What a `<stream:error>` says that the client has no event for: it leaves the connection as it is then.
pub fn of_stream(error: &NodeRef<'_>) -> Option<Refusal> {
    let code = error.get_attr("code")?;
    let (rest, words) = match code.as_str().as_ref() {
        "429" => (
            Rest::Busy,
            "WhatsApp ended the session: it is asked too much by this account (429)",
        ),
        "503" => (
            Rest::Down,
            "WhatsApp ended the session: it is out of service (503)",
        ),
        _ => return None,
    };
    Some(Refusal {
        words: words.to_owned(),
        rest,
    })
}

/// A ban with an end.
pub fn banned(ban: &TemporaryBan) -> Ban {
    let (message, url) = (ban.message.as_deref(), ban.url.as_deref());
    ban_for(ban.expire.num_seconds(), &ban.code, message, url)
}

fn ban_for(seconds: i64, code: &TempBanReason, message: Option<&str>, url: Option<&str>) -> Ban {
    let (length, said, link) = (spoken(seconds), said(message), link(url));
    Ban {
        words: format!("WhatsApp banned this account for {length}: {code}{said}{link}"),
        lasts: u64::try_from(seconds.max(0))
            .ok()
            .map(|seconds| seconds.saturating_mul(1_000)),
    }
}

/// Who ended the pairing, and WhatsApp's own words.
pub fn logged_out(out: &LoggedOut) -> String {
    let who = match out.reason {
        ConnectFailureReason::AccountLocked => "WhatsApp locked this account (403)",
        ConnectFailureReason::UnknownLogout => {
            "WhatsApp logged this device out; its owner did not (406)"
        }
        _ if out.on_connect => {
            "this device was unlinked while it was away, on the phone or by WhatsApp (401)"
        }
        _ => "this device was unlinked on the phone",
    };
    let why = attribute(out.raw.as_ref(), "violation_reason");
    let why = why.map(|why| format!(", because of {:?}", shortened(&why)));
    format!(
        "{who}{}{}{}",
        why.unwrap_or_default(),
        said(out.logout_message.as_ref().and_then(whole).as_deref()),
        link(attribute(out.raw.as_ref(), "url").as_deref())
    )
}

/// A length of time for people: `2 h 5 min`.
pub fn spoken(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let minutes = seconds / 60 + i64::from(seconds % 60 > 0);
    match (minutes / 60, minutes % 60) {
        (0, m) => format!("{m} min"),
        (h, 0) => format!("{h} h"),
        (h, m) => format!("{h} h {m} min"),
    }
}

fn whole(message: &LogoutMessage) -> Option<String> {
    match (&message.header, &message.subtext) {
        (Some(header), Some(subtext)) => Some(format!("{header}: {subtext}")),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

/// WhatsApp's own words, behind ours.
fn said(words: Option<&str>) -> String {
    match words.map(shortened).filter(|words| !words.is_empty()) {
        Some(words) => format!("; WhatsApp says: \"{words}\""),
        None => String::new(),
    }
}

fn shortened(words: &str) -> String {
    let kept: String = words.trim().chars().take(MOST_WORDS).collect();
    text::plain(&kept).into_owned()
}

/// Where WhatsApp says more, or takes an appeal.
fn link(url: Option<&str>) -> String {
    let is_link = |url: &&str| {
        url.starts_with("https://")
            && url.len() <= MOST_LINK
            && url.bytes().all(|b| b.is_ascii_graphic())
    };
    match url.filter(is_link) {
        Some(url) => format!("; appeals and details: {url}"),
        None => String::new(),
    }
}

fn attribute(stanza: Option<&Node>, name: &str) -> Option<String> {
    Some(stanza?.attrs.get(name)?.as_str().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_rust::wacore_binary::builder::NodeBuilder;

    fn failure(code: i32, message: Option<&str>) -> Refused {
        refused(
            &ConnectFailure::builder()
                .reason(ConnectFailureReason::from(code))
                .maybe_message(message.map(str::to_owned))
                .build(),
        )
    }

    #[test]
    fn each_refused_login_has_its_rest() {
        for (code, expected) in [
            (429, Rest::Busy),
            (503, Rest::Down),
            (400, Rest::Refused),
            (409, Rest::Refused),
            (413, Rest::Refused),
            (414, Rest::Refused),
            (415, Rest::Refused),
            (416, Rest::Refused),
            (417, Rest::Refused),
            (418, Rest::Refused),
            (501, Rest::Unclear),
            (599, Rest::Unclear),
        ] {
            let Refused::NotNow(refusal) = failure(code, None) else {
                panic!("{code}");
            };
            assert_eq!(refusal.rest, expected, "{code}");
            assert!(refusal.words.contains(&format!("({code})")), "{refusal:?}");
        }
        assert!(matches!(failure(500, None), Refused::Lost(_)));
        let Refused::Banned(ban) = failure(402, Some("no")) else {
            panic!("402 without an end");
        };
        assert_eq!(ban.lasts, None);
        assert!(ban.words.contains("WhatsApp says: \"no\""), "{ban:?}");
    }

    #[test]
    fn a_session_ends_by_429_and_503_with_words() {
        let of = |code: &str| {
            let node = NodeBuilder::new("stream:error").attr("code", code).build();
            of_stream(&node.as_node_ref())
        };
        assert_eq!(of("429").map(|r| r.rest), Some(Rest::Busy));
        assert_eq!(of("503").map(|r| r.rest), Some(Rest::Down));
        assert_eq!(of("515"), None, "the client has an event for it");
        let bare = NodeBuilder::new("stream:error").build();
        assert_eq!(of_stream(&bare.as_node_ref()), None);
    }

    #[test]
    fn a_ban_says_how_long_why_and_where_to_appeal() {
        let code = TempBanReason::SentToTooManyPeople;
        let ban = |url: &str| ban_for(7_200, &code, Some("Slow\ndown"), Some(url));
        let said = ban("https://faq.whatsapp.com/1");
        assert_eq!(said.lasts, Some(7_200_000));
        for part in [
            "for 2 h: 101: ",
            r#"WhatsApp says: "Slow\ndown""#,
            "appeals and details: https://faq.whatsapp.com/1",
        ] {
            assert!(said.words.contains(part), "{said:?}");
        }
        for no_link in [
            "javascript:alert(1)",
            "http://a.b",
            "https://a b",
            &format!("https://{}", "a".repeat(500)),
        ] {
            assert!(!ban(no_link).words.contains("appeals"), "{no_link}");
        }
    }

    #[test]
    fn a_logout_says_who_did_it_in_whatsapp_s_words() {
        let out = |reason, on_connect, raw: Option<Node>, message: Option<LogoutMessage>| {
            logged_out(
                &LoggedOut::builder()
                    .on_connect(on_connect)
                    .reason(reason)
                    .maybe_raw(raw)
                    .maybe_logout_message(message)
                    .build(),
            )
        };
        use ConnectFailureReason as Reason;
        let by_owner = out(Reason::LoggedOut, false, None, None);
        assert_eq!(by_owner, "this device was unlinked on the phone");
        let away = out(Reason::LoggedOut, true, None, None);
        assert!(away.contains("unlinked while it was away"), "{away}");
        let forced = out(Reason::UnknownLogout, true, None, None);
        assert!(forced.contains("its owner did not (406)"), "{forced}");
        let message = LogoutMessage::builder()
            .header("Account locked".to_owned())
            .subtext(format!("See{}", "x".repeat(400)))
            .build();
        let raw = NodeBuilder::new("failure")
            .attr("reason", "403")
            .attr("violation_reason", "spam")
            .attr("appeal_token", "secret")
            .build();
        let locked = out(Reason::AccountLocked, true, Some(raw), Some(message));
        assert!(
            locked.starts_with(
                "WhatsApp locked this account (403), because of \"spam\"; WhatsApp says: \"Account \
                 locked: Seexxx"
            ),
            "{locked}"
        );
        assert!(locked.len() < 420 && !locked.contains("secret"), "{locked}");
    }

    #[test]
    fn lengths_of_time_are_spoken() {
        for (seconds, words) in [
            (0, "0 min"),
            (59, "1 min"),
            (60, "1 min"),
            (3_600, "1 h"),
            (7_500, "2 h 5 min"),
            (-5, "0 min"),
        ] {
            assert_eq!(spoken(seconds), words, "{seconds}");
        }
    }
}
