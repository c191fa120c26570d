//! Sends one message to several chats: each goes through the outbox, under an id of its own.

use std::collections::HashMap;

use crate::clock;
use crate::jid::ChatJid;
use crate::media::{MediaError, Prepared};
use crate::message::Draft;
use crate::store::idempotency::{Answer, ForOne};
use crate::store::messages;
use crate::store::outbox::{Entry, Stage};
use crate::whatsapp::new_message_id;

use super::claims::{self, DeliveryOptions};
use super::draft::{NewRecord, secret_of};
use super::driver::Handle;
use super::messaging::{connected, may_queue, words_of_time, writable};
use super::registry::Accounts;
use super::sender::{NOT_CONNECTED, Route, Sending};
use super::types::{AccountError, Outcome};

const IN_TURN: &str = "The messages are sent one after the other, at the account's pace";

/// A recipient as it was written, and its chat or the reason why it has none.
pub type Addressed = (String, Result<ChatJid, String>);

impl Accounts {
    /// Puts a message to each of these recipients into the outbox, all or none, once for each chat. A recipient whom
    /// WhatsApp never takes gets none.
    ///
    /// # Errors
    /// [`AccountError::NotConnected`] without [`DeliveryOptions::queue`]; [`AccountError::OutboxFull`] if there is no room for all;
    /// and all that concerns files.
    pub async fn send_to_all(
        &self,
        id: &str,
        to: Vec<Addressed>,
        draft: Draft,
        options: DeliveryOptions,
    ) -> Result<Outcome, AccountError> {
        let handle = self.handle(id)?;
        let (route, words) = self.route_for_all(&handle, &options)?;
        let to = writable_alone(to, &draft);
        let sending = self.sending(id, &handle);
        self.whole(sending.go_to_all(to, draft, options, route, words))
            .await
    }

    /// How messages to several recipients go, and why they wait.
    pub(super) fn route_for_all(
        &self,
        handle: &Handle,
        options: &DeliveryOptions,
    ) -> Result<(Route, String), AccountError> {
        match (options.send_at, connected(handle)) {
            (Some(send_at), _) => {
                may_queue(handle)?;
                let words = words_of_time(send_at);
                Ok((Route::Later(words.clone()), words))
            }
            (None, Ok(session)) => Ok((Route::Now(session), IN_TURN.to_owned())),
            (None, Err(AccountError::NotConnected { .. })) if options.queue => {
                may_queue(handle)?;
                Ok((Route::Later(NOT_CONNECTED.into()), NOT_CONNECTED.to_owned()))
            }
            (None, Err(error)) => Err(error),
        }
    }
}

/// The recipients, those whom WhatsApp never takes with the reason.
pub(super) fn writable_alone(mut to: Vec<Addressed>, draft: &Draft) -> Vec<Addressed> {
    for (_, chat) in &mut to {
        if let Ok(jid) = chat
            && let Err(error) = writable(jid, draft)
        {
            *chat = Err(error.to_string());
        }
    }
    to
}

/// The chats of several recipients, each once, with the id of what goes there; and each recipient's result.
pub(super) struct Chats {
    pub each: Vec<(ChatJid, String)>,
    pub results: Vec<ForOne>,
}

impl Sending {
    async fn go_to_all(
        self,
        to: Vec<Addressed>,
        draft: Draft,
        options: DeliveryOptions,
        route: Route,
        words: String,
    ) -> Result<Outcome, AccountError> {
        let Chats { each, results } = self.each_chat(to)?;
        let now = clock::now();
        let expires_at = self.expires_at(now, &options);
        let answer = Answer::AcceptedForAll {
            results,
            words,
            expires_at,
        };
        let Some((first, id)) = each.first() else {
            return claims::outcome(answer, String::new());
        };
        let (new, file) = self
            .new_message(first, draft, None, id, &route, &options.caller)
            .await?;
        let entries: Vec<Entry> = each
            .iter()
            .map(|(chat, message_id)| Entry {
                message_id: message_id.clone(),
                to: chat.to_string(),
                change: None,
                stage: Stage::Queued,
                created_at: now,
                send_at: options.send_at,
                mention_all: options.mention_all,
                typing: options.typing,
                expires_at,
                size: new.size,
                // The key keeps the answer for all, whatever comes of one.
                once: None,
            })
            .collect();
        let has_file = file.is_some();
        if let Some(prepared) = file {
            let ids = entries.iter().map(|e| e.message_id.clone()).collect();
            self.keep_waiting(prepared, ids).await?;
        }
        let (once, id) = (options.claim.as_ref().map(|c| c.once.clone()), id.clone());
        let news = entries
            .into_iter()
            .map(|entry| Ok((new_to(&new, &entry)?, entry)))
            .collect::<Result<_, AccountError>>();
        let recorded = match news {
            Ok(news) => self.record(news, once, Some(answer.clone())).await,
            Err(error) => Err(error),
        };
        if recorded.is_err() && has_file {
            for (_, message_id) in &each {
                self.remove_waiting(message_id).await;
            }
        }
        recorded?;
        self.live.kick();
        claims::outcome(answer, id)
    }

    pub(super) fn each_chat(&self, to: Vec<Addressed>) -> Result<Chats, AccountError> {
        let own = self.own_jid();
        let (mut ids, mut each) = (HashMap::new(), Vec::new());
        let mut results = Vec::with_capacity(to.len());
        for (to, chat) in to {
            let (message_id, error) = match chat {
                Err(error) => (None, Some(error)),
                Ok(chat) => {
                    let jid = self.canonical(&chat)?;
                    let id = ids.entry(jid).or_insert_with(|| {
                        let id = new_message_id(own.as_deref());
                        each.push((chat, id.clone()));
                        id
                    });
                    (Some(id.clone()), None)
                }
            };
            results.push(ForOne {
                to,
                message_id,
                message_ids: None,
                error,
            });
        }
        Ok(Chats { each, results })
    }

    /// The JID that tells whether two recipients are one chat.
    fn canonical(&self, chat: &ChatJid) -> Result<String, AccountError> {
        let (account, jid) = (self.account, chat.to_string());
        Ok(self.store().read(|tx| {
            let found = messages::found_as(tx, account, &jid)?;
            messages::canonical_jid(tx, account, &found)
        })?)
    }

    /// Puts a file into the outbox's folder, once on the disk, under the name of each message.
    pub(super) async fn keep_waiting(
        &self,
        prepared: Prepared,
        ids: Vec<String>,
    ) -> Result<(), AccountError> {
        let (account, files) = (self.account, self.fetcher.wiring.files.clone());
        let kept = smol::unblock(move || files.keep_waiting_as(prepared.file, account, &ids));
        Ok(kept.await.map_err(MediaError::Io)?)
    }
}

/// The same message to the chat of this entry.
pub(super) fn new_to(new: &NewRecord, entry: &Entry) -> Result<NewRecord, AccountError> {
    let mut new = new.clone();
    if let Some(message) = &mut new.message {
        message.message_id.clone_from(&entry.message_id);
        message.chat_id.clone_from(&entry.to);
        message.secret = secret_of(message)?;
    }
    if let Some(medium) = &mut new.medium {
        medium.wire_chat.clone_from(&entry.to);
    }
    Ok(new)
}
