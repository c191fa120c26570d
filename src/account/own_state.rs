//! Changes of messages that only the account's own devices learn: stars, and deletions for the owner alone.

use crate::clock;
use crate::jid::ChatJid;
use crate::ledger::{Fact, Owner};
use crate::message::{By, Change, Target};
use crate::store::media as media_rows;
use crate::whatsapp::SendFailure;

use super::driver::Handle;
use super::messaging::connected;
use super::registry::Accounts;
use super::types::{AccountError, Outcome, Sent};

impl Accounts {
    /// Makes such a change of a stored message on the account's devices, then here.
    pub(super) async fn share(
        self,
        handle: Handle,
        chat: ChatJid,
        message_id: String,
        change: Change,
    ) -> Result<Outcome, AccountError> {
        let session = connected(&handle)?;
        let target = self.target(&handle, &chat, &message_id)?;
        self.may_change(&handle, &chat, &target, &change)?;
        let shared = match &change {
            Change::Star { on } => session.star(&chat, &target, *on).await,
            _ => session.delete_for_me(&chat, &target).await,
        };
        shared.map_err(|failure| match failure {
            SendFailure::NotConnected => AccountError::NotConnected {
                status: handle.live.get().status,
            },
            other => AccountError::Session(other.to_string()),
        })?;
        let wiring = &self.0.wiring;
        let owner = Owner {
            number: handle.number,
            id: target.account_id.as_str().into(),
        };
        let timestamp = clock::now();
        let by = By {
            from: session.own_jid().unwrap_or_default(),
            from_me: true,
            timestamp,
        };
        let target = Target::of(&target);
        let recorded = owner.write(&wiring.store, move |ledger| {
            let fact = Fact::Changed {
                target: &target,
                by: &by,
                change: &change,
            };
            ledger.record(&fact, timestamp)?;
            Ok(std::mem::take(&mut ledger.after.removed))
        });
        for medium in recorded.await?.unwrap_or_default() {
            if let Some((account, number)) = media_rows::parse_id(&medium) {
                self.0.fetcher.remove(account, number).await;
            }
        }
        Ok(Outcome::Sent(Sent {
            message_id,
            timestamp,
        }))
    }
}
