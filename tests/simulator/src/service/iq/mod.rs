//! Requests: one `<iq>` in, one `<iq>` out.

mod appstate;
mod groups;
mod keys;
mod profile;
mod settings;
mod usync;

use wacore_binary::Node;

pub use profile::{Business, Picture};

use super::Service;
use super::node::{self, attr, first_child};
use crate::directory::DeviceAddr;

impl Service {
    /// Answers a request of a logged-in device.
    pub(super) fn iq(&mut self, from: &DeviceAddr, iq: &Node) {
        let set = match attr(iq, "type").as_deref() {
            Some("get") => false,
            Some("set") => true,
            // Answers to what the service asked: there is nothing to do about them.
            Some("result" | "error") => return,
            _ => {
                self.tell(from, node::error(iq, 400, "bad-request"));
                return;
            }
        };
        let xmlns = attr(iq, "xmlns").unwrap_or_default();
        let child = first_child(iq).map(|c| c.tag.to_string());
        let child = child.as_deref().unwrap_or_default();
        let answer = match (xmlns.as_str(), set, child) {
            ("w:p", ..) => node::result(iq).build(),
            ("encrypt", false, "count") => self.prekey_count(from, iq),
            ("encrypt", false, "digest") => self.prekey_digest(from, iq),
            ("encrypt", false, "key") => self.fetch_keys(from, iq),
            ("encrypt", true, "rotate") => self.rotate_signed(from, iq),
            ("encrypt", true, _) => {
                self.upload_keys(from, iq);
                return;
            }
            ("usync", false, "usync") => self.usync(from, iq),
            ("passive", true, "active" | "passive") => {
                self.tell(from, node::result(iq).build());
                self.set_passive(from, child == "passive");
                return;
            }
            ("w:mex", false, "query") => self.mex(from, iq),
            ("abt" | "w", false, "props") => Self::props(iq),
            ("blocklist", false, _) => self.blocklist(from, iq),
            ("blocklist", true, "item") => self.block(from, iq),
            ("privacy", false, "privacy") => self.privacy(from, iq),
            ("privacy", true, "privacy") => self.set_privacy(from, iq),
            ("privacy", true, "tokens") => self.issue_tokens(from, iq),
            ("w:m", true, "media_conn") => self.media_conn(from, iq),
            ("w:sync:app:state", true, "sync") => self.sync_app_state(from, iq),
            ("urn:xmpp:whatsapp:dirty", true, "clean") => self.clean(from, iq),
            ("status", true, "status") => self.set_about(from, iq),
            ("w:profile:picture", false, "picture") => self.picture(from, iq),
            ("w:profile:picture", true, _) => self.set_picture(from, iq),
            ("w:biz", false, "business_profile") => self.business_profile(iq),
            ("disappearing_mode", true, "disappearing_mode") => self.set_default_timer(from, iq),
            ("w:stats", true, _) => node::result(iq).build(),
            ("w:g2", ..) => self.group_iq(from, iq, set),
            ("md", true, "remove-companion-device") => {
                self.remove_companion(from, iq);
                return;
            }
            _ => {
                log::info!("not implemented: <iq xmlns={xmlns:?} set={set}><{child}>");
                node::error(iq, 501, "feature-not-implemented")
            }
        };
        self.tell(from, answer);
    }
}
