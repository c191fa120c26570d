//! The one place below `whatsapp` that names the client's crate: the protocol's messages, as protobuf has them.

pub use whatsapp_rust::buffa::{Enumeration, MessageField};
pub use whatsapp_rust::wacore::proto_helpers::build_keep_in_chat_message;
pub use whatsapp_rust::wacore::proto_helpers::{MessageExt, wrap_as_album_child};
pub use whatsapp_rust::wacore::{event, poll};
pub use whatsapp_rust::waproto::{codec, whatsapp as wa};
