//! What the account shows of itself, and to whom.

use std::collections::BTreeMap;

use whatsapp_rust::usync::{
    UsyncContext, UsyncMode, UsyncOutcome, UsyncProtocol, UsyncProtocolKind, UsyncProtocolResult,
    UsyncQuery, UsyncUser,
};
use whatsapp_rust::wacore::iq::contacts::SetProfilePictureSpec;
use whatsapp_rust::wacore::iq::privacy::{PrivacyCategory, PrivacyValue};
use whatsapp_rust::wacore::iq::profile::SetStatusTextSpec;

use super::contacts::{TIMEOUT, answered};
use super::{Session, wire_jid};
use crate::sync::within;
use crate::whatsapp::error::SendFailure;
use crate::whatsapp::news::SessionNews;

impl Session {
    /// Sets the name that others see.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], or that it could not be sent.
    pub async fn set_name(&self, name: &str) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        match within(TIMEOUT, self.client.profile().set_push_name(name)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(SendFailure::Other(error.to_string())),
            None => return Err(SendFailure::Other("WhatsApp did not answer in time".into())),
        }
        // Full: the next login says it.
        let _ = self.news.tell(SessionNews::PushName(name.to_owned()));
        Ok(())
    }

    /// Sets the about text.
    ///
    /// # Errors
    /// [`SendFailure::NotConnected`], [`SendFailure::Refused`] with WhatsApp's code, or that there is no answer.
    pub async fn set_about(&self, text: &str) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let asked = self.client.execute(SetStatusTextSpec::new(text));
        answered(within(TIMEOUT, asked).await)?;
        self.forget_own();
        Ok(())
    }

    /// Sets the picture, a JPEG; an empty one removes it.
    ///
    /// # Errors
    /// As [`Session::set_about`].
    pub async fn set_picture(&self, jpeg: Vec<u8>) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let asked = self.client.execute(SetProfilePictureSpec::for_own(jpeg));
        answered(within(TIMEOUT, asked).await)?;
        self.forget_own();
        Ok(())
    }

    fn forget_own(&self) {
        for jid in [self.own_jid(), self.own_lid()].into_iter().flatten() {
            self.known.forget(&jid);
        }
    }

    /// The privacy settings, by WhatsApp's names: known since the login, or asked for.
    ///
    /// # Errors
    /// As [`Session::set_about`].
    pub async fn privacy(&self) -> Result<BTreeMap<String, String>, SendFailure> {
        if let Some(settings) = self.privacy.settings() {
            return Ok(settings);
        }
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        // The answer is read where it comes in.
        answered(within(TIMEOUT, self.client.fetch_privacy_settings()).await)?;
        Ok(self.privacy.settings().unwrap_or_default())
    }

    /// Sets one of them; both are WhatsApp's words.
    ///
    /// # Errors
    /// As [`Session::set_about`].
    pub async fn set_privacy(&self, name: &str, value: &str) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let (category, wanted) = (PrivacyCategory::from(name), PrivacyValue::from(value));
        let asked = self.client.set_privacy_setting(category, wanted);
        answered(within(TIMEOUT, asked).await)?;
        self.privacy.learn(name, value);
        Ok(())
    }

    /// Seconds after which messages disappear in chats that the account begins; 0: they stay.
    ///
    /// # Errors
    /// As [`Session::set_about`].
    pub async fn default_timer(&self) -> Result<u32, SendFailure> {
        if let Some(seconds) = self.privacy.timer() {
            return Ok(seconds);
        }
        let own = self.own_jid().filter(|_| self.is_ready());
        let own = own.ok_or(SendFailure::NotConnected)?;
        let user = UsyncUser::from_jid(wire_jid(&own).map_err(SendFailure::Other)?);
        let query = UsyncQuery::new(
            UsyncMode::Query,
            UsyncContext::Interactive,
            vec![UsyncProtocol::DisappearingMode],
            vec![user],
        );
        let query = query.map_err(|error| SendFailure::Other(error.to_string()))?;
        let found = answered(within(TIMEOUT, self.client.query_usync(query)).await)?;
        let user = found.users.first();
        let seconds = match user.and_then(|it| it.protocol(UsyncProtocolKind::DisappearingMode)) {
            Some(UsyncProtocolResult::DisappearingMode(UsyncOutcome::Value(mode))) => {
                mode.duration_seconds
            }
            _ => 0,
        };
        self.privacy.learn_timer(seconds);
        Ok(seconds)
    }

    /// Sets it.
    ///
    /// # Errors
    /// As [`Session::set_about`].
    pub async fn set_default_timer(&self, seconds: u32) -> Result<(), SendFailure> {
        if !self.is_ready() {
            return Err(SendFailure::NotConnected);
        }
        let asked = self.client.set_default_disappearing_mode(seconds);
        answered(within(TIMEOUT, asked).await)?;
        self.privacy.learn_timer(seconds);
        Ok(())
    }

    /// The number of this device among the account's; 0 is the phone.
    pub fn own_device(&self) -> Option<u16> {
        self.client.pn().map(|jid| jid.device)
    }
}
