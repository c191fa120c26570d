//! What messages mean, by example.

use whatsapp_rust::buffa::MessageField;
use whatsapp_rust::proto_helpers::MessageBuilderExt as _;

use super::*;
use crate::media::MediaKind;
use crate::message::Context;

const AUTO: AutoDownload = AutoDownload { max_bytes: 1_000 };
const ALICE: &str = "49170@s.whatsapp.net";
const GROUP: &str = "120363017953516826@g.us";

fn info(chat: &str, sender: &str, from_me: bool) -> MessageInfo {
    let mut info = MessageInfo {
        id: "3EB0AA".into(),
        push_name: "Bob".into(),
        ..Default::default()
    };
    info.source.chat = chat.parse().expect("jid");
    info.source.sender = sender.parse().expect("jid");
    info.source.is_from_me = from_me;
    info.source.is_group = chat.ends_with("@g.us");
    info
}

fn wrapped(message: wa::Message) -> MessageField<wa::message::FutureProofMessage> {
    MessageField::some(wa::message::FutureProofMessage {
        message: MessageField::some(message),
    })
}

fn text(text: &str, context: Context<'_>) -> wa::Message {
    let message = Message {
        kind: MessageKind::Text,
        text: Some(text.to_owned()),
        ..Message::default()
    };
    message::encode(&message, None, context).expect("encoded")
}

fn read(info: &MessageInfo, message: &wa::Message) -> Option<Inbound> {
    inbound("alice", info, message, AUTO, 5)
}

fn message_of(info: &MessageInfo, message: &wa::Message) -> (Message, Option<NewMedium>) {
    match read(info, message).expect("content").what {
        InboundContent::Message { message, medium } => (*message, medium.map(|m| *m)),
        InboundContent::Change { .. } | InboundContent::Timer { .. } => panic!("no message"),
    }
}

fn a_change(info: &MessageInfo, message: &wa::Message) -> (Target, By, Change) {
    match read(info, message).expect("content").what {
        InboundContent::Change { target, by, change } => (target, by, change),
        InboundContent::Message { .. } | InboundContent::Timer { .. } => panic!("no change"),
    }
}

#[test]
fn a_lid_chat_is_shown_under_its_number() {
    let mut info = info("955@lid", "955:3@lid", false);
    info.source.sender_alt = Some("4917@s.whatsapp.net".parse().expect("jid"));
    let links = read(&info, &wa::Message::text("hi"))
        .expect("content")
        .links;
    assert_eq!(
        links,
        [("955@lid".to_owned(), "4917@s.whatsapp.net".to_owned())]
    );
    let (got, _) = message_of(&info, &wa::Message::text("hi"));
    assert_eq!(got.chat_id, "4917@s.whatsapp.net");
    assert_eq!(got.sender, "4917@s.whatsapp.net");
    assert_eq!(got.text.as_deref(), Some("hi"));
    assert_eq!(got.kind, MessageKind::Text);
    assert_eq!(got.status, None);
}

#[test]
fn a_member_of_a_group_keeps_the_lid_he_writes_under() {
    let mut info = info(GROUP, "955:3@lid", false);
    info.source.sender_alt = Some("4917@s.whatsapp.net".parse().expect("jid"));
    let (got, _) = message_of(&info, &wa::Message::text("hi"));
    assert_eq!(got.chat_id, GROUP);
    assert_eq!(got.sender, "4917@s.whatsapp.net");
    assert_eq!(got.wire_lid.as_deref(), Some("955@lid"));
    // A reply names the author as the group does.
    let context = Context {
        quoted: Some(&got),
        ..Context::default()
    };
    let reply = text("yes", context);
    let context = reply.extended_text_message.context_info.as_option();
    let context = context.expect("context");
    assert_eq!(context.participant.as_deref(), Some("955@lid"));
    let chat = ChatJid::parse(GROUP).expect("jid");
    let change = Change::React { emoji: "x".into() };
    let reaction = change.encode(&chat, &got, None, "", 7).expect("encoded");
    let key = reaction.reaction_message.as_option().expect("reaction");
    let key = key.key.as_option().expect("key");
    assert_eq!(key.participant.as_deref(), Some("955@lid"));
    assert_eq!(key.from_me, Some(false));
}

#[test]
fn replies_and_mentions_survive_the_way_out_and_in() {
    let info = info(ALICE, "49170:2@s.whatsapp.net", false);
    let (first, _) = message_of(&info, &wa::Message::text("question"));
    let mentions = [ChatJid::parse("491711111111@s.whatsapp.net").expect("jid")];
    let context = Context {
        mentions: &mentions,
        quoted: Some(&first),
        ..Context::default()
    };
    let mut answer = text("answer", context);
    // Mentions that are no JIDs are dropped.
    let text = answer.extended_text_message.as_option_mut();
    let sent = text.and_then(|text| text.context_info.as_option_mut());
    let named = &mut sent.expect("a context").mentioned_jid;
    named.extend(["491722222222".to_owned(), "@evil/..".to_owned()]);
    let (got, _) = message_of(&info, &answer);
    assert_eq!(got.text.as_deref(), Some("answer"));
    assert_eq!(got.mentions, [mentions[0].to_string()]);
    let quoted = got.quoted_message.expect("quoted");
    assert_eq!(quoted.message_id, "3EB0AA");
    assert_eq!(quoted.participant.as_deref(), Some(ALICE));
    assert_eq!(quoted.text.as_deref(), Some("question"));
}

#[test]
fn what_speaks_to_devices_alone_is_no_message() {
    let info = info(ALICE, ALICE, true);
    let keys = wa::Message {
        sender_key_distribution_message: MessageField::some(Default::default()),
        ..Default::default()
    };
    assert_eq!(read(&info, &keys), None);
    let share = wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            r#type: Some(wa::message::protocol_message::Type::AppStateSyncKeyShare),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(read(&info, &share), None);
    assert_eq!(read(&info, &wa::Message::default()), None);
}

#[test]
fn what_is_not_understood_is_kept_as_unknown() {
    let info = info(ALICE, ALICE, false);
    let odd = wa::Message {
        conditional_reveal_message: MessageField::some(Default::default()),
        ..Default::default()
    };
    assert_eq!(message_of(&info, &odd).0.kind, MessageKind::Unknown);
}

fn picture(size: u64) -> wa::Message {
    wa::Message {
        image_message: MessageField::some(wa::message::ImageMessage {
            caption: Some("look".into()),
            mimetype: Some("image/png".into()),
            direct_path: Some("/v/1".into()),
            media_key: Some(vec![1; 32]),
            file_sha256: Some(vec![2; 32]),
            file_enc_sha256: Some(vec![3; 32]),
            file_length: Some(size),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn media_are_found_in_every_wrapping() {
    let info = info(ALICE, ALICE, false);
    let wrappings: [fn(wa::Message) -> wa::Message; 4] = [
        |inner| inner,
        |inner| wa::Message {
            view_once_message_v2: wrapped(inner),
            ..Default::default()
        },
        |inner| wa::Message {
            ephemeral_message: wrapped(wa::Message {
                view_once_message: wrapped(inner),
                ..Default::default()
            }),
            ..Default::default()
        },
        |inner| wa::Message {
            device_sent_message: MessageField::some(wa::message::DeviceSentMessage {
                message: MessageField::some(wa::Message {
                    associated_child_message: wrapped(inner),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        },
    ];
    for wrap in wrappings {
        let (got, medium) = message_of(&info, &wrap(picture(999)));
        assert_eq!(got.kind, MessageKind::Image);
        assert_eq!(got.caption.as_deref(), Some("look"));
        let medium = medium.expect("medium");
        assert_eq!((medium.kind, medium.size), (MediaKind::Image, 999));
        assert_eq!(medium.mimetype, "image/png");
        assert!(medium.wanted);
        assert_eq!(medium.remote.expect("remote").direct_path, "/v/1");
    }
    let (_, large) = message_of(&info, &picture(1_001));
    assert!(!large.expect("medium").wanted, "over the limit");
    // Nested without end, it is still read in bounded time.
    let deep = (0..200).fold(picture(1), |inner, _| wa::Message {
        ephemeral_message: wrapped(inner),
        ..Default::default()
    });
    assert_eq!(message_of(&info, &deep).0.kind, MessageKind::Unknown);
}

#[test]
fn documents_with_captions_and_places_and_cards() {
    let info = info(ALICE, ALICE, false);
    let document = wa::Message {
        document_with_caption_message: wrapped(wa::Message {
            document_message: MessageField::some(wa::message::DocumentMessage {
                file_name: Some("a.pdf".into()),
                caption: Some("the bill".into()),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (got, medium) = message_of(&info, &document);
    assert_eq!(got.kind, MessageKind::Document);
    assert_eq!(got.caption.as_deref(), Some("the bill"));
    let medium = medium.expect("medium");
    assert_eq!(medium.file_name.as_deref(), Some("a.pdf"));
    assert_eq!((medium.remote, medium.wanted), (None, false), "no link");
    let place = wa::Message {
        location_message: MessageField::some(wa::message::LocationMessage {
            degrees_latitude: Some(52.5),
            degrees_longitude: Some(13.4),
            name: Some("Here".into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (got, _) = message_of(&info, &place);
    assert_eq!(got.kind, MessageKind::Location);
    let place = got.location.expect("location");
    assert_eq!((place.latitude, place.longitude), (52.5, 13.4));
    let poll = wa::Message {
        poll_creation_message_v3: MessageField::some(wa::message::PollCreationMessage {
            name: Some("Lunch?".into()),
            options: vec![wa::message::poll_creation_message::Option {
                option_name: Some("yes".into()),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    let (got, _) = message_of(&info, &poll);
    assert_eq!(got.kind, MessageKind::Poll);
    assert_eq!(got.text.as_deref(), Some("Lunch?"));
    assert_eq!(got.poll.expect("poll").options, ["yes"]);
}

fn key(id: &str, from_me: bool, participant: Option<&str>) -> wa::MessageKey {
    wa::MessageKey {
        remote_jid: Some(ALICE.into()),
        from_me: Some(from_me),
        id: Some(id.into()),
        participant: participant.map(str::to_owned),
    }
}

fn protocol(
    r#type: wa::message::protocol_message::Type,
    key: wa::MessageKey,
    edited: Option<wa::Message>,
) -> wa::Message {
    wa::Message {
        protocol_message: MessageField::some(wa::message::ProtocolMessage {
            r#type: Some(r#type),
            key: MessageField::some(key),
            edited_message: edited.map_or_else(Default::default, MessageField::some),
            timestamp_ms: Some(77),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn reactions_name_whose_message_they_are_for() {
    let reaction = |key| outgoing_reaction(key, "y");
    // The other person reacts to our message, and to their own.
    let his = info(ALICE, ALICE, false);
    let (target, by, change) = a_change(&his, &reaction(key("A", false, None)));
    assert_eq!(target.author, Some(Author::Me));
    assert_eq!(
        (target.chat.as_str(), target.message_id.as_str()),
        (ALICE, "A")
    );
    assert_eq!(
        (by.from.as_str(), by.from_me, by.timestamp),
        (ALICE, false, 9)
    );
    assert_eq!(change, Change::React { emoji: "y".into() });
    let (target, ..) = a_change(&his, &reaction(key("A", true, None)));
    assert_eq!(target.author, Some(Author::Them(Some(ALICE.into()))));
    // Our phone reacts to theirs, and to ours.
    let ours = info(ALICE, "11:0@s.whatsapp.net", true);
    let (target, by, _) = a_change(&ours, &reaction(key("A", false, None)));
    assert_eq!(target.author, Some(Author::Them(None)));
    assert!(by.from_me);
    let (target, ..) = a_change(&ours, &reaction(key("A", true, None)));
    assert_eq!(target.author, Some(Author::Me));
}

fn outgoing_reaction(key: wa::MessageKey, emoji: &str) -> wa::Message {
    wa::Message {
        reaction_message: MessageField::some(wa::message::ReactionMessage {
            key: MessageField::some(key),
            text: Some(emoji.into()),
            sender_timestamp_ms: Some(9),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn edits_and_deletions_reach_what_their_sender_may_change() {
    use wa::message::protocol_message::Type;
    let his = info(ALICE, ALICE, false);
    let edit = |from_me| {
        protocol(
            Type::MessageEdit,
            key("A", from_me, None),
            Some(wa::Message::text("better")),
        )
    };
    for message in [
        edit(true),
        wa::Message {
            edited_message: wrapped(edit(true)),
            ..Default::default()
        },
    ] {
        let (target, by, change) = a_change(&his, &message);
        assert_eq!(
            target.author,
            Some(Author::Them(Some(ALICE.into()))),
            "only his own"
        );
        assert_eq!(by.timestamp, 77);
        assert_eq!(
            change,
            Change::Edit {
                text: "better".into(),
                mentions: Some(Vec::new()),
            }
        );
    }
    let delete =
        |from_me, participant| protocol(Type::Revoke, key("A", from_me, participant), None);
    let (target, _, change) = a_change(&his, &delete(true, None));
    assert_eq!(
        (target.author, change),
        (Some(Author::Them(Some(ALICE.into()))), Change::Delete)
    );
    // Neither side may change the other's message; admins have rights in groups only.
    let mut claims = his.clone();
    claims.edit = EditAttribute::AdminRevoke;
    let ours = info(ALICE, "11:0@s.whatsapp.net", true);
    for info in [&his, &claims, &ours] {
        assert_eq!(read(info, &edit(false)), None);
        assert_eq!(read(info, &delete(false, None)), None);
        assert_eq!(read(info, &delete(false, Some("977@lid"))), None);
    }
    // In a group an admin deletes another's message, and names its author.
    let mut group = info(GROUP, "955@lid", false);
    for (edit, deletes) in [
        (EditAttribute::Empty, false),
        (EditAttribute::SenderRevoke, false),
        (EditAttribute::AdminEdit, false),
        (EditAttribute::AdminRevoke, true),
    ] {
        group.edit = edit;
        let others = delete(false, Some("977@lid"));
        match deletes {
            false => assert_eq!(read(&group, &others), None),
            true => assert_eq!(
                a_change(&group, &others).0.author,
                Some(Author::Named("977@lid".into()))
            ),
        }
        assert_eq!(
            read(&group, &delete(false, None)),
            None,
            "without an author"
        );
        let (target, ..) = a_change(&group, &delete(true, None));
        assert_eq!(target.author, Some(Author::Them(Some("955@lid".into()))));
    }
    // A reaction is to a message of the author that it names; the key's chat counts for nothing.
    group.edit = EditAttribute::Empty;
    let reaction = outgoing_reaction(key("A", false, Some("977@lid")), "y");
    let (target, ..) = a_change(&group, &reaction);
    assert_eq!(target.author, Some(Author::Named("977@lid".into())));
    assert_eq!(target.chat, GROUP);
}

/// A reply shows what kind of message it answers, as clients do.
#[test]
fn quotes_are_of_the_kind_of_what_they_quote() {
    let quote = |kind, change: fn(&mut Message)| {
        let mut first = Message::empty("alice", "3EB0AA", ALICE, kind, 5);
        first.sender = ALICE.into();
        change(&mut first);
        let context = Context {
            quoted: Some(&first),
            ..Context::default()
        };
        let reply = text("answer", context);
        let context = reply.extended_text_message.context_info.clone();
        let info = info(ALICE, ALICE, false);
        let shown = message_of(&info, &reply).0.quoted_message.expect("quoted");
        (context.quoted_message.clone(), shown)
    };
    for kind in [
        MessageKind::Text,
        MessageKind::Image,
        MessageKind::Video,
        MessageKind::Audio,
        MessageKind::Voice,
        MessageKind::Document,
        MessageKind::Sticker,
        MessageKind::Location,
        MessageKind::Contact,
        MessageKind::Poll,
    ] {
        let (quoted, shown) = quote(kind, |_| ());
        let mut decoded = Message::default();
        let has_file = message::decode(&quoted, &mut decoded).is_some();
        assert_eq!(decoded.kind, kind);
        assert_eq!(shown.has_media, has_file, "{kind:?}");
    }
    let (quoted, shown) = quote(MessageKind::Image, |m| m.caption = Some("a view".into()));
    assert_eq!(quoted.image_message.caption.as_deref(), Some("a view"));
    assert_eq!(shown.text.as_deref(), Some("a view"));
    let (quoted, _) = quote(MessageKind::Document, |m| {
        m.media_file_name = Some("a.pdf".into());
    });
    assert_eq!(quoted.document_message.file_name.as_deref(), Some("a.pdf"));
    let (_, shown) = quote(MessageKind::Poll, |m| m.text = Some("Lunch?".into()));
    assert_eq!(shown.text.as_deref(), Some("Lunch?"));
}

fn a_picture(direct_path: &str) -> wa::Message {
    wa::Message {
        image_message: MessageField::some(wa::message::ImageMessage {
            direct_path: Some(direct_path.to_owned()),
            media_key: Some(vec![1; 32]),
            file_enc_sha256: Some(vec![2; 32]),
            file_sha256: Some(vec![3; 32]),
            file_length: Some(500),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[test]
fn a_path_that_leads_elsewhere_is_not_kept() {
    let info = info(ALICE, ALICE, false);
    let medium = |path: &str| message_of(&info, &a_picture(path)).1.expect("a medium");
    let good = medium("/v/t62.7118-24/1_n.enc?ccb=11-4&oh=x&oe=1");
    assert!(good.remote.is_some() && good.wanted);
    for evil in [
        "@evil.example/v",
        ":1@evil.example/v",
        "//evil.example/v",
        "/\\evil",
        "v",
    ] {
        let medium = medium(evil);
        assert!(medium.remote.is_none() && !medium.wanted, "{evil}");
    }
    // The phone can be asked where it lies.
    let none = medium("");
    assert_eq!(
        none.remote.map(|remote| remote.direct_path).as_deref(),
        Some("")
    );
}

#[test]
fn a_file_without_a_size_is_fetched_unasked_only_where_others_are() {
    let mut picture = a_picture("/v/t62.7118-24/1_n.enc");
    if let Some(picture) = picture.image_message.as_option_mut() {
        picture.file_length = None;
    }
    for (max_bytes, expected) in [(0, false), (1_000, true)] {
        let info = info(ALICE, ALICE, false);
        let found = inbound("alice", &info, &picture, AutoDownload { max_bytes }, 5);
        let InboundContent::Message { medium, .. } = found.expect("content").what else {
            panic!("a change");
        };
        assert_eq!(medium.expect("a medium").wanted, expected, "{max_bytes}");
    }
}

#[test]
fn files_of_stories_and_channels_wait_to_be_asked_for() {
    let picture = a_picture("/v/t62.7118-24/1_n.enc");
    for (chat, wanted) in [
        (ALICE, true),
        (GROUP, true),
        ("status@broadcast", false),
        ("120363144038483540@newsletter", false),
    ] {
        let medium = message_of(&info(chat, ALICE, false), &picture)
            .1
            .expect("a medium");
        assert!(medium.remote.is_some(), "{chat}");
        assert_eq!(medium.wanted, wanted, "{chat}");
    }
}

#[test]
fn a_kept_protobuf_is_read_again_in_its_envelope() {
    let list = wa::Message {
        list_message: MessageField::some(wa::message::ListMessage {
            title: Some("Menu".into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (now, _) = message_of(&info(GROUP, ALICE, false), &list);
    let raw = now.raw.clone().expect("kept");
    let earlier = Message {
        kind: MessageKind::Unknown,
        text: None,
        raw: None,
        ..now.clone()
    };
    assert_eq!(again(&earlier, &raw), Some((now, None)));
    let nothing = codec::message_to_vec(&wa::Message::default());
    assert_eq!(again(&earlier, &nothing), None);
    assert_eq!(again(&earlier, &[0xff]), None);
    let (plain, _) = message_of(&info(GROUP, ALICE, false), &text("x", Context::default()));
    assert_eq!(plain.raw, None);
}

#[test]
fn a_message_to_a_broadcast_list_is_in_its_senders_chat() {
    let mut to_list = info("1234567890@broadcast", "7:3@lid", false);
    to_list.source.is_group = true;
    to_list.source.sender_alt = Some(ALICE.parse().expect("jid"));
    let hello = text("hello", Context::default());
    let (message, _) = message_of(&to_list, &hello);
    assert_eq!(
        (message.chat_id.as_str(), message.sender.as_str()),
        (ALICE, ALICE)
    );
    assert_eq!(message.wire_lid, None);
    // Stories and channels stay where they are.
    for chat in ["status@broadcast", "120363000000000001@newsletter"] {
        let mut published = info(chat, ALICE, false);
        published.source.is_group = chat == "status@broadcast";
        assert_eq!(message_of(&published, &hello).0.chat_id, chat);
    }
}
