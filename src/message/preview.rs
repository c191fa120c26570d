//! Previews of links: what a text shows of the page that its first link leads to.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::wa;
use super::{Message, bounds};
use crate::fields::{Field, FieldError};
use crate::media::base64_bytes;
use wa::message::ExtendedTextMessage;
use wa::message::extended_text_message::PreviewType;

/// Bytes of a link that a preview is made of; longer ones have none.
const LONGEST: usize = 2_048;
/// Bytes of a picture that is kept until its message has gone.
const IMAGE: usize = 64 * 1024;

/// What a text shows of its first link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkPreview {
    /// As it stands in the text.
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JPEG, until the message has gone.
    #[serde(
        default,
        with = "base64_bytes",
        skip_serializing_if = "Option::is_none"
    )]
    pub image: Option<Vec<u8>>,
    /// Whether the page is to be fetched before the message goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

/// The fields of a preview, as messages show them.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct ShownPreview<'a> {
    /// as it stands in the text
    url: &'a str,
    title: &'a str,
    description: Option<&'a str>,
}

impl LinkPreview {
    /// What is shown; `None` while nothing is known of the page.
    pub fn shown(&self) -> Option<ShownPreview<'_>> {
        Some(ShownPreview {
            url: &self.url,
            title: self.title.as_deref()?,
            description: self.description.as_deref(),
        })
    }

    pub(super) fn cut(&mut self) -> bool {
        self.image.take_if(|image| image.len() > IMAGE);
        let cut = bounds::cut(&mut self.url, LONGEST);
        let over = bounds::cut_some(&mut self.title, bounds::LINE);
        bounds::cut_some(&mut self.description, bounds::LINE) || over || cut
    }
}

/// What a request says of the preview of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreviewWish {
    /// None, or the page's.
    Fetched(bool),
    /// In these words.
    Given {
        title: String,
        description: Option<String>,
    },
}

impl Field for PreviewWish {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let wrong = || FieldError::Field {
            field: name,
            expected: "true, false, or an object with a title of 1 to 256 characters and, if wanted, a description of at \
                       most 1024",
        };
        let Value::Object(given) = value else {
            return bool::read(name, value)
                .map(PreviewWish::Fetched)
                .map_err(|_| wrong());
        };
        let text = |field: &str, most: usize| match given.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= most => Ok(Some(text.trim())
                .filter(|text| !text.is_empty())
                .map(str::to_owned)),
            Some(_) => Err(wrong()),
        };
        Ok(PreviewWish::Given {
            title: text("title", bounds::NAME)?.ok_or_else(wrong)?,
            description: text("description", bounds::LINE)?,
        })
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        // An object is taken, too; generated clients would wrap a union of both into classes of its own.
        json_schema!({"type": "boolean"})
    }
}

/// The preview that a text is to have, before anything is fetched.
pub fn wished(text: &str, wish: Option<&PreviewWish>) -> Option<LinkPreview> {
    let url = first_link(text)?.to_owned();
    match wish {
        None | Some(PreviewWish::Fetched(true)) => Some(LinkPreview {
            url,
            pending: true,
            ..LinkPreview::default()
        }),
        Some(PreviewWish::Fetched(false)) => None,
        Some(PreviewWish::Given { title, description }) => Some(LinkPreview {
            title: Some(title.clone()),
            description: description.clone(),
            url,
            ..LinkPreview::default()
        }),
    }
}

/// The first address of the web in a text, without the marks of the sentence that it stands in.
pub fn first_link(text: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let mark = from + at;
        from = mark + 3;
        let scheme = ["https", "http"].into_iter().find(|scheme| {
            let start = mark
                .checked_sub(scheme.len())
                .and_then(|start| text.get(start..mark));
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        });
        let Some(scheme) = scheme else { continue };
        let rest = &text[mark - scheme.len()..];
        let end = rest
            .find(|c: char| c.is_whitespace() || c.is_control() || "<>\"`{}|\\^".contains(c))
            .unwrap_or(rest.len());
        let link = without_marks(&rest[..end]);
        if link.len() > scheme.len() + 3 && link.len() <= LONGEST {
            return Some(link);
        }
    }
    None
}

fn without_marks(mut link: &str) -> &str {
    while let Some(last) = link.chars().next_back() {
        let opens = match last {
            ')' => Some('('),
            ']' => Some('['),
            _ => None,
        };
        let is_mark = match opens {
            Some(open) => {
                link.chars().filter(|c| *c == last).count()
                    > link.chars().filter(|c| *c == open).count()
            }
            None => ".,;:!?'*_~’”»".contains(last),
        };
        if !is_mark {
            break;
        }
        link = &link[..link.len() - last.len_utf8()];
    }
    link
}

/// Sets what a received text shows of its link.
pub(super) fn decode(text: &ExtendedTextMessage, message: &mut Message) {
    let url = text.matched_text.clone().filter(|url| !url.is_empty());
    let title = text.title.clone().filter(|title| !title.is_empty());
    if let (Some(url), Some(title)) = (url, title) {
        message.link_preview = Some(LinkPreview {
            url,
            title: Some(title),
            description: text.description.clone().filter(|text| !text.is_empty()),
            ..LinkPreview::default()
        });
    }
}

/// Sets what a text shows of its link, as WhatsApp Web has it.
pub(super) fn encode(preview: &LinkPreview, text: &mut ExtendedTextMessage) {
    text.matched_text = Some(preview.url.clone());
    text.title.clone_from(&preview.title);
    text.description = Some(preview.description.clone().unwrap_or_default());
    text.preview_type = Some(PreviewType::NONE);
    text.jpeg_thumbnail.clone_from(&preview.image);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_link_stands_without_the_marks_around_it() {
        for (text, link) in [
            (
                "see https://example.org/a?b=c#d.",
                Some("https://example.org/a?b=c#d"),
            ),
            (
                "(http://example.org/x_(y))!",
                Some("http://example.org/x_(y)"),
            ),
            ("HTTPS://EXAMPLE.ORG", Some("HTTPS://EXAMPLE.ORG")),
            (
                "é\u{301}https://a.de/ü, https://b.de",
                Some("https://a.de/ü"),
            ),
            ("ftp://x.de http://y.de", Some("http://y.de")),
            ("*https://a.de*", Some("https://a.de")),
            ("no link: http:// https://. ://", None),
            ("example.org", None),
        ] {
            assert_eq!(first_link(text), link, "{text}");
        }
        let long = format!("https://a.de/{}", "x".repeat(LONGEST));
        assert_eq!(first_link(&long), None);
    }

    #[test]
    fn a_wish_is_yes_no_or_words() {
        let read = |value: Value| PreviewWish::read("linkPreview", &value);
        assert_eq!(read(json!("false")), Ok(PreviewWish::Fetched(false)));
        let given = read(json!({"title": " T ", "description": "", "more": 1}));
        let title = "T".to_owned();
        assert_eq!(
            given,
            Ok(PreviewWish::Given {
                title,
                description: None
            })
        );
        for bad in [
            json!(1),
            json!("x"),
            json!([]),
            json!({}),
            json!({"title": ""}),
            json!({"title": 1}),
            json!({"title": "x".repeat(257)}),
            json!({"title": "x", "description": 5}),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(wished("no link", None), None);
        let preview = wished("https://a.de", None).expect("a preview");
        assert_eq!((preview.pending, preview.shown().is_none()), (true, true));
    }
}
