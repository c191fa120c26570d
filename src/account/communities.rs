//! Communities: groups that have groups.

use serde::Serialize;

use crate::clock;
use crate::jid::ChatJid;
use crate::store::groups::{self, GroupSummary, Setting};

use super::group_members::words;
use super::groups::{GroupView, refused, view};
use super::messaging::connected;
use super::registry::Accounts;
use super::types::AccountError;

/// A community that the account is in
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Community {
    #[serde(flatten)]
    pub summary: GroupSummary,
    /// Its groups that the account is in.
    pub groups: Vec<GroupSummary>,
}

/// What became of one group
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LinkResult {
    pub group_id: String,
    #[cfg_attr(test, schemars(extend("enum" = ["link", "unlink"])))]
    pub action: &'static str,
    #[cfg_attr(test, schemars(extend("enum" = ["done", "refused"])))]
    pub status: &'static str,
    /// WhatsApp's code.
    pub code: Option<u16>,
    /// Why it was not done.
    pub error: Option<String>,
}

impl Accounts {
    /// The communities that an account is in, with their groups. WhatsApp is not asked.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub fn communities(&self, id: &str) -> Result<Vec<Community>, AccountError> {
        let account = self.handle(id)?.number;
        let found = self.0.wiring.store.read(|tx| {
            let mut found: Vec<Community> = Vec::new();
            let all = groups::all(tx, account)?;
            for group in all.iter().filter(|group| group.is_community) {
                let parts = all
                    .iter()
                    .filter(|part| part.community.as_ref() == Some(&group.jid));
                let parts = parts.map(|part| part.clone().summary(tx, account));
                found.push(Community {
                    groups: parts.collect::<Result<_, _>>()?,
                    summary: group.clone().summary(tx, account)?,
                });
            }
            Ok(found)
        });
        Ok(found?)
    }

    /// Creates a community. WhatsApp adds a group in which its admins write to all.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`].
    pub async fn create_community(
        &self,
        id: &str,
        subject: &str,
        description: Option<&str>,
    ) -> Result<GroupView, AccountError> {
        let handle = self.handle(id)?;
        let made = connected(&handle)?
            .create_community(subject, description)
            .await;
        let made = made.map_err(|failure| refused(&handle, failure))?;
        let (told, now) = (made.clone(), clock::now());
        self.change_stored(id, &handle, move |ledger| {
            groups::learn(ledger.tx, ledger.account, &told, now)
        })
        .await?;
        let (account, store) = (handle.number, &self.0.wiring.store);
        Ok(store.read(|tx| view(tx, account, made.group, made.members.as_deref()))?)
    }

    /// Takes groups into a community (`link`), or out of it. One result for each.
    ///
    /// # Errors
    /// [`AccountError::GroupRefused`] if WhatsApp refuses the whole.
    pub async fn link_groups(
        &self,
        id: &str,
        community: &ChatJid,
        link: bool,
        parts: Vec<ChatJid>,
    ) -> Result<Vec<LinkResult>, AccountError> {
        let handle = self.handle(id)?;
        let session = connected(&handle)?;
        self.stored(&handle, community)?;
        let outcomes = session.link_groups(community, link, &parts).await;
        let outcomes = outcomes.map_err(|failure| refused(&handle, failure))?;
        let mut results = Vec::with_capacity(parts.len());
        for part in parts.iter().map(ToString::to_string) {
            let outcome = outcomes.iter().find(|(jid, _)| *jid == part);
            let code = outcome.and_then(|(_, code)| *code);
            if code.is_none() {
                let (jid, parent) = (part.clone(), link.then(|| community.to_string()));
                self.change_stored(id, &handle, move |ledger| {
                    let setting = Setting::Community(parent.clone());
                    groups::change(ledger.tx, ledger.account, &jid, |group| {
                        setting.apply(group)
                    })
                })
                .await?;
            }
            results.push(LinkResult {
                group_id: part,
                action: if link { "link" } else { "unlink" },
                status: if code.is_some() { "refused" } else { "done" },
                code,
                error: code.map(|code| match code {
                    403 => words("this account is not an admin of both", code),
                    404 => words(
                        "the group is not in this community, or there is no such group",
                        code,
                    ),
                    409 => words("the group is part of a community already", code),
                    419 => words("the community is full", code),
                    _ => format!("WhatsApp refused (code {code})"),
                }),
            });
        }
        Ok(results)
    }
}
