//! What a session says of itself: to the account's driver, over a bounded queue.

use std::sync::{Arc, Mutex};

use crate::clock::Millis;
use crate::message::DeliveryStatus;
use crate::sync::locked;

use super::farewell::{Ban, Refusal};
use super::passkey::PasskeyNews;
use super::restriction::LimitStatus;
use super::version::Outdated;

/// News that may wait for the driver; past [`NEWS_FOR_STATE`] receipts are dropped, so that what
/// changes the account's state always finds room.
const NEWS: usize = 1024;
const NEWS_FOR_STATE: usize = NEWS - 64;

/// The queue of a new session's news: for the session to send, and for the driver to receive.
pub fn news() -> (NewsSender, async_channel::Receiver<SessionNews>) {
    // A bounded channel would set its room aside at once, some 70 KiB for each account; this one
    // has its bound in the sender.
    let (sender, receiver) = async_channel::unbounded();
    (NewsSender(sender), receiver)
}

/// Takes the news of one session, [`NEWS`] at a time.
#[derive(Clone)]
pub struct NewsSender(async_channel::Sender<SessionNews>);

/// There was no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow;

impl NewsSender {
    /// # Errors
    /// When [`NEWS`] are waiting. A closed queue is no error.
    pub fn tell(&self, news: SessionNews) -> Result<(), Overflow> {
        // Senders on several threads at once could go above it, by their number.
        if self.0.len() >= NEWS && !self.0.is_closed() {
            return Err(Overflow);
        }
        let _ = self.0.try_send(news);
        Ok(())
    }

    /// Whether less important news should be left out.
    pub fn is_scarce(&self) -> bool {
        self.0.len() >= NEWS_FOR_STATE
    }
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionNews {
    /// A QR code to scan, instead of the one before.
    Qr {
        code: String,
        /// Milliseconds until the next one.
        lasts: Millis,
    },
    QrExhausted,
    /// WhatsApp asks for a passkey before it goes on.
    Passkey(PasskeyNews),
    /// This account cannot be linked by this version, in words.
    Unlinkable(String),
    /// The phone accepted this device.
    Paired {
        jid: String,
        lid: Option<String>,
    },
    /// Logged in and in sync.
    LoggedIn,
    /// Logged in; what is missing, in words.
    Usable(&'static str),
    /// The pairing is over, in words.
    LoggedOut(String),
    /// WhatsApp does not accept the version of WhatsApp Web that was claimed.
    Outdated(Outdated),
    /// WhatsApp bars this account for a while.
    Banned(Ban),
    /// WhatsApp does not serve this client now.
    Unwelcome(Refusal),
    /// The same account was opened elsewhere.
    Replaced,
    PushName(String),
    /// WhatsApp says by itself how a limit on new contacts stands.
    Limit(LimitStatus),
    /// The session cannot go on, in words: the storage failed, or a task panicked.
    Broken(String),
    /// Others received, read or played own messages.
    Receipt {
        /// Where they were sent; a receipt says nothing of messages elsewhere.
        chat: String,
        message_ids: Vec<String>,
        status: DeliveryStatus,
        /// Who did.
        by: String,
    },
    /// A call from that person was rejected by a setting.
    CallRejected(String),
    /// A group of which something is perhaps not known.
    Nameless(String),
    /// Notifications about groups were not delivered: the list of groups is to be asked for.
    GroupsStale,
    /// There are media to fetch.
    MediaWanted,
    /// These media's messages were deleted.
    MediaRemoved(Vec<String>),
}

/// The last error of a session's connection, in words. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    pub fn note(&self, words: String) {
        *locked(&self.0) = Some(words);
    }

    pub fn take(&self) -> Option<String> {
        locked(&self.0).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_news_wait_and_no_more() {
        let (sender, receiver) = news();
        for _ in 0..NEWS_FOR_STATE {
            assert!(!sender.is_scarce());
            assert_eq!(sender.tell(SessionNews::LoggedIn), Ok(()));
        }
        assert!(sender.is_scarce());
        for _ in NEWS_FOR_STATE..NEWS {
            assert_eq!(sender.tell(SessionNews::Replaced), Ok(()));
        }
        assert_eq!(sender.tell(SessionNews::Replaced), Err(Overflow));
        assert_eq!(receiver.try_recv(), Ok(SessionNews::LoggedIn));
        assert_eq!(sender.tell(SessionNews::Replaced), Ok(()));
        drop(receiver);
        assert_eq!(sender.tell(SessionNews::Replaced), Ok(()), "closed");
    }
}
