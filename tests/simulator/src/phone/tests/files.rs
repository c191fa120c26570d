//! Messages with files: they arrive unchanged, and errors are detected.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use wacore::download::MediaType;
use wacore::media_retry::{
    MediaRetryResult, build_media_retry_receipt, encrypt_media_retry_receipt,
    parse_media_retry_notification,
};
use wacore::proto_helpers::MessageExt as _;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;

use super::world::{ALICE, BOB, NOW, World, addr};
use crate::directory::Directory as _;
use crate::media::Missing;
use crate::phone::{Outgoing, Phone, Received, attr};

/// Longer than a piece of anything, and no whole number of blocks.
fn content() -> Vec<u8> {
    (0..100_003u32).map(|n| (n % 249) as u8).collect()
}

fn encoded() -> String {
    BASE64_STANDARD.encode(content())
}

/// Sends what the admin API would; the id and what the recipient's phone recorded.
fn exchange(world: &mut World, body: Value) -> (String, Received) {
    let id = send(world, ALICE, body);
    world.settle();
    let got = world.phone(BOB).inbox().find(&id).expect("received");
    (id, got.clone())
}

fn send(world: &mut World, from: &str, body: Value) -> String {
    let out: Outgoing = serde_json::from_value(body).expect("a message");
    let (id, stanzas) = world.with(from, |phone, world| {
        phone.send(out, world, NOW).expect("sent")
    });
    world.route(&addr(from, 0), stanzas);
    id
}

fn decrypted(phone: &Phone, id: &str) -> Vec<u8> {
    let media = phone.media_of(id).expect("a message with a file");
    let mut plain = Vec::new();
    let file = media.file.as_ref().expect("downloaded");
    file.decrypt(&mut plain).expect("decrypted");
    plain
}

#[test]
fn files_of_every_kind_arrive_unchanged() {
    let mut world = World::new();
    for (body, mediatype, expected) in [
        (
            json!({"image": {"base64": encoded(), "caption": "a view", "width": 3, "height": 2}}),
            "image",
            json!({"mimetype": "image/jpeg", "width": 3, "height": 2, "thumbnail": true}),
        ),
        (
            json!({"video": {"base64": encoded(), "seconds": 9, "gif": true}}),
            "gif",
            json!({"mimetype": "video/mp4", "seconds": 9, "animated": true}),
        ),
        (
            json!({"audio": {"base64": encoded(), "seconds": 4, "ptt": true}}),
            "ptt",
            json!({"mimetype": "audio/ogg; codecs=opus", "ptt": true, "waveform": true}),
        ),
        (
            json!({"audio": {"base64": encoded(), "mimetype": "audio/mpeg"}}),
            "audio",
            json!({"mimetype": "audio/mpeg", "ptt": false, "waveform": false}),
        ),
        (
            json!({"document": {"base64": encoded(), "fileName": "a.pdf", "caption": "read"}}),
            "document",
            json!({"fileName": "a.pdf", "title": "a.pdf"}),
        ),
        (
            json!({"sticker": {"base64": encoded(), "animated": true}}),
            "sticker",
            json!({"mimetype": "image/webp", "width": 512, "animated": true}),
        ),
    ] {
        let kind = body.as_object().expect("one key").keys().next().cloned();
        let mut out = body;
        out["to"] = BOB.into();
        let (id, got) = exchange(&mut world, out.clone());
        assert_eq!(Some(got.kind), kind.as_deref());
        let caption = out[got.kind]["caption"].as_str();
        assert_eq!(got.text.as_deref(), caption);
        let mut record = serde_json::to_value(&got.media).expect("JSON");
        assert_eq!(record["error"], Value::Null, "{record}");
        assert_eq!(record["mediatype"], mediatype);
        assert_eq!(record["size"], content().len());
        for (key, value) in expected.as_object().expect("an object") {
            assert_eq!(record[key], *value, "{mediatype}: {key}");
        }
        assert_eq!(decrypted(world.phone(BOB), &id), content());

        let sent = world.phone(ALICE).inbox().find_sent(&id).expect("sent");
        let own = serde_json::to_value(&sent.media).expect("JSON");
        record["mediatype"] = own["mediatype"].clone();
        assert_eq!(own, record, "both sides record the same");
    }
}

#[test]
fn wrapped_messages_are_unwrapped() {
    let mut world = World::new();
    world.link(BOB, 1, 5);
    let file = json!({"base64": encoded(), "caption": "once"});
    let body = json!({"to": BOB, "image": file, "viewOnce": true, "ephemeral": 86400});
    let id = send(&mut world, ALICE, body);
    let mut left = world.settle();
    let got = world.phone(BOB).inbox().find(&id).expect("received");
    assert!(got.view_once);
    assert_eq!((got.kind, got.expiration), ("image", Some(86400)));
    assert_eq!(got.media.as_ref().expect("a file").error, None);

    let mut wire = |left: &mut Vec<(crate::directory::DeviceAddr, Node)>| {
        let at = left
            .iter()
            .position(|(to, node)| to.number == BOB && node.tag == "message");
        let (to, stanza) = left.remove(at.expect("a copy for the linked device"));
        let companion = world.companions.get_mut(&to).expect("linked");
        companion.open(&addr(ALICE, 0), &stanza)
    };
    let outer = wire(&mut left);
    let inner = outer.ephemeral_message.message.as_option().expect("inner");
    let inner = inner
        .view_once_message_v2
        .message
        .as_option()
        .expect("inner");
    assert_eq!(inner.image_message.view_once, Some(true));

    let body = json!({"to": BOB, "document": {"base64": encoded(), "caption": "c"}});
    send(&mut world, ALICE, body);
    let mut left = world.settle();
    let at = left.iter().position(|(_, node)| node.tag == "message");
    let (to, stanza) = left.remove(at.expect("a copy"));
    let companion = world.companions.get_mut(&to).expect("linked");
    let outer = companion.open(&addr(ALICE, 0), &stanza);
    assert!(outer.document_with_caption_message.is_set());
    assert!(!outer.document_message.is_set());
}

#[test]
fn a_caption_can_be_quoted_edited_and_deleted() {
    let mut world = World::new();
    let body = json!({"to": BOB, "image": {"base64": encoded(), "caption": "before"}});
    let (id, _) = exchange(&mut world, body);
    let body = json!({"to": ALICE, "sticker": {"base64": encoded()}, "replyTo": id});
    let reply = send(&mut world, BOB, body);
    world.settle();
    let got = world.phone(ALICE).inbox().find(&reply).expect("received");
    assert_eq!(got.quoted_id.as_deref(), Some(id.as_str()));
    let quoted = got.quoted.as_ref().expect("quoted");
    assert_eq!(
        (quoted.kind, quoted.text.as_deref()),
        ("image", Some("before"))
    );
    let author = format!("{ALICE}@s.whatsapp.net");
    assert_eq!(quoted.participant, Some(author));

    for bare in [false, true] {
        let edit = json!({"messageId": id, "text": "after", "bare": bare});
        let (_, got) = exchange(&mut world, json!({"to": BOB, "edit": edit}));
        assert_eq!(
            (got.kind, got.edit_of.as_deref()),
            ("edit", Some(id.as_str()))
        );
        assert_eq!(got.text.as_deref(), Some("after"));
    }
    let react = json!({"messageId": reply, "emoji": "🎉"});
    let (_, got) = exchange(&mut world, json!({"to": BOB, "react": react}));
    assert_eq!(got.reaction_to.as_deref(), Some(reply.as_str()));
    let delete = json!({"to": BOB, "delete": {"messageId": id}});
    let (_, got) = exchange(&mut world, delete);
    assert_eq!(got.delete_of.as_deref(), Some(id.as_str()));
}

#[test]
fn voice_notes_are_played_and_the_rest_only_when_named() {
    let mut world = World::new();
    let voice = json!({"to": BOB, "audio": {"base64": encoded(), "ptt": true}});
    let (voice, _) = exchange(&mut world, voice);
    let (image, _) = exchange(
        &mut world,
        json!({"to": BOB, "image": {"base64": encoded()}}),
    );
    let mut play = |ids: Option<&[String]>| {
        let stanzas = world.with(BOB, |phone, _| phone.mark_played(ALICE, ids, NOW));
        world.route(&addr(BOB, 0), stanzas);
        world.settle();
        [&voice, &image].map(|id| {
            let sent = world.phone(ALICE).inbox().find_sent(id).expect("sent");
            sent.receipts.iter().filter(|r| r.kind == "played").count()
        })
    };
    assert_eq!(play(None), [1, 0]);
    assert_eq!(play(None), [1, 0], "once is enough");
    assert_eq!(play(Some(std::slice::from_ref(&image))), [1, 1]);
}

#[test]
fn locations_contacts_polls_and_unknown_kinds_are_distinguished() {
    let mut world = World::new();
    let body = json!({"liveLocation": {"latitude": 1.5, "longitude": -2.5, "caption": "moving"}});
    let (_, got) = exchange(&mut world, with_to(body));
    let place = got.location.expect("a place");
    assert_eq!(
        (place.latitude, place.longitude, place.live),
        (1.5, -2.5, true)
    );
    assert_eq!(got.text.as_deref(), Some("moving"));
    let cards = json!({"contacts": [{"name": "A", "number": "1"}, {"name": "B", "number": "2"}]});
    let (_, got) = exchange(&mut world, with_to(cards));
    assert_eq!((got.kind, got.contacts.len()), ("contact", 2));
    assert!(got.contacts[1].vcard.contains("FN:B"));
    let poll = json!({"poll": {"name": "which?", "options": ["x", "y"]}});
    let (_, got) = exchange(&mut world, with_to(poll));
    let poll = got.poll.expect("a poll");
    assert_eq!(
        (poll.options, poll.selectable),
        (vec!["x".to_owned(), "y".to_owned()], 1)
    );
    let (_, got) = exchange(&mut world, with_to(json!({"unknown": true})));
    assert_eq!(got.kind, "unknown");
}

fn with_to(mut body: Value) -> Value {
    body["to"] = BOB.into();
    body
}

/// A message that a client made, which a test then spoils.
fn honest(world: &mut World) -> wa::message::ImageMessage {
    let up = world.with(ALICE, |phone, world| {
        let mut plain = b"a picture".as_slice();
        phone
            .upload(MediaType::Image, &mut plain, world, NOW)
            .expect("uploaded")
    });
    wa::message::ImageMessage {
        mimetype: Some("image/png".to_owned()),
        media_key: Some(up.key().to_vec()),
        media_key_timestamp: Some(1),
        direct_path: Some(up.stored.direct_path.clone()),
        file_sha256: Some(up.sha256.to_vec()),
        file_enc_sha256: Some(up.stored.sha256.to_vec()),
        file_length: Some(up.len),
        ..Default::default()
    }
}

/// What the phone says about a file in a message that a linked device of Alice's made.
fn verdict(
    world: &mut World,
    n: usize,
    image: wa::message::ImageMessage,
    mediatype: &str,
) -> Value {
    let message = wa::Message {
        image_message: waproto::buffa::MessageField::some(image),
        ..Default::default()
    };
    let to = addr(BOB, 0);
    let bundle = world.take_bundle(&to).expect("a bundle");
    let companion = world.companions.get_mut(&addr(ALICE, 1)).expect("linked");
    let id = format!("3EB0{n}");
    let from = Jid::pn_device(ALICE, 1);
    let mut stanza = companion.say(from, &to, &bundle, &id, &message);
    stanza.attrs.insert("type", "media");
    if let Some(wacore_binary::NodeContent::Nodes(children)) = &mut stanza.content {
        children[0].attrs.insert("mediatype", mediatype);
    }
    world.wire.push_back((to, stanza));
    world.settle();
    let got = world.phone(BOB).inbox().find(&id).expect("received");
    serde_json::to_value(&got.media).expect("JSON")
}

#[test]
fn a_file_with_wrong_size_or_hash_is_refused() {
    let mut world = World::new();
    world.link(ALICE, 1, 3);
    let image = honest(&mut world);
    let good = verdict(&mut world, 0, image.clone(), "image");
    assert_eq!(good["error"], Value::Null, "{good}");
    assert_eq!(good["size"], 9);

    type Spoil = fn(&mut wa::message::ImageMessage);
    let spoils: [(Spoil, &str); 11] = [
        (|m| m.media_key = None, "mediaKey is missing"),
        (|m| m.media_key = Some(vec![1; 31]), "mediaKey has 31 bytes"),
        (|m| m.media_key = Some(vec![1; 32]), "decryption"),
        (|m| m.direct_path = None, "directPath is missing"),
        (|m| m.direct_path = Some("/v/x".to_owned()), "no such file"),
        (
            |m| m.file_sha256 = Some(vec![0; 32]),
            "fileSha256 is another file's",
        ),
        (|m| m.file_sha256 = None, "fileSha256 is missing"),
        (
            |m| m.file_enc_sha256 = Some(vec![0; 32]),
            "fileEncSha256 is another file's",
        ),
        (|m| m.file_length = Some(8), "fileLength is 8 and not 9"),
        (|m| m.mimetype = None, "mimetype is missing"),
        (
            |m| m.jpeg_thumbnail = Some(vec![1, 2]),
            "the thumbnail is no JPEG",
        ),
    ];
    for (n, (spoil, expected)) in spoils.into_iter().enumerate() {
        let mut spoiled = image.clone();
        spoil(&mut spoiled);
        let record = verdict(&mut world, n + 1, spoiled, "image");
        let error = record["error"].as_str().expect(expected);
        assert!(error.contains(expected), "{error}");
    }
    let record = verdict(&mut world, 90, image.clone(), "video");
    assert!(
        record["error"]
            .as_str()
            .expect("an error")
            .contains("mediatype")
    );
    world.media().expire(None, Missing::Expired);
    let record = verdict(&mut world, 91, image, "image");
    assert!(
        record["error"]
            .as_str()
            .expect("an error")
            .contains("expired")
    );
}

/// Asks the phone of Bob for a file again, as his linked device would.
fn retry(world: &mut World, id: &str, key: &[u8]) -> MediaRetryResult {
    let (sealed, iv) = encrypt_media_retry_receipt(key, id).expect("sealed");
    let (own, chat) = (Jid::pn(BOB), Jid::pn(ALICE));
    let mut receipt = build_media_retry_receipt(&own, id, &chat, false, None, &sealed, &iv);
    receipt.attrs.insert("from", Jid::pn_device(BOB, 1));
    let answers = world.with(BOB, |phone, world| phone.receive(&receipt, world, NOW));
    let answer = answers
        .iter()
        .find(|node| node.tag == "notification")
        .expect("an answer");
    assert_eq!(attr(answer, "type").as_deref(), Some("mediaretry"));
    assert_eq!(attr(answer, "to"), Some(Jid::pn_device(BOB, 1).to_string()));
    assert!(answer.get_optional_child("rmr").is_some());
    let bytes = wacore_binary::marshal::marshal(answer).expect("marshalled");
    let node = wacore_binary::marshal::unmarshal_ref(&bytes[1..]).expect("unmarshalled");
    parse_media_retry_notification(&node, key).expect("an answer that opens")
}

#[test]
fn a_phone_uploads_expired_files_again() {
    let mut world = World::new();
    world.link(BOB, 1, 5);
    let body = json!({"to": BOB, "image": {"base64": encoded()}});
    let id = send(&mut world, ALICE, body);
    let stanza = world
        .wire
        .iter()
        .find(|(to, _)| *to == addr(BOB, 1))
        .map(|(_, stanza)| stanza.clone())
        .expect("a copy for the linked device");
    world.settle();
    let companion = world.companions.get_mut(&addr(BOB, 1)).expect("linked");
    let message = companion.open(&addr(ALICE, 0), &stanza);
    let image = message.get_base_message().image_message.clone();
    let key = image.media_key.clone().expect("a key");
    let old = image.direct_path.clone().expect("a path");
    assert_eq!(world.media().expire(None, Missing::Expired), 1);
    let gone = world.media().open(&old, NOW / 1000).expect_err("expired");
    assert_eq!(gone, Missing::Expired);

    let MediaRetryResult::Success { direct_path } = retry(&mut world, &id, &key) else {
        panic!("the phone has the file");
    };
    let blob = world.media().open(&direct_path, NOW / 1000).expect("there");
    assert_eq!(
        Some(blob.sha256().as_slice()),
        image.file_enc_sha256.as_deref()
    );

    let unknown = retry(&mut world, "3A00", &key);
    assert!(matches!(unknown, MediaRetryResult::NotFound), "{unknown:?}");
    let wrong = retry(&mut world, &id, &[0; 32]);
    assert!(
        matches!(wrong, MediaRetryResult::DecryptionError),
        "{wrong:?}"
    );
    world.refused_media_retry = Some(2);
    let refused = retry(&mut world, &id, &key);
    assert!(matches!(refused, MediaRetryResult::NotFound), "{refused:?}");
    world.refused_media_retry = Some(0);
    let refused = retry(&mut world, &id, &key);
    assert!(
        matches!(refused, MediaRetryResult::GeneralError),
        "{refused:?}"
    );
}
