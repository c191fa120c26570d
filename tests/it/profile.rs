//! The account itself: what it shows, to whom, and its linked devices.

use serde_json::{Value, json};

use crate::media_in::base64;
use crate::support::{Server, World, eventually};

const ALICE: &str = "491700000001";
const PROFILE: &str = "/accounts/alice/profile";
const PRIVACY: &str = "/accounts/alice/privacy";
const DEVICES: &str = "/accounts/alice/devices";

fn on_phone(world: &World) -> Value {
    world
        .admin("GET", &format!("/phones/{ALICE}"), None)
        .expect(200)
}

/// A picture of so many pixels, grey.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    let pixels: Vec<u8> = (0..width * height).map(|n| n as u8).collect();
    writer.write_image_data(&pixels).expect("pixels");
    writer.finish().expect("an end");
    bytes
}

fn change(world: &World, server: &Server, path: &str, body: &Value) -> Value {
    world.api(server, "PATCH", path, Some(body)).expect(200)
}

fn asked(world: &World, xmlns: &str) -> usize {
    let stanzas = world.admin("GET", "/stanzas", None).expect(200);
    let stanzas = stanzas.as_array().expect("stanzas");
    let is_one = |passed: &&Value| {
        let attrs = &passed["stanza"]["attrs"];
        passed["direction"] == "in" && attrs["xmlns"] == xmlns && attrs["type"] == "get"
    };
    stanzas.iter().filter(is_one).count()
}

#[test]
fn the_profile_is_shown_and_changed() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/profile", "PATCH /accounts/:id/profile"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let profile = || world.get(&server, PROFILE)["profile"].clone();
    let shown = profile();
    assert_eq!(shown["chatId"], alice.jid(), "{shown}");
    assert_eq!(shown["number"], ALICE);
    assert_eq!(shown["name"], "alice");
    assert_eq!(shown["about"], "Hey there! I am using WhatsApp.");
    assert_eq!(shown["picture"], Value::Null);
    assert!(
        shown["lid"]
            .as_str()
            .is_some_and(|lid| lid.ends_with("@lid")),
        "{shown}"
    );

    let body = json!({"name": "Alice's bot", "about": "Answers at once", "picture": base64(&png(400, 300))});
    let shown = change(&world, &server, PROFILE, &body)["profile"].clone();
    assert_eq!(shown["about"], "Answers at once", "{shown}");
    assert!(shown["picture"]["url"].is_string(), "{shown}");
    let phone = on_phone(&world);
    assert_eq!(phone["about"], "Answers at once");
    assert_eq!(phone["name"], "Alice's bot");
    assert!(
        phone["picture"]["size"]
            .as_u64()
            .is_some_and(|size| size > 500),
        "{phone}"
    );
    eventually("the name", || {
        (profile()["name"] == "Alice's bot").then_some(())
    });
    // Others see it.
    let path = format!("/accounts/alice/contacts/{ALICE}/picture");
    let answer = world.api(&server, "GET", &path, None);
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("image/jpeg"))
    );

    // On the phone.
    alice.post("profile", &json!({"about": "On the way"}));
    eventually("the about text", || {
        (profile()["about"] == "On the way").then_some(())
    });
    let shown = change(
        &world,
        &server,
        PROFILE,
        &json!({"about": "", "picture": ""}),
    );
    assert_eq!(shown["profile"]["about"], Value::Null, "{shown}");
    assert_eq!(shown["profile"]["picture"], Value::Null);
    assert_eq!(on_phone(&world)["picture"], Value::Null);

    let long = "x".repeat(140);
    for (body, words) in [
        (json!({}), "name, about or picture is required"),
        (json!({"name": ""}), "\"name\" must be a text of 1 to 25"),
        (
            json!({ "about": long }),
            "\"about\" must be a text of 0 to 139",
        ),
        (
            json!({"picture": "?"}),
            "\"picture\" must be a picture in base64",
        ),
        (json!({"picture": base64(b"no picture")}), "no image"),
        (json!({"picture": base64(&png(191, 400))}), "192 pixels"),
    ] {
        let refused = world.api(&server, "PATCH", PROFILE, Some(&body));
        assert!(
            (400..500).contains(&refused.status),
            "{body}: {}",
            refused.status
        );
        let error = refused.json()["error"].clone();
        assert!(error.as_str().expect("words").contains(words), "{error}");
    }
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let shown = profile();
    assert_eq!(
        (&shown["number"], &shown["askedAt"]),
        (&json!(ALICE), &Value::Null)
    );
    world
        .api(&server, "GET", "/accounts/zoe/profile", None)
        .expect(404);
    world
        .post(&server, "/accounts", &json!({"id": "zoe"}))
        .expect(201);
    let unpaired = world.api(&server, "GET", "/accounts/zoe/profile", None);
    assert!((400..500).contains(&unpaired.status));
}

#[test]
fn privacy_settings_are_known_since_the_login_and_changed() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/privacy", "PATCH /accounts/:id/privacy"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let privacy = || world.get(&server, PRIVACY)["privacy"].clone();
    let shown = privacy();
    assert_eq!(
        shown,
        json!({
            "lastSeen": "all", "online": "all", "picture": "all", "about": "contacts", "groups": "all",
            "readReceipts": "all", "calls": "all", "messages": "all", "defense": "off", "defaultTimer": 0,
        })
    );
    let body = json!({"lastSeen": "none", "online": "match_last_seen", "groups": "contacts", "defaultTimer": 86_400});
    let shown = change(&world, &server, PRIVACY, &body)["privacy"].clone();
    assert_eq!(
        (&shown["lastSeen"], &shown["defaultTimer"]),
        (&json!("none"), &json!(86_400))
    );
    let phone = on_phone(&world);
    let set = &phone["privacy"];
    assert_eq!(
        (&set["last"], &set["online"], &set["groupadd"]),
        (
            &json!("none"),
            &json!("match_last_seen"),
            &json!("contacts")
        )
    );
    assert_eq!(phone["defaultTimer"], 86_400);
    // On the phone: the server is notified and asks for nothing.
    let before = asked(&world, "privacy");
    alice.post(
        "profile",
        &json!({"privacy": {"profile": "contact_blacklist", "readreceipts": "none"}}),
    );
    eventually("what was set on the phone", || {
        let shown = privacy();
        (shown["picture"] == "contact_blacklist" && shown["readReceipts"] == "none").then_some(())
    });
    assert_eq!(asked(&world, "privacy"), before);

    for (body, words) in [
        (json!({}), "a privacy setting or defaultTimer is required"),
        (
            json!({"lastSeen": "friends"}),
            "\"lastSeen\" must be all, contacts or none",
        ),
        (
            json!({"calls": "none"}),
            "\"calls\" must be all, known or contacts",
        ),
        (json!({"defaultTimer": 5}), "\"defaultTimer\""),
    ] {
        let refused = world
            .api(&server, "PATCH", PRIVACY, Some(&body))
            .expect(400);
        let error = refused["error"].as_str().expect("words");
        assert!(error.contains(words), "{refused}");
    }
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    let refused = world.api(&server, "GET", PRIVACY, None).expect(400);
    assert_eq!(refused["status"], "disconnected");
}

#[test]
fn the_devices_of_an_account_are_listed() {
    let world = World::new();
    world.walks(&["GET /accounts/:id/devices"]);
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let devices = || {
        world.get(&server, DEVICES)["devices"]
            .as_array()
            .expect("devices")
            .clone()
    };
    let both = devices();
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(
        both[0],
        json!({"device": 0, "jid": alice.jid(), "phone": true, "this": false})
    );
    assert_eq!(
        (&both[1]["phone"], &both[1]["this"]),
        (&json!(false), &json!(true))
    );
    // Another device is linked.
    world.pair(&server, "second", ALICE);
    eventually("the second device", || (devices().len() == 3).then_some(()));
    let own: Vec<bool> = devices().iter().map(|it| it["this"] == true).collect();
    assert_eq!(own.iter().filter(|it| **it).count(), 1);
    world
        .post(&server, "/accounts/alice/disconnect", &json!({}))
        .expect(200);
    world.api(&server, "GET", DEVICES, None).expect(400);
}
