//! What WhatsApp says of people, kept for some hours: its own clients ask when a profile is opened, and look again when a
//! notification says that it changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;

use crate::clock::Millis;
use crate::sync::locked;

/// How long an answer holds.
const LIFE: Millis = 6 * 3_600_000;
/// People that are kept for each session, some 500 bytes each; the oldest goes first.
const MOST: usize = 256;

/// What a person shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The about text; `None` for one that is hidden or empty.
    pub about: Option<String>,
    pub picture: Option<Picture>,
    pub business: Option<Business>,
    /// The person's LID, where the number's JID was asked about.
    pub lid: Option<String>,
    /// The numbers of the linked devices; 0 is the phone.
    pub devices: Vec<u16>,
    /// When WhatsApp said so, by [`crate::clock::now`].
    pub at: Millis,
}

/// A picture of a person
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Picture {
    /// Another one for each picture.
    pub id: String,
    /// Where it is at WhatsApp, for some days. `GET …/picture` gives the bytes.
    pub url: Option<String>,
}

/// What a business says of itself
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Business {
    /// The name that WhatsApp has verified.
    pub verified_name: Option<String>,
    pub description: Option<String>,
    pub email: Option<String>,
    pub address: Option<String>,
    pub websites: Vec<String>,
    pub categories: Vec<String>,
}

/// The answers of one session, by the JID that was asked about. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<Answers>>);

/// When each was given, and what it says.
type Answers = HashMap<String, (Millis, Arc<Facts>)>;

impl Known {
    /// The answer about `jid` that still holds at time `now`, by [`crate::clock::ticks`].
    pub fn get(&self, jid: &str, now: Millis) -> Option<Arc<Facts>> {
        let known = locked(&self.0);
        let (at, facts) = known.get(jid)?;
        (now.saturating_sub(*at) < LIFE).then(|| Arc::clone(facts))
    }

    /// Keeps an answer that was given at time `now`.
    pub fn put(&self, jid: &str, facts: Arc<Facts>, now: Millis) {
        let mut known = locked(&self.0);
        if known.len() >= MOST && !known.contains_key(jid) {
            let oldest = known.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(jid) = oldest.map(|(jid, _)| jid.clone()) {
                known.remove(&jid);
            }
        }
        known.insert(jid.to_owned(), (now, facts));
    }

    /// A person, by either JID, shows something else than before.
    pub fn forget(&self, jid: &str) {
        let is_of = |key: &String, facts: &Facts| key == jid || facts.lid.as_deref() == Some(jid);
        locked(&self.0).retain(|key, (_, facts)| !is_of(key, facts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_hold_for_hours_and_the_newest_are_kept() {
        let known = Known::default();
        known.put("a", Arc::default(), 1_000);
        assert!(known.get("a", 1_000 + LIFE - 1).is_some());
        assert!(known.get("a", 1_000 + LIFE).is_none());
        let bob = Facts {
            lid: Some("955@lid".to_owned()),
            ..Facts::default()
        };
        known.put("b", Arc::new(bob), 1_000);
        known.forget("955@lid");
        assert!(known.get("b", 1_000).is_none() && known.get("a", 1_000).is_some());
        known.forget("a");
        for n in 0..2 * MOST {
            known.put(&n.to_string(), Arc::default(), n as Millis);
        }
        assert_eq!(locked(&known.0).len(), MOST);
        let now = 2 * MOST as Millis;
        assert!(known.get(&MOST.to_string(), now).is_some() && known.get("0", now).is_none());
    }
}
