//! The handler of the client's events: reduces them to what this server needs, and passes that on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use whatsapp_rust::Jid;
use whatsapp_rust::features::SyncActionMessageRange;
use whatsapp_rust::types::events::{
    ContactUpdate, Event, EventHandler, EventInterest, EventKind, PresenceUpdate, Receipt,
    ServerAck,
};
use whatsapp_rust::types::presence::ReceiptType;
use whatsapp_rust::wacore::iq::dirty::DirtyType;
use whatsapp_rust::wacore_binary::{JidExt as _, NodeRef};

use crate::clock::{self, Millis};
use crate::jid::STORIES;
use crate::message::{Author, By, Change, DeliveryStatus, Target};
use crate::runtime::Executor;
use crate::runtime::tasks::{self, Kind};
use crate::store::groups::GroupNews;
use crate::store::messages::{ChatMarks, FOREVER};

use super::acks::{Ack, Acks};
use super::arrival::Arrival;
use super::blocklist;
use super::calls::Calls;
use super::chats::{ChatUpdate, ChatUpdates};
use super::codes::Codes;
use super::convert;
use super::facts::Known;
use super::farewell::{self, Refused};
use super::groups;
use super::history::Importer;
use super::inbound::Inbox;
use super::lost::LostAndFound;
use super::news::{LastError, NewsSender, SessionNews};
use super::passkey::{self, PasskeyNews};
use super::privacy::Privacy;
use super::repair::Repairs;
use super::restriction;
use super::seen::{self, Seen};
use super::usernames;
use super::version::Spoken;
use super::watched::{self, Shown, Watched};

/// One session's handler. The client calls it on its own thread.
pub struct ClientEvents {
    pub sender: NewsSender,
    pub acks: Acks,
    pub last_error: LastError,
    pub spoken: Spoken,
    /// Whether the client has what the server kept for it, and takes each message as it comes.
    pub is_live: Arc<AtomicBool>,
    pub arrival: Arrival,
    pub inbox: Inbox,
    pub lost: LostAndFound,
    pub codes: Codes,
    pub known: Known,
    pub watched: Watched,
    pub privacy: Privacy,
    pub repairs: Repairs,
    pub executor: Arc<Executor>,
    pub chats: ChatUpdates,
    pub history: Importer,
    pub calls: Calls,
}

impl ClientEvents {
    fn tell(&self, news: SessionNews) {
        if matches!(news, SessionNews::Receipt { .. }) && self.sender.is_scarce() {
            log::warn!(
                "{}: too many receipts at once, some are not counted",
                self.inbox.owner.id
            );
            return;
        }
        if self.sender.tell(news).is_err() {
            // Without its content: a QR code is a secret.
            log::error!("{}: the session's news overflow", self.inbox.owner.id);
        }
    }

    fn receipt(&self, receipt: &Receipt) {
        let source = &receipt.source;
        if source.sender.is_status_broadcast() {
            // Its stanza says who it was.
            return;
        }
        let kind = as_own(
            &receipt.r#type,
            source.is_from_me || self.is_own(&source.sender),
        );
        let status = match kind {
            ReceiptType::Delivered => DeliveryStatus::Delivered,
            ReceiptType::Read => DeliveryStatus::Read,
            ReceiptType::Played => DeliveryStatus::Played,
            // Of a chat of two the event names the account itself: the ids say which it is.
            ReceiptType::ReadSelf | ReceiptType::PlayedSelf => {
                let chat = &source.chat;
                let is_of_two = chat.is_pn() || chat.is_lid();
                return self.chats.note(ChatUpdate::ReadMessages {
                    group: (!is_of_two).then(|| convert::bare(chat)),
                    ids: receipt.message_ids.clone(),
                    by: convert::bare(&source.sender),
                });
            }
            _ => return,
        };
        if source.is_from_me {
            return;
        }
        self.tell(SessionNews::Receipt {
            message_ids: receipt.message_ids.clone(),
            chat: convert::bare(&source.chat),
            status,
            by: convert::bare(&source.sender),
        });
    }

    fn seen(&self, seen: Seen) {
        if !self.is_own(&seen.by) {
            self.tell(SessionNews::Receipt {
                message_ids: seen.message_ids,
                chat: STORIES.to_owned(),
                status: seen.status,
                by: convert::bare(&seen.by),
            });
        }
    }

    /// Whether it is this account, under its number or its LID, on any device.
    fn is_own(&self, jid: &Jid) -> bool {
        let Some(client) = self.lost.client.get().and_then(Weak::upgrade) else {
            return false;
        };
        let own = [client.pn(), client.lid()];
        let mut own = own.iter().flatten();
        own.any(|own| own.user == jid.user && own.server == jid.server)
    }

    fn contact(&self, update: &ContactUpdate) {
        let action = &update.action;
        let jid = convert::bare(&update.jid);
        if let (Some(lid), Some(number)) = (&action.lid_jid, &action.pn_jid) {
            self.chats.note(ChatUpdate::Link {
                lid: lid.clone(),
                number: number.clone(),
            });
        } else if let Some(lid) = &action.lid_jid
            && jid.ends_with("@s.whatsapp.net")
        {
            self.chats.note(ChatUpdate::Link {
                lid: lid.clone(),
                number: jid.clone(),
            });
        }
        if let Some(name) = action.username.clone().filter(|name| !name.is_empty()) {
            self.username((jid.clone(), Some(name)));
        }
        let name = action
            .full_name
            .clone()
            .or_else(|| action.first_name.clone())
            .filter(|name| !name.is_empty());
        self.chats.note(ChatUpdate::Contact { jid, name });
    }

    /// What the owner did to a message elsewhere: chat, id, whether it is an own one, and its author in a group.
    fn own_change(
        &self,
        (chat, id, from_me, author): (&Jid, &str, bool, Option<&Jid>),
        millis: i64,
        change: Change,
    ) {
        let own = self.lost.client.get().and_then(Weak::upgrade);
        let own = own
            .and_then(|client| client.pn())
            .map(|jid| convert::bare(&jid));
        self.chats.note(ChatUpdate::Message {
            target: Target {
                chat: convert::bare(chat),
                message_id: id.to_owned(),
                author: Some(match from_me {
                    true => Author::Me,
                    false => Author::Them(author.map(convert::bare)),
                }),
            },
            by: By {
                from: own.unwrap_or_default(),
                from_me: true,
                timestamp: u64::try_from(millis).unwrap_or(0),
            },
            change,
        });
    }

    fn marked(&self, jid: &Jid, marks: ChatMarks, quiet: bool) {
        let chat = convert::bare(jid);
        self.chats.note(ChatUpdate::Marks { chat, marks, quiet });
    }

    /// What came later than the newest message that the owner saw, or else than the action, stays.
    fn removed(
        &self,
        jid: &Jid,
        (range, acted): (Option<&SyncActionMessageRange>, i64),
        whole: bool,
        quiet: bool,
    ) {
        let last = range.and_then(|range| range.last_message_timestamp);
        let until = match last.and_then(|seconds| Millis::try_from(seconds).ok()) {
            // The whole second.
            Some(seconds) => seconds.saturating_mul(1_000).saturating_add(999),
            None => Millis::try_from(acted).unwrap_or(0),
        };
        self.chats.note(ChatUpdate::Removed {
            chat: convert::bare(jid),
            until,
            whole,
            quiet,
        });
    }

    fn presence(&self, update: &PresenceUpdate) {
        let person = convert::bare(&update.from);
        let last = update.last_seen.map(|at| at.timestamp_millis());
        let shown = Shown {
            available: !update.unavailable,
            last_seen: last.and_then(|at| Millis::try_from(at).ok()),
        };
        if self.watched.presence(&person, shown, clock::ticks()) {
            self.chats.note(ChatUpdate::Presence { person, shown });
        }
    }

    fn doing(&self, node: &NodeRef<'_>) {
        let Some((chat, sender, doing)) = watched::on_stanza(node) else {
            return;
        };
        let is_own = sender.parse().is_ok_and(|sender| self.is_own(&sender));
        if !is_own && self.watched.doing(&chat, &sender, doing, clock::ticks()) {
            self.chats.note(ChatUpdate::Doing {
                chat,
                sender,
                doing,
                is_read: self.chats.store.is_typing_read(),
            });
        }
    }

    /// A person shows something else than before.
    fn changed(&self, jid: &Jid) {
        self.known.forget(&convert::bare(jid));
    }

    fn username(&self, (jid, name): usernames::Said) {
        self.chats.note(ChatUpdate::Username { jid, name });
    }

    fn group(&self, news: GroupNews) {
        match self.inbox.note_group(news) {
            Ok(true) => {}
            // What is not acknowledged comes again to the next session.
            Ok(false) => {
                let words = "too many notifications about groups at once";
                self.tell(SessionNews::Broken(words.to_owned()));
            }
            Err(error) => log::error!(
                "{}: a notification about a group is not stored: {error}",
                self.inbox.owner.id
            ),
        }
    }

    fn acked(&self, ack: &ServerAck) {
        if ack.class.as_deref().is_some_and(|c| c != "message") {
            return;
        }
        let result = match &ack.error {
            None => Ok(Ack {
                timestamp: ack
                    .timestamp
                    .and_then(|t| u64::try_from(t.timestamp_millis()).ok()),
            }),
            Some(code) => Err(code.parse().ok()),
        };
        self.acks.settle(&ack.id, result);
    }
}

impl EventHandler for ClientEvents {
    fn interest(&self) -> EventInterest {
        EventInterest::of(&[
            EventKind::PairingQrCode,
            EventKind::PairingQrCodesExhausted,
            EventKind::PairSuccess,
            EventKind::PairError,
            EventKind::PairPasskeyRequest,
            EventKind::PairPasskeyConfirmation,
            EventKind::PairPasskeyError,
            EventKind::Connected,
            EventKind::Disconnected,
            EventKind::LoggedOut,
            EventKind::TemporaryBan,
            EventKind::ClientOutdated,
            EventKind::ConnectFailure,
            EventKind::StreamError,
            EventKind::StreamReplaced,
            EventKind::SelfPushNameUpdated,
            EventKind::ServerAck,
            EventKind::Receipt,
            EventKind::Messages,
            EventKind::UndecryptableMessage,
            EventKind::DirtyState,
            EventKind::ContactUpdate,
            EventKind::ContactNumberChanged,
            EventKind::PictureUpdate,
            EventKind::Presence,
            EventKind::UserAboutUpdate,
            EventKind::DeviceListUpdate,
            EventKind::MarkChatAsReadUpdate,
            EventKind::StarUpdate,
            EventKind::DeleteMessageForMeUpdate,
            EventKind::ArchiveUpdate,
            EventKind::PinUpdate,
            EventKind::MuteUpdate,
            EventKind::DeleteChatUpdate,
            EventKind::ClearChatUpdate,
            EventKind::HistorySync,
            EventKind::OfflineSyncCompleted,
            EventKind::AppStateSyncFailed,
            EventKind::MexNotification,
            EventKind::RawNode,
        ])
    }

    fn handle_event(&self, event: Arc<Event>) {
        match event.as_ref() {
            // Each stanza, before the client looks at it.
            Event::RawNode(node) => {
                self.repairs.hear(node.get());
                self.calls.hear(node.get());
                self.spoken.hear(node.get());
                seen::of_stanza(node.get())
                    .into_iter()
                    .for_each(|seen| self.seen(seen));
                if node.tag() == "stream:error"
                    && let Some(refusal) = farewell::of_stream(node.get())
                {
                    self.tell(SessionNews::Unwelcome(refusal));
                }
                if let Some(news) = groups::of_stanza(node.get()) {
                    self.group(news);
                }
                let said = usernames::on_stanza(node.get());
                said.of_message
                    .into_iter()
                    .for_each(|said| self.inbox.usernames.note(said));
                said.of_others
                    .into_iter()
                    .for_each(|said| self.username(said));
                if node.tag() == "chatstate" {
                    self.doing(node.get());
                }
                self.privacy.hear(node.get());
                if node.tag() == "notification"
                    && node.get().get_optional_child("devices").is_some()
                    && let Some(own) = node.get().get_attr("from")
                {
                    // The account's own: the client reports others' alone.
                    self.known.forget(&own.as_str());
                }
                let blocked = blocklist::on_stanza(node.get());
                blocked.into_iter().for_each(|it| self.chats.note(it));
            }
            // What happened to groups was not delivered: all of them are asked for.
            Event::DirtyState(dirty) if dirty.dirty_type == DirtyType::Groups => {
                self.tell(SessionNews::GroupsStale);
            }
            Event::MexNotification(notification) => {
                let (name, payload) = (&notification.op_name, &notification.payload);
                if let Some(told) = restriction::pushed(name, payload) {
                    self.tell(SessionNews::Limit(told));
                } else if let Some(said) = usernames::of_notification(notification) {
                    self.username(said);
                }
            }
            Event::PairingQrCode(qr) => {
                self.codes.shown();
                let lasts = u64::try_from(qr.timeout.as_millis()).unwrap_or(u64::MAX);
                let code = qr.code.clone();
                self.tell(SessionNews::Qr { code, lasts });
            }
            Event::PairingQrCodesExhausted(_) => self.tell(SessionNews::QrExhausted),
            Event::PairSuccess(pair) => self.tell(SessionNews::Paired {
                jid: pair.id.to_non_ad().to_string(),
                lid: lid_of(&pair.lid),
            }),
            Event::PairError(pair) => match passkey::unlinkable(&pair.error) {
                Some(words) => self.tell(SessionNews::Unlinkable(words.to_owned())),
                None => self
                    .last_error
                    .note(format!("pairing failed: {}", pair.error)),
            },
            Event::PairPasskeyRequest(asked) => {
                // The connection is needed for as long as the challenge lives.
                self.codes.end();
                let options = asked.request_options_json.clone();
                self.tell(SessionNews::Passkey(PasskeyNews::Asked { options }));
            }
            Event::PairPasskeyConfirmation(confirmation) => {
                let code = confirmation.code.clone();
                self.tell(SessionNews::Passkey(PasskeyNews::Code(code)));
            }
            Event::PairPasskeyError(failed) => {
                let words = passkey::failed_words(&failed.error, failed.continuation);
                self.tell(SessionNews::Passkey(PasskeyNews::Failed(words)));
            }
            Event::OfflineSyncCompleted(_) => {
                self.is_live.store(true, Ordering::Relaxed);
                self.arrival.drained();
            }
            Event::Connected(_) => {
                self.arrival.connected();
                self.tell(SessionNews::LoggedIn);
            }
            Event::AppStateSyncFailed(failed) if !failed.connected => self.arrival.failed(),
            Event::Disconnected(lost) => {
                self.is_live.store(false, Ordering::Relaxed);
                self.arrival.away();
                self.last_error.note(format!(
                    "the connection to WhatsApp was lost: {}",
                    lost.reason
                ));
            }
            Event::LoggedOut(out) => self.tell(SessionNews::LoggedOut(farewell::logged_out(out))),
            Event::TemporaryBan(ban) => self.tell(SessionNews::Banned(farewell::banned(ban))),
            Event::ClientOutdated(_) => self.tell(SessionNews::Outdated(self.spoken.refused())),
            Event::ConnectFailure(failure) => match farewell::refused(failure) {
                Refused::Lost(words) => self.last_error.note(words),
                Refused::NotNow(refusal) => self.tell(SessionNews::Unwelcome(refusal)),
                Refused::Banned(ban) => self.tell(SessionNews::Banned(ban)),
            },
            Event::StreamError(error) => {
                self.last_error
                    .note(format!("WhatsApp ended the stream (code {})", error.code));
            }
            Event::StreamReplaced(_) => self.tell(SessionNews::Replaced),
            Event::SelfPushNameUpdated(name) => {
                self.tell(SessionNews::PushName(name.new_name.clone()));
            }
            Event::ServerAck(ack) => self.acked(ack),
            Event::Receipt(receipt) => self.receipt(receipt),
            Event::ContactUpdate(update) => self.contact(update),
            Event::Presence(update) => self.presence(update),
            Event::PictureUpdate(update) => self.changed(&update.jid),
            Event::UserAboutUpdate(update) => self.changed(&update.jid),
            Event::DeviceListUpdate(update) => self.changed(&update.user),
            Event::ContactNumberChanged(change) => {
                if let Some(lid) = &change.new_lid {
                    self.chats.note(ChatUpdate::Link {
                        lid: convert::bare(lid),
                        number: convert::bare(&change.new_jid),
                    });
                }
            }
            Event::MarkChatAsReadUpdate(update) => {
                let chat = convert::bare(&update.jid);
                self.chats.note(match update.action.read {
                    Some(false) => ChatUpdate::Unread { chat },
                    Some(true) | None => ChatUpdate::ReadUntil {
                        chat,
                        until: update
                            .action
                            .message_range
                            .as_option()
                            .and_then(|range| range.last_message_timestamp)
                            .and_then(|seconds| u64::try_from(seconds).ok())
                            // The whole second: messages within it count as read.
                            .map(|seconds| seconds.saturating_mul(1000).saturating_add(999)),
                    },
                });
            }
            Event::StarUpdate(update) => {
                let on = update.action.starred.unwrap_or(false);
                let author = update.participant_jid.as_ref();
                let key = (
                    &update.chat_jid,
                    &*update.message_id,
                    update.from_me,
                    author,
                );
                self.own_change(
                    key,
                    update.timestamp.timestamp_millis(),
                    Change::Star { on },
                );
            }
            Event::DeleteMessageForMeUpdate(update) => {
                let author = update.participant_jid.as_ref();
                let key = (
                    &update.chat_jid,
                    &*update.message_id,
                    update.from_me,
                    author,
                );
                self.own_change(
                    key,
                    update.timestamp.timestamp_millis(),
                    Change::DeleteForMe,
                );
            }
            Event::ArchiveUpdate(update) => {
                let marks = ChatMarks {
                    archived: Some(update.action.archived.unwrap_or(false)),
                    ..ChatMarks::default()
                };
                self.marked(&update.jid, marks, update.from_full_sync);
            }
            Event::PinUpdate(update) => {
                let marks = ChatMarks {
                    pinned: Some(update.action.pinned.unwrap_or(false)),
                    ..ChatMarks::default()
                };
                self.marked(&update.jid, marks, update.from_full_sync);
            }
            Event::MuteUpdate(update) => {
                let end = update.action.mute_end_timestamp.unwrap_or(-1);
                let until = update.action.muted.unwrap_or(false).then(|| {
                    // -1 is without an end.
                    Millis::try_from(end).unwrap_or(FOREVER)
                });
                let marks = ChatMarks {
                    muted_until: Some(until),
                    ..ChatMarks::default()
                };
                self.marked(&update.jid, marks, update.from_full_sync);
            }
            Event::DeleteChatUpdate(update) => {
                let range = update.action.message_range.as_option();
                self.removed(
                    &update.jid,
                    (range, update.timestamp.timestamp_millis()),
                    true,
                    update.from_full_sync,
                );
            }
            Event::ClearChatUpdate(update) => {
                let range = update.action.message_range.as_option();
                self.removed(
                    &update.jid,
                    (range, update.timestamp.timestamp_millis()),
                    false,
                    update.from_full_sync,
                );
            }
            Event::HistorySync(piece) => {
                let (importer, compressed) =
                    (self.history.clone(), piece.compressed_bytes().clone());
                let name = format!("{}: history", importer.owner.id);
                let executor = self.executor.clone();
                let keeping = async move {
                    let keeper = importer.clone();
                    smol::unblock(move || {
                        if let Err(error) = keeper.keep(&compressed) {
                            log::error!("{}: history not kept: {error}", keeper.owner.id);
                        }
                    })
                    .await;
                    importer.read_in_background(&executor);
                };
                tasks::guard(&self.executor, Kind::Errand, name, keeping).detach();
            }
            Event::UndecryptableMessage(lost) => self.lost.hear(lost),
            // What the durability hook does not cover: channel posts, and messages that the phone
            // handed over because this device could not decrypt them.
            Event::Messages(batch) if !batch.hook_committed => {
                let inbox = self.inbox.clone();
                let messages = batch.messages.clone();
                let name = format!("{}: messages", inbox.owner.id);
                let storing = async move {
                    if let Err(error) = inbox.store(&messages).await {
                        log::error!("{}: not stored: {error}", inbox.owner.id);
                    }
                };
                tasks::guard(&self.executor, Kind::Errand, name, storing).detach();
            }
            _ => {}
        }
    }
}

/// What an own device read or played comes as `read` or `played` too, and the client does not say that it
/// is an own one's: it then counts as what it is.
fn as_own(kind: &ReceiptType, is_own: bool) -> &ReceiptType {
    match kind {
        ReceiptType::Read if is_own => &ReceiptType::ReadSelf,
        ReceiptType::Played if is_own => &ReceiptType::PlayedSelf,
        kind => kind,
    }
}

fn lid_of(jid: &Jid) -> Option<String> {
    let text = jid.to_non_ad().to_string();
    text.ends_with("@lid").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_own_devices_read_is_not_read_by_others() {
        assert_eq!(as_own(&ReceiptType::Read, true), &ReceiptType::ReadSelf);
        assert_eq!(as_own(&ReceiptType::Played, true), &ReceiptType::PlayedSelf);
        for kind in [ReceiptType::Read, ReceiptType::Played] {
            assert_eq!(as_own(&kind, false), &kind);
        }
        let delivered = ReceiptType::Delivered;
        assert_eq!(as_own(&delivered, true), &delivered);
    }
}
