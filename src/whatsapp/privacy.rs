//! The account's privacy settings and the timer of new chats: read off WhatsApp's answers to the client, which asks for
//! the settings at each login, and off notifications of what was set on other devices.
//!
//! `<privacy><category name value/></privacy>` in `<iq type="result">` and in `<notification type="account_sync">`, and
//! `<disappearing_mode duration t/>` in the latter (wacore's `iq::privacy`, Baileys' `account_sync`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use whatsapp_rust::wacore_binary::NodeRef;

use crate::sync::locked;

/// Settings that are remembered; WhatsApp has some ten.
const MOST: usize = 32;
/// A setting that every complete answer has.
const ALWAYS: &str = "last";

/// What one session has heard. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Privacy(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    /// Values by WhatsApp's names.
    settings: BTreeMap<String, String>,
    timer: Option<u32>,
}

impl Privacy {
    /// All settings, by WhatsApp's names; `None` if they are not known yet.
    pub fn settings(&self) -> Option<BTreeMap<String, String>> {
        let heard = locked(&self.0);
        let is_known = heard.settings.contains_key(ALWAYS);
        is_known.then(|| heard.settings.clone())
    }

    /// Seconds after which messages disappear in chats that the account begins; `None` if it is not known yet.
    pub fn timer(&self) -> Option<u32> {
        locked(&self.0).timer
    }

    pub fn learn_timer(&self, seconds: u32) {
        locked(&self.0).timer = Some(seconds);
    }

    pub fn learn(&self, name: &str, value: &str) {
        let settings = &mut locked(&self.0).settings;
        if settings.len() < MOST || settings.contains_key(name) {
            settings.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Takes what a stanza that came in says.
    pub fn hear(&self, node: &NodeRef<'_>) {
        if !matches!(node.tag.as_ref(), "iq" | "notification") {
            return;
        }
        if let Some(privacy) = node.get_optional_child("privacy") {
            for category in privacy.get_children_by_tag("category").take(MOST) {
                if let (Some(name), Some(value)) =
                    (category.get_attr("name"), category.get_attr("value"))
                {
                    self.learn(&name.as_str(), &value.as_str());
                }
            }
        }
        let is_own = node
            .get_attr("type")
            .is_some_and(|kind| kind.as_str() == "account_sync");
        if is_own
            && let Some(mode) = node.get_optional_child("disappearing_mode")
            && let Some(seconds) = mode.get_attr("duration")
            && let Ok(seconds) = seconds.as_str().parse()
        {
            self.learn_timer(seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use whatsapp_rust::NodeBuilder;

    use super::*;

    #[test]
    fn answers_and_notifications_say_the_settings() {
        let heard = Privacy::default();
        let category = |name: &str, value: &str| {
            let category = NodeBuilder::new("category");
            category.attr("name", name).attr("value", value).build()
        };
        let say = |tag: &'static str, categories: Vec<_>| {
            let privacy = NodeBuilder::new("privacy").children(categories).build();
            let node = NodeBuilder::new(tag).children([privacy]).build();
            heard.hear(&node.as_node_ref());
        };
        say("iq", vec![category("online", "all")]);
        assert_eq!(heard.settings(), None, "only what was set");
        say(
            "iq",
            vec![category("online", "all"), category("last", "contacts")],
        );
        say("notification", vec![category("last", "none")]);
        say("message", vec![category("last", "all")]);
        let known = heard.settings().expect("known");
        assert_eq!(known["last"], "none");
        assert_eq!(known["online"], "all");
        for n in 0..2 * MOST {
            heard.learn(&n.to_string(), "all");
        }
        assert_eq!(heard.settings().expect("known").len(), MOST);

        assert_eq!(heard.timer(), None);
        let mode = NodeBuilder::new("disappearing_mode")
            .attr("duration", 86_400)
            .build();
        let sync = NodeBuilder::new("notification").attr("type", "account_sync");
        heard.hear(&sync.children([mode]).build().as_node_ref());
        assert_eq!(heard.timer(), Some(86_400));
    }
}
