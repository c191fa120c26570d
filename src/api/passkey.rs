//! `/accounts/:id/passkey`: linking an account that WhatsApp asks for its passkey.
//!
//! A passkey answers for WhatsApp's own site alone, so that this server cannot ask a browser for it: a person does, on
//! web.whatsapp.com, with a line of script that the guide gives, and brings the answer back.

use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::{Answer, Json, Reply};
use super::context::Req;
use super::error::ApiError;
use super::values::OfAccount;
use crate::account::{Challenge, PasskeyView, Status};
#[cfg(test)]
use crate::fields::{Described, Place, Slot};
use crate::fields::{FieldError, Fields, Parts, Request};

/// What the line of the guide does: it asks the browser for the passkey at the next click on the page, because a
/// browser wants to know that a person is there, and shows the answer as text. It speaks to no server. Written without
/// `parseRequestOptionsFromJSON` and `toJSON`, which browsers of 2024 lack.
const SCRIPT: &str = r#"(o=>{const d=s=>Uint8Array.from(atob(s.replace(/-/g,"+").replace(/_/g,"/")),c=>c.charCodeAt(0)),e=b=>btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g,"-").replace(/\//g,"_").replace(/=+$/,"");o.challenge=d(o.challenge);(o.allowCredentials||[]).forEach(c=>{c.id=d(c.id)});addEventListener("click",async v=>{v.preventDefault();v.stopPropagation();try{const c=await navigator.credentials.get({publicKey:o}),r=c.response,t=JSON.stringify({id:c.id,rawId:e(c.rawId),type:c.type,response:{clientDataJSON:e(r.clientDataJSON),authenticatorData:e(r.authenticatorData),signature:e(r.signature),userHandle:r.userHandle?e(r.userHandle):null}});console.log(t);prompt("Copy all of this text:",t)}catch(x){alert("No passkey: "+x.message)}},{capture:true,once:true});return "Now click anywhere on the page."})"#;

pub async fn show(req: Req, of: OfAccount) -> Result<Json<PasskeyView>, ApiError> {
    Ok(Json(req.state().accounts.passkey(&of.id.0)?))
}

/// What to do, as text.
pub struct Guide(String);

impl Reply for Guide {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Ok(Answer::file("text/plain; charset=utf-8", self.0.into()))
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        let text = schemars::json_schema!({"type": "string"});
        let words = "The steps; 404 while no passkey is asked for";
        operation.content(200, words, [("text/plain", text)]);
    }
}

pub async fn guide(req: Req, of: OfAccount) -> Result<Guide, ApiError> {
    let id = of.id.0;
    let accounts = &req.state().accounts;
    let challenge = accounts.passkey_challenge(&id)?;
    let until = accounts.passkey(&id)?.expires_at;
    guide_text(&id, &challenge, &until).map(Guide)
}

/// The steps, with the line to paste. What WhatsApp asks for is written anew as JSON, which is script too, so that it
/// cannot be anything else.
fn guide_text(id: &str, challenge: &Challenge, until: &str) -> Result<String, ApiError> {
    let options = serde_json::to_string(challenge.options())
        .map_err(|error| ApiError::Internal(error.to_string()))?
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    let site = challenge.site();
    Ok(format!(
        "WhatsApp asks for the passkey of the account that \"{id}\" is to be linked to. Until {until}:\n\
         \n\
         1. Open https://{site} in a browser that can use this passkey: one that has it (Google Password Manager,\n   \
            iCloud Keychain, another manager), or one that can reach the phone by Bluetooth. Do not scan\n   \
            anything there.\n\
         2. Open the console (F12, or Ctrl-Shift-J; in Safari Option-Command-C). If the browser warns of pasting, it\n   \
            is right: look at the line first. It asks for the passkey, shows the answer, and speaks to no\n   \
            server. Paste all of this line and press Enter:\n\
         \n\
         {SCRIPT}({options})\n\
         \n\
         3. Click anywhere on the page, and use the passkey as the browser asks. Where it offers a QR code, scan that\n   \
            with the phone's camera.\n\
         4. Copy the text that comes out. With it this device can be linked: give it to this server and to nobody\n   \
            else.\n\
         \n   \
            curl -X POST http://SERVER/accounts/{id}/passkey -H 'Content-Type: application/json' -d 'TEXT'\n\
         \n\
         5. GET /accounts/{id}/passkey then shows a code. If it is the phone's, or the phone shows none:\n\
         \n   \
            curl -X POST http://SERVER/accounts/{id}/passkey/confirm\n\
         \n\
         To give up: curl -X DELETE http://SERVER/accounts/{id}/passkey\n\
         \n\
         Where this server has keys, each of these takes one: -u x:KEY.\n"
    ))
}

/// A `PublicKeyCredential`: the body itself, or in its field `assertion`, as an object or as text.
#[derive(Debug)]
pub struct Credential(Map<String, Value>);

impl Request for Credential {
    const HAS_BODY: bool = true;

    fn read(parts: &Parts) -> Result<Self, FieldError> {
        let fields = parts.body.as_map();
        let found = match fields.get("assertion") {
            None | Some(Value::Null) => fields.contains_key("response").then(|| fields.clone()),
            Some(Value::Object(credential)) => Some(credential.clone()),
            Some(Value::String(text)) => serde_json::from_str(text.trim()).ok(),
            Some(_) => None,
        };
        found.map(Credential).ok_or(FieldError::Field {
            field: "assertion",
            expected: "the JSON that the browser gave, as an object or as text",
        })
    }

    fn check_early(_body: &Fields) -> Result<(), FieldError> {
        Ok(())
    }

    #[cfg(test)]
    fn describe(_generator: &mut schemars::SchemaGenerator, out: &mut Vec<Described>) {
        let text = || schemars::json_schema!({"type": "string"});
        let binary = schemars::json_schema!({
            "type": "object",
            "required": ["clientDataJSON", "authenticatorData", "signature"],
            "properties": {
                "clientDataJSON": text(),
                "authenticatorData": text(),
                "signature": text(),
                "userHandle": {"type": ["string", "null"]},
            },
        });
        let kind = schemars::json_schema!({"type": "string", "const": "public-key"});
        let either = schemars::json_schema!({"type": ["object", "string"]});
        for (name, doc, schema) in [
            (
                "assertion",
                "a PublicKeyCredential, as an object or as text; else its fields stand here",
                either,
            ),
            ("id", "", text()),
            ("rawId", "", text()),
            ("type", "", kind),
            (
                "response",
                "as toJSON() gives it: binary fields in base64url",
                binary,
            ),
        ] {
            out.push(Described {
                slot: Slot {
                    place: Place::Body,
                    name,
                    alias: "",
                },
                doc: doc.to_owned(),
                required: false,
                schema,
            });
        }
    }

    #[cfg(test)]
    fn one_of() -> &'static [&'static str] {
        &["assertion", "response"]
    }
}

pub async fn answer(
    req: Req,
    (of, Credential(credential)): (OfAccount, Credential),
) -> Result<Json<PasskeyView>, ApiError> {
    let accounts = &req.state().accounts;
    Ok(Json(accounts.answer_passkey(&of.id.0, &credential).await?))
}

/// What comes next
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct PasskeyStep {
    account_id: String,
    status: Status,
    message: &'static str,
}

pub async fn confirm(req: Req, of: OfAccount) -> Result<Json<PasskeyStep>, ApiError> {
    let id = of.id.0;
    let status = req.state().accounts.confirm_passkey(&id).await?;
    Ok(Json(PasskeyStep {
        account_id: id,
        status,
        message: "Confirmed; WhatsApp links this device now",
    }))
}

pub async fn give_up(req: Req, of: OfAccount) -> Result<Json<PasskeyStep>, ApiError> {
    let id = of.id.0;
    let status = req.state().accounts.give_passkey_up(&id).await?;
    Ok(Json(PasskeyStep {
        account_id: id,
        status,
        message: "Given up; a new QR code follows",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &Value) -> Result<Map<String, Value>, FieldError> {
        let parts = Parts {
            body: Fields::from_map(body.as_object().expect("an object").clone()),
            ..Parts::default()
        };
        Credential::read(&parts).map(|credential| credential.0)
    }

    #[test]
    fn a_credential_is_taken_as_it_is_pasted() {
        let credential = json!({"id": "AQ", "response": {}});
        for body in [
            credential.clone(),
            json!({"assertion": credential}),
            json!({"assertion": format!(" {credential}\n")}),
        ] {
            let found = read(&body).map(Value::Object).map_err(|e| e.to_string());
            assert_eq!(found, Ok(credential.clone()), "{body}");
        }
        for body in [
            json!({}),
            json!({"id": "AQ"}),
            json!({"assertion": 5}),
            json!({"assertion": "{"}),
            json!({"assertion": "[]"}),
        ] {
            let refused = read(&body).map_err(|e| e.to_string());
            assert!(
                refused.is_err_and(|e| e.contains("\"assertion\" must be")),
                "{body}"
            );
        }
    }

    #[test]
    fn what_whatsapp_asks_for_cannot_leave_its_place_in_the_line() {
        let options = r#"{"challenge": "AAEC", "rpId": "whatsapp.com", "x": "\"});alert(1)//\n\u2028</script>"}"#;
        let challenge = Challenge::parse(options).expect("a challenge");
        let text = guide_text("alice", &challenge, "then").map_err(|e| e.to_string());
        let text = text.expect("a guide");
        let line = text
            .lines()
            .find(|line| line.starts_with("(o=>"))
            .expect("the line");
        let given = line.strip_prefix(SCRIPT).expect("the script");
        let given = given
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        let given: Value = serde_json::from_str(given.expect("one argument")).expect("JSON");
        assert_eq!(given, serde_json::from_str::<Value>(options).expect("JSON"));
        assert!(
            text.contains("https://web.whatsapp.com") && text.contains("/accounts/alice/passkey")
        );
    }
}
