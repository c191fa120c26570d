//! What a driver asks WhatsApp about groups: all of them once a day at most, when it connects; one of which something came
//! that is not known.

use crate::clock::{self, Millis};
use crate::jid::ChatJid;
use crate::runtime::tasks::{self, Kind};
use crate::store::{groups, messages};

use super::Driver;

/// Groups that are remembered as asked for.
const ASKED: usize = 1024;
/// Chats that are looked at for groups without a subject when a connection is made.
const NAMELESS: usize = 64;
/// How long the list of groups counts as complete: notifications change it, and WhatsApp's server says when it has lost
/// some.
const COMPLETE_FOR: Millis = 24 * 3_600_000;

impl Driver {
    /// Asks for the list of the account's groups, unless that was done within a day; `anyway`: it is known to be out of date.
    pub(super) fn ask_groups(&mut self, anyway: bool) {
        let Some(running) = &self.session else {
            return;
        };
        let (account, now) = (self.number, clock::now());
        let asked = self.wiring.store.read(|tx| groups::asked_at(tx, account));
        let is_recent = |at: Millis| at <= now && now - at < COMPLETE_FOR;
        if !anyway && matches!(asked, Ok(Some(at)) if is_recent(at)) {
            return;
        }
        let session = running.session.clone();
        let (store, owner) = (self.wiring.store.clone(), self.owner());
        let ask = async move {
            let found = match session.all_groups().await {
                Ok(found) => found,
                Err(failure) => {
                    log::info!("{}: the groups are not known yet: {failure}", owner.id);
                    return;
                }
            };
            let stored = owner.write(&store, move |ledger| {
                groups::learn_all(ledger.tx, ledger.account, &found, now)
            });
            if let Err(error) = stored.await {
                log::error!("{}: the groups could not be stored: {error}", owner.id);
            }
        };
        tasks::guard(&self.wiring.executor, Kind::Errand, "the groups", ask).detach();
    }

    /// Asks for the subjects of groups in which something was said, and that have none: what was asked
    /// before was perhaps not answered.
    pub(super) fn ask_missing_subjects(&mut self) {
        let account = self.number;
        let read = self
            .wiring
            .store
            .read(|tx| messages::nameless_groups(tx, account, NAMELESS));
        match read {
            Ok(groups) => groups.into_iter().for_each(|group| self.ask_group(group)),
            Err(error) => log::error!("{}: groups could not be read: {error}", self.id),
        }
    }

    /// Asks about a group that is not known, once for each group and session.
    pub(super) fn ask_group(&mut self, group: String) {
        let (Some(running), Ok(jid)) = (&self.session, ChatJid::parse(&group)) else {
            return;
        };
        let account = self.number;
        let known = self.wiring.store.read(|tx| {
            let has_name = messages::names(tx, account, &group)?.title.is_some();
            Ok(has_name && groups::get(tx, account, &group)?.is_some())
        });
        if known.is_ok_and(|known| known) {
            return;
        }
        if self.asked.len() >= ASKED {
            self.asked.clear();
        }
        if !self.asked.insert(group.clone()) {
            return;
        }
        let session = running.session.clone();
        let (store, owner) = (self.wiring.store.clone(), self.owner());
        let ask = async move {
            // What is told meanwhile is newer.
            let asked = clock::now();
            let snapshot = match session.one_group(&jid).await {
                Ok(snapshot) => snapshot,
                Err(failure) => {
                    log::debug!("nothing is known of a group: {failure}");
                    return;
                }
            };
            let stored = owner.write(&store, move |ledger| {
                groups::learn(ledger.tx, ledger.account, &snapshot, asked)
            });
            if let Err(error) = stored.await {
                log::error!("{}: a group could not be stored: {error}", owner.id);
            }
        };
        tasks::guard(&self.wiring.executor, Kind::Errand, "a group", ask).detach();
    }

    /// Has the list of groups asked for by the next pairing.
    pub(super) async fn forget_groups(&self) {
        let forgotten = self.owner().write(&self.wiring.store, |ledger| {
            groups::forget_asked(ledger.tx, ledger.account)
        });
        if let Err(error) = forgotten.await {
            log::error!("{}: the groups could not be forgotten: {error}", self.id);
        }
    }
}
