//! Whom the account has blocked: read off WhatsApp's answer to the client, which asks at each login, and off
//! notifications.
//!
//! `<iq type="result"><list><item jid pn_jid/></list></iq>` is the whole list; `<notification type="account_sync">` with
//! `<blocklist><item jid action/></blocklist>` is a change (wacore's `iq::blocklist`, whatsmeow's `notification.go`).

use whatsapp_rust::wacore_binary::NodeRef;

use super::chats::ChatUpdate;
use super::usernames::person;
use crate::store::blocklist::MOST;

/// What a stanza that came in says of the list.
pub fn on_stanza(node: &NodeRef<'_>) -> Vec<ChatUpdate> {
    match node.tag.as_ref() {
        "iq" => node.get_optional_child("list").map_or_else(Vec::new, whole),
        "notification" => {
            let list = node.get_optional_child("blocklist");
            list.map_or_else(Vec::new, changes)
        }
        _ => Vec::new(),
    }
}

/// The whole list, and the numbers of the people on it; nothing if anything else stands in the list.
fn whole(list: &NodeRef<'_>) -> Vec<ChatUpdate> {
    let items = list.children().unwrap_or_default();
    if items.iter().any(|item| item.tag != "item") {
        return Vec::new();
    }
    let (mut jids, mut found) = (Vec::new(), Vec::new());
    for item in items.iter().take(MOST) {
        let Some(jid) = person(item, "jid") else {
            continue;
        };
        found.extend(link(item, &jid));
        jids.push(jid);
    }
    found.push(ChatUpdate::Blocklist(jids));
    found
}

fn changes(list: &NodeRef<'_>) -> Vec<ChatUpdate> {
    let mut found = Vec::new();
    for item in list.get_children_by_tag("item").take(MOST) {
        let Some(jid) = person(item, "jid") else {
            continue;
        };
        found.extend(link(item, &jid));
        let blocked = match item.get_attr("action") {
            Some(action) if action.as_str() == "block" => true,
            Some(action) if action.as_str() == "unblock" => false,
            _ => continue,
        };
        found.push(ChatUpdate::Blocked { jid, blocked });
    }
    found
}

fn link(item: &NodeRef<'_>, jid: &str) -> Option<ChatUpdate> {
    let number = person(item, "pn_jid").filter(|_| jid.ends_with("@lid"))?;
    Some(ChatUpdate::Link {
        lid: jid.to_owned(),
        number,
    })
}

#[cfg(test)]
mod tests {
    use whatsapp_rust::NodeBuilder;
    use whatsapp_rust::wacore_binary::Node;

    use super::*;

    fn said(node: NodeBuilder) -> Vec<ChatUpdate> {
        on_stanza(&node.build().as_node_ref())
    }

    fn item(jid: &str) -> NodeBuilder {
        NodeBuilder::new("item").attr("jid", jid)
    }

    fn list(items: Vec<Node>) -> NodeBuilder {
        let list = NodeBuilder::new("list").children(items).build();
        NodeBuilder::new("iq").children([list])
    }

    #[test]
    fn the_answer_at_login_is_the_whole_list() {
        let pair = item("955@lid").attr("pn_jid", "49170@s.whatsapp.net");
        let found = said(list(vec![pair.build(), item("956@lid").build()]));
        let link = ChatUpdate::Link {
            lid: "955@lid".to_owned(),
            number: "49170@s.whatsapp.net".to_owned(),
        };
        let all = ChatUpdate::Blocklist(vec!["955@lid".to_owned(), "956@lid".to_owned()]);
        assert_eq!(found, [link, all]);
        assert_eq!(said(list(vec![])), [ChatUpdate::Blocklist(vec![])]);
        let user = NodeBuilder::new("user").attr("jid", "955@lid").build();
        assert_eq!(said(list(vec![user])), []);
        assert_eq!(said(NodeBuilder::new("iq")), []);
    }

    #[test]
    fn a_notification_is_a_change() {
        let change = |action: &str| {
            let items = [item("955:3@lid").attr("action", action).build()];
            let list = NodeBuilder::new("blocklist").children(items).build();
            said(NodeBuilder::new("notification").children([list]))
        };
        let blocked = |blocked| ChatUpdate::Blocked {
            jid: "955@lid".to_owned(),
            blocked,
        };
        assert_eq!(change("block"), [blocked(true)]);
        assert_eq!(change("unblock"), [blocked(false)]);
        assert_eq!(change("else"), []);
    }
}
