//! Names in messages to groups: their subjects; and of people, such as go by LIDs know their members by those alone.

use crate::clock;
use crate::jid::{ChatJid, Server};
use crate::message::Message;
use crate::message::names::{digits, renamed};
use crate::store::{groups, messages};
use crate::whatsapp::Session;

use super::sender::Sending;

/// A message as its group knows the people in it.
pub struct Named {
    pub message: Option<Message>,
    pub mentions: Vec<ChatJid>,
    pub quoted: Option<Message>,
}

impl Sending {
    /// The people who are mentioned and the author of the quoted message by their LIDs, in the list and in the text, if the
    /// chat is a group that goes by LIDs; as they are if not. With `all`, each member is mentioned.
    pub(super) async fn named_for(
        &self,
        session: &Session,
        to: &ChatJid,
        all: bool,
        mut named: Named,
    ) -> Named {
        if to.server() != Server::Group {
            return named;
        }
        let by_lids = (!named.mentions.is_empty() || named.quoted.is_some())
            && session.goes_by_lids(to).await;
        if by_lids {
            let mut pairs = Vec::new();
            for jid in &mut named.mentions {
                if let Some(lid) = self.lid_of(session, &jid.to_string()) {
                    pairs.push((digits(&jid.to_string()).to_owned(), digits(&lid).to_owned()));
                    *jid = ChatJid::parse(&lid).unwrap_or_else(|_| jid.clone());
                }
            }
            if let Some(message) = &mut named.message {
                for words in [&mut message.text, &mut message.caption]
                    .into_iter()
                    .flatten()
                {
                    *words = renamed(words, &pairs);
                }
            }
            if let Some(quoted) = &mut named.quoted
                && quoted.wire_lid.is_none()
            {
                quoted.wire_lid = self.lid_of(session, &quoted.sender);
            }
        }
        if all && let Some(people) = session.group_people(to).await {
            for person in people {
                if !named.mentions.contains(&person) {
                    named.mentions.push(person);
                }
            }
        }
        named
    }

    /// Asks for the subject of a group that is written to and has no name yet, so that what is said of the
    /// message has it.
    pub(super) async fn name_group(&self, session: &Session, to: &ChatJid) {
        let (account, group) = (self.account, to.to_string());
        let nameless = to.server() == Server::Group
            && self
                .store()
                .read(|tx| messages::is_nameless(tx, account, &group))
                .unwrap_or(false);
        if !nameless {
            return;
        }
        // What is told meanwhile is newer.
        let asked = clock::now();
        let Ok(snapshot) = session.one_group(to).await else {
            return;
        };
        let stored = self.owner().write(self.store(), move |ledger| {
            groups::learn(ledger.tx, ledger.account, &snapshot, asked)
        });
        if let Err(error) = stored.await {
            log::error!(
                "{}: a group's subject could not be stored: {error}",
                self.id
            );
        }
    }

    /// A person's LID, as far as it is known.
    fn lid_of(&self, session: &Session, jid: &str) -> Option<String> {
        if session.own_jid().as_deref() == Some(jid) {
            return session.own_lid();
        }
        let account = self.account;
        let names = self.store().read(|tx| messages::names(tx, account, jid));
        names.ok()?.lid
    }
}
