//! Requests to an account about messages and their media.

use std::sync::Arc;

use crate::clock::{self, Millis};
use crate::jid::{ChatJid, Server};
use crate::message::{Change, Draft, Medium, Message, MessageKind, Target, misfits_story};
use crate::store::media as media_rows;
use crate::store::messages::{self, ChatNames};
use crate::store::outbox::{self, Stage};
use crate::sync::locked;
use crate::whatsapp::{FetchFailure, SendFailure, Session, unwritable};

use super::claims::DeliveryOptions;
use super::driver::Handle;
use super::live::LiveState;
use super::registry::Accounts;
use super::sender::{NOT_CONNECTED, Route, Sending};
use super::types::{AccountError, MediaFile, Outcome, Status};

const ONLY_IN_GROUPS: &str = "\"mentionAll\" mentions the members of a group: \"to\" must be one";
const A_LINE: &str =
    "This line says what happened to the group: it is not a message, and only shown here";
const NOT_LATER: &str = "\"sendAt\" must be absent: stars and deletions \"forMe\" are of the account's own devices, and are \
                         made at once";
/// Messages that one request marks as read at most.
pub(super) const READ_AT_ONCE: usize = 1_000;
/// Messages of one id that are searched for the quoted one.
const QUOTABLE: usize = 16;
/// The newest messages of a group that are searched for one by a person.
const LATELY: usize = 256;

impl Accounts {
    /// Whether this account could send or queue a message: for refusing a file before it is read.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or [`AccountError::NotConnected`] while it can do neither.
    pub fn may_send(&self, id: &str) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        match connected(&handle) {
            Ok(_) => Ok(()),
            Err(error @ AccountError::NotConnected { .. }) => may_queue(&handle).map_err(|_| error),
            Err(error) => Err(error),
        }
    }

    /// Sends a message, or a change of a stored one, and waits for the server's ack; or queues it. It is stored before
    /// it is sent. The send goes on if the caller leaves, except while its audio is converted.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`] or [`AccountError::QuotedNotFound`] for what it is about, and all that
    /// concerns sending and files.
    pub async fn send(
        &self,
        id: &str,
        to: ChatJid,
        draft: Draft,
        options: DeliveryOptions,
    ) -> Result<Outcome, AccountError> {
        let handle = self.handle(id)?;
        writable(&to, &draft)?;
        if to.is_stories() {
            self.has_audience(&handle, &draft).await?;
        }
        let to = match &draft {
            Draft::Message { .. } | Draft::Forward { .. } => to,
            Draft::Change { .. } => self.found_as(&handle, to)?,
        };
        if options.mention_all && to.server() != Server::Group {
            return Err(AccountError::Unchangeable(ONLY_IN_GROUPS));
        }
        if let Draft::Change { message_id, change } = &draft
            && change.is_own_state()
        {
            if options.send_at.is_some() {
                return Err(AccountError::Unchangeable(NOT_LATER));
            }
            let (message_id, change) = (message_id.clone(), change.clone());
            let work = self.clone().share(handle, to, message_id, change);
            // Boxed: the compiler's depth of nested futures is bounded.
            return self.whole(Box::pin(work)).await;
        }
        let route = match options.send_at {
            None => self.look_ahead(&handle, options.queue)?,
            Some(send_at) => {
                may_queue(&handle)?;
                Route::Later(words_of_time(send_at))
            }
        };
        let about = match &draft {
            Draft::Message { quoted, .. } => {
                let session = match &route {
                    Route::Now(session) => Some(session),
                    Route::Later(_) => None,
                };
                self.quoted(&handle, session, &to, quoted.as_deref())
                    .await?
            }
            Draft::Forward { .. } => None,
            Draft::Change { message_id, change } => {
                let target = self.target(&handle, &to, message_id)?;
                self.may_change(&handle, &to, &target, change)?;
                Some(target)
            }
        };
        let route = self
            .route_to(id, &handle, route, &to, options.queue)
            .await?;
        let sending = self.sending(id, &handle);
        self.whole(sending.go(to, draft, about, options, route))
            .await
    }

    /// Whether the account can change a stored message so. One that waits in the outbox is reacted to only. In a group
    /// others' messages can be deleted, if the account is its admin: WhatsApp decides that.
    pub(super) fn may_change(
        &self,
        handle: &Handle,
        chat: &ChatJid,
        target: &Message,
        change: &Change,
    ) -> Result<(), AccountError> {
        let is_shared = !chat.is_person() && !chat.is_stories();
        if *change == Change::Delete && !target.from_me && !is_shared {
            return Err(AccountError::NotOwnMessage);
        }
        change
            .may(target, clock::now())
            .map_err(AccountError::Unchangeable)?;
        let is_reaction = matches!(change, Change::React { .. });
        if !is_reaction && target.from_me && self.is_queued(handle, &target.message_id)? {
            return Err(AccountError::StillQueued);
        }
        Ok(())
    }

    /// The route of a message as far as the account alone decides it; an error if it can neither be sent nor queued.
    fn look_ahead(&self, handle: &Handle, queue: bool) -> Result<Route, AccountError> {
        let session = match connected(handle) {
            Ok(session) => session,
            Err(AccountError::NotConnected { .. }) if queue => {
                may_queue(handle)?;
                return Ok(Route::Later(NOT_CONNECTED.into()));
            }
            Err(error) => return Err(error),
        };
        if queue {
            let account = handle.number;
            let state = self.0.wiring.store.read(|tx| outbox::state(tx, account))?;
            if state.queued > 0 {
                return Ok(Route::Later(
                    "Other messages wait before this one, which is sent after them".into(),
                ));
            }
        }
        Ok(Route::Now(session))
    }

    /// The route of a message to that chat; takes one message from the account's rate limit if it is sent now.
    async fn route_to(
        &self,
        id: &str,
        handle: &Handle,
        route: Route,
        to: &ChatJid,
        queue: bool,
    ) -> Result<Route, AccountError> {
        let session = match route {
            Route::Now(session) => session,
            Route::Later(words) => return Ok(Route::Later(words)),
        };
        let later = |error: AccountError| match queue {
            true => Ok(Route::Later(error.to_string())),
            false => Err(error),
        };
        let (sending, to) = (self.sending(id, handle), to.to_string());
        if let Some(limit) = sending.to_ask(&to)? {
            sending.ask_again(&session, limit).await?;
        }
        let now = clock::now();
        let store = &self.0.wiring.store;
        if let Some(wait) = store.read(|tx| sending.wait(tx, &to, Stage::Queued, now))? {
            let per_day = self.0.limits.new_contacts_per_day;
            return later(AccountError::waits(&wait, per_day, now));
        }
        match take_turn(handle) {
            Ok(()) => Ok(Route::Now(session)),
            Err(error) => later(error),
        }
    }

    /// Marks messages of a chat as read: the given ones, or all unread ones if none are given.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`] for one that is not there, and what concerns sending.
    pub async fn mark_read(
        &self,
        id: &str,
        chat: ChatJid,
        message_ids: Vec<String>,
    ) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        let chat = self.found_as(&handle, chat)?;
        let (account, jid) = (handle.number, chat.to_string());
        let store = &self.0.wiring.store;
        let found = if message_ids.is_empty() {
            store.read(|tx| messages::unread(tx, account, &jid, READ_AT_ONCE))?
        } else {
            message_ids
                .iter()
                .take(READ_AT_ONCE)
                .map(|id| self.target(&handle, &chat, id))
                .collect::<Result<_, _>>()?
        };
        let theirs: Vec<(String, String)> = found
            .into_iter()
            .filter(Message::counts_as_unread)
            .map(|m| (m.wire_lid.unwrap_or(m.sender), m.message_id))
            .collect();
        session
            .mark_read(&chat, &theirs)
            .await
            .map_err(|failure| match failure {
                SendFailure::NotConnected => not_connected(&handle),
                other => AccountError::Session(other.to_string()),
            })?;
        let ids: Vec<String> = theirs.into_iter().map(|(_, id)| id).collect();
        store
            .write(move |tx| match message_ids.is_empty() {
                true => messages::mark_read(tx, account, &jid),
                false => messages::mark_read_messages(tx, account, Some(&jid), &ids),
            })
            .await?;
        Ok(())
    }

    /// The file of a message, fetched from WhatsApp if it is not here yet. Of several messages of that
    /// id, in `chat` if that is given, it is that of the one whose medium is `media_id`, else of the
    /// one stored first.
    ///
    /// # Errors
    /// [`AccountError::MessageNotFound`], [`AccountError::NoMedia`], or why it could not be fetched.
    pub async fn media(
        &self,
        id: &str,
        message_id: &str,
        chat: Option<&ChatJid>,
        media_id: Option<&str>,
    ) -> Result<MediaFile, AccountError> {
        let handle = self.handle(id)?;
        let account = handle.number;
        let (message, named) = self.0.wiring.store.read(|tx| {
            let message = match chat {
                Some(chat) => messages::get_in(tx, account, &chat.to_string(), message_id)?,
                None => messages::get(tx, account, message_id)?,
            };
            let named = match media_id.and_then(media_rows::parse_id) {
                Some((of, number)) if of == account => media_rows::get(tx, account, number)?,
                _ => None,
            };
            Ok((message, named))
        })?;
        let found = match (media_id, message) {
            (_, None) => return Err(AccountError::MessageNotFound),
            (None, Some(message)) => message.media_id,
            (Some(media_id), Some(_)) => named
                .filter(|medium| medium.message_id == message_id)
                .map(|_| media_id.to_owned()),
        };
        self.medium(&handle, &found.ok_or(AccountError::NoMedia)?)
            .await
    }

    /// A file by its medium's id, fetched from WhatsApp if it is not here yet.
    ///
    /// # Errors
    /// [`AccountError::NoMedia`] if there is no such medium, or why it could not be fetched.
    pub async fn media_by_id(
        &self,
        media_id: &str,
        may_see: impl Fn(&str) -> bool,
    ) -> Result<MediaFile, AccountError> {
        let (account, _) = media_rows::parse_id(media_id).ok_or(AccountError::NoMedia)?;
        let handle = self
            .lock()
            .by_id
            .iter()
            .find(|(id, handle)| handle.number == account && may_see(id))
            .map(|(_, handle)| handle.clone())
            .ok_or(AccountError::NoMedia)?;
        self.medium(&handle, media_id).await
    }

    async fn medium(&self, handle: &Handle, media_id: &str) -> Result<MediaFile, AccountError> {
        let (account, number) = match media_rows::parse_id(media_id) {
            Some((account, number)) if account == handle.number => (account, number),
            _ => return Err(AccountError::NoMedia),
        };
        let store = &self.0.wiring.store;
        let read = || -> Result<Medium, AccountError> {
            store
                .read(|tx| media_rows::get(tx, account, number))?
                .ok_or(AccountError::NoMedia)
        };
        let mut medium = read()?;
        let mut path = self.0.wiring.files.medium(account, number);
        let is_there = if medium.stored_at.is_some() {
            let path = path.clone();
            smol::unblock(move || path.is_file()).await
        } else {
            // The file of a message that was not sent yet.
            let waiting = self.0.wiring.files.waiting(account, &medium.message_id);
            let own = medium.from_me && {
                let waiting = waiting.clone();
                smol::unblock(move || waiting.is_file()).await
            };
            if own {
                path = waiting;
            }
            own
        };
        if !is_there {
            let session = connected(handle)?;
            self.0
                .fetcher
                .fetch(session, account, number, medium)
                .await
                .map_err(|failure| match failure {
                    FetchFailure::NotConnected => not_connected(handle),
                    FetchFailure::Gone(words) => AccountError::MediaGone(words),
                    FetchFailure::Other(words) => AccountError::MediaUnavailable(words),
                })?;
            medium = read()?;
        }
        let sha256 = match <[u8; 32]>::try_from(medium.sha256.as_slice()) {
            Ok(known) => known,
            Err(_) => self
                .0
                .fetcher
                .hash(path.clone())
                .await
                .map_err(|e| AccountError::MediaUnavailable(e.to_string()))?,
        };
        Ok(MediaFile {
            path,
            size: medium.size,
            mimetype: medium.mimetype,
            file_name: medium.file_name,
            sha256,
        })
    }

    pub(super) fn sending(&self, id: &str, handle: &Handle) -> Sending {
        Sending {
            fetcher: self.0.fetcher.clone(),
            limits: self.0.limits,
            account: handle.number,
            id: id.into(),
            live: Arc::clone(&handle.live),
        }
    }

    fn is_queued(&self, handle: &Handle, message_id: &str) -> Result<bool, AccountError> {
        let account = handle.number;
        let entry = self
            .0
            .wiring
            .store
            .read(|tx| outbox::get(tx, account, message_id))?;
        Ok(entry.is_some_and(|entry| entry.stage == Stage::Queued))
    }

    /// The quoted message of one to `to`: of the same chat; or of a group, quoted in private to one of its members;
    /// or of a person's stories or lists, quoted to that person. Messages of other chats are never quoted to `to`.
    pub(super) async fn quoted(
        &self,
        handle: &Handle,
        session: Option<&Arc<Session>>,
        to: &ChatJid,
        id: Option<&str>,
    ) -> Result<Option<Message>, AccountError> {
        let Some(id) = id else {
            return Ok(None);
        };
        let (account, jid) = (handle.number, to.to_string());
        let (here, elsewhere, person) = self.0.wiring.store.read(|tx| {
            Ok((
                messages::get_in(tx, account, &jid, id)?,
                messages::all_of_id(tx, account, id, QUOTABLE)?,
                messages::names(tx, account, &messages::found_as(tx, account, &jid)?)?,
            ))
        })?;
        if let Some(message) = here {
            return no_line(message).map(Some);
        }
        for message in elsewhere {
            let is_group = match ChatJid::parse(&message.chat_id) {
                Ok(chat) if to.is_person() && !chat.is_person() => chat.server() == Server::Group,
                _ => continue,
            };
            let is_author = !message.from_me && person.is(&message);
            if is_author
                || is_group
                    && self
                        .is_member(handle, session, &message.chat_id, &person)
                        .await?
            {
                return Ok(Some(message));
            }
        }
        Err(AccountError::QuotedNotFound)
    }

    /// Whether a person is in a group: by WhatsApp's list of members, or by the group's recent messages.
    async fn is_member(
        &self,
        handle: &Handle,
        session: Option<&Arc<Session>>,
        group: &str,
        person: &ChatNames,
    ) -> Result<bool, AccountError> {
        let account = handle.number;
        if let Some(session) = session
            && let Some(members) = session.group_members(group).await
        {
            let is = |name: &String| *name == person.jid || Some(name) == person.lid.as_ref();
            return Ok(members.iter().any(is));
        }
        let store = &self.0.wiring.store;
        Ok(store.read(|tx| messages::has_written(tx, account, group, person, LATELY))?)
    }

    /// The JID of a person's chat, found by either form of the number.
    pub(super) fn found_as(&self, handle: &Handle, chat: ChatJid) -> Result<ChatJid, AccountError> {
        let (account, text) = (handle.number, chat.to_string());
        let store = &self.0.wiring.store;
        let found = store.read(|tx| messages::found_as(tx, account, &text))?;
        Ok(ChatJid::parse(&found).unwrap_or(chat))
    }

    pub(super) fn target(
        &self,
        handle: &Handle,
        chat: &ChatJid,
        message_id: &str,
    ) -> Result<Message, AccountError> {
        let target = Target {
            chat: chat.to_string(),
            message_id: message_id.to_owned(),
            author: None,
        };
        self.0
            .wiring
            .store
            .read(|tx| messages::find_target(tx, handle.number, &target))?
            .filter(|message| !message.deleted)
            .ok_or(AccountError::MessageNotFound)
            .and_then(no_line)
    }
}

/// The message, unless it is a line about its group.
fn no_line(message: Message) -> Result<Message, AccountError> {
    match message.kind {
        MessageKind::System => Err(AccountError::Unchangeable(A_LINE)),
        _ => Ok(message),
    }
}

pub(super) fn connected(handle: &Handle) -> Result<Arc<Session>, AccountError> {
    match handle.live.get() {
        LiveState {
            status: Status::Connected,
            session: Some(session),
            ..
        } => Ok(session),
        LiveState {
            no_room: Some(error),
            ..
        } => Err(AccountError::Store(error)),
        LiveState { status, .. } => Err(AccountError::NotConnected { status }),
    }
}

/// Why a message waits that was sent with a time.
pub(super) fn words_of_time(send_at: Millis) -> String {
    format!("The message is sent at {}", clock::iso8601(send_at))
}

/// Refuses recipients that WhatsApp never takes, and what it does not take for stories.
pub(super) fn writable(to: &ChatJid, draft: &Draft) -> Result<(), AccountError> {
    let misfit = match to.is_stories() {
        true => misfits_story(draft),
        false => None,
    };
    match misfit.or_else(|| unwritable(to)) {
        Some(words) => Err(AccountError::Unwritable(words)),
        None => Ok(()),
    }
}

pub(super) fn not_connected(handle: &Handle) -> AccountError {
    AccountError::NotConnected {
        status: handle.live.get().status,
    }
}

/// Whether messages may be queued for an account. One that is not paired may get another phone number.
pub(super) fn may_queue(handle: &Handle) -> Result<(), AccountError> {
    let LiveState { status, paired, .. } = handle.live.get();
    match paired && status != Status::LoggedOut {
        true => Ok(()),
        false => Err(AccountError::NotPaired { status }),
    }
}

/// Takes one message from the account's rate limit.
fn take_turn(handle: &Handle) -> Result<(), AccountError> {
    pace(handle, |pace| pace.take(clock::ticks()))
}

fn pace(
    handle: &Handle,
    ask: impl FnOnce(&mut super::pace::Pace) -> Result<(), u64>,
) -> Result<(), AccountError> {
    let mut pace = locked(&handle.live.pace);
    let per_minute = pace.per_minute();
    ask(&mut pace).map_err(|retry_after| AccountError::TooFast {
        per_minute,
        retry_after,
    })
}
