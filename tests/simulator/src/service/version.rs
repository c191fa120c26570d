//! Versions of WhatsApp Web: the current one, the oldest that is served, and those of clients.

use std::collections::VecDeque;

use serde_json::{Value, json};
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use waproto::whatsapp::ClientPayload;

use super::{Service, ib};

/// What every version begins with.
const PREFIX: [u32; 2] = [2, 3000];
/// A revision of late 2026.
const CURRENT: u32 = 1_047_000_000;
/// Logins that are remembered.
const MAX_CLAIMS: usize = 64;

/// See the module's page.
pub(super) struct Versions {
    /// The revision that the version page names.
    current: u32,
    /// The oldest revision that is served.
    oldest: u32,
    /// The expiry of the version that is sent at a login, in Unix seconds.
    expires: Option<u64>,
    /// How often the version page was asked for.
    lookups: u64,
    /// What the last clients called themselves, the oldest first.
    claims: VecDeque<String>,
}

impl Default for Versions {
    /// Every version is served, also revision 0, by which test programs say that it does not matter to them.
    fn default() -> Versions {
        Versions {
            current: CURRENT,
            oldest: 0,
            expires: None,
            lookups: 0,
            claims: VecDeque::new(),
        }
    }
}

/// The changes; absent fields stay as they are.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionChange {
    current: Option<u32>,
    oldest: Option<u32>,
    expires: Option<u64>,
}

/// How the version page goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageFault {
    /// An error page, with the HTTP status that `code` says.
    Refused,
    /// A network's sign-in page comes in its place, with status 200.
    Captive,
    /// The same by a redirect.
    Redirect,
    /// A script that names no revision.
    Changed,
    /// A script that names no revision but the number of its assets.
    Assets,
    /// The script is packed by gzip, although that was not asked for.
    Gzip,
    /// The answer begins and does not go on.
    Stall,
}

impl Service {
    /// Changes which versions are current and served.
    pub fn change_versions(&mut self, change: &VersionChange) {
        let versions = &mut self.versions;
        versions.current = change.current.unwrap_or(versions.current);
        versions.oldest = change.oldest.unwrap_or(versions.oldest);
        versions.expires = change.expires.or(versions.expires);
    }

    /// The versions, how often the page was asked for, and what the last clients called themselves.
    pub fn versions_json(&self) -> Value {
        let versions = &self.versions;
        json!({
            "current": versions.current,
            "oldest": versions.oldest,
            "lookups": versions.lookups,
            "claims": versions.claims,
        })
    }

    /// The version page is asked for: the revision that it names.
    pub fn looked_up(&mut self) -> u32 {
        self.versions.lookups += 1;
        self.versions.current
    }

    /// Whether the version that a client calls itself is served.
    pub(super) fn serves_version(&mut self, payload: &ClientPayload) -> bool {
        let Some(version) = payload
            .user_agent
            .as_option()
            .and_then(|agent| agent.app_version.as_option())
        else {
            return true;
        };
        let parts =
            [version.primary, version.secondary, version.tertiary].map(Option::unwrap_or_default);
        let [primary, secondary, revision] = parts;
        let claims = &mut self.versions.claims;
        if claims.len() == MAX_CLAIMS {
            claims.pop_front();
        }
        claims.push_back(format!("{primary}.{secondary}.{revision}"));
        [primary, secondary] > PREFIX
            || ([primary, secondary] == PREFIX && revision >= self.versions.oldest)
    }

    /// The expiry that a login is sent.
    pub(super) fn expiration(&self) -> Option<Node> {
        let expires = self.versions.expires?;
        let notice = NodeBuilder::new("client_expiration").attr("t", expires);
        Some(ib(notice.build()))
    }
}
