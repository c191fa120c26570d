//! The passkey that WhatsApp asks some accounts for when they are linked, by QR code or phone code.
//!
//! As reported of real pairings (whatsmeow #1185, #1186; Baileys #2672, #2689; openmessage #79): in place of
//! `pair-success` comes `<notification type="passkey_prologue_request">` with the options of a WebAuthn `get`. The companion
//! fetches a `<ref>`, sends `<passkey_prologue>` with the assertion, receives `crsc_continuation`, reveals its nonce, and
//! sends `<encrypted_pairing_request>`; then comes `pair-success`. Which codes WhatsApp refuses with is not known:
//! those here are this service's own.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::Rng as _;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::pairing::{Link, PairError};
use super::{ConnId, PeopleError, Service, Timer, node, now_ms, now_secs};

/// Whose passkeys they are: as in the requests that were seen.
const RP_ID: &str = "whatsapp.com";
/// Where a browser may answer for it.
const ORIGIN: &str = "https://web.whatsapp.com";
/// Flags of authenticator data: a person was there, and was verified.
const PRESENT_AND_VERIFIED: u8 = 0b101;

/// A passkey, as its account knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// The credential's id.
    pub id: Vec<u8>,
    /// An uncompressed point of P-256, 65 bytes.
    pub public_key: Vec<u8>,
}

/// How the next pairing asks for a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// How long the challenge lives.
    pub lifetime: Duration,
    /// Where it goes wrong.
    pub fails: Option<Failure>,
}

/// Where an exchange goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The notification has no options, and they cannot be fetched.
    Options,
    /// Every assertion is refused.
    Prologue,
    /// The connection breaks when the assertion comes.
    Drop,
    /// The phone says nothing after the assertion.
    Silence,
    /// What the phone says is no identity.
    Identity,
    /// The nonce is refused.
    Nonce,
    /// The request for the pairing is refused.
    Request,
    /// The person says on the phone that the codes differ: the connection ends.
    Phone,
}

/// An exchange under way.
pub(super) struct Exchange {
    pub number: String,
    pub until: Instant,
    challenge: Vec<u8>,
    /// What `<passkey_request_options>` says.
    options: String,
    fails: Option<Failure>,
    reference: Option<String>,
    stage: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Asked,
    Answered,
    Revealed,
}

impl Service {
    /// Registers a number's passkey, in place of the one before.
    ///
    /// # Errors
    /// If there is no such number.
    pub fn set_passkey(&mut self, number: &str, passkey: Passkey) -> Result<(), PeopleError> {
        let account = self.accounts.get_mut(number);
        let account = account.ok_or_else(|| PeopleError::Unknown(number.to_owned()))?;
        account.passkey = Some(passkey);
        Ok(())
    }

    /// Whether a pairing waits for a passkey.
    pub fn wants_passkey(&self, conn: ConnId) -> bool {
        matches!(self.link(conn), Some(Link::Passkey(_)))
    }

    /// Asks for a passkey in place of letting the companion in, if a fault says so. `scanned` is the number
    /// that the phone has given to the companion, which is void then.
    pub(super) fn demand_passkey(&mut self, conn: ConnId, number: &str, scanned: u16) -> bool {
        let Some(demand) = self.faults.passkey_demand(number) else {
            return false;
        };
        self.with_phone(number, |phone, _| phone.remove_device(scanned, now_ms()));
        let mut challenge = vec![0; 32];
        self.rng.fill_bytes(&mut challenge);
        let options = json!({
            "challenge": BASE64_URL_SAFE_NO_PAD.encode(&challenge),
            "timeout": u64::try_from(demand.lifetime.as_millis()).unwrap_or(u64::MAX),
            "rpId": RP_ID,
            "allowCredentials": [],
            "userVerification": "required",
            "extensions": {"uvm": true},
        })
        .to_string();
        let mut notification = NodeBuilder::new("notification")
            .attr("from", node::server())
            .attr("type", "passkey_prologue_request")
            .attr("id", self.next_id())
            .attr("t", now_secs());
        if demand.fails != Some(Failure::Options) {
            notification = notification.children([options_node(&options)]);
        }
        self.set_link(
            conn,
            Link::Passkey(Box::new(Exchange {
                number: number.to_owned(),
                until: Instant::now() + demand.lifetime,
                challenge,
                options,
                fails: demand.fails,
                reference: None,
                stage: Step::Asked,
            })),
        );
        self.send(conn, notification.build());
        true
    }

    /// A request of a companion that was asked for a passkey; whether it was one.
    pub(super) fn passkey_request(&mut self, conn: ConnId, iq: &Node) -> bool {
        if !self.wants_passkey(conn) {
            return false;
        }
        let Some(child) = node::first_child(iq) else {
            return false;
        };
        match &*child.tag {
            "ref" => self.give_reference(conn, iq),
            "passkey_request_options" => self.give_options(conn, iq),
            "passkey_prologue" => self.passkey_prologue(conn, iq, child),
            "companion_nonce" => self.companion_nonce(conn, iq, child),
            "encrypted_pairing_request" => self.pairing_request(conn, iq, child),
            _ => return false,
        }
        true
    }

    fn exchange(&mut self, conn: ConnId) -> Option<&mut Exchange> {
        match self.link_mut(conn)? {
            Link::Passkey(exchange) => Some(exchange),
            _ => None,
        }
    }

    fn give_reference(&mut self, conn: ConnId, iq: &Node) {
        let mut raw = [0; 32];
        self.rng.fill_bytes(&mut raw);
        let reference = format!("2@{}", BASE64_URL_SAFE_NO_PAD.encode(raw));
        if let Some(exchange) = self.exchange(conn) {
            exchange.reference = Some(reference.clone());
        }
        let child = NodeBuilder::new("ref")
            .bytes(reference.into_bytes())
            .build();
        self.send(conn, node::result(iq).children([child]).build());
    }

    fn give_options(&mut self, conn: ConnId, iq: &Node) {
        let answer = match self.exchange(conn) {
            Some(exchange) if exchange.fails != Some(Failure::Options) => {
                let child = options_node(&exchange.options);
                node::result(iq).children([child]).build()
            }
            _ => node::error(iq, 500, "internal-server-error"),
        };
        self.send(conn, answer);
    }

    fn passkey_prologue(&mut self, conn: ConnId, iq: &Node, prologue: &Node) {
        let Some(exchange) = self.exchange(conn) else {
            return;
        };
        let (number, fails) = (exchange.number.clone(), exchange.fails);
        let reference = exchange.reference.clone();
        if fails == Some(Failure::Drop) {
            return self.end(conn);
        }
        let refusal = if exchange.stage != Step::Asked || reference.is_none() {
            Some((400, "bad-request".to_owned()))
        } else if exchange.until <= Instant::now() {
            Some((410, "gone".to_owned()))
        } else if fails == Some(Failure::Prologue) {
            Some((403, "forbidden".to_owned()))
        } else {
            let challenge = exchange.challenge.clone();
            let passkey = self.accounts.get(&number).and_then(|a| a.passkey.clone());
            let wrong = verify(prologue, &challenge, passkey.as_ref()).err();
            wrong.map(|why| (401, format!("not-authorized: {why}")))
        };
        if let Some((code, text)) = refusal {
            log::info!("the passkey of {number} is refused: {text}");
            return self.send(conn, node::error(iq, code, &text));
        }
        let payload = node::child_bytes(prologue, "prologue_payload").unwrap_or_default();
        let begun = self.with_phone(&number, |phone, _| {
            phone.begin_passkey(payload, reference.as_deref().unwrap_or_default())
        });
        let Some(Ok(identity)) = begun else {
            log::info!("the prologue for {number} is refused: {begun:?}");
            return self.send(conn, node::error(iq, 400, "bad-request"));
        };
        if let Some(exchange) = self.exchange(conn) {
            exchange.stage = Step::Answered;
        }
        self.send(conn, node::result(iq).build());
        let identity = match fails {
            Some(Failure::Silence) => return,
            Some(Failure::Identity) => b"no identity".to_vec(),
            _ => identity,
        };
        let child = NodeBuilder::new("primary_ephemeral_identity")
            .bytes(identity)
            .build();
        let notification = NodeBuilder::new("notification")
            .attr("from", node::server())
            .attr("type", "crsc_continuation")
            .attr("id", self.next_id())
            .attr("t", now_secs())
            .children([child])
            .build();
        self.send(conn, notification);
    }

    fn companion_nonce(&mut self, conn: ConnId, iq: &Node, child: &Node) {
        let Some(exchange) = self.exchange(conn) else {
            return;
        };
        let number = exchange.number.clone();
        let in_turn = exchange.stage == Step::Answered && exchange.fails != Some(Failure::Nonce);
        let nonce = node::bytes(child).unwrap_or_default();
        let revealed = in_turn
            && self
                .with_phone(&number, |phone, _| phone.reveal_passkey(nonce))
                .is_some_and(|revealed| revealed.is_ok());
        if !revealed {
            return self.send(conn, node::error(iq, 400, "bad-request"));
        }
        if let Some(exchange) = self.exchange(conn) {
            exchange.stage = Step::Revealed;
        }
        self.send(conn, node::result(iq).build());
    }

    fn pairing_request(&mut self, conn: ConnId, iq: &Node, child: &Node) {
        let Some(exchange) = self.exchange(conn) else {
            return;
        };
        let (number, fails) = (exchange.number.clone(), exchange.fails);
        if exchange.stage != Step::Revealed || fails == Some(Failure::Request) {
            return self.send(conn, node::error(iq, 400, "bad-request"));
        }
        let request = node::bytes(child).unwrap_or_default();
        let finished = self.finish_passkey(conn, &number, request);
        match finished {
            Ok((device, scan)) => {
                self.send(conn, node::result(iq).build());
                if fails == Some(Failure::Phone) {
                    self.with_phone(&number, |phone, _| phone.remove_device(device, now_ms()));
                    self.end(conn);
                } else {
                    self.pair_success(conn, &number, device, &scan);
                }
            }
            Err(error) => {
                log::info!("pairing {number} with a passkey failed: {error}");
                self.send(conn, node::error(iq, 400, "bad-request"));
            }
        }
    }

    fn finish_passkey(
        &mut self,
        conn: ConnId,
        number: &str,
        request: &[u8],
    ) -> Result<(u16, crate::phone::Scan), PairError> {
        let device = self.next_device(number)?;
        let scan = self
            .with_phone(number, |phone, _| {
                phone.finish_passkey(request, device, now_ms())
            })
            .ok_or(PairError::Unknown)??;
        self.check_scan(conn, number, device, &scan)?;
        Ok((device, scan))
    }

    /// A registration whose references are spent stays for as long as its challenge lives.
    pub(super) fn passkey_outlives_refs(&mut self, conn: ConnId) -> bool {
        let Some(until) = self.exchange(conn).map(|exchange| exchange.until) else {
            return false;
        };
        let left = until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => self.end(conn),
            false => self.later(left, Timer::RefsSpent(conn)),
        }
        true
    }
}

fn options_node(options: &str) -> Node {
    NodeBuilder::new("passkey_request_options")
        .bytes(options.as_bytes().to_vec())
        .build()
}

/// Whether the assertion answers the challenge with this passkey: WebAuthn, section 7.2.
fn verify(
    prologue: &Node,
    challenge: &[u8],
    passkey: Option<&Passkey>,
) -> Result<(), &'static str> {
    let passkey = passkey.ok_or("the account has no passkey")?;
    let assertion = node::child_bytes(prologue, "webauthn_assertion").ok_or("no assertion")?;
    let assertion: Value = serde_json::from_slice(assertion).map_err(|_| "no JSON")?;
    if assertion["type"] != "public-key" {
        return Err("its type is another one");
    }
    let decoded = |value: &Value| {
        let text = value.as_str().ok_or("a field is missing")?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text);
        bytes.map_err(|_| "a field is not in base64url")
    };
    let id = decoded(&assertion["rawId"])?;
    let named = node::child_bytes(prologue, "credential_id");
    if id != passkey.id || named != Some(&id[..]) || assertion["id"] != assertion["rawId"] {
        return Err("another credential");
    }
    let response = &assertion["response"];
    let client_data = decoded(&response["clientDataJSON"])?;
    let authenticator_data = decoded(&response["authenticatorData"])?;
    let signature = decoded(&response["signature"])?;
    let client: Value = serde_json::from_slice(&client_data).map_err(|_| "no client data")?;
    if client["type"] != "webauthn.get" {
        return Err("client data of another kind");
    }
    if decoded(&client["challenge"])? != challenge {
        return Err("another challenge");
    }
    if client["origin"] != ORIGIN {
        return Err("another origin");
    }
    let of_site = Sha256::digest(RP_ID);
    if authenticator_data.len() < 37 || authenticator_data[..32] != of_site[..] {
        return Err("another relying party");
    }
    if authenticator_data[32] & PRESENT_AND_VERIFIED != PRESENT_AND_VERIFIED {
        return Err("nobody was verified");
    }
    let signed = [&authenticator_data[..], &Sha256::digest(&client_data)].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &passkey.public_key)
        .verify(&signed, &signature)
        .map_err(|_| "its signature does not verify")
}
