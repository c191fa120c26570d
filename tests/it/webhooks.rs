//! Webhooks: what is registered, what is delivered, what happens when a receiver is down.

use serde_json::json;

use crate::support::{Receiver, World};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

#[test]
fn registering_listing_and_removing() {
    let world = World::new();
    let server = world.server();
    for (body, words) in [
        (json!({}), "url is required and must be a string"),
        (json!({"url": 5}), "url is required and must be a string"),
        (json!({"url": "not a url"}), "invalid URL"),
        (
            json!({"url": "ftp://example.com/x"}),
            "only http/https URLs are allowed",
        ),
    ] {
        let answer = world.post(&server, "/webhooks", &body).expect(400);
        assert_eq!(answer["error"], words, "{body}");
        assert_eq!(answer["ok"], false);
    }
    let body = json!({"url": "http://user:secret@127.0.0.1:1/hook", "accountId": "alice"});
    let created = world.post(&server, "/webhooks", &body).expect(201);
    assert_eq!(created["created"], true);
    let again = world.post(&server, "/webhooks", &body).expect(200);
    assert_eq!(again["created"], false);
    let list = world.get(&server, "/webhooks");
    let hooks = list["webhooks"].as_array().expect("webhooks");
    assert_eq!(hooks.len(), 1);
    assert_eq!(hooks[0]["accountId"], "alice");
    assert!(!list.to_string().contains("secret"), "{list}");
    let id = hooks[0]["id"].as_str().expect("an id");
    let path = format!("/webhooks/{id}");
    world.api(&server, "DELETE", &path, None).expect(200);
    world.api(&server, "DELETE", &path, None).expect(404);
}

#[test]
fn a_receiver_that_fails_gets_the_same_event_again_also_after_a_power_cut() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::with_statuses(vec![500]);
    world
        .post(
            &server,
            "/webhooks",
            &json!({"url": receiver.url(), "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}),
        )
        .expect(201);
    let id = bob.say(ALICE, "once");
    let first = receiver.next();
    assert_eq!(first.body["messageId"], id);
    assert_eq!(first.header("content-type"), Some("application/json"));
    let agent = first.header("user-agent").expect("a user agent");
    assert!(agent.starts_with("wildcat/"), "{agent}");
    assert!(first.header("webhook-timestamp").is_some());
    assert!(
        first
            .header("webhook-signature")
            .is_some_and(|s| s.starts_with("v1,"))
    );
    // It was refused: a server that starts again sends it again, under the same id.
    server.kill();
    let _server = world.server();
    let second = receiver.next();
    assert_eq!(second.body["messageId"], id);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(second.body["eventId"], first.body["eventId"]);
    // And what comes later comes after it.
    bob.say(ALICE, "later");
    assert_eq!(receiver.next().body["text"], "later");
    assert!(receiver.waiting().is_empty());
}
