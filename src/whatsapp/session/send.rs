//! Sends messages, and waits for the server's ack.

use std::time::Duration;

use whatsapp_rust::features::{StatusPrivacySetting, StatusSendOptions};
use whatsapp_rust::send::SendOptions;
use whatsapp_rust::wacore::request::RequestUtils;
use whatsapp_rust::wacore::store::traits::ProtocolStore as _;
use whatsapp_rust::waproto::whatsapp as wa;
use whatsapp_rust::{Freshness, NodeFilter};

use crate::clock;
use crate::jid::{ChatJid, STORIES, Server};
use crate::sync::within;

use super::{Session, wire_jid};
use crate::whatsapp::acks::{Ack, AckResult};
use crate::whatsapp::error::SendFailure;
use crate::whatsapp::outgoing::Outgoing;
use crate::whatsapp::refusal;

/// How long a message may take, from its encryption to the server's ack. Shorter than the usual
/// time for a request (`server.request_timeout`), so that the caller hears what became of it.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// The same for a story, which may go to thousands of devices.
const STORY_TIMEOUT: Duration = Duration::from_secs(120);

/// Whom a story goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// By LIDs.
    pub people: Vec<ChatJid>,
    /// Whether the request named them, rather than all contacts.
    pub is_named: bool,
}

impl Session {
    /// Encrypts a message for every device of the chat, sends it under `id` and waits for the
    /// server's ack. One that was encrypted for no device of the person that it is for is sent once more, for
    /// the devices that WhatsApp names then.
    ///
    /// # Errors
    /// See [`SendFailure`]; after [`SendFailure::NoAck`] the message may have gone.
    pub async fn send(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
    ) -> Result<Ack, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        if let Some(words) = refusal::unwritable(to) {
            return Err(SendFailure::Refused {
                code: None,
                words: words.to_owned(),
            });
        }
        let chat = to.to_string();
        let server = to.server();
        let is_group = server == Server::Group;
        let sent = async {
            match is_group {
                true => self.send_to_group(id, to, message).await,
                false => self.send_to_person(id, to, message).await,
            }
        };
        let result = within(SEND_TIMEOUT, sent).await.unwrap_or(Ok(None));
        if is_group {
            let acknowledged = matches!(result, Ok(Some(Ok(_))));
            self.backend
                .settle_sender_keys(&chat, id, acknowledged)
                .await;
        }
        match result? {
            Some(Ok(ack)) => Ok(ack),
            Some(Err(code)) => Err(refusal::refused(code, server)),
            None => Err(SendFailure::NoAck),
        }
    }

    /// The same for a story, or the deletion of one: encrypted for each person of its audience.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub async fn post_story(
        &self,
        id: &str,
        message: &wa::Message,
        audience: &Audience,
    ) -> Result<Ack, SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let wire = |jid: &ChatJid| wire_jid(&jid.to_string()).map_err(SendFailure::Other);
        let people = audience.people.iter().map(wire);
        let people = people.collect::<Result<Vec<_>, _>>()?;
        let waiter = self.acks.expect(id);
        let outgoing = Outgoing::of(&self.client, id);
        self.backend.watch_group(STORIES, id, outgoing);
        let options = StatusSendOptions {
            privacy: match audience.is_named {
                true => StatusPrivacySetting::AllowList,
                false => StatusPrivacySetting::Contacts,
            },
            message_id: Some(id.to_owned()),
            ..StatusSendOptions::default()
        };
        let sent = async {
            let status = self.client.status();
            let posted = status.send_raw(message.clone(), &people, options).await;
            posted.map_err(|error| refusal::of(&error, Server::Broadcast))?;
            Ok(waiter.wait().await)
        };
        let result = within(STORY_TIMEOUT, sent).await.unwrap_or(Ok(None));
        let acknowledged = matches!(result, Ok(Some(Ok(_))));
        self.backend
            .settle_sender_keys(STORIES, id, acknowledged)
            .await;
        match result? {
            Some(Ok(ack)) => Ok(ack),
            Some(Err(code)) => Err(refusal::refused(code, Server::Broadcast)),
            None => Err(SendFailure::NoAck),
        }
    }

    async fn send_to_group(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
    ) -> Result<Option<AckResult>, SendFailure> {
        let group = to.to_string();
        let answer = self.client.wait_for_node(
            NodeFilter::tag("ack")
                .attr("class", "message")
                .attr("id", id),
        );
        let freshness = match self.stale.take(&group, clock::ticks()) {
            true => Freshness::Refresh,
            false => Freshness::CachePreferred,
        };
        let (result, outgoing) = self.hand_over(id, to, message, freshness).await?;
        // It is here before the result, or it never comes.
        let mut answer = answer;
        let theirs = answer.try_recv().ok().flatten().and_then(|ack| {
            let phash = ack.get().get_attr("phash")?.as_str().into_owned();
            Some(phash)
        });
        if let (Some(theirs), Some(ours)) = (theirs, outgoing.phash())
            && theirs != ours
            && self.stale.differs(&group, clock::ticks())
        {
            log::debug!("a group's members or their devices are others than they were");
            // Also for the next start.
            if let Err(error) = self.backend.delete_group_metadata(&group).await {
                log::debug!("a group's members are not forgotten: {error}");
            }
        }
        Ok(result)
    }

    async fn send_to_person(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
    ) -> Result<Option<AckResult>, SendFailure> {
        let own: Vec<String> = [self.client.pn(), self.client.lid()]
            .into_iter()
            .flatten()
            .map(|jid| jid.user.to_string())
            .collect();
        let is_for_others = to.is_person() && own.iter().all(|own| own != to.user());
        let first = self
            .hand_over(id, to, message, Freshness::CachePreferred)
            .await;
        match &first {
            Ok((result, outgoing)) if is_for_others && outgoing.reaches_no_recipient(&own) => {
                match result {
                    // Of a message that only own devices got: it says nothing of this one.
                    Some(Ok(_)) => {}
                    Some(Err(code)) => return Ok(Some(Err(*code))),
                    None => return Ok(None),
                }
            }
            Err(SendFailure::Other(_)) if is_for_others => {}
            Ok((result, _)) => return Ok(*result),
            Err(error) => return Err(error.clone()),
        }
        log::debug!("{id}: for no device of the recipient; sent once more");
        let (result, outgoing) = self.hand_over(id, to, message, Freshness::Refresh).await?;
        match outgoing.reaches_no_recipient(&own) {
            true => Err(SendFailure::Refused {
                code: None,
                words: refusal::UNREACHED.to_owned(),
            }),
            false => Ok(result),
        }
    }

    /// Gives the client a message to be sent, and waits for the server's ack; with it what was sent.
    async fn hand_over(
        &self,
        id: &str,
        to: &ChatJid,
        message: &wa::Message,
        freshness: Freshness,
    ) -> Result<(Option<AckResult>, Outgoing), SendFailure> {
        let (chat, server) = (to.to_string(), to.server());
        let wire = wire_jid(&chat).map_err(SendFailure::Other)?;
        let waiter = self.acks.expect(id);
        let outgoing = Outgoing::of(&self.client, id);
        if server == Server::Group {
            self.backend.watch_group(&chat, id, outgoing.clone());
        }
        let options = SendOptions::default()
            .with_message_id(id.to_owned())
            .with_group_metadata_freshness(freshness)
            .with_device_freshness(freshness);
        self.client
            .send_message_with_options(wire, message.clone(), options)
            .await
            .map_err(|error| refusal::of(&error, server))?;
        Ok((waiter.wait().await, outgoing))
    }
}

/// A new message id, as WhatsApp Web makes them; `own` is the account's own JID.
pub fn new_message_id(own: Option<&str>) -> String {
    let own = own.and_then(|jid| wire_jid(jid).ok());
    RequestUtils::message_id_at(own.as_ref(), clock::now() / 1000)
}
