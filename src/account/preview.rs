//! Gives a text the preview of its link before it goes.

use std::io::Write as _;

use surf::http::Url;

use crate::message::{LinkPreview, Message};
use crate::store::messages;
use crate::sync::within;

use super::previews::{Found, PAGE_TIME, Previews, TIME};
use super::sender::Sending;

impl Sending {
    /// A message with the preview of its link, fetched now if it is to have one; stored so, for it may go again.
    pub(super) async fn with_preview(&self, message: Message) -> Message {
        let Some(preview) = message.link_preview.clone() else {
            return message;
        };
        if !preview.pending {
            return message;
        }
        let previews = &self.fetcher.wiring.previews;
        let found = match previews.known(&preview.url) {
            Some(found) => found,
            None => {
                let found = self.look_at(previews, &preview.url).await;
                previews.keep(&preview.url, found.clone());
                found
            }
        };
        let complete = found.map(|found| LinkPreview {
            url: preview.url,
            title: Some(found.title),
            description: found.description,
            image: found.image,
            pending: false,
        });
        let (account, id, stored) = (self.account, message.message_id.clone(), complete.clone());
        let written = self.store().write(move |tx| {
            messages::update(tx, account, &id, |message| {
                message.link_preview.clone_from(&stored);
            })
        });
        if let Err(error) = written.await {
            log::warn!("{}: the preview of a link is not stored: {error}", self.id);
        }
        Message {
            link_preview: complete,
            ..message
        }
    }

    async fn look_at(&self, previews: &Previews, url: &str) -> Option<Found> {
        let url = Url::parse(url).ok()?;
        let (url, page) = within(PAGE_TIME, previews.page(url)).await??;
        let title = page.title?;
        let image = async {
            let url = url.join(&page.image?).ok()?;
            let bytes = previews.image(url).await?;
            let spool = self.fetcher.wiring.spool.clone();
            let spooled = smol::unblock(move || {
                let (spooled, mut file) = spool.create().ok()?;
                file.write_all(&bytes).ok()?;
                Some(spooled)
            });
            let spooled = spooled.await?;
            self.thumbnail(spooled.path().to_owned()).await
        };
        let image = within(TIME - PAGE_TIME, image).await.flatten();
        Some(Found {
            title,
            description: page.description,
            image,
        })
    }
}
