//! What businesses write: texts with buttons, lists, templates, interactive and flow messages.
//!
//! Such a message is a text, or the medium or place of its header, with `buttons`. The text has all that the card
//! shows, a line each: title, body, footer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Message;
use super::bounds::{self, cut, cut_some};
use super::kind::MessageKind;
use super::medium::{self, NewMedium};
use super::wire::{MessageField, wa};
use super::{coverage::lines, location};
use wa::hydrated_template_button::HydratedButton;
use wa::message::interactive_message::{self, InteractiveMessage as Content};
use wa::message::template_message::{Format, four_row_template, hydrated_four_row_template};
use wa::message::{ListMessage, TemplateMessage, buttons_message};
use wa::template_button::Button as TemplateButton;

/// Buttons and rows of a message, and bytes of them together.
const BUTTONS: usize = 256;
const BYTES: usize = 64 * 1024;

/// A button, or a row of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Button {
    /// What an answer names; links, calls and codes have none.
    pub id: Option<String>,
    pub text: String,
    /// Only of a list's rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whom it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// What it copies, such as a one-time code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Button {
    fn new(id: Option<&String>, text: Option<&String>) -> Button {
        let text = text.or(id).cloned().unwrap_or_default();
        Button {
            id: id.cloned(),
            text,
            ..Button::default()
        }
    }

    fn row(row: &wa::message::list_message::Row) -> Button {
        Button {
            description: row.description.clone().filter(|words| !words.is_empty()),
            ..Button::new(row.row_id.as_ref(), row.title.as_ref())
        }
    }
}

/// Cuts buttons to what is stored; whether there was more.
pub(super) fn cut_buttons(buttons: &mut Vec<Button>) -> bool {
    let mut over = bounds::cut_list(buttons, BUTTONS);
    let mut room = BYTES;
    buttons.retain_mut(|button| {
        over |= cut(&mut button.text, bounds::LINE);
        let mut size = button.text.len();
        for part in [
            &mut button.id,
            &mut button.description,
            &mut button.url,
            &mut button.phone,
            &mut button.code,
        ] {
            over |= cut_some(part, 2 * bounds::LINE);
            size += part.as_ref().map_or(0, String::len);
        }
        let fits = size <= room;
        room = room.saturating_sub(size);
        over |= !fits;
        fits
    });
    over
}

/// Sets kind, words and buttons, and `file` by the header.
pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
    file: &mut Option<NewMedium>,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let mut card = Card::default();
    let context = if let Some(m) = base.buttons_message.as_option() {
        card.buttons_message(m);
        &m.context_info
    } else if let Some(m) = base.list_message.as_option() {
        card.list(m);
        &m.context_info
    } else if let Some(m) = base.template_message.as_option() {
        card.template(m);
        match &m.format {
            Some(Format::InteractiveMessageTemplate(m)) => &m.context_info,
            _ => &m.context_info,
        }
    } else if let Some(m) = base.interactive_message.as_option() {
        card.interactive(m);
        &m.context_info
    } else if let Some(m) = base.highly_structured_message.as_option() {
        card.say(structured(m));
        card.template(&m.hydrated_hsm);
        &m.hydrated_hsm.context_info
    } else {
        return None;
    };
    let text = lines(card.words.iter().map(|words| Some(words.as_str())));
    message.kind = MessageKind::Text;
    if let Some(header) = &card.header {
        // The context is the card's.
        let _ = medium::decode(header, message, file).or_else(|| location::decode(header, message));
    }
    match file {
        Some(_) => message.caption = text,
        None => message.text = text,
    }
    message.buttons = (!card.buttons.is_empty()).then_some(card.buttons);
    Some(context)
}

/// What a card shows, while it is read.
#[derive(Default)]
struct Card {
    words: Vec<String>,
    buttons: Vec<Button>,
    /// Its first medium or place, as a message.
    header: Option<wa::Message>,
}

macro_rules! header {
    ($self:ident, $field:ident, $content:expr) => {{
        $self.header.get_or_insert_with(|| wa::Message {
            $field: MessageField::some($content.as_ref().clone()),
            ..Default::default()
        });
    }};
}

impl Card {
    fn say(&mut self, words: Option<String>) {
        self.words.extend(words);
    }

    fn buttons_message(&mut self, m: &wa::message::ButtonsMessage) {
        use buttons_message::Header;
        match &m.header {
            Some(Header::Text(text)) => self.say(Some(text.clone())),
            Some(Header::DocumentMessage(it)) => header!(self, document_message, it),
            Some(Header::ImageMessage(it)) => header!(self, image_message, it),
            Some(Header::VideoMessage(it)) => header!(self, video_message, it),
            Some(Header::LocationMessage(it)) => header!(self, location_message, it),
            None => {}
        }
        self.say(m.content_text.clone());
        self.say(m.footer_text.clone());
        for button in &m.buttons {
            match button.native_flow_info.as_option() {
                Some(flow) => self.flow(flow.name.as_ref(), flow.params_json.as_ref()),
                None => self.buttons.push(Button::new(
                    button.button_id.as_ref(),
                    button.button_text.display_text.as_ref(),
                )),
            }
        }
    }

    fn list(&mut self, m: &ListMessage) {
        self.say(m.title.clone());
        self.say(m.description.clone());
        self.say(m.footer_text.clone());
        let rows = m.sections.iter().flat_map(|section| &section.rows);
        self.buttons.extend(rows.map(Button::row));
        let products = m.product_list_info.product_sections.iter();
        let products = products.flat_map(|section| &section.products);
        self.buttons
            .extend(products.map(|product| Button::new(product.product_id.as_ref(), None)));
    }

    fn template(&mut self, m: &TemplateMessage) {
        match &m.format {
            Some(Format::HydratedFourRowTemplate(template)) => return self.hydrated(template),
            Some(Format::InteractiveMessageTemplate(message)) => return self.interactive(message),
            Some(Format::FourRowTemplate(template)) => self.four_row(template),
            None => {}
        }
        if let Some(template) = m.hydrated_template.as_option() {
            self.hydrated(template);
        }
    }

    fn hydrated(&mut self, m: &wa::message::template_message::HydratedFourRowTemplate) {
        use hydrated_four_row_template::Title;
        match &m.title {
            Some(Title::HydratedTitleText(text)) => self.say(Some(text.clone())),
            Some(Title::DocumentMessage(it)) => header!(self, document_message, it),
            Some(Title::ImageMessage(it)) => header!(self, image_message, it),
            Some(Title::VideoMessage(it)) => header!(self, video_message, it),
            Some(Title::LocationMessage(it)) => header!(self, location_message, it),
            None => {}
        }
        self.say(m.hydrated_content_text.clone());
        self.say(m.hydrated_footer_text.clone());
        for button in &m.hydrated_buttons {
            self.buttons.extend(match &button.hydrated_button {
                Some(HydratedButton::QuickReplyButton(it)) => {
                    Some(Button::new(it.id.as_ref(), it.display_text.as_ref()))
                }
                Some(HydratedButton::UrlButton(it)) => Some(Button {
                    url: it.url.clone(),
                    ..Button::new(None, it.display_text.as_ref())
                }),
                Some(HydratedButton::CallButton(it)) => Some(Button {
                    phone: it.phone_number.clone(),
                    ..Button::new(None, it.display_text.as_ref())
                }),
                None => None,
            });
        }
    }

    /// The old form, whose words are made from parameters.
    fn four_row(&mut self, m: &wa::message::template_message::FourRowTemplate) {
        use four_row_template::Title;
        match &m.title {
            Some(Title::HighlyStructuredMessage(text)) => self.say(structured(text)),
            Some(Title::DocumentMessage(it)) => header!(self, document_message, it),
            Some(Title::ImageMessage(it)) => header!(self, image_message, it),
            Some(Title::VideoMessage(it)) => header!(self, video_message, it),
            Some(Title::LocationMessage(it)) => header!(self, location_message, it),
            None => {}
        }
        self.say(structured(&m.content));
        self.say(structured(&m.footer));
        for button in &m.buttons {
            self.buttons.extend(match &button.button {
                Some(TemplateButton::QuickReplyButton(it)) => {
                    let text = structured(&it.display_text);
                    Some(Button::new(it.id.as_ref(), text.as_ref()))
                }
                Some(TemplateButton::UrlButton(it)) => Some(Button {
                    url: structured(&it.url),
                    ..Button::new(None, structured(&it.display_text).as_ref())
                }),
                Some(TemplateButton::CallButton(it)) => Some(Button {
                    phone: structured(&it.phone_number),
                    ..Button::new(None, structured(&it.display_text).as_ref())
                }),
                None => None,
            });
        }
    }

    fn interactive(&mut self, m: &wa::message::InteractiveMessage) {
        self.one_card(m);
        if let Some(Content::CarouselMessage(carousel)) = &m.interactive_message {
            // Cards have no carousels of their own.
            carousel.cards.iter().for_each(|card| self.one_card(card));
        }
    }

    fn one_card(&mut self, m: &wa::message::InteractiveMessage) {
        use interactive_message::header::Media;
        self.say(m.header.title.clone());
        self.say(m.header.subtitle.clone());
        match &m.header.media {
            Some(Media::DocumentMessage(it)) => header!(self, document_message, it),
            Some(Media::ImageMessage(it)) => header!(self, image_message, it),
            Some(Media::VideoMessage(it)) => header!(self, video_message, it),
            Some(Media::LocationMessage(it)) => header!(self, location_message, it),
            Some(Media::ProductMessage(it)) => {
                if it.product.product_image.is_set() {
                    self.header.get_or_insert_with(|| wa::Message {
                        image_message: it.product.product_image.clone(),
                        ..Default::default()
                    });
                }
                self.say(it.product.title.clone());
            }
            Some(Media::JpegThumbnail(_)) | None => {}
        }
        self.say(m.body.text.clone());
        self.say(m.footer.text.clone());
        if let Some(Content::NativeFlowMessage(flow)) = &m.interactive_message {
            for button in &flow.buttons {
                self.flow(button.name.as_ref(), button.button_params_json.as_ref());
            }
        }
    }

    /// A button of a flow: its parameters are JSON.
    fn flow(&mut self, name: Option<&String>, params: Option<&String>) {
        let params: Value = params
            .and_then(|params| serde_json::from_str(params).ok())
            .unwrap_or_default();
        let part = |from: &Value, names: &[&str]| {
            let mut found = names.iter().filter_map(|name| from.get(name)?.as_str());
            found.find(|text| !text.is_empty()).map(str::to_owned)
        };
        let list = |from: &Value, name: &str| -> Vec<Value> {
            let list = from.get(name).and_then(Value::as_array);
            list.cloned().unwrap_or_default()
        };
        let sections = list(&params, "sections");
        if !sections.is_empty() {
            for row in sections.iter().flat_map(|section| list(section, "rows")) {
                let id = part(&row, &["id"]);
                self.buttons.push(Button {
                    description: part(&row, &["description"]),
                    ..Button::new(id.as_ref(), part(&row, &["title"]).as_ref())
                });
            }
            return;
        }
        let id = part(&params, &["id"]);
        let text = part(&params, &["display_text", "title"]);
        self.buttons.push(Button {
            url: part(&params, &["url", "merchant_url"]),
            phone: part(&params, &["phone_number"]),
            code: part(&params, &["copy_code", "otp_code"]),
            ..Button::new(id.as_ref(), text.as_ref().or(name))
        });
    }
}

/// The words of the old form: those of its template are on no server that can be asked, its parameters are here.
fn structured(m: &wa::message::HighlyStructuredMessage) -> Option<String> {
    let localizable = m.localizable_params.iter();
    let params = m.params.iter().map(|words| Some(words.as_str()));
    lines(params.chain(localizable.map(|param| param.default.as_deref())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_are_bounded() {
        let long = Button {
            url: Some("u".repeat(9_000)),
            ..Button::new(Some(&"i".repeat(9_000)), Some(&"t".repeat(9_000)))
        };
        let mut buttons = vec![long; 5_000];
        assert!(cut_buttons(&mut buttons));
        let size = serde_json::to_string(&buttons).unwrap().len();
        assert!((60_000..80_000).contains(&size), "{size}");
        let mut few = vec![Button::new(None, Some(&"Yes".to_owned()))];
        assert!(!cut_buttons(&mut few));
    }

    #[test]
    fn flows_have_buttons_links_codes_and_rows() {
        let mut card = Card::default();
        let mut flow = |name: &str, params: &str| {
            card.flow(Some(&name.to_owned()), Some(&params.to_owned()));
        };
        flow("quick_reply", r#"{"display_text": "Yes", "id": "y"}"#);
        flow(
            "cta_url",
            r#"{"display_text": "Open", "url": "https://a.example/"}"#,
        );
        flow(
            "cta_call",
            r#"{"display_text": "Call", "phone_number": "+491"}"#,
        );
        flow(
            "cta_copy",
            r#"{"display_text": "Copy", "copy_code": "123456"}"#,
        );
        flow(
            "single_select",
            r#"{"title": "Menu", "sections": [{"rows": [{"id": "p", "title": "Pizza", "description": "hot"}]}]}"#,
        );
        flow("send_location", "[not JSON");
        let shown = serde_json::to_value(&card.buttons).unwrap();
        let wanted = serde_json::json!([
            {"id": "y", "text": "Yes"},
            {"id": null, "text": "Open", "url": "https://a.example/"},
            {"id": null, "text": "Call", "phone": "+491"},
            {"id": null, "text": "Copy", "code": "123456"},
            {"id": "p", "text": "Pizza", "description": "hot"},
            {"id": null, "text": "send_location"},
        ]);
        assert_eq!(shown, wanted);
    }
}
