//! What a person shows of themselves and to whom, set on the phone.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::{AdminError, Answer};
use crate::net::Hub;
use crate::service::{Business, PeopleError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    about: Option<String>,
    /// A JPEG in base64; the empty text removes it.
    picture: Option<String>,
    business: Option<Business>,
    /// Values by category.
    #[serde(default)]
    privacy: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    number: String,
    /// Whether it is; blocked if absent.
    blocked: Option<bool>,
}

pub(super) fn change(hub: &Hub, number: &str, body: Profile) -> Answer {
    let picture = body.picture.map(|text| {
        let bytes = BASE64_STANDARD.decode(&text);
        let bytes = bytes.map_err(|e| AdminError::Bad(format!("base64: {e}")))?;
        Ok::<_, AdminError>(Some(bytes).filter(|bytes| !bytes.is_empty()))
    });
    let picture = picture.transpose()?;
    hub.with(|service| {
        service.ensure_account(number, None)?;
        if let Some(about) = &body.about {
            service.show_about(number, about);
        }
        if let Some(picture) = picture {
            service.show_picture(number, picture);
        }
        if let Some(business) = body.business {
            service.show_business(number, business);
        }
        match service.set_privacy_of(number, body.privacy) {
            true => Ok(json!({})),
            false => Err(AdminError::Bad("no such privacy setting".to_owned())),
        }
    })
}

pub(super) fn block(hub: &Hub, number: &str, body: &Block) -> Answer {
    hub.with(|service| {
        let other = service.person_named(&body.number)?;
        match service.set_blocked(number, &other, body.blocked.unwrap_or(true), None) {
            true => Ok(json!({})),
            false => Err(PeopleError::Unknown(number.to_owned()).into()),
        }
    })
}
