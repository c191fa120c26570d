//! The web page's files, and what the page asks of the server.

use serde_json::json;

use crate::auth::new_key;
use crate::support::{World, eventually, request};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
/// What a proxy says: the request comes from another machine.
const ELSEWHERE: (&str, &str) = ("X-Forwarded-For", "192.168.1.9");

#[test]
fn the_page_needs_no_key_and_its_requests_do() {
    let world = World::new();
    world.walks(&["GET /server", "GET /keys", "GET /settings"]);
    let server = world.server();
    let at = server.address();
    let from_elsewhere = |path: &str, key: &str| {
        let headers = [ELSEWHERE, ("X-Api-Key", key), ("Accept-Encoding", "gzip")];
        request(at, "GET", path, &headers, b"")
    };
    for path in ["/", "/web/page.js", "/web/style.css", "/web/icon.svg"] {
        let answer = from_elsewhere(path, "");
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("content-encoding"), Some("gzip"));
        let tag = answer.header("etag").expect("a tag").to_owned();
        let headers = [ELSEWHERE, ("If-None-Match", tag.as_str())];
        assert_eq!(request(at, "GET", path, &headers, b"").status, 304);
        assert_eq!(request(at, "HEAD", path, &headers, b"").status, 304);
        assert_eq!(request(at, "POST", path, &[], b"{}").status / 100, 4);
    }
    // Without a key: whether there are any, and no more. No password is asked for.
    let shown = from_elsewhere("/server", "").expect(200)["data"].clone();
    let expected = json!({"hasKeys": false, "local": false, "open": false, "sandbox": true});
    assert_eq!(shown, expected);
    for path in ["/keys", "/accounts", "/events"] {
        let answer = from_elsewhere(path, "");
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("www-authenticate"), None, "{path}");
    }
    let shown = world.api(&server, "GET", "/server", None).expect(200);
    assert_eq!(shown["local"], true);
    assert!(shown["storage"]["path"].is_string(), "{shown}");
    assert_eq!(shown["key"], json!(null));
    world.api(&server, "GET", "/keys", None).expect(200);
    let shown = world.api(&server, "GET", "/settings", None).expect(200);
    let rows = shown["settings"].as_array().expect("a list");
    let of = |name: &str| rows.iter().find(|row| row["name"] == name).expect(name);
    assert_eq!(of("limits.burst")["value"], "6000");
    assert_eq!(of("limits.burst")["isDefault"], false);
    assert_eq!(of("events.keep_days")["isDefault"], true);

    let key = new_key(&world, &["phone"]);
    let reader = new_key(&world, &["panel", "--read-only", "--account", "alice"]);
    // A page that has no key sends an empty one: no challenge; other programs get one.
    let bare = request(at, "GET", "/accounts", &[], b"");
    assert!(bare.header("www-authenticate").is_some());
    assert_eq!(
        from_elsewhere("/accounts", "").header("www-authenticate"),
        None
    );
    let wrong = from_elsewhere("/server", "wc_wrong");
    assert_eq!(wrong.status, 401);
    assert_eq!(wrong.header("www-authenticate"), None);
    let shown = from_elsewhere("/server", &key).expect(200);
    assert_eq!(shown["key"]["name"], "phone");
    assert_eq!(shown["key"]["readOnly"], false);
    let shown = from_elsewhere("/server", &reader).expect(200);
    assert_eq!(shown["key"]["account"], "alice");
    assert_eq!(shown["key"]["readOnly"], true);
    assert_eq!(shown.get("storage"), None, "{shown}");
    let names = from_elsewhere("/keys", &key).expect(200);
    assert_eq!(names["keys"][1]["name"], "panel", "{names}");
    assert!(!names.to_string().contains("sha256"), "{names}");
    assert_eq!(from_elsewhere("/keys", &reader).status, 403);
}

#[test]
fn an_account_is_renamed() {
    let world = World::new();
    world.walks(&["PATCH /accounts/:id"]);
    let server = world.server();
    world
        .api(&server, "POST", "/accounts", Some(&json!({"id": "alice"})))
        .expect(201);
    let rename = |name: serde_json::Value, path: &str| {
        world.api(&server, "PATCH", path, Some(&json!({"name": name})))
    };
    let account = rename(json!("Home"), "/accounts/alice").expect(200);
    assert_eq!(account["account"]["name"], "Home");
    let shown = world
        .api(&server, "GET", "/accounts/alice", None)
        .expect(200);
    assert_eq!(shown["account"]["name"], "Home");
    let none = rename(json!(""), "/accounts/alice").expect(200);
    assert_eq!(none["account"]["name"], json!(null));
    let wrong = rename(json!(7), "/accounts/alice").expect(400);
    assert_eq!(wrong["field"], "name");
    rename(json!("x".repeat(257)), "/accounts/alice").expect(400);
    rename(json!("Home"), "/accounts/nobody").expect(404);
}

#[test]
fn chats_are_filtered_by_unread_group_and_name() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob Builder");
    bob.say(&alice.jid(), "hi");
    let list = |query: &str| {
        let path = format!("/accounts/alice/chats?{query}");
        world.api(&server, "GET", &path, None).expect(200)
    };
    eventually("the message", || {
        (list("")["pagination"]["total"] == 1).then_some(())
    });
    for (query, count) in [
        ("unread=true", 1),
        ("groups=true", 0),
        ("q=builder", 1),
        ("q=BOB", 1),
        ("q=70000000", 1),
        ("q=nobody", 0),
        ("unread=true&q=bob", 1),
        ("q=bob&skip=1", 1),
    ] {
        let found = list(query);
        assert_eq!(found["pagination"]["total"], count, "{query}");
        let shown = found["chats"].as_array().expect("chats").len();
        let expected = if query.contains("skip") { 0 } else { count };
        assert_eq!(shown, expected, "{query}");
    }
    let path = "/accounts/alice/chats?unread=perhaps";
    let wrong = world.api(&server, "GET", path, None).expect(400);
    assert_eq!(wrong["field"], "unread");
    let read = format!("/accounts/alice/chats/{BOB}/read");
    world
        .api(&server, "POST", &read, Some(&json!({})))
        .expect(200);
    eventually("the chat is read", || {
        (list("unread=true")["pagination"]["total"] == 0).then_some(())
    });
}

#[test]
fn a_status_has_fixed_words_and_times() {
    let world = World::new();
    let server = world.server();
    world
        .api(&server, "POST", "/accounts", Some(&json!({"id": "bob"})))
        .expect(201);
    let status = |id: &str| {
        let path = format!("/accounts/{id}/status");
        world.api(&server, "GET", &path, None).expect(200)
    };
    let shown = eventually("a code", || {
        let shown = status("bob");
        shown["qr"].is_string().then_some(shown)
    });
    assert!(shown["qrExpiresAt"].is_string(), "{shown}");
    assert_eq!(shown["qrNumber"], 1, "{shown}");
    assert_eq!(shown["reason"], json!(null));
    let alice = world.pair(&server, "alice", ALICE);
    assert_eq!(status("alice")["qrExpiresAt"], json!(null));
    alice.post("unlink", &json!({}));
    let shown = eventually("the logout", || {
        let shown = status("alice");
        (shown["status"] == "logged_out").then_some(shown)
    });
    assert_eq!(shown["reason"], "unlinked", "{shown}");
    assert!(shown["since"].is_string(), "{shown}");
}
