//! Bounds on what a sender can make the store hold. All of it is cut here, on its way into the store. Pure.

use super::business::cut_buttons;
use super::contact::cut_cards;
use super::medium::NewMedium;
use super::reaction;
use super::{
    Choice, EventDetails, Invite, LinkPreview, Location, Message, Order, Payment, Poll, Product,
    Referral,
};

/// Characters of a text, a caption, or what a reply shows of another message.
pub const TEXT: usize = 65_536;
/// Characters of the names of people and files.
pub const NAME: usize = 256;
/// Characters of a message's id: WhatsApp's have some 32.
const ID: usize = 255;
/// Bytes of a JID.
const JID: usize = 128;
/// Characters of a line of a message: a place's name, an answer of a poll.
pub const LINE: usize = 1_024;
/// People that a message mentions, and that react to it: as many as a group has.
pub const PEOPLE: usize = 1_024;
/// Bytes of the path of a file at WhatsApp, and of each of its keys.
const PATH: usize = 4_096;
const KEY: usize = 256;
/// Bytes of a protobuf that is kept: a longer one is not.
pub const RAW: usize = 65_536;

/// Cuts a text to so many characters; whether there were more.
pub fn cut(text: &mut String, most: usize) -> bool {
    // No character has less than a byte.
    if text.len() <= most {
        return false;
    }
    match text.char_indices().nth(most) {
        Some((end, _)) => {
            text.truncate(end);
            true
        }
        None => false,
    }
}

pub fn cut_some(text: &mut Option<String>, most: usize) -> bool {
    text.as_mut().is_some_and(|text| cut(text, most))
}

pub fn cut_list<T>(list: &mut Vec<T>, most: usize) -> bool {
    let over = list.len() > most;
    list.truncate(most);
    over
}

/// The people whom a message mentions; whether there were more.
pub fn mentions(mentions: &mut Vec<String>) -> bool {
    mentions.retain(|jid| jid.len() <= JID);
    cut_list(mentions, PEOPLE)
}

/// A message's id.
pub fn id(id: &mut String) {
    cut(id, ID);
}

/// A name; what is longer is cut without a word.
pub fn name(name: &str) -> String {
    let mut name = name.to_owned();
    cut(&mut name, NAME);
    name
}

/// Cuts all that a message says, and notes that it did.
pub fn message(message: &mut Message) {
    id(&mut message.message_id);
    cut_some(&mut message.push_name, NAME);
    message.album_id.iter_mut().for_each(id);
    if let Some(call) = &mut message.call {
        call.id.iter_mut().for_each(id);
    }
    let mut over = cut_some(&mut message.text, TEXT);
    over |= cut_some(&mut message.caption, TEXT);
    over |= message.location.as_mut().is_some_and(Location::cut);
    over |= message.contacts.as_mut().is_some_and(cut_cards);
    over |= message.poll.as_mut().is_some_and(Poll::cut);
    over |= message.event.as_mut().is_some_and(EventDetails::cut);
    over |= message.buttons.as_mut().is_some_and(cut_buttons);
    over |= message.choice.as_mut().is_some_and(Choice::cut);
    over |= message.referral.as_mut().is_some_and(Referral::cut);
    over |= message.invite.as_mut().is_some_and(Invite::cut);
    over |= message.product.as_mut().is_some_and(Product::cut);
    over |= message.order.as_mut().is_some_and(Order::cut);
    over |= message.payment.as_mut().is_some_and(Payment::cut);
    over |= message.link_preview.as_mut().is_some_and(LinkPreview::cut);
    if let Some(quoted) = &mut message.quoted_message {
        id(&mut quoted.message_id);
        quoted.participant.take_if(|jid| jid.len() > JID);
        quoted.chat_id.take_if(|jid| jid.len() > JID);
        over |= cut_some(&mut quoted.text, TEXT);
    }
    message.raw.take_if(|raw| raw.len() > RAW);
    over |= mentions(&mut message.mentions);
    message
        .reactions
        .retain(|reaction| reaction.from.len() <= JID);
    message.reactions.truncate(PEOPLE);
    for reaction in &mut message.reactions {
        reaction::cut(&mut reaction.emoji);
    }
    message.truncated |= over;
}

/// The same medium with what its sender says of it cut. Keys that are none lead nowhere.
pub fn medium(medium: &NewMedium) -> NewMedium {
    let mut medium = medium.clone();
    cut(&mut medium.mimetype, NAME);
    if let Some(name) = &mut medium.file_name {
        cut_file_name(name);
    }
    if medium.sha256.len() > KEY {
        medium.sha256.clear();
    }
    medium.remote.take_if(|remote| {
        remote.direct_path.len() > PATH
            || remote.media_key.len() > KEY
            || remote.file_enc_sha256.len() > KEY
    });
    medium
}

/// Cuts a file's name in its stem, so that what the file is stays known.
fn cut_file_name(name: &mut String) {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| format!(".{ending}"))
        .filter(|ending| ending.chars().count() <= 16)
        .unwrap_or_default();
    if name.chars().count() > NAME {
        cut(name, NAME - ending.chars().count());
        name.push_str(&ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Contact, MessageKind, Quoted, Reaction, Vote};

    #[test]
    fn a_text_is_cut_between_characters_and_that_is_noted() {
        for (text, over) in [("é".repeat(TEXT), false), ("é".repeat(TEXT + 1), true)] {
            let mut one = Message::empty("a", "M", "c", MessageKind::Text, 0);
            one.text = Some(text);
            message(&mut one);
            assert_eq!(one.truncated, over);
            assert_eq!(one.text.as_deref(), Some("é".repeat(TEXT).as_str()));
        }
    }

    #[test]
    fn whatever_a_sender_says_it_has_a_bound() {
        let long = || "é".repeat(3_000_000);
        let mut all = Message {
            text: Some(long()),
            caption: Some(long()),
            push_name: Some(long()),
            contacts: Some(vec![
                Contact {
                    name: "n".repeat(9_000),
                    vcard: "v".repeat(9_000),
                };
                5_000
            ]),
            poll: Some(Poll {
                name: long(),
                options: vec!["é".repeat(9_000); 9_000],
                selectable: 0,
                votes: (0..5_000)
                    .map(|n| Vote {
                        voter: format!("{n}@s.whatsapp.net"),
                        options: (0..64).collect(),
                        timestamp: 0,
                    })
                    .collect(),
            }),
            quoted_message: Some(Quoted {
                message_id: long(),
                chat_id: Some(long()),
                participant: Some(long()),
                text: Some(long()),
                has_media: false,
            }),
            mentions: vec!["1234567@s.whatsapp.net".to_owned(); 100_000],
            reactions: (0..5_000)
                .map(|n| Reaction {
                    from: n.to_string(),
                    emoji: "x".repeat(9_000),
                    timestamp: 0,
                })
                .collect(),
            ..Message::empty("a", long(), "c", MessageKind::Contact, 0)
        };
        message(&mut all);
        assert!(all.truncated);
        let size = serde_json::to_string(&all).unwrap().len();
        assert!(size < 3 << 19, "{size}");
    }

    #[test]
    fn a_file_keeps_its_ending() {
        let mut name = format!("{}.pdf", "a".repeat(999));
        cut_file_name(&mut name);
        assert_eq!(name, format!("{}.pdf", "a".repeat(NAME - 4)));
        let mut short = "a.pdf".to_owned();
        cut_file_name(&mut short);
        assert_eq!(short, "a.pdf");
    }
}
