//! The passkey that WhatsApp asks for when some accounts are linked: where that stands, without I/O.
//!
//! WhatsApp gives a challenge that lives for some ten minutes. A browser on WhatsApp's own site answers it with the
//! account's passkey, the answer is shown to WhatsApp, the phone joins in, both sides show a code, and once it is
//! confirmed the pairing goes on as any other. What fails ends the connection: the next one begins with a new QR code.

mod assertion;
mod requests;

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::clock::{self, Millis};
use crate::event::PasskeyStep;
use crate::whatsapp::PasskeyNews;

/// What is said while WhatsApp waits for a passkey.
pub const WANTED: &str = "WhatsApp asks for this account's passkey before it links this device: GET /accounts/:id/passkey says \
     what to do";
pub const GIVEN_UP: &str = "linking with a passkey was given up";
pub const CUT_OFF: &str =
    "the connection to WhatsApp ended before it had accepted the passkey and the phone the code";
/// What is said of a device that the phone has linked and WhatsApp never lets in.
pub const REFUSED_AT_ONCE: &str = "WhatsApp refused this device right after it was linked. If this is a WhatsApp Business account that is also on \
     Meta's Business Platform, this version of wildcat cannot link it; otherwise link it again";

/// How long a challenge lives that does not say so.
const USUAL_LIFE: Millis = 600_000;
/// Between these a challenge's own word counts.
const LIFE: std::ops::RangeInclusive<Millis> = 30_000..=3_600_000;
/// How long the rest may take once the passkey was accepted, if that is longer than the challenge lives.
const REST_LIFE: Millis = 300_000;
/// The longest options, in bytes: those that were seen have some 200.
const MAX_OPTIONS: usize = 16_384;

/// What WhatsApp asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// `PublicKeyCredentialRequestOptions`, binary fields in base64url.
    options: Map<String, Value>,
    /// The same as bytes.
    challenge: Vec<u8>,
    rp_id: String,
    /// The ids of the credentials that may answer; none: any of that site.
    allowed: Vec<Vec<u8>>,
    must_verify: bool,
    /// How long it can be answered.
    life: Millis,
}

/// What happens to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    Asked(Arc<Challenge>),
    /// WhatsApp has accepted the passkey.
    Answered,
    /// The phone has answered.
    Code(String),
    /// The codes are the same, and WhatsApp knows.
    Confirmed,
    /// It came to nothing, in words.
    Failed(String),
    /// By request.
    GivenUp,
}

/// The stage of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    Asked,
    Answered,
    Code(String),
    Confirmed,
}

/// An exchange under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub challenge: Arc<Challenge>,
    pub stage: Stage,
    /// When it is given up, by [`clock::ticks`].
    pub until: Millis,
}

impl Exchange {
    pub fn new(challenge: Arc<Challenge>, now: Millis) -> Exchange {
        Exchange {
            until: now + challenge.life,
            challenge,
            stage: Stage::Asked,
        }
    }

    /// Goes on; whether anything changed. What comes late, or twice, changes nothing.
    pub fn advance(&mut self, to: Stage, now: Millis) -> bool {
        let rank = |stage: &Stage| match stage {
            Stage::Asked => 0,
            Stage::Answered => 1,
            Stage::Code(_) => 2,
            Stage::Confirmed => 3,
        };
        if rank(&to) <= rank(&self.stage) {
            return false;
        }
        self.stage = to;
        self.until = self.until.max(now + REST_LIFE);
        true
    }

    /// The word that the API shows.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Asked => "assertion_required",
            Stage::Answered => "waiting_for_phone",
            Stage::Code(_) => "confirmation_required",
            Stage::Confirmed => "finishing",
        }
    }

    /// The next step for the user, in words.
    pub fn instructions(&self, id: &str) -> String {
        match &self.stage {
            Stage::Asked => format!(
                "WhatsApp asks for this account's passkey before it links this device. Open \
                 GET /accounts/{id}/passkey/guide, do what it says in a browser on web.whatsapp.com, and \
                 POST what comes out to /accounts/{id}/passkey before expiresAt. Keep WhatsApp open on the \
                 phone. DELETE /accounts/{id}/passkey gives up"
            ),
            Stage::Answered => {
                "WhatsApp accepted the passkey. Now the phone has to answer: keep WhatsApp \
                                open on it"
                    .to_owned()
            }
            Stage::Code(code) => format!(
                "Compare this code with the one on the phone: {code}. If they are the same, or the phone \
                 shows none, POST /accounts/{id}/passkey/confirm; if they differ, \
                 DELETE /accounts/{id}/passkey"
            ),
            Stage::Confirmed => "WhatsApp is linking this device".to_owned(),
        }
    }

    /// Why an exchange failed that was under way for too long.
    pub fn time_out(&self) -> String {
        match self.stage {
            Stage::Asked => {
                "WhatsApp asked for this account's passkey, and no answer was given in time"
            }
            Stage::Answered => "the passkey was accepted, and the phone did not answer in time",
            Stage::Code(_) => "the codes were not confirmed in time",
            Stage::Confirmed => "the phone did not let this device in in time",
        }
        .to_owned()
    }

    fn code(&self) -> Option<&str> {
        match &self.stage {
            Stage::Code(code) => Some(code),
            Stage::Asked | Stage::Answered | Stage::Confirmed => None,
        }
    }

    /// As the API and the event show it, at `ticks`.
    pub fn view(&self, id: &str, ticks: Millis) -> PasskeyView {
        let left = self.until.saturating_sub(ticks);
        PasskeyView {
            account_id: id.to_owned(),
            state: self.state(),
            options: (self.stage == Stage::Asked).then(|| PublicKey {
                public_key: self.challenge.options.clone(),
            }),
            code: self.code().map(str::to_owned),
            expires_at: clock::iso8601(clock::now().saturating_add(left)),
            instructions: self.instructions(id),
        }
    }
}

/// Progress with a passkey, for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    UnderWay(Exchange),
    Linked,
    /// In words.
    Failed(String),
}

impl Progress {
    /// As the event shows it, at `ticks`.
    pub fn shown(self, id: &str, ticks: Millis) -> PasskeyStep {
        let step = |state, error| PasskeyStep {
            account_id: id.to_owned(),
            state,
            options: None,
            code: None,
            expires_at: None,
            instructions: None,
            error,
            created_at: clock::iso8601(clock::now()),
        };
        match self {
            Progress::Linked => step("linked", None),
            Progress::Failed(words) => step("failed", Some(words)),
            Progress::UnderWay(exchange) => {
                let view = exchange.view(id, ticks);
                PasskeyStep {
                    options: view
                        .options
                        .map(|options| json!({"publicKey": options.public_key})),
                    code: view.code,
                    expires_at: Some(view.expires_at),
                    instructions: Some(view.instructions),
                    ..step(view.state, None)
                }
            }
        }
    }
}

/// What the session has heard, for the account's machine.
pub fn turn(news: PasskeyNews) -> Turn {
    match news {
        PasskeyNews::Asked { options } => match Challenge::parse(&options) {
            Ok(challenge) => Turn::Asked(Arc::new(challenge)),
            Err(words) => Turn::Failed(words),
        },
        PasskeyNews::Code(code) => Turn::Code(code),
        PasskeyNews::Failed(words) => Turn::Failed(words),
    }
}

/// How far linking with a passkey has come; 404 while WhatsApp asks for none
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Passkey"))]
#[serde(rename_all = "camelCase")]
pub struct PasskeyView {
    pub account_id: String,
    /// `assertion_required`, `waiting_for_phone`, `confirmation_required` or `finishing`.
    #[cfg_attr(test, schemars(extend("enum" = ["assertion_required", "waiting_for_phone", "confirmation_required", "finishing"])))]
    pub state: &'static str,
    /// What `navigator.credentials.get` takes, binary fields in base64url; `null` once it was answered.
    pub options: Option<PublicKey>,
    /// The code that phone and caller compare, `XXXX-XXXX`, until it is confirmed.
    pub code: Option<String>,
    /// When it is given up, ISO 8601.
    pub expires_at: String,
    /// What to do, for people.
    pub instructions: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct PublicKey {
    /// PublicKeyCredentialRequestOptions, binary fields in base64url.
    pub public_key: Map<String, Value>,
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn challenge(timeout: Millis) -> Arc<Challenge> {
        let options = json!({
            "challenge": "AAECAwQFBgcICQoLDA0ODw",
            "timeout": timeout,
            "rpId": "whatsapp.com",
            "allowCredentials": [],
            "userVerification": "required",
            "extensions": {"uvm": true},
        });
        Arc::new(Challenge::parse(&options.to_string()).expect("a challenge"))
    }

    #[test]
    fn it_goes_forward_only_and_the_rest_has_its_own_time() {
        let mut exchange = Exchange::new(challenge(600_000), 1_000);
        assert_eq!(exchange.until, 601_000);
        let code = || Stage::Code("ABCD-EFGH".into());
        // The phone may be faster than the answer to who has shown the passkey.
        assert!(exchange.advance(code(), 2_000));
        assert_eq!(exchange.until, 601_000, "the challenge lives longer");
        assert!(!exchange.advance(Stage::Answered, 2_001));
        assert_eq!(exchange.state(), "confirmation_required");
        assert!(exchange.instructions("a").contains("ABCD-EFGH"));
        assert!(exchange.advance(Stage::Confirmed, 600_000));
        assert_eq!(exchange.until, 600_000 + REST_LIFE);
        assert!(!exchange.advance(code(), 600_001));
        assert_eq!(exchange.view("a", 0).options, None);
    }

    #[test]
    fn a_challenges_own_word_counts_within_reason() {
        for (said, life) in [(120_000, 120_000), (1, 30_000), (1 << 50, 3_600_000)] {
            assert_eq!(challenge(said).life, life);
        }
    }

    #[test]
    fn what_is_no_challenge_is_said_so() {
        for options in [
            "",
            "[]",
            "{}",
            r#"{"challenge": 5}"#,
            r#"{"challenge": "*"}"#,
            r#"{"challenge": ""}"#,
            r#"{"challenge": "AAEC", "rpId": 5}"#,
            r#"{"challenge": "AAEC", "allowCredentials": [{"id": 5}]}"#,
        ] {
            assert!(Challenge::parse(options).is_err(), "{options}");
        }
        let long = format!(
            r#"{{"challenge": "AAEC", "x": "{}"}}"#,
            "x".repeat(MAX_OPTIONS)
        );
        assert!(Challenge::parse(&long).is_err());
        let least = Challenge::parse(r#"{"challenge": "AAEC"}"#).expect("a challenge");
        assert_eq!(
            (least.rp_id.as_str(), least.life),
            ("web.whatsapp.com", USUAL_LIFE)
        );
        assert!(!least.must_verify);
    }
}
