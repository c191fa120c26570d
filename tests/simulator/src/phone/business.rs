//! What business accounts send, and what people answer: cards with buttons in each of WhatsApp's five forms, choices,
//! products, orders, payments, invitations.

use serde::Deserialize;
use serde_json::json;
use wacore::send::{media_type_from_message, stanza_type_from_message};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use waproto::whatsapp::message as m;

use super::media::Attachment;

/// `card`: a text with buttons or rows.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Card {
    /// The protobuf: `buttons`, `list`, `template`, `interactive` or `structured`.
    pub form: Form,
    /// The title above the text.
    #[serde(default)]
    pub title: Option<String>,
    /// The text.
    pub text: String,
    /// The small words below.
    #[serde(default)]
    pub footer: Option<String>,
    /// What can be pressed or chosen.
    #[serde(default)]
    pub buttons: Vec<Button>,
    /// The picture above the text; not in a list.
    #[serde(default)]
    pub image: Option<Attachment>,
}

/// The protobufs in which a card travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Form {
    /// `buttonsMessage`
    Buttons,
    /// `listMessage`
    List,
    /// `templateMessage`
    Template,
    /// `interactiveMessage`, with a native flow
    Interactive,
    /// `highlyStructuredMessage`, which holds a template
    Structured,
}

/// A button or a row.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Button {
    /// What the answer names.
    #[serde(default)]
    pub id: Option<String>,
    /// The words on it.
    pub text: String,
    /// What it opens.
    #[serde(default)]
    pub url: Option<String>,
    /// Whom it calls.
    #[serde(default)]
    pub phone: Option<String>,
    /// What it copies.
    #[serde(default)]
    pub code: Option<String>,
    /// More words of a row.
    #[serde(default)]
    pub description: Option<String>,
}

/// `answer`: a button was pressed, a row chosen, a form filled in.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// The form of what is answered.
    pub form: Form,
    /// The id of the button or row.
    pub id: String,
    /// Its words.
    pub text: String,
}

/// `invite`: into a group.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Invite {
    /// The group's JID.
    pub group: String,
    /// Its subject.
    pub name: String,
    /// To join with.
    pub code: String,
    /// Unix seconds.
    pub expires: i64,
    /// The words below.
    #[serde(default)]
    pub caption: Option<String>,
}

/// `product`: of a catalogue.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Product {
    /// Its id.
    pub id: String,
    /// Its name.
    pub title: String,
    /// Thousandths of the currency's unit.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    /// What the person asks.
    #[serde(default)]
    pub text: Option<String>,
    /// Its picture.
    #[serde(default)]
    pub image: Option<Attachment>,
}

/// `order`: a cart.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// Its id.
    pub id: String,
    /// Articles in it.
    pub count: i32,
    /// Thousandths of the currency's unit.
    pub total: i64,
    /// ISO 4217.
    pub currency: String,
    /// What the person writes.
    #[serde(default)]
    pub text: Option<String>,
}

/// `payment`: asked for, sent or refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Payment {
    /// `request`, `sent`, `declined` or `cancelled`.
    pub state: String,
    /// Thousandths of the currency's unit, of a request.
    #[serde(default)]
    pub amount: Option<u64>,
    /// ISO 4217.
    #[serde(default)]
    pub currency: Option<String>,
    /// The note.
    #[serde(default)]
    pub text: Option<String>,
    /// The message of the request that it answers.
    #[serde(default)]
    pub message_id: Option<String>,
}

/// `ad`: what led a person to the chat.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ad {
    /// Its id at Meta.
    pub source_id: String,
    /// Its address.
    pub source_url: String,
    /// Its title.
    pub headline: String,
    /// The id of the click.
    pub click_id: String,
}

impl Ad {
    pub(super) fn mark(&self, context: &mut wa::ContextInfo) {
        context.entry_point_conversion_source = Some("ctwa_ad".to_owned());
        context.external_ad_reply = MessageField::some(wa::context_info::ExternalAdReplyInfo {
            title: Some(self.headline.clone()),
            source_type: Some("ad".to_owned()),
            source_id: Some(self.source_id.clone()),
            source_url: Some(self.source_url.clone()),
            ctwa_clid: Some(self.click_id.clone()),
            ..Default::default()
        });
    }
}

/// The `type` of a message's stanza. Cards for which there is no media type travel as texts, as Baileys sends them: the
/// server drops media without one.
pub(super) fn stanza_type(message: &wa::Message) -> &'static str {
    match (
        stanza_type_from_message(message),
        media_type_from_message(message),
    ) {
        ("media", None) => "text",
        (kind, _) => kind,
    }
}

/// A card; `image` has its picture, if there is one.
pub(super) fn card(card: &Card, image: &wa::Message) -> wa::Message {
    let mut message = wa::Message::default();
    match card.form {
        Form::Buttons => message.buttons_message = MessageField::some(buttons(card, image)),
        Form::List => message.list_message = MessageField::some(list(card)),
        Form::Template => message.template_message = MessageField::some(template(card, image)),
        Form::Interactive => {
            message.interactive_message = MessageField::some(interactive(card, image));
        }
        Form::Structured => {
            message.highly_structured_message = MessageField::some(m::HighlyStructuredMessage {
                element_name: Some("reminder".to_owned()),
                hydrated_hsm: MessageField::some(template(card, image)),
                ..Default::default()
            });
        }
    }
    message
}

fn picture(image: &wa::Message) -> Option<Box<m::ImageMessage>> {
    image.image_message.as_option().cloned().map(Box::new)
}

fn buttons(card: &Card, image: &wa::Message) -> m::ButtonsMessage {
    use m::buttons_message as b;
    let title = card.title.clone().map(b::Header::Text);
    m::ButtonsMessage {
        header: picture(image).map(b::Header::ImageMessage).or(title),
        content_text: Some(card.text.clone()),
        footer_text: card.footer.clone(),
        buttons: card
            .buttons
            .iter()
            .map(|it| b::Button {
                button_id: it.id.clone(),
                button_text: MessageField::some(b::button::ButtonText {
                    display_text: Some(it.text.clone()),
                }),
                r#type: Some(b::button::Type::RESPONSE),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn list(card: &Card) -> m::ListMessage {
    use m::list_message as l;
    m::ListMessage {
        title: card.title.clone(),
        description: Some(card.text.clone()),
        footer_text: card.footer.clone(),
        button_text: Some("Open".to_owned()),
        list_type: Some(l::ListType::SINGLE_SELECT),
        sections: vec![l::Section {
            title: None,
            rows: card
                .buttons
                .iter()
                .map(|it| l::Row {
                    title: Some(it.text.clone()),
                    description: it.description.clone(),
                    row_id: it.id.clone(),
                })
                .collect(),
        }],
        ..Default::default()
    }
}

fn template(card: &Card, image: &wa::Message) -> m::TemplateMessage {
    use m::template_message as t;
    use wa::hydrated_template_button as h;
    let title = card.title.clone();
    let title = title.map(t::hydrated_four_row_template::Title::HydratedTitleText);
    let image = picture(image).map(t::hydrated_four_row_template::Title::ImageMessage);
    let button = |it: &Button| {
        let display_text = Some(it.text.clone());
        match (&it.url, &it.phone) {
            (Some(url), _) => h::HydratedButton::UrlButton(Box::new(h::HydratedURLButton {
                display_text,
                url: Some(url.clone()),
                ..Default::default()
            })),
            (None, Some(phone)) => h::HydratedButton::CallButton(Box::new(h::HydratedCallButton {
                display_text,
                phone_number: Some(phone.clone()),
            })),
            (None, None) => {
                h::HydratedButton::QuickReplyButton(Box::new(h::HydratedQuickReplyButton {
                    display_text,
                    id: it.id.clone(),
                }))
            }
        }
    };
    m::TemplateMessage {
        hydrated_template: MessageField::some(t::HydratedFourRowTemplate {
            title: image.or(title),
            hydrated_content_text: Some(card.text.clone()),
            hydrated_footer_text: card.footer.clone(),
            hydrated_buttons: card
                .buttons
                .iter()
                .map(|it| wa::HydratedTemplateButton {
                    hydrated_button: Some(button(it)),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn interactive(card: &Card, image: &wa::Message) -> m::InteractiveMessage {
    use m::interactive_message as i;
    let button = |it: &Button| {
        let (name, params) = match (&it.url, &it.phone, &it.code) {
            (Some(url), _, _) => ("cta_url", json!({"display_text": it.text, "url": url})),
            (_, Some(phone), _) => {
                let params = json!({"display_text": it.text, "phone_number": phone});
                ("cta_call", params)
            }
            (_, _, Some(code)) => {
                let params = json!({"display_text": it.text, "copy_code": code});
                ("cta_copy", params)
            }
            _ => ("quick_reply", json!({"display_text": it.text, "id": it.id})),
        };
        i::native_flow_message::NativeFlowButton {
            name: Some(name.to_owned()),
            button_params_json: Some(params.to_string()),
        }
    };
    m::InteractiveMessage {
        header: MessageField::some(i::Header {
            title: card.title.clone(),
            has_media_attachment: Some(image.image_message.is_set()),
            media: picture(image).map(i::header::Media::ImageMessage),
            ..Default::default()
        }),
        body: MessageField::some(i::Body {
            text: Some(card.text.clone()),
        }),
        footer: MessageField::some(i::Footer {
            text: card.footer.clone(),
            ..Default::default()
        }),
        interactive_message: Some(i::InteractiveMessage::NativeFlowMessage(Box::new(
            i::NativeFlowMessage {
                buttons: card.buttons.iter().map(button).collect(),
                message_version: Some(1),
                ..Default::default()
            },
        ))),
        ..Default::default()
    }
}

pub(super) fn answer(answer: &Answer) -> wa::Message {
    let (id, text) = (Some(answer.id.clone()), Some(answer.text.clone()));
    let mut message = wa::Message::default();
    match answer.form {
        Form::Buttons => {
            use m::buttons_response_message as b;
            message.buttons_response_message = MessageField::some(m::ButtonsResponseMessage {
                selected_button_id: id,
                response: text.map(b::Response::SelectedDisplayText),
                r#type: Some(b::Type::DISPLAY_TEXT),
                ..Default::default()
            });
        }
        Form::List => {
            use m::list_response_message as l;
            message.list_response_message = MessageField::some(m::ListResponseMessage {
                title: text,
                list_type: Some(l::ListType::SINGLE_SELECT),
                single_select_reply: MessageField::some(l::SingleSelectReply {
                    selected_row_id: id,
                }),
                ..Default::default()
            });
        }
        Form::Template | Form::Structured => {
            message.template_button_reply_message =
                MessageField::some(m::TemplateButtonReplyMessage {
                    selected_id: id,
                    selected_display_text: text,
                    selected_index: Some(0),
                    ..Default::default()
                });
        }
        Form::Interactive => {
            use m::interactive_response_message as i;
            let flow = i::NativeFlowResponseMessage {
                name: Some("quick_reply".to_owned()),
                params_json: Some(json!({"id": answer.id}).to_string()),
                version: Some(3),
            };
            message.interactive_response_message =
                MessageField::some(m::InteractiveResponseMessage {
                    body: MessageField::some(i::Body {
                        text,
                        ..Default::default()
                    }),
                    interactive_response_message: Some(
                        i::InteractiveResponseMessage::NativeFlowResponseMessage(Box::new(flow)),
                    ),
                    ..Default::default()
                });
        }
    }
    message
}

pub(super) fn invite(it: &Invite) -> wa::Message {
    wa::Message {
        group_invite_message: MessageField::some(m::GroupInviteMessage {
            group_jid: Some(it.group.clone()),
            invite_code: Some(it.code.clone()),
            invite_expiration: Some(it.expires),
            group_name: Some(it.name.clone()),
            caption: it.caption.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A product; `image` has its picture, if there is one.
pub(super) fn product(it: &Product, image: wa::Message) -> wa::Message {
    wa::Message {
        product_message: MessageField::some(m::ProductMessage {
            product: MessageField::some(m::product_message::ProductSnapshot {
                product_image: image.image_message,
                product_id: Some(it.id.clone()),
                title: Some(it.title.clone()),
                currency_code: Some(it.currency.clone()),
                price_amount1000: Some(it.price),
                ..Default::default()
            }),
            body: it.text.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn order(it: &Order) -> wa::Message {
    wa::Message {
        order_message: MessageField::some(m::OrderMessage {
            order_id: Some(it.id.clone()),
            item_count: Some(it.count),
            status: Some(m::order_message::OrderStatus::INQUIRY),
            surface: Some(m::order_message::OrderSurface::CATALOG),
            message: it.text.clone(),
            order_title: Some("Order".to_owned()),
            total_amount1000: Some(it.total),
            total_currency_code: Some(it.currency.clone()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn payment(it: &Payment) -> wa::Message {
    let note_message = it.text.as_ref().map_or_else(MessageField::none, |text| {
        MessageField::some(wa::Message {
            extended_text_message: MessageField::some(m::ExtendedTextMessage {
                text: Some(text.clone()),
                ..Default::default()
            }),
            ..Default::default()
        })
    });
    let key = MessageField::some(wa::MessageKey {
        id: it.message_id.clone(),
        ..Default::default()
    });
    let mut message = wa::Message::default();
    match it.state.as_str() {
        "sent" => {
            message.send_payment_message = MessageField::some(m::SendPaymentMessage {
                note_message,
                request_message_key: key,
                ..Default::default()
            });
        }
        "declined" => {
            message.decline_payment_request_message =
                MessageField::some(m::DeclinePaymentRequestMessage { key });
        }
        "cancelled" => {
            message.cancel_payment_request_message =
                MessageField::some(m::CancelPaymentRequestMessage { key });
        }
        _ => {
            message.request_payment_message = MessageField::some(m::RequestPaymentMessage {
                note_message,
                currency_code_iso4217: it.currency.clone(),
                amount1000: it.amount,
                ..Default::default()
            });
        }
    }
    message
}
