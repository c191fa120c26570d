//! Stories on the phone: messages to `status@broadcast`, each with its audience in the stanza.

use wacore_binary::builder::NodeBuilder;
use wacore_binary::{Jid, Node, NodeContent};
use waproto::whatsapp as wa;

use super::outgoing::{Envelope, Target};
use super::{Phone, PhoneError};
use crate::directory::{Directory, GroupView};

/// Where stories are.
pub(super) const STORIES: &str = "status@broadcast";

impl Phone {
    /// The address book, and the phone's owner: those who get its stories.
    pub(super) fn audience(&self) -> GroupView {
        let own = std::iter::once(&self.number);
        GroupView {
            lid: true,
            subject: String::new(),
            members: self.contacts.keys().chain(own).cloned().collect(),
            admins: Vec::new(),
            ephemeral: None,
        }
    }

    /// The children of a story's stanza: those of a group's message, with every person of the audience in the list, and
    /// what the poster's privacy setting is. Deletions have none.
    pub(super) fn of_story(
        &self,
        mut children: Vec<Node>,
        view: &GroupView,
        envelope: Envelope,
        dir: &dyn Directory,
    ) -> Vec<Node> {
        let list = children
            .iter_mut()
            .find(|node| &*node.tag == "participants");
        let mut all = match list.and_then(|node| node.content.take()) {
            Some(NodeContent::Nodes(devices)) => devices,
            _ => Vec::new(),
        };
        children.retain(|node| &*node.tag != "participants");
        let lids = view
            .members
            .iter()
            .filter_map(|number| match *number == self.number {
                true => Some(self.lid.clone()),
                false => dir.lid_of(number),
            });
        let people: Vec<Jid> = lids.map(Jid::lid).collect();
        for person in people {
            let is_named = all.iter().any(|to| {
                let jid = to.attrs.get("jid").and_then(|jid| jid.to_jid());
                jid.is_some_and(|jid| jid.user == person.user)
            });
            if !is_named {
                all.push(NodeBuilder::new("to").attr("jid", person).build());
            }
        }
        children.insert(0, NodeBuilder::new("participants").children(all).build());
        if envelope.edit.is_none() {
            let meta = NodeBuilder::new("meta").attr("status_setting", "contacts");
            children.push(meta.build());
        }
        children
    }

    /// The stanza of a reaction to a story: for its author's devices, and the phone's own.
    pub(super) fn story_reaction(
        &mut self,
        id: &str,
        target: &Target,
        message: &mut wa::Message,
        envelope: Envelope,
        dir: &mut dyn Directory,
    ) -> Result<Node, PhoneError> {
        let unknown = || PhoneError::UnknownRecipient(target.author.clone());
        let author: Jid = target.author.parse().map_err(|_| unknown())?;
        let (to, number) = self.recipient(&author.to_non_ad(), dir)?;
        let mut stanza = self.person_stanza(id, &to, &number, message, envelope, dir)?;
        stanza.attrs.insert("to", STORIES);
        Ok(stanza)
    }
}

/// Why a client shows no story; `None` if it shows one.
pub(super) fn flaw(kind: &str, media: Option<&super::Media>) -> Option<&'static str> {
    match kind {
        "text" | "image" | "video" | "reaction" | "delete" => None,
        "audio" if media.is_some_and(|media| media.ptt == Some(true)) => None,
        _ => Some("no story"),
    }
}
