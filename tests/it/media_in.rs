//! Incoming files: stored, served (also by ranges), fetched again.

use serde_json::{Value, json};

use crate::media_out::{noise, sha256};
use crate::support::{Answer, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn message(world: &World, server: &Server, id: &str) -> Value {
    let path = format!("/accounts/alice/messages/{id}");
    eventually("the message", || {
        let answer = world.api(server, "GET", &path, None);
        (answer.status == 200).then(|| answer.json()["message"].clone())
    })
}

/// The files that are stored, once there are `count`.
fn stored(world: &World, server: &Server, query: &str, count: usize) -> Vec<Value> {
    eventually("the stored files", || {
        let listed = world.get(server, &format!("/media{query}"))["media"].clone();
        let listed = listed.as_array().expect("a list").clone();
        (listed.len() == count).then_some(listed)
    })
}

fn fetch(world: &World, server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let url = format!("{}{path}", server.base());
    world.http().get_with(&url, headers)
}

#[test]
fn a_received_file_is_stored_and_served_with_ranges() {
    let world = World::new();
    world.walks(&[
        "GET /accounts/:id/messages/:messageId/media",
        "GET /media",
        "GET /media/:mediaId",
    ]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let content = noise(100_000);
    let id = bob.send(&json!({"to": alice.jid(), "document": {
        "base64": base64(&content), "fileName": "Grüße \"1\".pdf",
        "mimetype": "application/pdf", "caption": "look"}}));
    let got = message(&world, &server, &id);
    assert_eq!(got["type"], "document");
    assert_eq!(got["caption"], "look");
    assert_eq!(got["hasMedia"], true);
    assert_eq!(got["mediaType"], "document");
    assert_eq!(got["mediaMimetype"], "application/pdf");
    assert_eq!(got["mediaSize"], content.len());
    let listed = stored(&world, &server, "?accountId=alice", 1);
    assert_eq!(listed[0]["messageId"], id);
    assert_eq!(listed[0]["chatId"], bob.jid());
    assert_eq!(listed[0]["mediaId"], got["mediaId"]);
    for (query, count) in [
        (format!("?chatId={BOB}"), 1),
        (format!("?messageId={id}"), 1),
        ("?chatId=4917099999999".to_owned(), 0),
        ("?limit=1&skip=1".to_owned(), 0),
    ] {
        assert_eq!(stored(&world, &server, &query, count).len(), count);
    }
    world
        .api(&server, "GET", "/media?accountId=nobody", None)
        .expect(404);

    // WhatsApp need not be asked again.
    world
        .admin(
            "POST",
            "/faults",
            Some(&json!({"kind": "refuse-downloads", "code": 500, "count": 99})),
        )
        .expect_success();
    let path = got["mediaUrl"].as_str().expect("a URL");
    let whole = fetch(&world, &server, path, &[]);
    assert_eq!(
        (whole.status, sha256(&whole.bytes)),
        (200, sha256(&content))
    );
    assert_eq!(whole.header("content-type"), Some("application/pdf"));
    assert_eq!(whole.header("content-length"), Some("100000"));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        whole.header("content-disposition"),
        Some("inline; filename=\"Gr__e _1_.pdf\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22.pdf")
    );
    let etag = whole.header("etag").expect("a tag").to_owned();
    assert_eq!(etag, format!("\"{}\"", sha256(&content)));
    let media_path = format!("/media/{}", got["mediaId"].as_str().expect("an id"));
    for path in [path, media_path.as_str()] {
        let part = fetch(&world, &server, path, &[("Range", "bytes=10-19")]);
        assert_eq!(
            (part.status, part.bytes.as_slice()),
            (206, &content[10..20])
        );
        assert_eq!(part.header("content-range"), Some("bytes 10-19/100000"));
        let tail = fetch(
            &world,
            &server,
            path,
            &[("Range", "bytes=-5"), ("If-Range", &etag)],
        );
        assert_eq!(
            (tail.status, tail.bytes.as_slice()),
            (206, &content[99_995..])
        );
        let beyond = fetch(&world, &server, path, &[("Range", "bytes=100000-")]);
        assert_eq!(beyond.status, 416);
        assert_eq!(beyond.header("content-range"), Some("bytes */100000"));
        assert_eq!(beyond.json()["ok"], false);
        let same = fetch(&world, &server, path, &[("If-None-Match", &etag)]);
        assert_eq!((same.status, same.bytes.len()), (304, 0));
    }
    let url = format!("{}{path}", server.base());
    let head = world.http().send("HEAD", &url, "", None);
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("100000"));

    // Unknown ids.
    let text = bob.say(&alice.jid(), "no file");
    message(&world, &server, &text);
    let path = format!("/accounts/alice/messages/{text}/media");
    let none = world.api(&server, "GET", &path, None).expect(404);
    assert_eq!(none["error"], "No media in message");
    let path = "/accounts/alice/messages/3EB0NONE/media";
    let none = world.api(&server, "GET", path, None).expect(404);
    assert_eq!(none["error"], "Message not found");
    for id in ["x", "00000001000000000000ffff", "..%2F..%2Fetc%2Fpasswd"] {
        let none = world
            .api(&server, "GET", &format!("/media/{id}"), None)
            .expect(404);
        assert_eq!(none["error"], "Media not found", "{id}");
    }

    // A deleted message takes its file along, and so does a deleted account.
    bob.send(&json!({"to": alice.jid(), "delete": {"messageId": id}}));
    eventually("the deletion", || {
        (message(&world, &server, &id)["deleted"] == true).then_some(())
    });
    let gone = message(&world, &server, &id);
    assert_eq!(
        (&gone["hasMedia"], &gone["caption"]),
        (&json!(false), &Value::Null)
    );
    world.api(&server, "GET", &media_path, None).expect(404);
    let folder = world.options().data.join("media");
    eventually("an empty folder", || (files_in(&folder) == 0).then_some(()));
}

fn files_in(folder: &std::path::Path) -> usize {
    let Ok(accounts) = std::fs::read_dir(folder) else {
        return 0;
    };
    accounts
        .flatten()
        .map(|account| std::fs::read_dir(account.path()).map_or(0, Iterator::count))
        .sum()
}

#[test]
fn an_expired_link_is_renewed_by_the_phone_or_reported() {
    let world = World::new();
    let server = world.options().with("media.download", "on-demand").start();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let content = noise(50_000);
    let send = || bob.send(&json!({"to": alice.jid(), "document": {"base64": base64(&content)}}));
    let (first, second) = (send(), send());
    let path = |id: &str| format!("/accounts/alice/messages/{id}/media");
    message(&world, &server, &first);
    message(&world, &server, &second);
    assert_eq!(stored(&world, &server, "", 0).len(), 0, "on demand only");
    world
        .admin("POST", "/faults", Some(&json!({"kind": "expire-media"})))
        .expect_success();
    let file = world.api(&server, "GET", &path(&first), None);
    assert_eq!((file.status, sha256(&file.bytes)), (200, sha256(&content)));
    assert_eq!(stored(&world, &server, "", 1)[0]["messageId"], first);

    let fault = json!({"kind": "refuse-media-retry", "code": 2, "count": 1});
    world
        .admin("POST", "/faults", Some(&fault))
        .expect_success();
    let gone = world.api(&server, "GET", &path(&second), None).expect(404);
    let words = gone["error"].as_str().expect("words");
    assert!(words.starts_with("The file is gone"), "{words}");
    // The phone finds it after all.
    let file = world.api(&server, "GET", &path(&second), None);
    assert_eq!(file.status, 200);

    // Stored files are served offline; for others the error has the reason.
    let third = send();
    message(&world, &server, &third);
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    assert_eq!(world.api(&server, "GET", &path(&first), None).status, 200);
    let offline = world.api(&server, "GET", &path(&third), None).expect(400);
    assert_eq!(offline["error"], "Account not connected");
    assert_eq!(offline["status"], "disconnected");
}

#[test]
fn large_files_are_fetched_on_request_also_after_a_restart() {
    let world = World::new();
    let options = world.options().with("media.auto_max_bytes", "64 KiB");
    let server = options.start();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    // Nothing can be fetched now.
    let fault = json!({"kind": "refuse-downloads", "code": 500, "count": 10_000});
    world
        .admin("POST", "/faults", Some(&fault))
        .expect_success();
    let send =
        |len| bob.send(&json!({"to": alice.jid(), "document": {"base64": base64(&noise(len))}}));
    let (small, large) = (send(60_000), send(70_000));
    message(&world, &server, &small);
    message(&world, &server, &large);
    server.kill();
    world.admin("DELETE", "/faults", None).expect_success();
    let server = options.start();
    assert_eq!(stored(&world, &server, "", 1)[0]["messageId"], small);
    let path = format!("/accounts/alice/messages/{large}/media");
    assert_eq!(world.api(&server, "GET", &path, None).bytes.len(), 70_000);
    assert_eq!(stored(&world, &server, "", 2).len(), 2);
}

#[test]
fn messages_of_every_kind_are_received_by_name() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let to = alice.jid();
    let file = json!({"base64": base64(&noise(500))});
    let with = |name: &str, more: Value| {
        let mut body = json!({"to": to});
        body[name] = file.clone();
        for (key, value) in more.as_object().expect("an object") {
            match key.as_str() {
                "viewOnce" | "ephemeral" | "forge" => body[key] = value.clone(),
                _ => body[name][key] = value.clone(),
            }
        }
        body
    };
    for (body, kind) in [
        (with("image", json!({"caption": "c"})), "image"),
        (
            with(
                "image",
                json!({"viewOnce": true, "forge": {"unmarked": true}}),
            ),
            "image",
        ),
        (with("video", json!({"ephemeral": 86_400})), "video"),
        (with("audio", json!({})), "audio"),
        (with("audio", json!({"ptt": true})), "voice"),
        (with("document", json!({"caption": "c"})), "document"),
        (with("sticker", json!({})), "sticker"),
        (
            json!({"to": to, "location": {"latitude": 52.5, "longitude": 13.4, "name": "Here"}}),
            "location",
        ),
        (
            json!({"to": to, "contact": {"name": "Zoe", "number": "491700000009"}}),
            "contact",
        ),
        (
            json!({"to": to, "poll": {"name": "Lunch?", "options": ["yes", "no"]}}),
            "poll",
        ),
        (json!({"to": to, "unknown": true}), "unknown"),
        (json!({"to": to, "text": "hi", "ephemeral": 86_400}), "text"),
    ] {
        let id = bob.send(&body);
        let got = message(&world, &server, &id);
        assert_eq!(got["type"], kind, "{body}: {got}");
        match kind {
            "location" => assert_eq!(got["location"]["latitude"], 52.5),
            "contact" => assert_eq!(got["contacts"][0]["name"], "Zoe"),
            "poll" => assert_eq!(got["poll"]["options"], json!(["yes", "no"])),
            "text" => assert_eq!(got["text"], "hi"),
            "unknown" => {}
            _ => {
                let path = got["mediaUrl"].as_str().expect("a file");
                let served = world.api(&server, "GET", path, None);
                assert_eq!(sha256(&served.bytes), sha256(&noise(500)), "{kind}");
            }
        }
    }
}

#[test]
fn active_content_is_served_as_an_attachment() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let page = base64(b"<script>alert(1)</script>");
    for (mimetype, kind, way) in [
        ("image/png", "image/png", "inline"),
        (
            "text/plain; charset=utf-8",
            "text/plain; charset=utf-8",
            "inline",
        ),
        ("text/html", "text/html", "attachment"),
        (
            "Text/HTML; charset=utf-8",
            "Text/HTML; charset=utf-8",
            "attachment",
        ),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        (
            "application/xhtml+xml",
            "application/xhtml+xml",
            "attachment",
        ),
        ("text/javascript", "text/javascript", "attachment"),
        (
            "multipart/x-mixed-replace; boundary=x",
            "multipart/x-mixed-replace; boundary=x",
            "attachment",
        ),
        (
            "image/png, text/html",
            "application/octet-stream",
            "attachment",
        ),
        ("no type", "application/octet-stream", "attachment"),
    ] {
        let file = json!({"base64": page, "mimetype": mimetype, "fileName": "x"});
        let id = bob.send(&json!({"to": alice.jid(), "document": file}));
        let got = message(&world, &server, &id);
        let by_message = got["mediaUrl"].as_str().expect("a URL").to_owned();
        let by_id = format!("/media/{}", got["mediaId"].as_str().expect("an id"));
        for path in [by_message, by_id] {
            let served = fetch(&world, &server, &path, &[]);
            assert_eq!(served.status, 200, "{mimetype}");
            assert_eq!(served.header("content-type"), Some(kind), "{mimetype}");
            let disposition = served.header("content-disposition").expect("a disposition");
            assert_eq!(disposition, format!("{way}; filename=\"x\""), "{mimetype}");
            assert_eq!(served.header("x-content-type-options"), Some("nosniff"));
            let policy = served.header("content-security-policy").expect("a policy");
            assert!(policy.starts_with("sandbox;"), "{policy}");
        }
    }
}
