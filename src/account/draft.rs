//! Makes a draft a message: prepares its file, and sets its sender, time and chat.

use std::path::PathBuf;
use std::time::Duration;

use futures_lite::FutureExt as _;

use crate::clock;
use crate::jid::ChatJid;
use crate::media::{self, MediaError, MediaKind, MediaRequest, Prepared, Spooled, Work};
use crate::message::{self, DeliveryStatus, Draft, Message, NewMedium, Quoted, Target};
use crate::runtime;
use crate::store::messages;
use crate::store::outbox::Changing;
use crate::whatsapp::SendFailure;

use super::caller::Caller;
use super::sender::{Route, Sending};
use super::slots;
use super::turns::Turns;
use super::types::AccountError;

/// Images, videos and documents, which are only inspected: one at a time, because that takes memory.
static LOOKED_AT: Turns = Turns::new(1, 1);
/// Audio that is converted, which takes long and up to 4 MB each.
static CONVERTED: Turns = Turns::new(4, 2);
/// How long one file is converted before the next one has its turn.
const SLICE: Duration = Duration::from_millis(250);
/// How much longer audio is converted after its client has hung up: some clients do not wait for the answer.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// A new message or change, to be recorded before it is sent.
#[derive(Clone)]
pub struct NewRecord {
    /// Absent if a stored message changes.
    pub message: Option<Message>,
    pub medium: Option<NewMedium>,
    pub change: Option<Changing>,
    /// Bytes.
    pub size: u64,
}

impl Sending {
    /// What is recorded of a draft, and its file. `about` is the message that it answers or changes.
    pub async fn new_message(
        &self,
        to: &ChatJid,
        draft: Draft,
        about: Option<Message>,
        message_id: &str,
        route: &Route,
        caller: &Caller,
    ) -> Result<(NewRecord, Option<Prepared>), AccountError> {
        let mut again = None;
        let (message, file, mentions) = match draft {
            Draft::Message {
                message,
                file,
                mentions,
                quoted: _,
            } => (message, file, mentions),
            Draft::Forward {
                chat, message_id, ..
            } => {
                let from = chat.ok_or(AccountError::MessageNotFound)?;
                let copied = Box::pin(self.forwarded(&from, &message_id, to));
                let (message, medium) = copied.await?;
                again = medium;
                (Box::new(message), None, Vec::new())
            }
            Draft::Change { change, .. } => {
                let target = about.as_ref().ok_or(AccountError::MessageNotFound)?;
                let change = Some(Changing {
                    target: Target::of(target),
                    change,
                });
                let new = NewRecord {
                    message: None,
                    medium: None,
                    change,
                    size: 0,
                };
                return Ok((new, None));
            }
        };
        let (medium, prepared) = match file {
            Some((request, file)) => {
                let (medium, prepared) = self.new_medium(to, request, file, route, caller).await?;
                (Some(medium), Some(prepared))
            }
            None => (again, None),
        };
        let secret = secret_of(&message)?;
        let now = clock::now();
        let pages = medium
            .as_ref()
            .and_then(|medium| medium.look.as_ref()?.pages);
        let message = Message {
            page_count: pages,
            secret,
            account_id: self.id.to_string(),
            message_id: message_id.to_owned(),
            chat_id: to.to_string(),
            sender: self.own_jid().unwrap_or_default(),
            from_me: true,
            quoted_message: about.map(|quoted| Quoted {
                chat_id: is_elsewhere(&quoted, to).then(|| quoted.chat_id.clone()),
                text: quoted.words().map(str::to_owned),
                message_id: quoted.message_id,
                participant: Some(quoted.sender),
                has_media: quoted.has_media,
            }),
            mentions: self.numbers_of(&mentions),
            status: Some(DeliveryStatus::Pending),
            timestamp: now,
            created_at: clock::iso8601(now),
            ..*message
        };
        let file_size = medium.as_ref().map_or(0, |medium| medium.size);
        let new = NewRecord {
            size: message.size().saturating_add(file_size),
            message: Some(message),
            medium,
            change: None,
        };
        Ok((new, prepared))
    }

    /// Prepares a file, and uploads it if its message is sent now.
    async fn new_medium(
        &self,
        to: &ChatJid,
        request: MediaRequest,
        file: Spooled,
        route: &Route,
        caller: &Caller,
    ) -> Result<(NewMedium, Prepared), AccountError> {
        let spool = self.fetcher.wiring.spool.clone();
        let (kind, given_name) = (request.kind, request.file_name.clone());
        let mut prepared = self
            .prepare(Work::new(request, file, spool.clone()), caller)
            .await?;
        let (remote, sha256) = match route {
            Route::Now(session) => {
                let slots = &self.fetcher.slots;
                let _slot = slots.take(slots::Kind::Upload, self.account).await;
                let uploaded = session.upload(kind, prepared.file.path(), &spool).await;
                let (remote, sha256) = uploaded.map_err(|failure| self.upload_failed(failure))?;
                (Some(remote), sha256)
            }
            Route::Later(_) => {
                let path = prepared.file.path().to_owned();
                let sha256 = self.fetcher.hash(path).await.map_err(MediaError::Io)?;
                (None, sha256)
            }
        };
        // Phones do not take a document without a name.
        let file_name = (kind == MediaKind::Document)
            .then(|| given_name.unwrap_or_else(|| media::usual_name(&prepared.mimetype)));
        let medium = NewMedium {
            kind,
            wire_chat: to.to_string(),
            wire_sender: None,
            mimetype: prepared.mimetype.clone(),
            file_name,
            size: prepared.size,
            sha256: sha256.to_vec(),
            remote,
            look: Some(Box::new(std::mem::take(&mut prepared.look))),
            wanted: false,
        };
        Ok((medium, prepared))
    }

    /// Prepares a file for WhatsApp. Long work is done in slices, and ends soon after its caller has left: the
    /// message was not accepted yet.
    async fn prepare(&self, work: Work, caller: &Caller) -> Result<Prepared, AccountError> {
        if !work.is_long() {
            return self.in_slices(work, &LOOKED_AT).await;
        }
        let left = async {
            caller.left().await;
            smol::Timer::after(LEFT_ALONE).await;
            Err(AccountError::CallerLeft)
        };
        self.in_slices(work, &CONVERTED).or(left).await
    }

    async fn in_slices(
        &self,
        mut work: Work,
        turns: &'static Turns,
    ) -> Result<Prepared, AccountError> {
        let place = turns.enter(self.account);
        loop {
            let turn = place.turn().await;
            let is_long = work.is_long();
            let slice = move || {
                // Held by the work, so that the turn lasts until the slice ends even if the client has left.
                let _turn = turn;
                let done = work.step(SLICE);
                (work, done)
            };
            let done;
            (work, done) = match is_long {
                true => runtime::at_low_priority(slice)
                    .await
                    .map_err(MediaError::Io)?,
                false => smol::unblock(slice).await,
            };
            if let Some(prepared) = done? {
                return Ok(prepared);
            }
        }
    }

    /// A thumbnail of the image in a file; `None` if it is none that can be decoded.
    pub(super) async fn thumbnail(&self, path: PathBuf) -> Option<Vec<u8>> {
        let place = LOOKED_AT.enter(self.account);
        let turn = place.turn().await;
        smol::unblock(move || {
            let _turn = turn;
            media::thumbnail(&path)
        })
        .await
    }

    fn upload_failed(&self, failure: SendFailure) -> AccountError {
        match failure {
            SendFailure::NotConnected => self.not_connected(),
            other => AccountError::Session(other.to_string()),
        }
    }

    /// The JIDs of people in the form that WhatsApp has named, where it did.
    fn numbers_of(&self, people: &[ChatJid]) -> Vec<String> {
        let account = self.account;
        let of = |jid: &ChatJid| {
            let jid = jid.to_string();
            let known = self
                .store()
                .read(|tx| messages::number_of(tx, account, &jid));
            known.unwrap_or(jid)
        };
        people.iter().map(of).collect()
    }
}

/// A new secret, if the message needs one.
pub(super) fn secret_of(message: &Message) -> Result<Option<Vec<u8>>, AccountError> {
    if !message.kind.has_secret() {
        return Ok(None);
    }
    message::new_secret().map(Some).map_err(|error| {
        AccountError::Session(format!("the system gives no random numbers: {error}"))
    })
}

/// Whether a message that is answered in a person's chat is not in it.
fn is_elsewhere(quoted: &Message, to: &ChatJid) -> bool {
    to.is_person() && !ChatJid::parse(&quoted.chat_id).is_ok_and(|chat| chat.is_person())
}
