//! Panics: each kind of task panics once under load, and is restarted. Odd bytes in answers of servers cause
//! no panic.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::{Value, json};
use wildcat::runtime::tasks::Kind;

use crate::support::{Receiver, Reply, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";
const DAVE: &str = "491700000004";

/// What the server says of its tasks; `None` while it answers otherwise, as it does when the request is
/// what panics.
fn tasks(world: &World, server: &Server) -> Option<Value> {
    let url = format!("{}/health", server.base());
    let answer = world.http().try_get(&url)?;
    let health = (answer.status == 200 || answer.status == 503).then(|| answer.json())?;
    Some(health["tasks"].clone()).filter(Value::is_object)
}

/// Makes a task of that kind do something, as far as that takes more than what happens anyway.
fn stir(world: &World, server: &Server, kind: Kind, try_number: usize) {
    let api = server.base();
    match kind {
        Kind::Fetch => {
            let alice = json!({"to": format!("{ALICE}@s.whatsapp.net"), "document": {
                "base64": "c29tZXRoaW5n", "fileName": "a.txt", "mimetype": "text/plain"}});
            world.admin("POST", &format!("/phones/{CAROL}/messages"), Some(&alice));
        }
        Kind::Webhook | Kind::Delivery | Kind::Marks | Kind::Pool => {
            let said = json!({"to": format!("{ALICE}@s.whatsapp.net"), "text": "a stir"});
            world.admin("POST", &format!("/phones/{CAROL}/messages"), Some(&said));
        }
        Kind::Chats => {
            let chat = format!("{CAROL}@s.whatsapp.net");
            let mark = json!({"chat": chat, "read": try_number % 2 == 1});
            world.admin("POST", &format!("/phones/{ALICE}/mark-chat"), Some(&mark));
        }
        // A phone that has just been paired sends its past.
        Kind::History if try_number == 0 => {
            let past = json!({"chats": 2, "groups": 1, "messagesPerChat": 5, "days": 3});
            world
                .admin("POST", &format!("/phones/{DAVE}/history"), Some(&past))
                .expect_success();
            world.pair(server, "dave", DAVE);
        }
        Kind::Errand => {
            let account = json!({"id": format!("errand{try_number}")});
            let url = format!("{api}/accounts");
            let _ = world
                .http()
                .try_post(&url, &format!("e{try_number}"), &account);
        }
        _ => {}
    }
}

/// Waits for the delivery of that text; skips others.
fn hears(receiver: &Receiver, text: &str) {
    while receiver.next().body["text"] != text {}
}

#[test]
fn every_kind_of_task_is_counted_and_restarted_after_a_panic() {
    let world = World::new();
    let (socket, manager) = ("panic", "manager");
    let path = |name: &str| world.directory.path().join(name);
    let systemd = UnixDatagram::bind(path(manager)).expect("a socket");
    let server = world
        .options()
        .env("WILDCAT_TEST_PANIC", path(socket).display())
        .env("NOTIFY_SOCKET", path(manager).display())
        .env("WATCHDOG_USEC", 4_000_000)
        .start();
    // Reads the notifications to systemd, so that its socket does not fill.
    let (heard, signs) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut said = [0; 256];
        while let Ok(length) = systemd.recv(&mut said) {
            if heard
                .send(said[..length].starts_with(b"WATCHDOG=1"))
                .is_err()
            {
                return;
            }
        }
    });
    let alice = world.pair(&server, "alice", ALICE);
    let carol = world.phone(CAROL, "Carol");
    let receiver = Receiver::start();
    world
        .post(
            &server,
            "/webhooks",
            &json!({"url": receiver.url(), "accountId": "alice"}),
        )
        .expect(201);
    let mut panics = 0;
    for &kind in Kind::ALL {
        let name = kind.name();
        let light = UnixDatagram::unbound().expect("a socket");
        light.send_to(name.as_bytes(), path(socket)).expect("sent");
        let mut tries = 0;
        let counted = eventually(&format!("a panic of {name}"), || {
            let counted = tasks(&world, &server);
            let counted = counted.filter(|tasks| tasks["panics"].as_u64() > Some(panics));
            if counted.is_none() {
                stir(&world, &server, kind, tries);
                tries += 1;
            }
            counted
        });
        panics += 1;
        assert_eq!(counted["panics"], panics, "{name}: {counted}");
        assert_eq!(counted["last"]["kind"], name, "{counted}");
        assert!(
            counted["last"]["place"]
                .as_str()
                .is_some_and(|place| place.contains("tasks.rs:"))
        );
        server.wait_log(&format!("({name}) panicked at "));
        // A session that ends again and again is waited for ever longer, which is not at stake here.
        let connect = format!("{}/accounts/alice/connect", server.base());
        let _ = world.http().try_post(&connect, name, &json!({}));
        // Everything works as before, in both directions.
        let text = format!("after {name}");
        carol.say(&alice.jid(), &text);
        hears(&receiver, &text);
        let sent = world.post(
            &server,
            "/accounts/alice/message/send",
            &json!({"to": CAROL, "message": text, "queue": true}),
        );
        assert!([200, 202].contains(&sent.status), "{name}: {}", sent.status);
        eventually(&format!("an answer behind {name}"), || {
            let all = carol.all_received();
            all.iter()
                .any(|message| message["text"] == text)
                .then_some(())
        });
    }
    // Kept tasks restart after their pause; the others were guarded.
    let kept = 12;
    let counted = eventually("everything that is kept", || {
        let counted = tasks(&world, &server)?;
        (counted["restarted"] == kept).then_some(counted)
    });
    assert_eq!(counted["healthy"], true, "{counted}");
    // History read meanwhile is stored.
    eventually("the history", || {
        let path = "/messages?accountId=dave&limit=1";
        (world.get(&server, path)["pagination"]["total"] == 15).then_some(())
    });
    // The watchdog is fed again.
    let _before = signs.try_iter().count();
    let sign = signs.recv_timeout(crate::support::DEADLINE);
    assert_eq!(sign, Ok(true));
}

/// Serves `answer` to every connection; returns the address.
fn answers(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream: TcpStream = stream;
            // Reads the request, which is small enough for one read.
            let _ = stream.read(&mut [0; 16 * 1024]);
            let _ = stream.write_all(answer);
        }
    });
    format!("http://{address}/file.txt")
}

#[test]
fn any_bytes_from_a_receiver_leave_its_hook_working() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::answering(|delivery| Reply {
        status: 299,
        headers: match delivery.body["text"].as_str() {
            Some("value") => "X-Name: Caf\u{e9}\r\nRetry-After: Caf\u{e9}\r\n".to_owned(),
            Some("type") => "Content-Type: nonsense\r\n".to_owned(),
            Some("fold") => "X-Folded: a\r\n  b\r\nnonsense\r\nX : y\r\n".to_owned(),
            _ => String::new(),
        },
        body: "\u{1b}[2J".to_owned(),
    });
    world
        .post(&server, "/webhooks", &json!({"url": receiver.url()}))
        .expect(201);
    for text in ["value", "type", "fold", "plain"] {
        bob.say(&alice.jid(), text);
        assert_eq!(receiver.next().body["text"], text);
    }
    let listed = eventually("all delivered", || {
        let hook = world.get(&server, "/webhooks")["webhooks"][0].clone();
        (hook["pending"] == 0).then_some(hook)
    });
    assert_eq!(listed["failures"], 0, "{listed}");
    assert_eq!(listed["lastDelivery"]["status"], 299, "{listed}");
    assert!(receiver.waiting().is_empty(), "each came once");
    assert_eq!(tasks(&world, &server).expect("health")["panics"], 0);
}

#[test]
fn any_bytes_from_a_web_server_lead_to_an_answer() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    let send = |url: &str| {
        let body = json!({"to": BOB, "url": url});
        world.post(&server, "/accounts/alice/message/send/document", &body)
    };
    for answer in [
        &b"HTTP/1.1 200 Tr\xe8s bien\r\nX-Name: Caf\xc3\xa9\r\nContent-Type: caf\xe9\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nContent-Type: nonsense\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y \r\nok\r\n0\r\nX-T: Caf\xe9\r\n\r\n",
    ] {
        send(&answers(answer)).expect(200);
    }
    for answer in [
        &b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/caf\xc3\xa9\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99 Less\r\n\r\n",
        b"HTTP/1.1 1000 More\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        b"\xff\xff\r\n\r\n",
    ] {
        let answer = send(&answers(answer));
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(&answer.bytes));
    }
    assert_eq!(tasks(&world, &server).expect("health")["panics"], 0);
}

/// What a person's name or text can hold.
const FORGED: &str = "Eve\n2026-01-01T00:00:00.000Z ERROR forged\r\u{1b}[2J\u{9b}31m\u{202e}gpj";

#[test]
fn untrusted_text_forges_no_log_line_and_no_escape() {
    let world = World::new();
    let server = world.options().with("log.level", "debug").start();
    let alice = world.pair(&server, "alice", ALICE);
    let eve = world.phone(BOB, FORGED);
    let id = eve.say(&alice.jid(), FORGED);
    eventually("the message", || {
        let path = format!("/accounts/alice/messages/{id}");
        (world.api(&server, "GET", &path, None).status == 200).then_some(())
    });
    // A receiver's words become the log's.
    let receiver = Receiver::answering(|_| Reply::status(500));
    let hook = json!({"url": receiver.url(), "events": ["message"]});
    world.post(&server, "/webhooks", &hook).expect(201);
    world
        .post(
            &server,
            "/webhooks",
            &json!({"url": "http://x/", "events": [FORGED]}),
        )
        .expect(400);
    eve.say(&alice.jid(), FORGED);
    receiver.next();
    server.wait_log("delivery failed");
    let deceives = |text: &str| {
        text.chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{2028}')
    };
    let log = server.log();
    assert!(!deceives(&log), "{log:?}");
    for line in log.lines() {
        assert!(!line.starts_with("2026-01-01"), "{line}");
    }
    let export = export(&world, &world.options().data);
    assert!(!deceives(&export), "{export:?}");
    let texts: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["text"].clone())
        .collect();
    assert_eq!(texts, [FORGED, FORGED]);
}

fn export(world: &World, data: &Path) -> String {
    let data = data.to_str().expect("UTF-8");
    let args = ["export", "alice", "--data", data];
    let (code, out, err) = crate::support::run_to_end(world.directory.path(), &args, &[]);
    assert_eq!(code, 0, "{err}");
    out
}
