//! Files between whatsapp-rust's own tokio client and the simulator's phones, bytes compared.

mod stock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use stock::{Device, World};
use waproto::buffa::MessageField;
use waproto::whatsapp as wa;
use whatsapp_rust::Jid;
use whatsapp_rust::features::{MediaRetryResult, MediaReuploadRequest};
use whatsapp_rust::prelude::*;
use whatsapp_rust::upload::UploadOptions;
use whatsapp_rust::wacore::download::{Downloadable, MediaType};

const ALICE: &str = "15550000001";
const CAROL: &str = "15550000003";

fn content(len: u32) -> Vec<u8> {
    (0..len).map(|n| (n % 247) as u8).collect()
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn file_of(message: &wa::Message) -> Box<dyn Downloadable> {
    let base = message.get_base_message();
    if let Some(image) = base.image_message.as_option() {
        Box::new(image.clone())
    } else if let Some(audio) = base.audio_message.as_option() {
        Box::new(audio.clone())
    } else if let Some(document) = base.document_message.as_option() {
        Box::new(document.clone())
    } else if let Some(sticker) = base.sticker_message.as_option() {
        Box::new(sticker.clone())
    } else {
        panic!("no file in {message:?}")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_phones_send_the_client_downloads() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let bytes = content(70_001);
    let file = encoded(&bytes);
    // From another person, and from the own phone.
    for (from, to) in [(CAROL, ALICE), (ALICE, CAROL)] {
        for body in [
            json!({"to": to, "image": {"base64": file, "caption": "a view"}}),
            json!({"to": to, "image": {"base64": file}, "viewOnce": true, "ephemeral": 60,
                "forge": {"unmarked": true}}),
            json!({"to": to, "audio": {"base64": file, "ptt": true, "seconds": 3}}),
            json!({"to": to, "document": {"base64": file, "fileName": "a.pdf", "caption": "c"}}),
            json!({"to": to, "sticker": {"base64": file}}),
        ] {
            let id = world.send(from, body.clone()).await;
            let got = alice.message(&id).await;
            assert_eq!(got.info.source.is_from_me, from == ALICE);
            let downloaded = alice.client.download(&*file_of(&got.message)).await;
            assert_eq!(downloaded.expect("downloaded"), bytes, "{body}");
        }
    }
    alice.stop().await;
}

/// Uploads a file as an application does; what a message says about it.
async fn upload(
    client: &Client,
    kind: MediaType,
    bytes: &[u8],
) -> whatsapp_rust::upload::UploadResponse {
    client
        .upload(bytes.to_vec(), kind, UploadOptions::new())
        .await
        .expect("uploaded")
}

macro_rules! about {
    ($kind:ident, $up:expr, $mimetype:expr, { $($field:ident: $value:expr),* $(,)? }) => {
        MessageField::some(wa::message::$kind {
            url: Some($up.url.clone()),
            direct_path: Some($up.direct_path.clone()),
            mimetype: Some($mimetype.to_owned()),
            media_key: Some($up.media_key.to_vec()),
            media_key_timestamp: Some($up.media_key_timestamp),
            file_sha256: Some($up.file_sha256.to_vec()),
            file_enc_sha256: Some($up.file_enc_sha256.to_vec()),
            file_length: Some($up.file_length),
            $($field: $value,)*
            ..Default::default()
        })
    };
}

/// Sends a message; its id and its record on a phone, with the file.
async fn deliver(
    world: &World,
    client: &Client,
    count: usize,
    message: wa::Message,
    expected: &[u8],
) -> Value {
    let sent = client.send_message(Jid::pn(CAROL), message).await;
    let id = sent.expect("sent").message_id;
    for number in [CAROL, ALICE] {
        let received = world.received(number, count).await;
        let got = received.last().expect("a message");
        assert_eq!(got["messageId"], id.as_str());
        assert_eq!(got["fromMe"], number == ALICE);
        assert_eq!(got["media"]["error"], Value::Null, "{got}");
        assert_eq!(got["media"]["size"], expected.len());
        let path = format!("admin/phones/{number}/media/{id}");
        assert_eq!(world.bytes(&path, None).await, (200, expected.to_vec()));
    }
    world.received(CAROL, count).await.remove(count - 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_client_sends_the_phones_download() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let alice = Device::link(&world, ALICE, "alice").await;
    let client = &*alice.client;

    let bytes = content(50_000);
    let up = upload(client, MediaType::Image, &bytes).await;
    let image = about!(ImageMessage, up, "image/png", {
        caption: Some("look".to_owned()),
        width: Some(5),
        height: Some(4),
    });
    let image = wa::Message {
        image_message: image,
        ..Default::default()
    };
    let got = deliver(&world, client, 1, image, &bytes).await;
    assert_eq!(
        (got["type"].as_str(), got["text"].as_str()),
        (Some("image"), Some("look"))
    );
    assert_eq!(got["media"]["width"], 5);
    let part = world.bytes(&up.direct_path[1..], Some("bytes=16-31")).await;
    let whole = world.bytes(&up.direct_path[1..], None).await.1;
    assert_eq!(part, (206, whole[16..32].to_vec()));

    let up = upload(client, MediaType::Audio, &bytes).await;
    let audio = about!(AudioMessage, up, "audio/ogg; codecs=opus", {
        ptt: Some(true),
        seconds: Some(2),
        waveform: Some(vec![50; 64]),
    });
    let audio = wa::Message {
        audio_message: audio,
        ..Default::default()
    };
    let got = deliver(&world, client, 2, audio, &bytes).await;
    assert_eq!(got["media"]["ptt"], true);
    assert_eq!(got["media"]["waveform"], true);

    // Large enough for the client to ask first how much of it is there.
    let large = content(6 * 1024 * 1024);
    let up = upload(client, MediaType::Document, &large).await;
    let again = upload(client, MediaType::Document, &large).await;
    assert_ne!(up.direct_path, again.direct_path);
    let document = about!(DocumentMessage, up, "application/zip", {
        file_name: Some("all.zip".to_owned()),
    });
    let document = wa::Message {
        document_message: document,
        ..Default::default()
    };
    let got = deliver(&world, client, 3, document, &large).await;
    assert_eq!(got["media"]["fileName"], "all.zip");
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_transfers_are_tried_again_and_expired_files_asked_for() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let bytes = content(20_000);

    // A token that is not valid any more: the client asks for another one.
    let fault = json!({"kind": "refuse-uploads", "code": 401, "count": 1});
    world.post("faults", fault).await;
    upload(&alice.client, MediaType::Image, &bytes).await;
    assert_eq!(world.get("faults").await, json!([]), "it was refused once");

    let body = json!({"to": ALICE, "image": {"base64": encoded(&bytes)}});
    let id = world.send(CAROL, body).await;
    let got = alice.message(&id).await;
    let mut image = got.message.get_base_message().image_message.clone();
    let fault = json!({"kind": "refuse-downloads", "code": 401, "count": 1});
    world.post("faults", fault).await;
    let image_ref = image.as_option().expect("an image");
    let downloaded = alice.client.download(image_ref).await.expect("downloaded");
    assert_eq!(downloaded, bytes);
    assert_eq!(world.get("faults").await, json!([]), "it was refused once");

    world.post("faults", json!({"kind": "expire-media"})).await;
    alice.client.download(image_ref).await.expect_err("expired");
    let fault = json!({"kind": "refuse-media-retry", "count": 1});
    world.post("faults", fault).await;
    let key = image_ref.media_key.clone().expect("a key");
    let chat = got.info.source.chat.clone();
    let request = MediaReuploadRequest {
        msg_id: &id,
        chat_jid: &chat,
        media_key: &key,
        is_from_me: false,
        participant: None,
    };
    let answer = alice.client.media_reupload().request(&request).await;
    let answer = answer.expect("an answer");
    assert!(matches!(answer, MediaRetryResult::NotFound), "{answer:?}");
    let answer = alice.client.media_reupload().request(&request).await;
    let MediaRetryResult::Success { direct_path } = answer.expect("an answer") else {
        panic!("the phone has the file");
    };
    let renewed = image.as_option_mut().expect("an image");
    renewed.direct_path = Some(direct_path);
    let downloaded = alice.client.download(renewed).await.expect("downloaded");
    assert_eq!(downloaded, bytes);
    alice.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_both_ways_in_a_group() {
    let world = World::start();
    world.person(CAROL, "carol").await;
    let mut alice = Device::link(&world, ALICE, "alice").await;
    let body = json!({"subject": "files", "members": [CAROL, ALICE]});
    let made = world.post("groups", body).await;
    let group: Jid = made["jid"].as_str().expect("a jid").parse().expect("a jid");

    let bytes = content(30_000);
    let audio = json!({"base64": encoded(&bytes), "ptt": true});
    let id = world
        .send(CAROL, json!({"to": group.to_string(), "audio": audio}))
        .await;
    let got = alice.message(&id).await;
    let source = &got.info.source;
    assert_eq!(source.chat, group);
    world.post("faults", json!({"kind": "expire-media"})).await;
    let mut audio = got.message.get_base_message().audio_message.clone();
    let audio = audio.as_option_mut().expect("an audio");
    let key = audio.media_key.clone().expect("a key");
    let request = MediaReuploadRequest {
        msg_id: &id,
        chat_jid: &source.chat,
        media_key: &key,
        is_from_me: false,
        participant: Some(&source.sender),
    };
    let answer = alice.client.media_reupload().request(&request).await;
    let MediaRetryResult::Success { direct_path } = answer.expect("an answer") else {
        panic!("the phone has the file");
    };
    audio.direct_path = Some(direct_path);
    let downloaded = alice.client.download(&*audio).await.expect("downloaded");
    assert_eq!(downloaded, bytes);
    let played = alice
        .client
        .mark_as_played(&source.chat, Some(&source.sender), &[&id])
        .await;
    played.expect("sent");
    world.has_receipt(CAROL, &id, "played").await;

    let up = upload(&alice.client, MediaType::Audio, &bytes).await;
    let audio = about!(AudioMessage, up, "audio/ogg; codecs=opus", {
        ptt: Some(true),
        seconds: Some(1),
    });
    let audio = wa::Message {
        audio_message: audio,
        ..Default::default()
    };
    let sent = alice.client.send_message(group.clone(), audio).await;
    let id = sent.expect("sent").message_id;
    let got = world.received(CAROL, 1).await.remove(0);
    assert_eq!(got["chat"], group.to_string());
    assert_eq!(got["media"]["error"], Value::Null, "{got}");
    let path = format!("admin/phones/{CAROL}/media/{id}");
    assert_eq!(world.bytes(&path, None).await, (200, bytes));
    let path = format!("phones/{CAROL}/played");
    world.post(&path, json!({"chat": group.to_string()})).await;
    alice.receipt(&id, "Played").await;
    alice.stop().await;
}
