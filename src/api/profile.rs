//! The account itself: what it shows, to whom, and its linked devices.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::answer::Json;
use super::context::Req;
use super::error::ApiError;
use super::timer::Seconds;
use super::values::OfAccount;
use crate::account::ProfileChange;
use crate::clock;
use crate::fields::{Field, FieldError, Limited, request};
use crate::store::messages::Contact;
use crate::whatsapp::{Facts, Picture};

/// What an account shows of itself
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct Profile {
    /// What others see beside the number.
    name: Option<String>,
    about: Option<String>,
    picture: Option<Picture>,
    /// The account's own JID.
    chat_id: String,
    lid: Option<String>,
    /// Digits alone.
    number: Option<String>,
    /// Without `@`.
    username: Option<String>,
    /// When WhatsApp said so, ISO 8601; `null` if it does not answer, or the account is not connected.
    asked_at: Option<String>,
}

/// The profile
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OwnProfile {
    profile: Profile,
}

pub async fn show(req: Req, of: OfAccount) -> Result<Json<OwnProfile>, ApiError> {
    let found = Box::pin(req.state().accounts.profile(&of.id.0)).await?;
    let (name, own, facts) = found;
    let asked_at = facts.as_ref().map(|facts| clock::iso8601(facts.at));
    let Facts { about, picture, .. } = facts.map(|it| Facts::clone(&it)).unwrap_or_default();
    let Contact {
        chat_id,
        lid,
        number,
        username,
        ..
    } = own;
    Ok(Json(OwnProfile {
        profile: Profile {
            name,
            about,
            picture,
            chat_id,
            lid,
            number,
            username,
            asked_at,
        },
    }))
}

/// A picture in base64, also as a `data:` URI; the empty text removes it.
#[derive(Debug)]
pub struct PictureBytes(Vec<u8>);

impl Field for PictureBytes {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        let text = match text.strip_prefix("data:") {
            Some(uri) => uri.split_once(";base64,").map(|(_, data)| data),
            None => Some(text.trim()),
        };
        let bytes = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
        bytes.map(PictureBytes).ok_or(FieldError::Field {
            field: name,
            expected: "a picture in base64, or the empty text",
        })
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

request! {
    /// What changes of the profile; what is absent stays.
    pub struct ChangeProfile {
        name: Option<Limited<1, 25>> = "name",
        /// the empty text for none
        about: Option<Limited<0, 139>> = "about",
        /// a PNG, JPEG, WebP or GIF in base64, at least 192 pixels on each side, made a square; the empty text removes it
        picture: Option<PictureBytes> = "picture",
    }
}

pub async fn change(
    req: Req,
    (of, change): (OfAccount, ChangeProfile),
) -> Result<Json<OwnProfile>, ApiError> {
    let change = ProfileChange {
        name: change.name.map(|Limited(name)| name),
        about: change.about.map(|Limited(about)| about),
        picture: change.picture.map(|PictureBytes(bytes)| bytes),
    };
    if change.name.is_none() && change.about.is_none() && change.picture.is_none() {
        let words = "name, about or picture is required";
        return Err(ApiError::Invalid(words.to_owned()));
    }
    Box::pin(req.state().accounts.change_profile(&of.id.0, change)).await?;
    show(req, of).await
}

/// Declares the privacy settings: the field here, WhatsApp's name, and the values that can be set.
macro_rules! settings {
    ($($(#[doc = $doc:literal])* $field:ident: $Values:ident = $name:literal, $wire:literal;)*) => {
        request! {
            /// Which privacy settings change; what is absent stays.
            pub struct ChangePrivacy {
                $($(#[doc = $doc])* $field: Option<$Values> = $name,)*
                /// seconds after which messages disappear in chats that the account begins: 0, 86400, 604800 or 7776000
                default_timer: Option<Seconds> = "defaultTimer",
            }
        }

        impl ChangePrivacy {
            fn wire(&self) -> Vec<(&'static str, &'static str)> {
                let all = [$(($wire, self.$field.as_ref().map(|it| it.0)),)*];
                all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
            }
        }

        /// To whom the account shows what, and who may do what, in WhatsApp's words; `null` for what it does not say.
        /// `contact_blacklist` is all contacts but some, and is set on the phone
        #[derive(Debug, Serialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
        #[serde(rename_all = "camelCase")]
        struct Settings {
            $($(#[doc = $doc])* $field: Option<String>,)*
            /// Seconds after which messages disappear in chats that the account begins; 0: they stay.
            default_timer: u32,
        }

        impl Settings {
            fn of(settings: &std::collections::BTreeMap<String, String>, default_timer: u32) -> Settings {
                Settings {
                    $($field: settings.get($wire).cloned(),)*
                    default_timer,
                }
            }
        }
    };
}

/// Declares a type of values.
macro_rules! values {
    ($($Values:ident: $words:expr, $expected:literal;)*) => {$(
        #[derive(Debug)]
        pub struct $Values(&'static str);

        impl Field for $Values {
            fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
                word(name, value, &$words, $expected).map($Values)
            }

            fn is_blank(_value: &Value) -> bool {
                false
            }

            #[cfg(test)]
            fn schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "enum": $words})
            }
        }
    )*};
}

fn word(
    field: &'static str,
    value: &Value,
    words: &[&'static str],
    expected: &'static str,
) -> Result<&'static str, FieldError> {
    let found = words.iter().find(|word| value.as_str() == Some(word));
    found.copied().ok_or(FieldError::Field { field, expected })
}

values! {
    Viewers: ["all", "contacts", "none"], "all, contacts or none";
    Always: ["all", "match_last_seen"], "all or match_last_seen";
    YesNo: ["all", "none"], "all or none";
    Callers: ["all", "known", "contacts"], "all, known or contacts";
    Writers: ["all", "contacts"], "all or contacts";
    Defense: ["off", "on_standard"], "off or on_standard";
}

settings! {
    /// who sees when the account was online last
    last_seen: Viewers = "lastSeen", "last";
    /// who sees that it is online
    online: Always = "online", "online";
    /// who sees the picture
    picture: Viewers = "picture", "profile";
    /// who sees the about text
    about: Viewers = "about", "status";
    /// who may add it to groups
    groups: Viewers = "groups", "groupadd";
    /// `none`: nobody sees what it has read, and it does not see what others have
    read_receipts: YesNo = "readReceipts", "readreceipts";
    /// who may call it
    calls: Callers = "calls", "calladd";
    /// who may write to it
    messages: Writers = "messages", "messages";
    /// WhatsApp's strict mode
    defense: Defense = "defense", "defense";
}

/// The privacy settings
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PrivacySettings {
    privacy: Settings,
}

pub async fn privacy(req: Req, of: OfAccount) -> Result<Json<PrivacySettings>, ApiError> {
    let found = Box::pin(req.state().accounts.privacy(&of.id.0)).await?;
    let privacy = Settings::of(&found.0, found.1);
    Ok(Json(PrivacySettings { privacy }))
}

pub async fn change_privacy(
    req: Req,
    (of, change): (OfAccount, ChangePrivacy),
) -> Result<Json<PrivacySettings>, ApiError> {
    let settings = change.wire();
    let timer = change.default_timer.map(|Seconds(seconds)| seconds);
    if settings.is_empty() && timer.is_none() {
        let words = "a privacy setting or defaultTimer is required";
        return Err(ApiError::Invalid(words.to_owned()));
    }
    let set = req.state().accounts.set_privacy(&of.id.0, &settings, timer);
    Box::pin(set).await?;
    privacy(req, of).await
}

/// A device of an account
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
struct Device {
    /// Its number; 0 is the phone. WhatsApp gives their names to the phone alone.
    device: u16,
    jid: String,
    phone: bool,
    /// Whether it is this server.
    this: bool,
}

/// The account's devices
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeviceList {
    devices: Vec<Device>,
}

pub async fn devices(req: Req, of: OfAccount) -> Result<Json<DeviceList>, ApiError> {
    let found = Box::pin(req.state().accounts.devices(&of.id.0)).await?;
    let (own, devices, this) = found;
    let user = own.chat_id.split('@').next().unwrap_or_default();
    let devices = devices.into_iter().map(|device| Device {
        device,
        jid: match device {
            0 => own.chat_id.clone(),
            device => format!("{user}:{device}@s.whatsapp.net"),
        },
        phone: device == 0,
        this: Some(device) == this,
    });
    Ok(Json(DeviceList {
        devices: devices.collect(),
    }))
}
