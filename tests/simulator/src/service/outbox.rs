//! What a device still has to take: WhatsApp's offline queue. Pure.
//!
//! A stanza stays until the device acknowledges it. Stanzas in flight when a connection broke
//! comes again at the next login, marked `offline`.

use std::collections::VecDeque;

use wacore_binary::Node;

/// Stanzas kept for one device. WhatsApp's own limit is not known; the oldest goes first here.
const MAX_QUEUED: usize = 100_000;
/// Stanzas delivered at login before the client requests batches.
pub const PRIMER: usize = 5;

/// The key of an acknowledgement: the stanza's tag, id and sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `message`, `receipt`, `notification` or `call`.
    pub tag: String,
    /// The stanza's id.
    pub id: String,
    /// The user part of its `from`; empty for the service itself.
    pub from: String,
}

struct Queued {
    key: Key,
    node: Node,
    /// Given to the present connection, and not yet acknowledged.
    sent: bool,
    /// Was already there at login, so it counts into the offline delivery.
    offline: bool,
}

/// One device's queue.
#[derive(Default)]
pub struct Outbox {
    queue: VecDeque<Queued>,
    draining: Option<Drain>,
}

struct Drain {
    total: usize,
    left: usize,
    /// What the client last asked for; 0 before it asked.
    batch: usize,
    /// Delivered in this drain and not yet acknowledged.
    in_flight: usize,
    /// Delivered in this drain.
    given: usize,
}

/// What a login finds waiting, by tag.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Preview {
    /// Everything.
    pub count: usize,
    /// `<message>`s.
    pub message: usize,
    /// `<receipt>`s.
    pub receipt: usize,
    /// `<notification>`s.
    pub notification: usize,
}

/// Something to put on the wire now.
#[derive(Debug, PartialEq)]
pub enum Deliver {
    /// A stanza; of one that waited offline its place in the delivery, from 0.
    Stanza(Node, Option<usize>),
    /// All that waited has been delivered: so many.
    Complete(usize),
}

impl Outbox {
    /// Adds a stanza.
    pub fn push(&mut self, key: Key, node: Node) {
        if self.queue.len() >= MAX_QUEUED {
            log::warn!("a device's queue is full; its oldest stanza is dropped");
            self.note_removed(0);
            self.queue.pop_front();
        }
        self.queue.push_back(Queued {
            key,
            node,
            sent: false,
            offline: false,
        });
    }

    /// How many stanzas wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many messages from one person wait.
    pub fn messages_from(&self, from: &str) -> usize {
        self.queue
            .iter()
            .filter(|q| q.key.from == from && q.key.tag == "message")
            .count()
    }

    /// Begins the offline delivery of a login.
    pub fn login(&mut self) -> Preview {
        let mut preview = Preview::default();
        for entry in &mut self.queue {
            entry.sent = false;
            entry.offline = true;
            preview.count += 1;
            match entry.key.tag.as_str() {
                "message" => preview.message += 1,
                "receipt" => preview.receipt += 1,
                "notification" => preview.notification += 1,
                _ => {}
            }
        }
        self.draining = Some(Drain {
            total: preview.count,
            left: preview.count,
            batch: 0,
            in_flight: 0,
            given: 0,
        });
        preview
    }

    /// The connection is gone: everything that was not acknowledged waits again.
    pub fn logout(&mut self) {
        self.draining = None;
        for entry in &mut self.queue {
            entry.sent = false;
        }
    }

    /// The client asks for more of the offline delivery.
    pub fn request(&mut self, count: usize) {
        if let Some(drain) = &mut self.draining {
            drain.batch = count;
        }
    }

    /// How much may be delivered unasked: the next batch, once the client has acknowledged the last
    /// one. Some clients ask only once, however much waits, and some never ask.
    pub fn next_batch(&self) -> usize {
        match &self.draining {
            Some(drain) if drain.in_flight == 0 => drain.batch.max(PRIMER),
            _ => 0,
        }
    }

    /// Takes up to `count` stanzas of the offline delivery, then everything newer once that is
    /// complete. Call it with 0 to take only stanzas that need no credit.
    pub fn take(&mut self, count: usize) -> Vec<Deliver> {
        let mut out = Vec::new();
        if let Some(drain) = &mut self.draining {
            let mut budget = count.min(drain.left);
            for entry in &mut self.queue {
                if budget == 0 {
                    break;
                }
                if entry.offline && !entry.sent {
                    entry.sent = true;
                    budget -= 1;
                    drain.left -= 1;
                    drain.in_flight += 1;
                    out.push(Deliver::Stanza(entry.node.clone(), Some(drain.given)));
                    drain.given += 1;
                }
            }
            if drain.left > 0 {
                return out;
            }
            out.push(Deliver::Complete(drain.total));
            self.draining = None;
        }
        // After an entry that was sent, only newer ones can be unsent: look from the back.
        let fresh = self.queue.iter().rev().take_while(|q| !q.sent).count();
        let start = self.queue.len() - fresh;
        for entry in self.queue.iter_mut().skip(start) {
            entry.sent = true;
            out.push(Deliver::Stanza(entry.node.clone(), None));
        }
        out
    }

    /// Removes what an acknowledgement names; `false` if nothing matched.
    pub fn acknowledge(&mut self, key: &Key) -> bool {
        // Acknowledgements come in the order of delivery, so this looks at the front almost always.
        let Some(at) = self.queue.iter().position(|q| q.key == *key) else {
            return false;
        };
        self.note_removed(at);
        self.queue.remove(at);
        true
    }

    /// Removes the first stanza that `matches`, which the service replaces.
    pub fn remove_if(&mut self, matches: impl Fn(&Key, &Node) -> bool) {
        if let Some(at) = self.queue.iter().position(|q| matches(&q.key, &q.node)) {
            self.note_removed(at);
            self.queue.remove(at);
        }
    }

    /// An entry that goes before it was delivered must not keep the delivery from completing.
    fn note_removed(&mut self, at: usize) {
        if let (Some(drain), Some(entry)) = (&mut self.draining, self.queue.get(at))
            && entry.offline
        {
            let counter = if entry.sent {
                &mut drain.in_flight
            } else {
                &mut drain.left
            };
            *counter = counter.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wacore_binary::builder::NodeBuilder;

    fn key(id: &str) -> Key {
        Key {
            tag: "message".into(),
            id: id.into(),
            from: "alice".into(),
        }
    }

    fn push(outbox: &mut Outbox, id: &str) {
        outbox.push(key(id), NodeBuilder::new("message").attr("id", id).build());
    }

    fn ids(delivered: &[Deliver]) -> Vec<String> {
        delivered
            .iter()
            .map(|d| match d {
                Deliver::Stanza(node, _) => node
                    .attrs
                    .get("id")
                    .map(|v| v.as_str().into_owned())
                    .unwrap_or_default(),
                Deliver::Complete(n) => format!("complete {n}"),
            })
            .collect()
    }

    #[test]
    fn an_empty_queue_completes_at_once() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.login().count, 0);
        assert_eq!(ids(&outbox.take(PRIMER)), ["complete 0"]);
    }

    #[test]
    fn stanzas_during_the_delivery_are_sent_after_it() {
        let mut outbox = Outbox::default();
        push(&mut outbox, "1");
        push(&mut outbox, "2");
        outbox.login();
        assert_eq!(ids(&outbox.take(1)), ["1"]);
        push(&mut outbox, "3");
        assert!(outbox.take(0).is_empty());
        assert_eq!(ids(&outbox.take(9)), ["2", "complete 2", "3"]);
    }

    #[test]
    fn a_client_with_one_batch_request_gets_everything_by_acks() {
        let mut outbox = Outbox::default();
        for id in ["1", "2", "3"] {
            push(&mut outbox, id);
        }
        outbox.login();
        outbox.request(2);
        assert_eq!(ids(&outbox.take(2)), ["1", "2"]);
        assert!(outbox.acknowledge(&key("1")));
        assert_eq!(outbox.next_batch(), 0);
        assert!(outbox.acknowledge(&key("2")));
        let more = outbox.next_batch();
        assert_eq!(ids(&outbox.take(more)), ["3", "complete 3"]);
    }

    #[test]
    fn a_client_without_batch_requests_gets_everything_by_acks() {
        let mut outbox = Outbox::default();
        let all: Vec<String> = (0..PRIMER + 2).map(|n| n.to_string()).collect();
        for id in &all {
            push(&mut outbox, id);
        }
        outbox.login();
        let first = outbox.take(PRIMER);
        assert_eq!(ids(&first), all[..PRIMER]);
        let places = first.iter().map(|it| match it {
            Deliver::Stanza(_, place) => *place,
            Deliver::Complete(_) => None,
        });
        assert!(places.eq((0..PRIMER).map(Some)));
        for id in &all[..PRIMER] {
            assert_eq!(outbox.next_batch(), 0);
            assert!(outbox.acknowledge(&key(id)));
        }
        let more = outbox.next_batch();
        let rest = outbox.take(more);
        assert_eq!(ids(&rest), [&all[PRIMER], &all[PRIMER + 1], "complete 7"]);
    }

    #[test]
    fn unacknowledged_stanzas_come_again_in_order() {
        let mut outbox = Outbox::default();
        outbox.login();
        outbox.take(0);
        for id in ["1", "2", "3"] {
            push(&mut outbox, id);
            assert_eq!(ids(&outbox.take(0)), [id]);
        }
        assert!(outbox.acknowledge(&key("2")));
        assert!(!outbox.acknowledge(&key("2")));
        outbox.logout();
        assert_eq!(outbox.login().message, 2);
        assert_eq!(ids(&outbox.take(9)), ["1", "3", "complete 2"]);
    }
}
