//! Whether numbers are on WhatsApp.

use crate::clock;
use crate::jid::ChatJid;
use crate::sync::locked;
use crate::whatsapp::Registration;

use super::messaging::connected;
use super::registry::Accounts;
use super::types::{AccountError, Checked};

/// Numbers in one query.
const AT_ONCE: usize = 50;

impl Accounts {
    /// Whether people are on WhatsApp, in their order. WhatsApp is asked about those that it was not asked about within a
    /// day.
    ///
    /// # Errors
    /// [`AccountError::NotFound`]; [`AccountError::NotConnected`] or [`AccountError::TooManyChecks`] if WhatsApp has to be
    /// asked and cannot be; nothing is asked then.
    pub async fn check(&self, id: &str, people: &[ChatJid]) -> Result<Vec<Checked>, AccountError> {
        let handle = self.handle(id)?;
        let live = &handle.live;
        let mut found: Vec<Option<Registration>> = {
            let known = locked(&live.registrations);
            let now = clock::ticks();
            people
                .iter()
                .map(|person| known.get(&person.to_string(), now))
                .collect()
        };
        let unknown: Vec<usize> = (0..people.len())
            .filter(|at| found[*at].is_none())
            .collect();
        if !unknown.is_empty() {
            let session = connected(&handle)?;
            locked(&live.look_ups)
                .check(unknown.len(), clock::ticks())
                .map_err(|retry_after| AccountError::TooManyChecks { retry_after })?;
            for part in unknown.chunks(AT_ONCE) {
                let asked: Vec<ChatJid> = part.iter().map(|at| people[*at].clone()).collect();
                let answers = session.look_up_all(&asked).await;
                // Where one query has no answer, the next ones would wait in vain, too.
                let is_silent = answers.iter().all(Option::is_none);
                let mut known = locked(&live.registrations);
                for (at, answer) in part.iter().zip(answers) {
                    if let Some(answer) = &answer {
                        known.put(&people[*at].to_string(), answer.clone(), clock::ticks());
                    }
                    found[*at] = answer;
                }
                if is_silent {
                    break;
                }
            }
        }
        Ok(found.into_iter().map(checked).collect())
    }
}

fn checked(registration: Option<Registration>) -> Checked {
    match registration {
        Some(Registration::Present { jid, lid }) => Checked::Present {
            jid: jid.to_string(),
            lid: lid.map(|lid| lid.to_string()),
        },
        Some(Registration::Absent) => Checked::Absent,
        None => Checked::Unanswered,
    }
}
