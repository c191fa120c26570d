//! Calls, of which there are links alone: a client asks for one, and gives it to others.

use rand::RngExt as _;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::Service;
use super::node::attr;
use crate::directory::DeviceAddr;

impl Service {
    /// `<call to="@call"><link_create media/></call>` is answered by an ack with the link's token; others by an ack alone.
    pub(super) fn call(&mut self, from: &DeviceAddr, node: &Node) {
        let Some(create) = node.get_optional_child("link_create") else {
            self.answer_ack(from, node, "call");
            return;
        };
        let ack = NodeBuilder::new("ack")
            .attr("class", "call")
            .attr("type", "link_create")
            .attr("from", "@call")
            .attr("id", attr(node, "id").unwrap_or_default());
        let media = attr(create, "media").filter(|it| matches!(it.as_str(), "audio" | "video"));
        let answer = match media {
            Some(media) => {
                let token: String = (0..22)
                    .map(|_| char::from(b'a' + self.rng.random_range(0..26)))
                    .collect();
                let link = NodeBuilder::new("link_create")
                    .attr("token", token)
                    .attr("media", media);
                ack.children([link.build()])
            }
            None => ack.attr("error", "400"),
        };
        self.tell(from, answer.build());
    }
}
