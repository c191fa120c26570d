//! Ads and links that led to a chat: WhatsApp's clients show them above the first message.

use serde::{Deserialize, Serialize};

use super::bounds::{self, cut_some};
use super::wire::wa;

/// What led to the chat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "camelCase")]
pub struct Referral {
    /// `ad` or `post`, in WhatsApp's words.
    pub source_type: Option<String>,
    /// Meta's id of the ad or post.
    pub source_id: Option<String>,
    pub source_url: Option<String>,
    pub headline: Option<String>,
    pub body: Option<String>,
    /// Meta's click id (`ctwa_clid`).
    pub click_id: Option<String>,
    /// Where it was shown, such as `facebook` or `instagram`.
    pub app: Option<String>,
    /// How the chat was opened, such as `ctwa_ad`.
    pub entry_point: Option<String>,
}

impl Referral {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        let Referral {
            source_type,
            source_id,
            source_url,
            headline,
            body,
            click_id,
            app,
            entry_point,
        } = self;
        let mut over = false;
        for part in [
            source_type,
            source_id,
            source_url,
            headline,
            body,
            click_id,
            app,
            entry_point,
        ] {
            over |= cut_some(part, 2 * bounds::LINE);
        }
        over
    }
}

/// `None` if the context names neither an ad nor a click. A preview of a link alone is none.
pub(super) fn read(context: &wa::ContextInfo) -> Option<Referral> {
    let ad = &context.external_ad_reply;
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let entry_point =
        some(&context.entry_point_conversion_source).filter(|from| from.contains("ctwa"));
    let is_referral =
        entry_point.is_some() || some(&ad.source_id).is_some() || some(&ad.ctwa_clid).is_some();
    is_referral.then(|| Referral {
        source_type: some(&ad.source_type),
        source_id: some(&ad.source_id),
        source_url: some(&ad.source_url),
        headline: some(&ad.title),
        body: some(&ad.body),
        click_id: some(&ad.ctwa_clid),
        app: some(&ad.source_app).or_else(|| some(&context.entry_point_conversion_app)),
        entry_point,
    })
}
