//! A message as the API, the webhooks and an export show it.
//!
//! `from` is the chat that it came from, as WILDCAT 2.0 and its peers have it: a program that answers to
//! `from` answers in that chat. `sender` is the person. Optional fields are `null` when absent, as
//! programs written for WILDCAT 2.0 expect; those that it did not have are left out instead.

use serde::ser::{Serialize, Serializer};

use super::event::ShownEvent;
use super::poll::{Poll, ShownPoll};
use super::preview::{LinkPreview, ShownPreview};
use super::{
    Button, Call, Choice, Contact, DeliveryStatus, EventDetails, Invite, Location, Message,
    MessageKind, Order, Payment, Product, Quoted, Reaction, Referral, Story, System,
};
use crate::clock::Millis;

/// The fields of a message. Its doc lines are those of the OpenAPI document.
#[derive(serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Message"))]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    account_id: &'a str,
    message_id: &'a str,
    chat_id: &'a str,
    /// the chat's LID, where it is known
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_lid: Option<&'a str>,
    /// a group's subject; what the address book, or else the person, calls a person
    chat_name: Option<&'a str>,
    /// the chat again: an answer to it goes there
    from: &'a str,
    /// the person's JID; of own messages the account's own
    sender: &'a str,
    /// the sender's LID, where it is known
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_lid: Option<&'a str>,
    /// what the address book calls the sender
    sender_name: Option<&'a str>,
    /// the sender's username, without `@`
    sender_username: Option<&'a str>,
    from_me: bool,
    /// what senders call themselves
    push_name: Option<&'a str>,
    /// Unix milliseconds
    timestamp: Millis,
    #[serde(rename = "type")]
    kind: MessageKind,
    /// also a file's caption
    text: Option<&'a str>,
    /// what to do about a message whose content is not here; only with `waiting` and `unavailable`
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    caption: Option<&'a str>,
    has_media: bool,
    media_id: Option<&'a str>,
    media_url: Option<String>,
    media_type: Option<&'a str>,
    media_mimetype: Option<&'a str>,
    /// bytes
    media_size: Option<u64>,
    media_file_name: Option<&'a str>,
    /// of a PDF
    #[serde(skip_serializing_if = "Option::is_none")]
    page_count: Option<u32>,
    /// the images and videos of one album have the same
    #[serde(skip_serializing_if = "Option::is_none")]
    album_id: Option<&'a str>,
    /// it can be opened once
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    view_once: bool,
    /// a video that is shown round
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    video_note: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a Location>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contacts: Option<&'a [Contact]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    poll: Option<ShownPoll<'a>>,
    /// what is planned; only with `event`
    #[serde(skip_serializing_if = "Option::is_none")]
    event_details: Option<ShownEvent<'a>>,
    /// what can be pressed or chosen; only of businesses' messages
    #[serde(skip_serializing_if = "Option::is_none")]
    buttons: Option<&'a [Button]>,
    /// what was chosen; only with `button_reply` and `list_reply`
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<&'a Choice>,
    /// the ad or link that led to the chat
    #[serde(skip_serializing_if = "Option::is_none")]
    referral: Option<&'a Referral>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<&'a Invite>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a Product>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<&'a Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<&'a Payment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a Call>,
    /// what happened to the group; only with `system`
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a System>,
    quoted_message: Option<&'a Quoted>,
    mentions: &'a [String],
    reactions: &'a [Reaction],
    is_forwarded: bool,
    /// how often it was forwarded, as WhatsApp counts it: 0 for the first time, 127 from the sixth time on
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding_score: Option<u32>,
    /// it said more than is kept of it, such as a text of more than 65,536 characters
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    edited: bool,
    /// Unix milliseconds
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Millis>,
    deleted: bool,
    /// until when it is pinned for all in the chat, Unix milliseconds
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned_until: Option<Millis>,
    /// when it disappears, Unix milliseconds
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Millis>,
    /// kept although the chat's messages disappear
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    kept: bool,
    /// starred by the account's owner
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    starred: bool,
    /// what a text shows of the page that its first link leads to
    #[serde(skip_serializing_if = "Option::is_none")]
    link_preview: Option<ShownPreview<'a>>,
    /// only of stories: how a text looks, and whom an own one goes to
    #[serde(skip_serializing_if = "Option::is_none")]
    story: Option<&'a Story>,
    status: Option<DeliveryStatus>,
    /// why it failed
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    created_at: &'a str,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // All of them by name, so that a new field is not forgotten here.
        let Message {
            account_id,
            message_id,
            chat_id,
            chat_lid,
            chat_name,
            sender,
            sender_lid,
            wire_lid: _,
            sender_name,
            sender_username,
            from_me,
            push_name,
            timestamp,
            kind,
            text: _,
            note,
            caption,
            has_media,
            media_id,
            media_type,
            media_mimetype,
            media_size,
            media_file_name,
            page_count,
            album_id,
            view_once,
            video_note,
            location,
            contacts,
            poll,
            event,
            secret: _,
            buttons,
            choice,
            referral,
            invite,
            product,
            order,
            payment,
            call,
            system,
            quoted_message,
            mentions,
            reactions,
            is_forwarded,
            forwarding_score,
            truncated,
            edited,
            edited_at,
            deleted,
            pinned_until,
            expiration: _,
            expires_at,
            kept,
            starred,
            link_preview,
            story,
            status,
            error,
            created_at,
            raw: _,
        } = self;
        let shown = Shown {
            account_id,
            message_id,
            chat_id,
            chat_lid: chat_lid.as_deref(),
            chat_name: chat_name.as_deref(),
            from: chat_id,
            sender,
            sender_lid: sender_lid.as_deref(),
            sender_name: sender_name.as_deref(),
            sender_username: sender_username.as_deref(),
            from_me: *from_me,
            push_name: push_name.as_deref(),
            timestamp: *timestamp,
            kind: *kind,
            text: self.words(),
            note: note.as_deref(),
            caption: caption.as_deref(),
            has_media: *has_media,
            media_id: media_id.as_deref(),
            media_url: self.media_url(),
            media_type: media_type.as_deref(),
            media_mimetype: media_mimetype.as_deref(),
            media_size: *media_size,
            media_file_name: media_file_name.as_deref(),
            page_count: *page_count,
            album_id: album_id.as_deref(),
            view_once: *view_once,
            video_note: *video_note,
            location: location.as_ref(),
            contacts: contacts.as_deref(),
            poll: poll.as_ref().map(Poll::shown),
            event_details: event.as_ref().map(EventDetails::shown),
            buttons: buttons.as_deref(),
            choice: choice.as_ref(),
            referral: referral.as_ref(),
            invite: invite.as_ref(),
            product: product.as_ref(),
            order: order.as_ref(),
            payment: payment.as_ref(),
            call: call.as_ref(),
            system: system.as_ref(),
            quoted_message: quoted_message.as_ref(),
            mentions,
            reactions,
            is_forwarded: *is_forwarded,
            forwarding_score: *forwarding_score,
            truncated: *truncated,
            edited: *edited,
            edited_at: *edited_at,
            deleted: *deleted,
            pinned_until: *pinned_until,
            expires_at: *expires_at,
            kept: *kept,
            starred: *starred,
            link_preview: link_preview.as_ref().and_then(LinkPreview::shown),
            story: story.as_ref(),
            status: *status,
            error: error.as_deref(),
            created_at,
        };
        serde::Serialize::serialize(&shown, serializer)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Message {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Shown::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Shown::json_schema(generator)
    }
}
