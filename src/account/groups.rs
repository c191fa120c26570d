//! The groups that an account is in: what is stored of them, and what has to be asked of WhatsApp once.

use serde::Serialize;

use crate::clock;
use crate::jid::ChatJid;
use crate::ledger::{Ledger, Owner};
use crate::store::groups::{
    self, Group, GroupCursor, GroupPage, GroupSummary, Member, MemberView, Setting, Snapshot,
};
use crate::store::messages::{self, Part};
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

/// The answer to following an invite link
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Joining {
    pub group_id: String,
    /// `joined`, or `requested` where an admin has to approve it.
    #[cfg_attr(test, schemars(extend("enum" = ["joined", "requested"])))]
    pub status: &'static str,
}

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

    /// Changes properties of a group, one after the other.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`] with the first that WhatsApp refuses; those before have changed.
    pub async fn change_group(
        &self,
        id: &str,
        group: &ChatJid,
        settings: Vec<Setting>,
    ) -> Result<GroupView, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        self.stored(&handle, group)?;
        for setting in settings {
            let known = self.stored(&handle, group)?.0.description_id;
            let mut set = session.set_group(group, &setting, known.as_deref()).await;
            let is_stale = matches!(
                &set,
                Err(SendFailure::Refused {
                    code: Some(409),
                    ..
                })
            );
            if is_stale && matches!(setting, Setting::Description(..)) {
                // Another device changed it: its id is asked for.
                let now = self.ask_group(id, &handle, group).await?;
                let known = now.group.description_id;
                set = session.set_group(group, &setting, known.as_deref()).await;
            }
            set.map_err(|failure| refused(&handle, failure))?;
            self.apply(id, &handle, group, setting).await?;
        }
        self.group(id, group).await
    }

    /// Changes what is stored of a group. The event comes with WhatsApp's notification.
    async fn apply(
        &self,
        id: &str,
        handle: &Handle,
        group: &ChatJid,
        setting: Setting,
    ) -> Result<(), AccountError> {
        let (jid, now) = (group.to_string(), clock::now());
        self.change_stored(id, handle, move |ledger| {
            let (tx, account) = (&mut *ledger.tx, ledger.account);
            match &setting {
                Setting::Subject(subject) => drop(messages::set_name(tx, account, &jid, subject)?),
                Setting::Ephemeral(seconds) => {
                    messages::set_timer(tx, account, &jid, *seconds, now)?;
                }
                _ => {}
            }
            groups::change(tx, account, &jid, |group| match &setting {
                // Its id, which the client has made up, comes with the notification.
                Setting::Description(_, text) => group.description.clone_from(text),
                setting => setting.apply(group),
            })
        })
        .await
    }

    pub(super) async fn change_stored(
        &self,
        id: &str,
        handle: &Handle,
        job: impl FnMut(&mut Ledger<'_, '_>) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), AccountError> {
        let owner = Owner {
            number: handle.number,
            id: id.into(),
        };
        Ok(owner.write(&self.0.wiring.store, job).await.map(drop)?)
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// [`AccountError::GroupNotFound`]; [`AccountError::GroupRefused`].
    pub async fn leave_group(&self, id: &str, group: &ChatJid) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        self.stored(&handle, group)?;
        let left = session.leave_group(group).await;
        left.map_err(|failure| refused(&handle, failure))?;
        let jid = group.to_string();
        self.change_stored(id, &handle, move |ledger| {
            groups::remove(ledger.tx, ledger.account, &jid).map(drop)
        })
        .await
    }

    /// The invite link of a group; with `reset` a new one, and the one before works no more.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`]: only admins get it.
    pub async fn invite_link(
        &self,
        id: &str,
        group: &ChatJid,
        reset: bool,
    ) -> Result<String, AccountError> {
        let handle = self.handle(id)?;
        let known = self.stored(&handle, group)?.0.invite;
        let code = match known.filter(|_| !reset) {
            Some(code) => code,
            None => {
                let session = connected(&handle)?;
                let asked = session.invite_code(group, reset).await;
                let code = asked.map_err(|failure| refused(&handle, failure))?;
                let (jid, invite) = (group.to_string(), code.clone());
                self.change_stored(id, &handle, move |ledger| {
                    groups::change(ledger.tx, ledger.account, &jid, |group| {
                        group.invite = Some(invite.clone());
                    })
                })
                .await?;
                code
            }
        };
        Ok(groups::link(&code))
    }

    /// The group to which an invite link leads.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`] for a link that leads to none.
    pub async fn invitation(&self, id: &str, code: &str) -> Result<GroupSummary, AccountError> {
        let handle = self.handle(id)?;
        let found = connected(&handle)?.invitation(code).await;
        let found = found.map_err(|failure| refused(&handle, failure))?;
        let (account, store) = (handle.number, &self.0.wiring.store);
        Ok(store.read(|tx| found.group.summary(tx, account))?)
    }

    /// Joins a group by its invite link, or asks its admins.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`].
    pub async fn join_group(&self, id: &str, code: &str) -> Result<Joining, AccountError> {
        let handle = self.handle(id)?;
        let joined = connected(&handle)?.join_group(code).await;
        let (group_id, waits) = joined.map_err(|failure| refused(&handle, failure))?;
        let status = if waits { "requested" } else { "joined" };
        Ok(Joining { group_id, status })
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

pub(super) fn view(
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
        invite_link: group.invite.as_deref().map(groups::link),
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
