//! People's profiles, the address book, and who is blocked.

use std::sync::Arc;
use std::time::Duration;

use whatsapp_rust::IqError;
use whatsapp_rust::http::HttpRequest;
use whatsapp_rust::wacore::iq::blocklist::UpdateBlocklistSpec;

use super::{Session, wire_jid};
use crate::clock;
use crate::jid::ChatJid;
use crate::sync::within;
use crate::whatsapp::error::SendFailure;
use crate::whatsapp::facts::{Business, Facts, Picture};

/// How long WhatsApp may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a text that a person shows; WhatsApp's own are shorter.
const LONGEST: usize = 4_096;
/// What a business lists, of each.
const LISTED: usize = 16;

impl Session {
    /// What WhatsApp says of a person, or has said within some hours; `None` if it does not answer.
    pub async fn facts(&self, person: &ChatJid) -> Option<Arc<Facts>> {
        if let Some(facts) = self.known_facts(person) {
            return Some(facts);
        }
        let jid = wire_jid(&person.to_string()).ok()?;
        if !self.is_ready() {
            return None;
        }
        let contacts = self.client.contacts();
        let asked = within(TIMEOUT, contacts.get_user_info(std::slice::from_ref(&jid)));
        let found = match asked.await {
            // `None`: not on WhatsApp.
            Some(Ok(found)) => found.into_values().next(),
            Some(Err(error)) => {
                log::debug!("nothing is known of a person: {error}");
                return None;
            }
            None => return None,
        };
        let mut facts = Facts {
            at: clock::now(),
            ..Facts::default()
        };
        if let Some(found) = found {
            if let Some(id) = found.picture_id {
                let shown = within(TIMEOUT, contacts.get_profile_picture(&jid, false)).await;
                let shown = shown.and_then(Result::ok).flatten();
                facts.picture = Some(Picture {
                    id: shown.as_ref().map_or(id, |shown| shown.id.clone()),
                    url: shown.map(|shown| shown.url),
                });
            }
            if found.is_business {
                let profile = within(TIMEOUT, self.client.get_business_profile(&jid)).await;
                let name = found.verified_name.and_then(|verified| verified.name);
                facts.business = Some(business(name, profile.and_then(Result::ok).flatten()));
            }
            facts.about = found.status.and_then(shortened);
            facts.devices = found.devices;
            facts.lid = found.lid.map(|lid| lid.to_non_ad().to_string());
        }
        let facts = Arc::new(facts);
        self.known
            .put(&person.to_string(), Arc::clone(&facts), clock::ticks());
        Some(facts)
    }

    /// What WhatsApp has said of a person within some hours.
    pub fn known_facts(&self, person: &ChatJid) -> Option<Arc<Facts>> {
        self.known.get(&person.to_string(), clock::ticks())
    }

    /// The bytes of a picture; `None` if it is there no more, and then it is asked for anew the next time.
    ///
    /// # Errors
    /// Why it could not be fetched, in words.
    pub async fn picture(&self, person: &ChatJid, url: &str) -> Result<Option<Vec<u8>>, String> {
        let asked = async {
            self.http.check_picture(url).await?;
            self.http.inner().execute(HttpRequest::get(url)).await
        };
        match within(TIMEOUT, asked).await {
            Some(Ok(answer)) if answer.status_code == 200 => Ok(Some(answer.body)),
            Some(Ok(answer)) => {
                log::debug!("a picture is not there: {}", answer.status_code);
                self.known.forget(&person.to_string());
                Ok(None)
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Err("no answer in time".to_owned()),
        }
    }

    /// Writes a person into the address book of all devices; without a name, the entry is emptied. `on_phone`: also into
    /// that of the phone itself.
    ///
    /// # Errors
    /// As `share`'s.
    pub async fn save_contact(
        &self,
        number: &ChatJid,
        name: Option<(String, String)>,
        on_phone: bool,
    ) -> Result<(), SendFailure> {
        let jid = wire_jid(&number.to_string()).map_err(SendFailure::Other)?;
        let (full, first) = name.unzip();
        let actions = self.client.chat_actions();
        self.share(actions.save_contact(&jid, full, first, on_phone))
            .await
    }

    /// Blocks or unblocks a person.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], [`SendFailure::Refused`] with WhatsApp's code, or that there is no answer.
    pub async fn block(
        &self,
        (lid, number): (&str, Option<&str>),
        block: bool,
    ) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let lid = wire_jid(lid).map_err(SendFailure::Other)?;
        let number = number.map(wire_jid).transpose();
        let request = match (block, number.map_err(SendFailure::Other)?) {
            (true, Some(number)) => UpdateBlocklistSpec::block_with_pn(&lid, &number),
            (true, None) => UpdateBlocklistSpec::block(&lid),
            (false, _) => UpdateBlocklistSpec::unblock(&lid),
        };
        answered(within(TIMEOUT, self.client.execute(request)).await)
    }
}

/// What WhatsApp's server answered to a request that sets something.
pub(super) fn answered<T>(answer: Option<Result<T, IqError>>) -> Result<T, SendFailure> {
    match answer {
        Some(Ok(done)) => Ok(done),
        Some(Err(IqError::ServerError { code, text, .. })) => Err(SendFailure::Refused {
            code: Some(code),
            words: format!("WhatsApp refused it (code {code}: {text})"),
        }),
        Some(Err(error)) => {
            log::debug!("a request was not answered: {error}");
            Err(SendFailure::Other("WhatsApp did not answer".into()))
        }
        None => Err(SendFailure::Other("WhatsApp did not answer in time".into())),
    }
}

fn business(
    verified_name: Option<String>,
    profile: Option<whatsapp_rust::wacore::iq::business::BusinessProfile>,
) -> Business {
    let Some(profile) = profile else {
        return Business {
            verified_name,
            ..Business::default()
        };
    };
    let websites = profile.website.into_iter().take(LISTED);
    let categories = profile.categories.into_iter().take(LISTED);
    Business {
        verified_name,
        description: shortened(profile.description),
        email: profile.email.and_then(shortened),
        address: profile.address.and_then(shortened),
        websites: websites.filter_map(shortened).collect(),
        categories: categories.filter_map(|it| shortened(it.name)).collect(),
    }
}

/// A text within bounds; `None` if it is empty.
fn shortened(text: String) -> Option<String> {
    let end = text.floor_char_boundary(LONGEST);
    let text = text.get(..end).unwrap_or_default();
    (!text.is_empty()).then(|| text.to_owned())
}
