//! Sends albums: a head, and a message for each image and video, all put into the outbox at once.

use crate::clock;
use crate::jid::ChatJid;
use crate::media::Prepared;
use crate::message::{self, Change, Draft, Message, Target};
use crate::store::idempotency::{Answer, ForOne};
use crate::store::outbox::{Changing, Entry, Stage};
use crate::whatsapp::new_message_id;

use super::claims::{self, DeliveryOptions};
use super::draft::NewRecord;
use super::messaging::writable;
use super::registry::Accounts;
use super::sender::{Route, Sending};
use super::to_all::{Addressed, Chats, new_to, writable_alone};
use super::types::{AccountError, Outcome};

const NO_STORY: &str = "A story is one image or video: send them one by one";
const EMPTY: &str = "An album has at least two files";

/// A part of an album, as it is for the first chat.
struct Part {
    new: NewRecord,
    file: Option<Prepared>,
    /// The ids of its messages, one for each chat.
    ids: Vec<String>,
}

impl Accounts {
    /// Puts an album to each of these recipients into the outbox, all or none, once for each chat. `parts` has a file
    /// each; the message that the first of them `quotes` is answered, which is for one recipient alone.
    ///
    /// # Errors
    /// As those of [`Accounts::send_to_all`], and [`AccountError::QuotedNotFound`].
    pub async fn send_album(
        &self,
        id: &str,
        to: Vec<Addressed>,
        parts: Vec<Draft>,
        options: DeliveryOptions,
    ) -> Result<Outcome, AccountError> {
        let handle = self.handle(id)?;
        let (route, words) = self.route_for_all(&handle, &options)?;
        let Some(first) = parts.first() else {
            return Err(AccountError::Unchangeable(EMPTY));
        };
        if to
            .iter()
            .flat_map(|(_, chat)| chat)
            .any(ChatJid::is_stories)
        {
            return Err(AccountError::Unwritable(NO_STORY));
        }
        if let [(_, Ok(chat))] = &to[..] {
            writable(chat, first)?;
        }
        let to = writable_alone(to, first);
        let about = match (&parts[..], &to[..]) {
            ([Draft::Message { quoted, .. }, ..], [(_, Ok(chat))]) => {
                let session = match &route {
                    Route::Now(session) => Some(session),
                    Route::Later(_) => None,
                };
                self.quoted(&handle, session, chat, quoted.as_deref())
                    .await?
            }
            _ => None,
        };
        let sending = self.sending(id, &handle);
        let work = sending.go_album(to, parts, about, options, route, words);
        self.whole(Box::pin(work)).await
    }
}

impl Sending {
    async fn go_album(
        self,
        to: Vec<Addressed>,
        parts: Vec<Draft>,
        about: Option<Message>,
        options: DeliveryOptions,
        route: Route,
        words: String,
    ) -> Result<Outcome, AccountError> {
        let own = self.own_jid();
        let Chats { each, mut results } = self.each_chat(to)?;
        let now = clock::now();
        let expires_at = self.expires_at(now, &options);
        let mut made = Vec::new();
        if let Some((chat, _)) = each.first() {
            let mut about = about;
            for draft in parts {
                let ids = each.iter().map(|_| new_message_id(own.as_deref()));
                let ids: Vec<String> = ids.collect();
                let first = ids.first().cloned().unwrap_or_default();
                let quoted = about.take();
                let making = self.new_message(chat, draft, quoted, &first, &route, &options.caller);
                let (new, file) = Box::pin(making).await?;
                made.push(Part { new, file, ids });
            }
        }
        name_parts(&mut results, &each, &made);
        let answer = Answer::AcceptedForAll {
            results,
            words,
            expires_at,
        };
        if each.is_empty() {
            return claims::outcome(answer, String::new());
        }
        let entry = |message_id: &str, to: &ChatJid, new: Option<&NewRecord>| Entry {
            message_id: message_id.to_owned(),
            to: to.to_string(),
            change: None,
            stage: Stage::Queued,
            created_at: now,
            send_at: options.send_at,
            mention_all: false,
            typing: false,
            expires_at,
            size: new.map_or(0, |new| new.size),
            once: None,
        };
        let messages = made.iter().filter_map(|part| part.new.message.as_ref());
        let (images, videos) = message::album_counts(messages);
        let mut news = Vec::new();
        for (n, (chat, head)) in each.iter().enumerate() {
            let mut members = Vec::new();
            for part in &made {
                let Some(message_id) = part.ids.get(n) else {
                    continue;
                };
                let mut entry = entry(message_id, chat, Some(&part.new));
                entry.mention_all = options.mention_all && members.is_empty();
                let mut new = new_to(&part.new, &entry)?;
                if let Some(message) = &mut new.message {
                    message.album_id = Some(head.clone());
                }
                members.push((new, entry));
            }
            let first = members.first().and_then(|(new, _)| new.message.as_ref());
            let Some(target) = first.map(Target::of) else {
                continue;
            };
            let mut entry = entry(head, chat, None);
            entry.change = Some(Changing {
                target,
                change: Change::Album { images, videos },
            });
            let new = NewRecord {
                message: None,
                medium: None,
                change: entry.change.clone(),
                size: 0,
            };
            news.push((new, entry));
            news.append(&mut members);
        }
        let kept = self.keep_parts(&mut made).await;
        let once = options.claim.as_ref().map(|claim| claim.once.clone());
        let recorded = match kept {
            Ok(()) => self
                .record(news, once, Some(answer.clone()))
                .await
                .map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            for message_id in made.iter().flat_map(|part| &part.ids) {
                self.remove_waiting(message_id).await;
            }
            return Err(error);
        }
        self.live.kick();
        claims::outcome(answer, String::new())
    }

    /// Puts the files into the outbox's folder, each once on the disk.
    async fn keep_parts(&self, parts: &mut [Part]) -> Result<(), AccountError> {
        for part in parts {
            if let Some(prepared) = part.file.take() {
                self.keep_waiting(prepared, part.ids.clone()).await?;
            }
        }
        Ok(())
    }
}

/// Names the messages of each recipient's album in its result.
fn name_parts(results: &mut [ForOne], each: &[(ChatJid, String)], parts: &[Part]) {
    for result in results {
        let chat = each
            .iter()
            .position(|(_, head)| Some(head) == result.message_id.as_ref());
        let Some(n) = chat else {
            continue;
        };
        let ids = parts.iter().filter_map(|part| part.ids.get(n).cloned());
        result.message_ids = Some(ids.collect());
    }
}
