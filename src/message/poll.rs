//! Polls and the votes in them. Each person has one vote at most: the newest.

#[cfg(test)]
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bounds::{self, cut, cut_list};
use super::change::{By, Change, Incoming, at};
use super::context::Context;
use super::kind::{MessageKind, key_of};
use super::secret::{Purpose, Sealed};
use super::wire::{MessageField, poll as crypto, wa};
use super::{Draft, Message, Sendable};
use crate::clock::Millis;
use crate::fields::{Addressee, Field, FieldError, Mentions, NonEmpty, request, whole};
use crate::jid::ChatJid;

/// Options of a stored poll.
const OPTIONS: usize = 64;
/// Bytes of the options in a poll's votes, as they are shown.
const SHOWN: usize = 256 * 1024;
/// Options of a poll to send: as many as WhatsApp's clients take.
const LEAST: usize = 2;
const MOST: usize = 12;
/// Characters of a question and of an option to send: as many as WhatsApp's clients let people type.
const QUESTION: usize = 255;
const OPTION: usize = 100;

/// A question to vote on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// The question; the message's `text` has all of it.
    pub name: String,
    pub options: Vec<String>,
    /// How many options a person may choose; 0: any number.
    #[serde(default)]
    pub selectable: u32,
    /// Votes of people, also those that were withdrawn: an older one may come later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub votes: Vec<Vote>,
}

/// A person's vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    pub voter: String,
    /// The options' places in the poll; none if it was withdrawn.
    pub options: Vec<u8>,
    pub timestamp: Millis,
}

/// A poll as the API shows it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct ShownPoll<'a> {
    /// the question; the message's `text` has all of it
    name: &'a str,
    options: &'a [String],
    /// how many options a person may choose; 0: any number
    selectable: u32,
    /// the newest vote of each person
    votes: Vec<ShownVote<'a>>,
}

/// A person's vote as the API shows it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct ShownVote<'a> {
    voter: &'a str,
    options: Vec<&'a str>,
    /// Unix milliseconds
    timestamp: Millis,
}

impl Poll {
    /// Cuts it to what is stored; whether there was more.
    pub(super) fn cut(&mut self) -> bool {
        let mut over = cut(&mut self.name, bounds::LINE) | cut_list(&mut self.options, OPTIONS);
        for option in &mut self.options {
            over |= cut(option, bounds::LINE);
        }
        self.votes.truncate(bounds::PEOPLE);
        over
    }

    /// The same question without votes.
    pub(super) fn anew(mut self) -> Poll {
        self.votes.clear();
        self
    }

    /// Votes whose options are longer together than [`SHOWN`] are left out: the poll and its votes are of strangers.
    pub(super) fn shown(&self) -> ShownPoll<'_> {
        let mut room = SHOWN;
        let votes = self.votes.iter().filter(|vote| !vote.options.is_empty());
        let shown = votes.map_while(|vote| {
            let options = self.names(&vote.options);
            let size: usize = options.iter().map(|option| option.len()).sum();
            room = room.checked_sub(size)?;
            Some(ShownVote {
                voter: &vote.voter,
                options,
                timestamp: vote.timestamp,
            })
        });
        let votes = shown.collect();
        ShownPoll {
            name: &self.name,
            options: &self.options,
            selectable: self.selectable,
            votes,
        }
    }

    fn names(&self, places: &[u8]) -> Vec<&str> {
        let names = places
            .iter()
            .map(|place| self.options.get(usize::from(*place)));
        names.flatten().map(String::as_str).collect()
    }

    /// The places of options by their names; `None` if one is none of the poll's, or there are more than one person may
    /// choose.
    fn places(&self, names: &[String]) -> Option<Vec<u8>> {
        let places = names.iter().map(|name| {
            let place = self.options.iter().position(|option| option == name)?;
            u8::try_from(place).ok()
        });
        let mut places = places.collect::<Option<Vec<u8>>>()?;
        places.sort_unstable();
        places.dedup();
        let fits = self.selectable == 0 || places.len() <= self.selectable as usize;
        fits.then_some(places)
    }
}

/// A question of at most 255 characters.
#[derive(Debug)]
pub struct Question(String);

impl Field for Question {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let text = String::read(name, value)?;
        match is_line(&text, QUESTION) {
            true => Ok(Question(text)),
            false => wrong(name, "a question of 1 to 255 characters"),
        }
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "maxLength": QUESTION})
    }
}

/// 2 to 12 different options of at most 100 characters each; in a form one field for each, or the list as JSON.
#[derive(Debug)]
pub struct Options(Vec<String>);

impl Field for Options {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let options = Choice::read(name, value)?.0;
        let is_twice = |n: usize, option: &String| options[..n].contains(option);
        let are_sound = options
            .iter()
            .enumerate()
            .all(|(n, option)| is_line(option, OPTION) && !is_twice(n, option));
        match are_sound && (LEAST..=MOST).contains(&options.len()) {
            true => Ok(Options(options)),
            false => wrong(
                name,
                "a list of 2 to 12 different options of 1 to 100 characters each",
            ),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "minItems": LEAST, "maxItems": MOST, "uniqueItems": true,
            "items": {"type": "string", "minLength": 1, "maxLength": OPTION}})
    }
}

/// A list of at most 64 options, or one option; in a form one field for each, or the list as JSON.
#[derive(Debug)]
pub struct Choice(Vec<String>);

impl Field for Choice {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let options = match value {
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Value::Array(items)) => Vec::<String>::read(name, &Value::Array(items))?,
                Ok(_) | Err(_) => vec![text.clone()],
            },
            value => Vec::<String>::read(name, value)?,
        };
        match options.len() > OPTIONS {
            true => wrong(name, "a list of at most 64 options"),
            false => Ok(Choice(options)),
        }
    }

    fn is_blank(_value: &Value) -> bool {
        false
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "maxItems": OPTIONS, "items": {"type": "string"}})
    }
}

/// How many options a person may choose, 1 to 12.
#[derive(Debug)]
pub struct Selectable(u32);

impl Field for Selectable {
    fn read(name: &'static str, value: &Value) -> Result<Self, FieldError> {
        let most = u64::try_from(MOST).unwrap_or(u64::MAX);
        let number = whole(name, value, 1..=most, SELECTABLE)?;
        u32::try_from(number)
            .map_or_else(|_| wrong(name, SELECTABLE), |number| Ok(Selectable(number)))
    }

    #[cfg(test)]
    fn schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 1, "maximum": MOST})
    }
}

const SELECTABLE: &str = "a whole number, 1 to the number of options";

fn is_line(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most
}

fn wrong<T>(field: &'static str, expected: &'static str) -> Result<T, FieldError> {
    Err(FieldError::Field { field, expected })
}

request! {
    /// A poll to send.
    pub struct SendPoll missing "to, question and options are required" {
        to: Addressee = "to",
        question: Question = "question",
        options: Options = "options",
        /// any number of options may be chosen, not one alone
        multiple: bool = "multiple",
        /// how many options may be chosen; counts more than multiple
        selectable: Option<Selectable> = "selectable",
        mentions: Mentions = "mentions",
        quoted: Option<NonEmpty> = "quotedMessageId",
    }
}

impl Sendable for SendPoll {
    const ENDPOINT: &'static str = "poll";

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let Options(options) = self.options;
        let selectable = match self.selectable {
            Some(Selectable(number)) if number as usize > options.len() => {
                return wrong("selectable", SELECTABLE);
            }
            Some(Selectable(number)) => number,
            None if self.multiple => 0,
            None => 1,
        };
        let message = Message {
            kind: MessageKind::Poll,
            text: Some(self.question.0.clone()),
            poll: Some(Poll {
                name: self.question.0,
                options,
                selectable,
                votes: Vec::new(),
            }),
            ..Message::default()
        };
        Ok((self.to, self.mentions, Draft::message(message, self.quoted)))
    }
}

request! {
    /// A vote in a poll; it replaces the one before.
    pub struct CastVote missing "chatId, messageId and options are required" {
        chat: Addressee = "chatId" or "to",
        /// the poll's
        message: NonEmpty = "messageId",
        /// the options chosen, word for word; none: takes the vote back
        options: Choice = "options",
    }
}

impl Sendable for CastVote {
    const ENDPOINT: &'static str = "poll/vote";
    const DONE: Option<&'static str> = Some("Vote sent");

    fn into_draft(self) -> Result<(Addressee, Mentions, Draft), FieldError> {
        let draft = Draft::Change {
            message_id: self.message.0,
            change: Change::Vote {
                options: self.options.0,
            },
        };
        Ok((self.chat, Mentions::default(), draft))
    }
}

/// Whether an option of a stored poll can be voted for.
///
/// # Errors
/// In words, why not.
pub(super) fn may_vote(message: &Message, options: &[String]) -> Result<(), &'static str> {
    let Some(poll) = &message.poll else {
        return Err("\"messageId\" must be the id of a poll");
    };
    if message.secret.is_none() {
        return Err("This poll came without its secret, and cannot be voted in here");
    }
    match poll.places(options) {
        Some(_) => Ok(()),
        None => Err("\"options\" must be options of the poll, not more than may be chosen"),
    }
}

/// Sets a person's vote; false if that changes nothing, or it is none that the poll takes.
pub(super) fn apply(message: &mut Message, options: &[String], by: &By) -> bool {
    let Some(poll) = &mut message.poll else {
        return false;
    };
    let Some(options) = poll.places(options) else {
        return false;
    };
    let vote = Vote {
        voter: by.from.clone(),
        options,
        timestamp: by.timestamp,
    };
    match poll
        .votes
        .iter_mut()
        .find(|known| known.voter == vote.voter)
    {
        Some(known) if known.timestamp > vote.timestamp || known.options == vote.options => false,
        Some(known) => {
            *known = vote;
            true
        }
        None if vote.options.is_empty() => false,
        None => {
            if poll.votes.len() >= bounds::PEOPLE {
                poll.votes.retain(|known| !known.options.is_empty());
            }
            let has_room = poll.votes.len() < bounds::PEOPLE;
            if has_room {
                poll.votes.push(vote);
            }
            has_room
        }
    }
}

/// A vote in the protocol's form, which names options by their SHA-256; `None` if it names options and none of them is
/// the poll's.
pub fn vote_of(message: &Message, hashes: &[Vec<u8>]) -> Option<Change> {
    let options: Vec<String> = message
        .poll
        .as_ref()?
        .options
        .iter()
        .filter(|option| {
            let hash = crypto::compute_option_hash(option);
            hashes.iter().any(|chosen| *chosen == hash)
        })
        .cloned()
        .collect();
    (hashes.is_empty() || !options.is_empty()).then_some(Change::Vote { options })
}

pub fn decode<'a>(
    base: &'a wa::Message,
    message: &mut Message,
) -> Option<&'a MessageField<wa::ContextInfo>> {
    let versions = [
        &base.poll_creation_message,
        &base.poll_creation_message_v2,
        &base.poll_creation_message_v3,
        &base.poll_creation_message_v5,
        &base.poll_creation_message_v6,
    ];
    let poll = versions.into_iter().find_map(MessageField::as_option)?;
    message.kind = MessageKind::Poll;
    message.text.clone_from(&poll.name);
    message.poll = Some(Poll {
        name: poll.name.clone().unwrap_or_default(),
        options: poll
            .options
            .iter()
            .filter_map(|option| option.option_name.clone())
            .collect(),
        selectable: poll.selectable_options_count.unwrap_or(0),
        votes: Vec::new(),
    });
    Some(&poll.context_info)
}

/// As WhatsApp Web has it: version 3 for one choice, version 1 otherwise.
pub fn encode(message: &Message, context: Context<'_>) -> wa::Message {
    let poll = message.poll.as_ref();
    let options = poll.map(|poll| poll.options.iter()).into_iter().flatten();
    let selectable = poll.map_or(1, |poll| poll.selectable);
    let creation = MessageField::some(wa::message::PollCreationMessage {
        name: message.text.clone(),
        options: options
            .map(|option| wa::message::poll_creation_message::Option {
                option_name: Some(option.clone()),
                ..Default::default()
            })
            .collect(),
        selectable_options_count: Some(selectable),
        context_info: context.encode(),
        ..Default::default()
    });
    let mut encoded = wa::Message {
        message_context_info: MessageField::some(wa::MessageContextInfo {
            message_secret: message.secret.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    match selectable {
        1 => encoded.poll_creation_message_v3 = creation,
        _ => encoded.poll_creation_message = creation,
    }
    encoded
}

pub fn quotation(message: &Message) -> wa::Message {
    wa::Message {
        poll_creation_message_v3: MessageField::some(wa::message::PollCreationMessage {
            name: message.text.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A vote in a stored poll by the account itself, whose JID is `own` in the namespace of the poll's sender.
pub(super) fn encode_vote(
    to: &ChatJid,
    target: &Message,
    options: &[String],
    own: &str,
    now: Millis,
) -> Result<wa::Message, &'static str> {
    let secret = target.secret.as_deref().unwrap_or_default();
    let author = match target.from_me {
        true => own,
        false => target.wire_sender(),
    };
    let hashes: Vec<Vec<u8>> = options
        .iter()
        .map(|option| crypto::compute_option_hash(option).to_vec())
        .collect();
    let id = &target.message_id;
    let (payload, nonce) = crypto::encrypt_poll_vote_with_secret(&hashes, secret, id, author, own)
        .map_err(|_| "the vote cannot be encrypted: the poll's secret is none")?;
    Ok(wa::Message {
        poll_update_message: MessageField::some(wa::message::PollUpdateMessage {
            poll_creation_message_key: key_of(to, target),
            vote: MessageField::some(wa::message::PollEncValue {
                enc_payload: Some(payload),
                enc_iv: Some(nonce.to_vec()),
            }),
            sender_timestamp_ms: Some(i64::try_from(now).unwrap_or(i64::MAX)),
            ..Default::default()
        }),
        ..Default::default()
    })
}

pub(super) fn decode_vote(base: &wa::Message) -> Option<Incoming<'_>> {
    let update = base.poll_update_message.as_option()?;
    let vote = update.vote.as_option()?;
    let (payload, nonce) = (vote.enc_payload.as_ref(), vote.enc_iv.as_ref());
    Some(Incoming {
        key: update.poll_creation_message_key.as_option()?,
        change: Change::Sealed(Sealed::new(Purpose::Vote, payload, nonce)?),
        timestamp: at(update.sender_timestamp_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(selectable: u32) -> Message {
        Message {
            poll: Some(Poll {
                name: "q".to_owned(),
                options: ["a", "b", "c"].map(str::to_owned).to_vec(),
                selectable,
                votes: Vec::new(),
            }),
            secret: Some(vec![7; 32]),
            ..Message::empty("alice", "M", "c", MessageKind::Poll, 0)
        }
    }

    fn vote(message: &mut Message, from: &str, options: &[&str], timestamp: Millis) -> bool {
        let by = By {
            from: from.to_owned(),
            from_me: false,
            timestamp,
        };
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        apply(message, &options, &by)
    }

    fn votes(message: &Message) -> Vec<(String, Vec<u8>)> {
        let votes = message.poll.iter().flat_map(|poll| &poll.votes);
        votes
            .map(|vote| (vote.voter.clone(), vote.options.clone()))
            .collect()
    }

    #[test]
    fn the_newest_vote_of_each_person_counts() {
        let mut message = poll(0);
        assert!(
            !vote(&mut message, "bob", &[], 4),
            "there is none to take back"
        );
        assert!(vote(&mut message, "bob", &["c", "a", "c"], 5));
        assert!(vote(&mut message, "zoe", &["b"], 5));
        assert!(!vote(&mut message, "bob", &["b"], 4), "older");
        assert!(!vote(&mut message, "bob", &["a", "c"], 6), "the same");
        assert!(!vote(&mut message, "bob", &["d"], 7), "no such option");
        let expected = [("bob".to_owned(), vec![0, 2]), ("zoe".to_owned(), vec![1])];
        assert_eq!(votes(&message), expected);
        assert!(vote(&mut message, "bob", &[], 8));
        assert!(
            !vote(&mut message, "bob", &["a"], 7),
            "older than its withdrawal"
        );
        let shown = message.poll.as_ref().map(|poll| poll.shown().votes.len());
        assert_eq!(shown, Some(1));
        message.deleted = true;
        message.clear();
        assert!(!vote(&mut message, "bob", &["a"], 9));
        assert_eq!(message.secret, None);
    }

    #[test]
    fn nobody_chooses_more_than_may_be_chosen_and_the_list_has_a_bound() {
        let mut message = poll(1);
        assert!(!vote(&mut message, "bob", &["a", "b"], 5));
        assert!(vote(&mut message, "bob", &["a"], 5));
        assert!(vote(&mut message, "zoe", &["a"], 5));
        assert!(vote(&mut message, "zoe", &[], 6));
        for n in 0..bounds::PEOPLE {
            vote(&mut message, &n.to_string(), &["b"], 5);
        }
        let all = votes(&message);
        assert_eq!(all.len(), bounds::PEOPLE);
        assert!(all.iter().all(|(voter, _)| voter != "zoe"), "made room");
        assert!(!vote(&mut message, "late", &["b"], 5));
        assert_eq!(may_vote(&message, &["c".to_owned()]), Ok(()));
        message.secret = None;
        assert!(may_vote(&message, &["c".to_owned()]).is_err());
    }

    #[test]
    fn a_vote_opens_under_any_of_both_peoples_jids_and_no_other() {
        let chat = ChatJid::parse("1234567@s.whatsapp.net").expect("a JID");
        let mut message = poll(0);
        message.sender = "77@lid".to_owned();
        let sent = encode_vote(&chat, &message, &["b".to_owned()], "88@lid", 5).expect("encrypted");
        let incoming = decode_vote(&sent).expect("a vote");
        assert_eq!(
            (incoming.key.id.as_deref(), incoming.timestamp),
            (Some("M"), Some(5))
        );
        let Change::Sealed(sealed) = incoming.change else {
            panic!("not sealed");
        };
        let named = |jids: &[&str]| jids.iter().map(|jid| (*jid).to_owned()).collect::<Vec<_>>();
        let authors = named(&["7654321@s.whatsapp.net", "77@lid"]);
        let people = named(&["7777777@s.whatsapp.net", "88@lid"]);
        let expected = Change::Vote {
            options: vec!["b".to_owned()],
        };
        let opened = sealed.open(&message, &authors, &people);
        assert_eq!(opened, Some(expected));
        assert_eq!(sealed.open(&message, &authors, &named(&["99@lid"])), None);
        assert_eq!(sealed.open(&message, &named(&["99@lid"]), &people), None);
        message.secret = Some(vec![8; 32]);
        assert_eq!(sealed.open(&message, &authors, &people), None);
        message.secret = None;
        assert_eq!(sealed.open(&message, &authors, &people), None);
        assert_eq!(vote_of(&message, &[vec![1; 32]]), None, "no such option");
    }
}
