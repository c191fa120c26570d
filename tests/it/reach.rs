//! Addresses that URLs in requests with a key of one account may reach.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::auth::new_key;
use crate::support::{Answer, Receiver, Reply, Server, World, eventually, request};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

fn with(server: &Server, key: &str, path: &str, body: &Value) -> Answer {
    let headers = [("X-Api-Key", key), ("Content-Type", "application/json")];
    let body = body.to_string();
    request(server.address(), "POST", path, &headers, body.as_bytes())
}

/// A receiver that has a secret.
fn receiver() -> Receiver {
    Receiver::answering(|_| Reply {
        body: "the secret".to_owned(),
        ..Reply::status(200)
    })
}

/// A web server that has a secret, and counts how often it is asked for it.
fn web() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/file", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let answer =
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nthe secret";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

/// That URL under other names of this machine.
fn spellings(url: &str) -> Vec<String> {
    let mut hosts: Vec<String> = [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::1]",
        "[::]",
        "localhost.",
        "169.254.169.254",
        "[fe80::1]",
        "224.0.0.1",
        "255.255.255.255",
    ]
    .map(str::to_owned)
    .into();
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    if socket.connect("192.0.2.1:9").is_ok() {
        hosts.push(socket.local_addr().expect("its own").ip().to_string());
    }
    hosts
        .iter()
        .map(|host| url.replace("127.0.0.1", host))
        .collect()
}

#[test]
fn a_key_of_one_account_does_not_reach_this_machine() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let all = new_key(&world, &["root"]);
    let one = new_key(&world, &["alices", "--account", "alice"]);
    let (file, asked) = web();
    let send = "/accounts/alice/message/send/document";
    let ping = format!("{}/ping", server.base());
    for url in spellings(&file).iter().chain(&spellings(&ping)) {
        let refused = with(&server, &one, send, &json!({"to": BOB, "url": url})).expect(400);
        assert_eq!(refused["field"], "url", "{url}");
        if url.contains("://127.0.0.1") || url.contains("://localhost:") {
            let words = refused["error"].as_str().expect("words");
            assert!(words.contains("auth.local_urls"), "{words}");
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    with(&server, &all, send, &json!({"to": BOB, "url": file})).expect(200);
    bob.received(1);

    // Hooks can be registered, but their deliveries and tests are refused.
    let web = receiver();
    let hook = json!({"url": web.url(), "accountId": "alice", "events": ["message"]});
    let made = with(&server, &one, "/webhooks", &hook).expect(201);
    let test = format!("/webhooks/{}/test", made["id"].as_str().expect("an id"));
    let failed = with(&server, &one, &test, &json!({})).expect(200);
    assert_eq!(failed["delivered"], false);
    let words = failed["error"].as_str().expect("words");
    assert!(words.contains("auth.local_urls"), "{words}");
    bob.say(&format!("{ALICE}@s.whatsapp.net"), "one");
    let last = || {
        let headers = [("X-Api-Key", one.as_str())];
        let listed = request(server.address(), "GET", "/webhooks", &headers, b"").expect(200);
        listed["webhooks"][0]["lastDelivery"].clone()
    };
    eventually("an attempt", || (last()["ok"] == false).then_some(()));
    assert!(web.waiting().is_empty());

    // Registered with a key for all accounts, the hook gets the waiting events.
    let again = with(&server, &all, "/webhooks", &hook).expect(200);
    assert_eq!(again["id"], made["id"]);
    let shown = with(&server, &all, &test, &json!({})).expect(200);
    assert_eq!(
        (&shown["delivered"], &shown["body"]),
        (&json!(true), &json!("the secret"))
    );
    let hidden = with(&server, &one, &test, &json!({})).expect(200);
    assert_eq!(
        (&hidden["delivered"], &hidden["body"]),
        (&json!(true), &Value::Null)
    );
    let mut events = Vec::new();
    while events.len() < 3 {
        events.push(
            web.next().body["event"]
                .as_str()
                .expect("a name")
                .to_owned(),
        );
    }
    events.sort_unstable();
    assert_eq!(events, ["message", "ping", "ping"]);
    // Taken over by the other key again, it does not, also after a restart.
    with(&server, &one, "/webhooks", &hook).expect(200);
    with(&server, &one, &test, &json!({})).expect(200);
    server.kill();
    let server = world.server();
    let failed = with(&server, &one, &test, &json!({})).expect(200);
    assert_eq!(failed["delivered"], false, "{failed}");
    assert!(web.waiting().is_empty());
    server.kill();

    // Where the settings say so, it reaches; what a receiver answers is not its business either way.
    let server = world.options().with("auth.local_urls", true).start();
    let hidden = with(&server, &one, &test, &json!({})).expect(200);
    assert_eq!(
        (&hidden["delivered"], &hidden["body"]),
        (&json!(true), &Value::Null)
    );
    web.next();
    server.wait_log("alice: connected");
    with(&server, &one, send, &json!({"to": BOB, "url": file})).expect(200);
    bob.received(2);
}
