//! `GET /accounts/:id/qr`: the code to scan, in the form that the caller can show.

use std::time::Duration;

use http_types::headers::ACCEPT;
#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use smol::Timer;

use super::answer::{Answer, Reply};
use super::context::Req;
use super::error::ApiError;
use super::values::OfAccount;
use crate::account::{AccountError, Status};
use crate::fields::{Field, FieldError, request};
use crate::qr::{TooLong, png_qr, svg_qr, terminal_qr};

/// How often, and how many times, a request looks for a code that WhatsApp has not sent yet: 10 s in all.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: usize = 40;

/// A form of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Png,
    Svg,
    /// Half blocks, for terminals.
    Text,
    /// What the code says.
    Raw,
}

impl Field for Format {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        match value.as_str() {
            Some("png") => Ok(Format::Png),
            Some("svg") => Ok(Format::Svg),
            Some("text") => Ok(Format::Text),
            Some("raw") => Ok(Format::Raw),
            _ => Err(FieldError::Field {
                field: name,
                expected: "png, svg, text or raw",
            }),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "enum": ["png", "svg", "text", "raw"]})
    }
}

request! {
    /// The form of a pairing code.
    pub struct Wanted {
        /// else by `Accept`
        format: Option<Format> = query "format",
    }
}

/// A pairing code in one of its forms.
pub struct Code(Answer);

impl Reply for Code {
    fn into_answer(self) -> Result<Answer, ApiError> {
        Ok(self.0)
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        let text = || json_schema!({"type": "string"});
        let bytes = json_schema!({"type": "string", "format": "binary"});
        let content = [
            ("image/png", bytes),
            ("image/svg+xml", text()),
            ("text/plain", text()),
        ];
        operation.content(200, "The code; 404 while there is none", content);
    }
}

pub async fn show(req: Req, (of, wanted): (OfAccount, Wanted)) -> Result<Code, ApiError> {
    let format = wanted.format.unwrap_or_else(|| {
        let accept = req.header(ACCEPT).map(|values| values.as_str());
        by_accept(accept.unwrap_or_default())
    });
    let text = code(&req, &of.id.0).await?;
    let too_long = |TooLong| ApiError::Internal("a pairing code fits no QR code".to_owned());
    Ok(Code(match format {
        Format::Png => Answer::file("image/png", png_qr(&text).map_err(too_long)?),
        Format::Svg => Answer::file("image/svg+xml", svg_qr(&text).map_err(too_long)?.into()),
        Format::Text => Answer::file(
            "text/plain; charset=utf-8",
            terminal_qr(&text).map_err(too_long)?.into(),
        ),
        Format::Raw => Answer::file("text/plain; charset=utf-8", text.into()),
    }))
}

/// The code on show. Clients ask for it right after they have created the account, before WhatsApp has sent one.
async fn code(req: &Req, id: &str) -> Result<String, AccountError> {
    for _ in 0..LOOKS {
        match req.state().accounts.qr(id) {
            Err(AccountError::NoQr {
                status: Status::Connecting,
            }) => Timer::after(LOOK).await,
            found => return found,
        };
    }
    req.state().accounts.qr(id)
}

/// The form that an `Accept` header prefers: by weight, then by order. A browser's page gets the
/// PNG; `*/*`, which plain curl sends, and everything unknown get the terminal's form.
fn by_accept(accept: &str) -> Format {
    let mut best = (0.0, Format::Text);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "image/png" | "image/*" | "text/html" => Format::Png,
            "image/svg+xml" => Format::Svg,
            "text/plain" | "text/*" | "*/*" => Format::Text,
            _ => continue,
        };
        let weight = parts
            .find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok())
            .unwrap_or(1.0);
        if weight > best.0 {
            best = (weight, format);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_gets_what_it_can_show() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("image/png", Format::Png),
            ("image/svg+xml", Format::Svg),
            ("image/*;q=0.5, image/svg+xml", Format::Svg),
            ("application/json", Format::Text),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
                Format::Png,
            ),
            (
                "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
                Format::Svg,
            ),
            ("image/png;q=0", Format::Text),
        ] {
            assert_eq!(by_accept(accept), format, "{accept}");
        }
    }
}
