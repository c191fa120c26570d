//! The groups that an account is in: what is stored of them, and what has to be asked of WhatsApp once.

use serde::Serialize;

use crate::clock;
use crate::jid::ChatJid;
use crate::ledger::Owner;
use crate::store::groups::{
    self, Group, GroupCursor, GroupPage, GroupSummary, Member, MemberView, Snapshot,
};
use crate::store::messages::Part;
use crate::store::{ReadTx, StoreError, accounts as records};
use crate::whatsapp::SendFailure;

use super::driver::Handle;
use super::messaging::connected;
use super::registry::Accounts;
use super::types::AccountError;

/// A group with its members
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Group"))]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    #[serde(flatten)]
    pub summary: GroupSummary,
    /// The account's own role; `null` if the members are not known.
    #[cfg_attr(test, schemars(extend("enum" = ["member", "admin", "owner", null])))]
    pub role: Option<&'static str>,
    /// The link that people join by, if the account has asked for it; see `GET …/groups/:groupId/invite`.
    pub invite_link: Option<String>,
    /// `null` if WhatsApp was not asked yet, and the account is not connected.
    pub members: Option<Vec<MemberView>>,
}

/// What an invite link begins with.
pub const INVITE: &str = "https://chat.whatsapp.com/";

impl Accounts {
    /// The groups that an account is in. WhatsApp is not asked.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub fn groups(&self, id: &str, part: &Part<GroupCursor>) -> Result<GroupPage, AccountError> {
        let account = self.handle(id)?.number;
        let page = self
            .0
            .wiring
            .store
            .read(|tx| groups::list(tx, account, part));
        Ok(page?)
    }

    /// A group with its members. Where they are not known, WhatsApp is asked once; notifications keep them up to date.
    ///
    /// # Errors
    /// [`AccountError::NotFound`]; [`AccountError::GroupNotFound`] if the account is not in it.
    pub async fn group(&self, id: &str, group: &ChatJid) -> Result<GroupView, AccountError> {
        let handle = self.handle(id)?;
        let (found, members) = self.stored(&handle, group)?;
        let members = match members {
            Some(members) => Some(members),
            None => match self.ask_group(id, &handle, group).await {
                Ok(snapshot) => snapshot.members,
                Err(AccountError::NotConnected { .. }) => None,
                Err(error) => return Err(error),
            },
        };
        let account = handle.number;
        let store = &self.0.wiring.store;
        Ok(store.read(|tx| view(tx, account, found, members.as_deref()))?)
    }

    /// Asks WhatsApp about a group, and stores the answer.
    pub(super) async fn ask_group(
        &self,
        id: &str,
        handle: &Handle,
        group: &ChatJid,
    ) -> Result<Snapshot, AccountError> {
        let session = connected(handle)?;
        let asked = clock::now();
        let snapshot = session.one_group(group).await;
        let snapshot = snapshot.map_err(|failure| refused(handle, failure))?;
        let owner = Owner {
            number: handle.number,
            id: id.into(),
        };
        let told = snapshot.clone();
        let stored = owner.write(&self.0.wiring.store, move |ledger| {
            groups::learn(ledger.tx, ledger.account, &told, asked)
        });
        stored.await?;
        Ok(snapshot)
    }

    /// A group that the account is in, with its members if they are known.
    pub(super) fn stored(
        &self,
        handle: &Handle,
        group: &ChatJid,
    ) -> Result<(Group, Option<Vec<Member>>), AccountError> {
        let (account, jid) = (handle.number, group.to_string());
        let found = self.0.wiring.store.read(|tx| {
            let Some(group) = groups::get(tx, account, &jid)? else {
                return Ok(None);
            };
            Ok(Some((group, groups::members(tx, account, &jid)?)))
        });
        found?.ok_or(AccountError::GroupNotFound)
    }
}

fn view(
    tx: &ReadTx<'_>,
    account: u32,
    group: Group,
    members: Option<&[Member]>,
) -> Result<GroupView, StoreError> {
    let record = records::by_number(tx, account)?;
    let own = record.and_then(|record| {
        Member::of_jids(
            [record.jid, record.lid]
                .iter()
                .flatten()
                .map(String::as_str),
        )
    });
    let role = own.and_then(|own| members?.iter().find(|member| member.is(&own)));
    let mut shown = GroupView {
        role: role.map(|member| member.role.name()),
        invite_link: group.invite.as_ref().map(|code| format!("{INVITE}{code}")),
        members: members
            .map(|members| groups::shown(tx, account, members))
            .transpose()?,
        summary: group.summary(tx, account)?,
    };
    if let Some(members) = &shown.members {
        shown.summary.size = u32::try_from(members.len()).unwrap_or(u32::MAX);
    }
    Ok(shown)
}

/// A failed request about a group, as the account's error.
pub(super) fn refused(handle: &Handle, failure: SendFailure) -> AccountError {
    match failure {
        SendFailure::NotConnected => AccountError::NotConnected {
            status: handle.live.get().status,
        },
        SendFailure::Refused {
            code: Some(code),
            words,
        }
        | SendFailure::Later { code, words } => AccountError::GroupRefused { code, words },
        other => AccountError::Session(other.to_string()),
    }
}
