//! The last stanzas, decoded, for debugging.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};
use wacore_binary::{Node, NodeContent};

use super::now_ms;

/// Stanzas kept.
const KEPT: usize = 1000;
/// Bytes of binary content that are shown; the rest is only counted.
const SHOWN: usize = 64;
/// Children of one element that are shown, so that a prekey upload does not fill the memory.
const CHILDREN: usize = 40;

/// Which way a stanza went, seen from the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a device.
    In,
    /// To a device.
    Out,
}

/// A bounded record of what passed.
pub struct Trace {
    entries: VecDeque<Value>,
    print: bool,
}

impl Trace {
    /// With `print`, every stanza also goes to standard error as it passes.
    pub fn new(print: bool) -> Trace {
        Trace {
            entries: VecDeque::new(),
            print,
        }
    }

    /// Records one stanza.
    pub fn record(&mut self, direction: Direction, who: &str, node: &Node) {
        let arrow = match direction {
            Direction::In => "<-",
            Direction::Out => "->",
        };
        let stanza = to_json(node);
        if self.print {
            eprintln!("{arrow} {who} {stanza}");
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(json!({
            "at": now_ms(),
            "direction": match direction { Direction::In => "in", Direction::Out => "out" },
            "device": who,
            "stanza": stanza,
        }));
    }

    /// The record, oldest first.
    pub fn to_json(&self) -> Value {
        Value::Array(self.entries.iter().cloned().collect())
    }
}

/// `{"tag", "attrs"?, "children"? | "text"? | "bytes"?}`; long content is cut.
fn to_json(node: &Node) -> Value {
    let mut out = Map::new();
    out.insert("tag".to_owned(), json!(node.tag));
    let attrs: Map<String, Value> = node
        .attrs
        .iter()
        .map(|(k, v)| (k.to_string(), json!(v.as_str())))
        .collect();
    if !attrs.is_empty() {
        out.insert("attrs".to_owned(), Value::Object(attrs));
    }
    match &node.content {
        None => {}
        Some(NodeContent::Nodes(children)) => {
            let shown = children.iter().take(CHILDREN).map(to_json).collect();
            out.insert("children".to_owned(), Value::Array(shown));
            if children.len() > CHILDREN {
                out.insert("childCount".to_owned(), json!(children.len()));
            }
        }
        Some(NodeContent::String(text)) => {
            out.insert("text".to_owned(), json!(text.as_str()));
        }
        Some(NodeContent::Bytes(bytes)) => {
            let hex: String = bytes
                .iter()
                .take(SHOWN)
                .map(|b| format!("{b:02x}"))
                .collect();
            out.insert("bytes".to_owned(), json!(hex));
            out.insert("length".to_owned(), json!(bytes.len()));
        }
    }
    Value::Object(out)
}
