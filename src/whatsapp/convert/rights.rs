//! Which messages a sender may change: the one table.
//!
//! A change is encrypted between its sender and this account, and names the message that it is about
//! by a key that the sender writes: its `fromMe` proves nothing about the message's author. WhatsApp's server vouches
//! for the sender, the chat, and the stanza's `edit` attribute; it accepts `8` (a deletion by an admin) from a
//! group's admins only.
//!
//! | Change | Reaches |
//! |---|---|
//! | reaction | any message of its chat; it counts as its sender's |
//! | edit | its sender's own messages |
//! | deletion | its sender's own messages; in a group, with `edit="8"`, the one that its key names |
//! | pin, keep | any message of its chat; who may do so in a group is for its members' clients to say |
//! | vote, response | any poll or event of its chat whose secret opens it; it counts as its sender's |
//! | timer of a chat | nothing: it changes no message that is stored |
//! | group's sender key | only its own sender's key, for the chat that it came in (the client sees to that) |
//! | app state, mappings of LIDs, history | nothing from others: the client takes them from the account's own devices alone |
//!
//! A change is never about another chat than the one that it comes in, whatever its key says. The table
//! holds for own devices too.

use whatsapp_rust::types::message::EditAttribute;

use crate::message::Change;

/// Where a message is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A chat of two.
    Person,
    Group,
    /// Stories, lists, channels.
    Other,
}

/// Which messages a change may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Its sender's own.
    Own,
    /// The one that its key names, by any author.
    Named,
}

/// Which messages this change may reach, in a stanza with this `edit` attribute.
pub fn reach(change: &Change, place: Place, edit: &EditAttribute) -> Reach {
    match (change, place, edit) {
        (
            Change::React { .. }
            | Change::Pin { .. }
            | Change::Keep { .. }
            | Change::Vote { .. }
            | Change::Respond { .. }
            | Change::Sealed(_),
            _,
            _,
        ) => Reach::Named,
        (Change::Delete, Place::Group, EditAttribute::AdminRevoke) => Reach::Named,
        (Change::Delete | Change::Edit { .. }, _, _) => Reach::Own,
        // Of no message that comes in; the app state is the owner's.
        (Change::DeleteForMe | Change::Star { .. } | Change::Album { .. }, _, _) => Reach::Own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EditAttribute::{AdminEdit, AdminRevoke, Empty, MessageEdit, PinInChat, SenderRevoke};

    #[test]
    fn only_admins_of_groups_delete_what_others_wrote_and_nothing_else_is_changed_by_others() {
        let attributes = [
            Empty,
            MessageEdit,
            PinInChat,
            AdminEdit,
            SenderRevoke,
            AdminRevoke,
            EditAttribute::Unknown("99".into()),
        ];
        for place in [Place::Person, Place::Group, Place::Other] {
            for edit in &attributes {
                let reaches = |change| reach(&change, place, edit);
                let (emoji, text) = ("x".to_owned(), "y".to_owned());
                assert_eq!(reaches(Change::React { emoji }), Reach::Named);
                let edited = reaches(Change::Edit {
                    text,
                    mentions: None,
                });
                assert_eq!(edited, Reach::Own, "{place:?} {edit:?}");
                let others = place == Place::Group && *edit == AdminRevoke;
                let expected = if others { Reach::Named } else { Reach::Own };
                assert_eq!(reaches(Change::Delete), expected, "{place:?} {edit:?}");
            }
        }
    }
}
