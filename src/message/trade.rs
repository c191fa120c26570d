//! Products, orders and payments, as they come in.

use serde::{Deserialize, Serialize};

use super::Message;
use super::bounds::{self, cut_some};
use super::change::at_seconds;
use super::context::unwrap;
use super::coverage::lines;
use super::kind::MessageKind;
use super::medium::{self, NewMedium};
use super::wire::{MessageField, wa};
use crate::clock::Millis;

/// An article of a catalogue. The message's `text` has what its sender wrote about it, its medium is the picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Product {
    pub id: Option<String>,
    /// The seller's own id.
    pub retailer_id: Option<String>,
    pub title: Option<String>,
    pub description: Option<String>,
    pub url: Option<String>,
    pub price: Option<f64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// The JID of the business.
    pub seller: Option<String>,
}

/// A cart that was sent to a business.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub id: Option<String>,
    pub title: Option<String>,
    /// Articles in it.
    pub count: Option<i32>,
    pub total: Option<f64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// `inquiry`, `accepted` or `declined`.
    pub status: Option<String>,
    /// The JID of the business.
    pub seller: Option<String>,
    /// With which WhatsApp gives the order's details.
    pub token: Option<String>,
}

/// Money that is asked for, sent, or refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// `request`, `sent`, `declined`, `cancelled`, `invite`, `invoice`, `reminder` or `split`.
    pub state: String,
    pub amount: Option<f64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// The JID of the person who is asked to pay.
    pub requested_from: Option<String>,
    pub expires_at: Option<Millis>,
    /// The message of the request that it answers.
    pub message_id: Option<String>,
}

impl Product {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        cut_some(&mut self.description, bounds::TEXT)
            | cut_all([
                &mut self.id,
                &mut self.retailer_id,
                &mut self.title,
                &mut self.url,
                &mut self.currency,
                &mut self.seller,
            ])
    }
}

impl Order {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        cut_all([
            &mut self.id,
            &mut self.title,
            &mut self.currency,
            &mut self.seller,
            &mut self.token,
        ])
    }
}

impl Payment {
    fn new(state: &str) -> Payment {
        Payment {
            state: state.to_owned(),
            ..Payment::default()
        }
    }

    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        cut_all([
            &mut self.currency,
            &mut self.requested_from,
            &mut self.message_id,
        ])
    }
}

fn cut_all<const N: usize>(parts: [&mut Option<String>; N]) -> bool {
    let mut over = false;
    for part in parts {
        over |= cut_some(part, bounds::LINE);
    }
    over
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
    file: &mut Option<NewMedium>,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    if let Some(m) = base.product_message.as_option() {
        Some(product(m, message, file))
    } else if let Some(m) = base.order_message.as_option() {
        message.kind = MessageKind::Order;
        message.text = some(&m.message).or_else(|| some(&m.order_title));
        message.order = Some(Order {
            id: m.order_id.clone(),
            title: m.order_title.clone(),
            count: m.item_count,
            total: thousandths(m.total_amount1000),
            currency: m.total_currency_code.clone(),
            status: m.status.map(|status| {
                use wa::message::order_message::OrderStatus;
                let word = match status {
                    OrderStatus::INQUIRY => "inquiry",
                    OrderStatus::ACCEPTED => "accepted",
                    OrderStatus::DECLINED => "declined",
                };
                word.to_owned()
            }),
            seller: m.seller_jid.clone(),
            token: m.token.clone(),
        });
        Some(&m.context_info)
    } else {
        payment(base, message)
    }
}

fn product<'a>(
    m: &'a wa::message::ProductMessage,
    message: &mut Message,
    file: &mut Option<NewMedium>,
) -> &'a MessageField<wa::ContextInfo> {
    let (product, catalog) = (&m.product, &m.catalog);
    let images = [&product.product_image, &catalog.catalog_image];
    if let Some(image) = images.into_iter().find(|image| image.is_set()) {
        let image = wa::Message {
            image_message: image.clone(),
            ..Default::default()
        };
        let _ = medium::decode(&image, message, file);
    }
    let title = some(&product.title).or_else(|| some(&catalog.title));
    let words = lines([m.body.as_deref(), m.footer.as_deref()]).or_else(|| title.clone());
    match file {
        Some(_) => message.caption = words,
        None => message.text = words,
    }
    message.kind = MessageKind::Product;
    message.product = Some(Product {
        id: product.product_id.clone(),
        retailer_id: product.retailer_id.clone(),
        title,
        description: some(&product.description).or_else(|| some(&catalog.description)),
        url: product.url.clone(),
        price: thousandths(product.sale_price_amount1000.or(product.price_amount1000)),
        currency: product.currency_code.clone(),
        seller: m.business_owner_jid.clone(),
    });
    &m.context_info
}

/// Payments: their words and context are those of a note.
fn payment<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let none = &base.extended_text_message.context_info;
    let mut context = none;
    let of = |key: &wa::MessageKey| key.id.clone();
    let (payment, words) = if let Some(m) = base.request_payment_message.as_option() {
        let note = note(&m.note_message, &mut context);
        let amount = m.amount1000.and_then(|amount| i64::try_from(amount).ok());
        let payment = Payment {
            amount: money(&m.amount).or_else(|| thousandths(amount)),
            currency: some(&m.currency_code_iso4217).or_else(|| some(&m.amount.currency_code)),
            requested_from: m.request_from.clone(),
            expires_at: at_seconds(m.expiry_timestamp),
            ..Payment::new("request")
        };
        (payment, note)
    } else if let Some(m) = base.send_payment_message.as_option() {
        let note = note(&m.note_message, &mut context);
        let payment = Payment {
            message_id: of(&m.request_message_key),
            ..Payment::new("sent")
        };
        (payment, note)
    } else if let Some(m) = base.decline_payment_request_message.as_option() {
        let payment = Payment {
            message_id: of(&m.key),
            ..Payment::new("declined")
        };
        (payment, None)
    } else if let Some(m) = base.cancel_payment_request_message.as_option() {
        let payment = Payment {
            message_id: of(&m.key),
            ..Payment::new("cancelled")
        };
        (payment, None)
    } else if let Some(m) = base.payment_invite_message.as_option() {
        let payment = Payment {
            expires_at: at_seconds(m.expiry_timestamp),
            ..Payment::new("invite")
        };
        (payment, None)
    } else if let Some(m) = base.invoice_message.as_option() {
        (Payment::new("invoice"), m.note.clone())
    } else if let Some(m) = base.payment_reminder_message.as_option() {
        let payment = Payment {
            amount: money(&m.amount),
            currency: m.amount.currency_code.clone(),
            requested_from: m.payer_jid.clone(),
            ..Payment::new("reminder")
        };
        (payment, m.description.clone())
    } else if let Some(m) = base.split_payment_message.as_option() {
        context = &m.context_info;
        let payment = Payment {
            amount: money(&m.total_amount),
            currency: m.total_amount.currency_code.clone(),
            ..Payment::new("split")
        };
        (payment, m.description.clone())
    } else {
        return None;
    };
    message.kind = MessageKind::Payment;
    message.text = some(&words);
    message.payment = Some(payment);
    Some(context)
}

/// The words of a note, and its context.
fn note<'a>(
    note: &'a MessageField<wa::Message>,
    context: &mut &'a MessageField<wa::ContextInfo>,
) -> Option<String> {
    let note = unwrap(note.as_option()?);
    let extended = &note.extended_text_message;
    *context = &extended.context_info;
    note.conversation.clone().or_else(|| extended.text.clone())
}

fn some(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// An amount in thousandths of its currency's unit.
fn thousandths(amount: Option<i64>) -> Option<f64> {
    amount.map(|amount| amount as f64 / 1000.0)
}

fn money(money: &wa::Money) -> Option<f64> {
    let offset = money.offset.filter(|offset| *offset > 0).unwrap_or(1);
    Some(money.value? as f64 / f64::from(offset))
}
