//! What is known of WhatsApp Web's version, and when to ask again. Pure.

use crate::clock::Millis;
use crate::store::web_version::WebVersion;

use super::number::{BUILT_IN, Version};
use super::page::Unknown;

/// How long a version that was looked up counts as the current one.
const FRESH: Millis = 24 * 60 * 60_000;
/// The least time between two lookups, but for the one that a refusal asks for: less than the first pause after
/// it (`account::outdated`).
const AGAIN: Millis = 4 * 60_000;

/// See the module's page. Times are [`clock::ticks`](crate::clock::ticks), but for stamps in the store.
#[derive(Debug, Default)]
pub struct Known {
    /// What WhatsApp named last, in this run or an earlier one.
    found: Option<WebVersion>,
    /// When this run looked it up, if it did.
    found_at: Option<Millis>,
    /// When the last lookup of this run ended.
    looked_at: Option<Millis>,
    /// Why it failed, if it did.
    pub failing: Option<Unknown>,
    refused: Option<Refused>,
}

/// WhatsApp has refused a version.
#[derive(Debug, Clone, Copy)]
struct Refused {
    version: Version,
    /// When it did so first.
    since: Millis,
    /// Whether it has named the same version as the current one since.
    is_current: bool,
}

impl Known {
    /// At the start of a run, with what the store has of an earlier one.
    pub fn of(found: Option<WebVersion>) -> Known {
        Known {
            found,
            ..Known::default()
        }
    }

    /// Whether to look up before the next connection; `now` is the server's time.
    pub fn is_due(&self, ticks: Millis, now: Millis) -> bool {
        let has_rested = |at: Millis| ticks.saturating_sub(at) >= AGAIN;
        let Some(looked_at) = self.looked_at else {
            return self.refused.is_some() || !self.is_fresh(ticks, now);
        };
        match self.refused {
            Some(refused) => looked_at <= refused.since || has_rested(looked_at),
            None => !self.is_fresh(ticks, now) && has_rested(looked_at),
        }
    }

    fn is_fresh(&self, ticks: Millis, now: Millis) -> bool {
        if let Some(at) = self.found_at {
            return ticks.saturating_sub(at) < FRESH;
        }
        // A stamp of the future was made by a wrong clock.
        self.found
            .and_then(|found| now.checked_sub(found.at))
            .is_some_and(|age| age < FRESH)
    }

    /// Takes what a lookup has given; and returns the version to store, if it is a new one.
    pub fn looked_up(
        &mut self,
        answer: Result<Version, Unknown>,
        ticks: Millis,
        now: Millis,
    ) -> Option<WebVersion> {
        self.looked_at = Some(ticks);
        match answer {
            Ok(version) => {
                self.failing = None;
                match &mut self.refused {
                    Some(refused) if refused.version == version => refused.is_current = true,
                    refused => *refused = None,
                }
                let found = WebVersion {
                    version: version.0,
                    at: now,
                };
                self.found = Some(found);
                self.found_at = Some(ticks);
                Some(found)
            }
            Err(why) => {
                self.failing = Some(why);
                None
            }
        }
    }

    /// WhatsApp does not accept that version.
    pub fn refuse(&mut self, version: Version, ticks: Millis) {
        if self
            .refused
            .is_none_or(|refused| refused.version != version)
        {
            self.refused = Some(Refused {
                version,
                since: ticks,
                is_current: false,
            });
        }
    }

    /// WhatsApp has said when it will no longer accept that version: the next connection asks for a newer one.
    pub fn expire(&mut self, version: Version) {
        if let Some(found) = self
            .found
            .as_mut()
            .filter(|found| found.version == version.0)
        {
            found.at = 0;
            self.found_at = None;
        }
    }

    /// The version to speak: the newer one of what was looked up and what is built in. One that was refused, and
    /// that WhatsApp does not call the current one, gives way to the other.
    pub fn best(&self) -> Version {
        let found = self.found.map(|found| Version(found.version));
        let newest = found.unwrap_or(BUILT_IN).max(BUILT_IN);
        let is_refused = self
            .refused
            .is_some_and(|refused| refused.version == newest && !refused.is_current);
        match (is_refused, found) {
            (true, Some(found)) => found.min(BUILT_IN),
            _ => newest,
        }
    }

    /// The error of an account whose version was refused.
    pub fn words(&self, version: Version) -> String {
        let named = self
            .refused
            .is_some_and(|refused| refused.version == version && refused.is_current);
        match &self.failing {
            Some(why) => format!(
                "WhatsApp no longer accepts version {version} of WhatsApp Web (405), and the current one could not \
                 be looked up ({why}): set whatsapp.version, or update wildcat"
            ),
            None if named => format!(
                "WhatsApp does not accept version {version} of WhatsApp Web (405), though it names it as the current \
                 one: an update of wildcat may help"
            ),
            None => format!(
                "WhatsApp no longer accepts version {version} of WhatsApp Web (405): the current one is looked up"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Millis = 60 * 60_000;
    const NOW: Millis = 1_800_000_000_000;

    fn version(revision: u32) -> Version {
        Version((2, 3000, revision))
    }

    fn stored(version: Version, at: Millis) -> Known {
        let version = version.0;
        Known::of(Some(WebVersion { version, at }))
    }

    fn gone() -> Unknown {
        Unknown::Status(403)
    }

    #[test]
    fn it_is_looked_up_once_a_day_and_after_a_failure_not_at_once() {
        let mut known = Known::default();
        assert!(known.is_due(0, NOW));
        assert_eq!(known.best(), BUILT_IN);
        assert_eq!(known.looked_up(Err(gone()), 1, NOW), None);
        assert_eq!((known.best(), &known.failing), (BUILT_IN, &Some(gone())));
        assert!(!known.is_due(AGAIN, NOW));
        assert!(known.is_due(AGAIN + 1, NOW));
        let newer = version(2_000_000_000);
        let kept = known.looked_up(Ok(newer), AGAIN + 1, NOW);
        assert_eq!(kept.map(|kept| kept.version), Some(newer.0));
        assert_eq!((known.best(), &known.failing), (newer, &None));
        // Whatever happens to the clock meanwhile.
        assert!(!known.is_due(AGAIN + FRESH, NOW + 2 * FRESH));
        assert!(known.is_due(AGAIN + 1 + FRESH, NOW));
    }

    #[test]
    fn one_of_an_earlier_run_is_used_until_it_is_old() {
        let newer = version(2_000_000_000);
        let mut known = stored(newer, NOW);
        assert!(!known.is_due(0, NOW + HOUR));
        assert!(known.is_due(0, NOW + FRESH));
        assert!(known.is_due(0, NOW - 1), "stamped by a wrong clock");
        known.looked_up(Err(gone()), 0, NOW + 10 * FRESH);
        assert_eq!(known.best(), newer, "the last good one");
        assert_eq!(stored(version(7), NOW).best(), BUILT_IN, "of an update");
    }

    #[test]
    fn a_refusal_asks_at_once_and_once_for_all_accounts() {
        let (old, newer) = (version(2_000_000_000), version(2_000_000_001));
        let mut known = stored(old, NOW);
        known.looked_up(Ok(old), 10, NOW);
        known.refuse(old, 20);
        assert!(known.is_due(20, NOW));
        known.looked_up(Ok(newer), 30, NOW);
        assert!(!known.is_due(40, NOW));
        assert_eq!(known.best(), newer);
        // Another account was on its way with the old one.
        known.refuse(old, 50);
        assert_eq!(known.best(), newer);
    }

    #[test]
    fn a_refusal_that_goes_on_asks_again_after_a_pause() {
        let old = version(2_000_000_000);
        let mut known = stored(old, NOW);
        known.refuse(old, 20);
        assert!(known.words(old).contains("is looked up"));
        known.looked_up(Ok(old), 30, NOW);
        assert_eq!(known.best(), old, "there is none that is newer");
        assert!(known.words(old).contains("names it as the current one"));
        for account in 31..40 {
            known.refuse(old, account);
            assert!(!known.is_due(account, NOW));
        }
        assert!(known.is_due(30 + AGAIN, NOW));
        known.looked_up(Err(gone()), 30 + AGAIN, NOW);
        assert!(known.words(old).contains("403"), "{}", known.words(old));
    }

    #[test]
    fn without_an_answer_the_other_one_is_tried() {
        let odd = version(4_000_000_000);
        let mut known = stored(odd, NOW);
        known.refuse(odd, 1);
        known.looked_up(Err(gone()), 2, NOW);
        assert_eq!(known.best(), BUILT_IN);
        known.refuse(BUILT_IN, 3);
        assert_eq!(known.best(), odd);
        let mut known = Known::default();
        known.refuse(BUILT_IN, 1);
        assert_eq!(known.best(), BUILT_IN, "there is no other");
    }

    #[test]
    fn a_version_that_will_end_is_looked_up_before_its_day_is_over() {
        let newer = version(2_000_000_000);
        let mut known = stored(newer, NOW);
        known.expire(version(2_000_000_001));
        assert!(!known.is_due(0, NOW));
        known.expire(newer);
        assert!(known.is_due(0, NOW));
        assert_eq!(known.best(), newer);
    }
}
