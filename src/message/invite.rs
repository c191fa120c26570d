//! Invitations to groups and channels, as they come in.

use serde::{Deserialize, Serialize};

use super::Message;
use super::bounds::{self, cut_some};
use super::change::at_seconds;
use super::coverage::lines;
use super::kind::MessageKind;
use super::wire::{MessageField, wa};
use crate::clock::Millis;

/// An invitation. The message's `text` has what its sender wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Invite {
    /// The JID of the group or channel.
    pub chat_id: Option<String>,
    pub name: Option<String>,
    /// A group's, to join with.
    pub code: Option<String>,
    /// Unix milliseconds.
    pub expires_at: Option<Millis>,
}

impl Invite {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        cut_some(&mut self.chat_id, bounds::LINE)
            | cut_some(&mut self.name, bounds::LINE)
            | cut_some(&mut self.code, bounds::LINE)
    }
}

/// The message that invites one person to a group. `expires` is in Unix seconds.
pub fn to_group(group: &str, subject: &str, code: &str, expires: u64) -> wa::Message {
    wa::Message {
        group_invite_message: MessageField::some(wa::message::GroupInviteMessage {
            group_jid: Some(group.to_owned()),
            group_name: Some(subject.to_owned()),
            invite_code: Some(code.to_owned()),
            invite_expiration: i64::try_from(expires).ok(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let (invite, caption, context) = if let Some(m) = base.group_invite_message.as_option() {
        let invite = Invite {
            chat_id: m.group_jid.clone(),
            name: m.group_name.clone(),
            code: m.invite_code.clone(),
            expires_at: at_seconds(m.invite_expiration),
        };
        (invite, &m.caption, &m.context_info)
    } else if let Some(m) = base.newsletter_admin_invite_message.as_option() {
        let invite = Invite {
            chat_id: m.newsletter_jid.clone(),
            name: m.newsletter_name.clone(),
            code: None,
            expires_at: at_seconds(m.invite_expiration),
        };
        (invite, &m.caption, &m.context_info)
    } else if let Some(m) = base.newsletter_follower_invite_message_v2.as_option() {
        let invite = Invite {
            chat_id: m.newsletter_jid.clone(),
            name: m.newsletter_name.clone(),
            ..Invite::default()
        };
        (invite, &m.caption, &m.context_info)
    } else {
        return None;
    };
    message.kind = MessageKind::Invite;
    message.text = lines([caption.as_deref()]).or_else(|| invite.name.clone());
    message.invite = Some(invite);
    Some(context)
}
