//! Clients that use up the connections: half-sent bodies, wrong keys, many connections of one address.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::auth::new_key;
use crate::hostile::Watch;
use crate::support::{Answer, DEADLINE, Raw, Receiver, Server, World, eventually, request};

const MIB: u64 = 1 << 20;

fn post(key: Option<&str>, path: &str, framing: &str) -> String {
    let key = key.map_or_else(String::new, |key| format!("X-Api-Key: {key}\r\n"));
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{key}{framing}\r\n")
}

/// The beginning of a request that never ends, of one of 16 kinds.
fn half_sent(kind: usize, key: &str) -> String {
    const LENGTH: &str = "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n";
    const CHUNKED: &str = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const FORM: &str =
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n";
    let key = [None, Some("wc_wrong"), Some(key)][kind % 3];
    let text = "/accounts/alice/message/send";
    let image = "/accounts/alice/message/send/image";
    match kind % 8 {
        0 => post(key, "/accounts", "Content-Length: 100"),
        1 => post(key, "/accounts", LENGTH),
        2 => post(key, "/accounts", LENGTH) + "{\"id\": \"",
        3 => post(key, text, CHUNKED),
        4 => post(key, text, CHUNKED) + "100\r\n{\"to",
        5 => post(key, image, FORM) + "--x\r\nContent-Disp",
        6 => post(key, "/nowhere", LENGTH) + "{",
        _ => post(key, "/ping", CHUNKED) + "5\r\nab",
    }
}

#[test]
fn half_sent_bodies_and_wrong_keys_do_not_block_valid_keys() {
    let world = World::new();
    let server = world.server();
    let key = new_key(&world, &["ha"]);
    let at = server.address();
    let body = br#"{"id":"alice"}"#;
    request(at, "POST", "/accounts", &[("X-Api-Key", &key)], body).expect(201);
    let watch = Watch::start(&server);
    // Half of them before there are any others, half in the middle of it, and some by drops.
    let begin = |kind| {
        let mut raw = Raw::to(at);
        raw.send(half_sent(kind, &key).as_bytes());
        raw
    };
    let mut half: Vec<Raw> = (0..64).map(begin).collect();
    let over = AtomicBool::new(false);
    let guesses = AtomicUsize::new(0);
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| {
        for n in 0..70 {
            let (over, guesses) = (&over, &guesses);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let wrong = format!("wc_{n}");
                    let head = post(Some(&wrong), "/accounts", "Content-Length: 2\r\n");
                    let mut raw = Raw::to(at);
                    raw.send(format!("{head}{{}}").as_bytes());
                    // Answered, or hung up on.
                    if raw.reply().is_some() {
                        guesses.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..200 {
                if n == 100 {
                    half.extend((64..128).map(begin));
                }
                if n % 10 == 0 {
                    half[n / 2].send(b" ");
                }
                let began = Instant::now();
                let headers = [("X-Api-Key", key.as_str())];
                let answer = match n % 2 {
                    0 => request(at, "GET", "/accounts/alice", &headers, b""),
                    _ => {
                        let hook = br#"{"url":"http://127.0.0.1:1/"}"#;
                        request(at, "POST", "/webhooks", &headers, hook)
                    }
                };
                longest = longest.max(began.elapsed());
                assert!([200, 201].contains(&answer.status), "{n}: {answer:?}");
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = served {
            std::panic::resume_unwind(panic);
        }
    });
    watch.end(16 * MIB);
    let guesses = guesses.load(Ordering::Relaxed);
    println!("200 of 200; the longest took {longest:?}; {guesses} wrong keys were answered");
    assert!(guesses > 0);
}

/// How long it takes until the connection ends, and the answer before, if bytes are sent without a pause.
fn flooded(server: &Server, head: &str) -> (Answer, usize, Duration) {
    let mut raw = Raw::connect(server);
    raw.send(head.as_bytes());
    let answer = raw.reply().expect("an answer");
    let began = Instant::now();
    let piece = [b' '; 4096];
    let mut taken = 0;
    raw.stream.set_nonblocking(true).expect("set");
    let mut byte = [0; 1];
    loop {
        match raw.stream.write(&piece) {
            Ok(written) => taken += written,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return (answer, taken, began.elapsed()),
        }
        // Its end shows while it takes no more.
        if let Err(error) = raw.stream.read(&mut byte)
            && error.kind() != std::io::ErrorKind::WouldBlock
        {
            return (answer, taken, began.elapsed());
        }
        assert!(began.elapsed() < DEADLINE, "it is read for ever");
        std::thread::yield_now();
    }
}

#[test]
fn input_after_a_refusal_is_skipped_for_a_short_time() {
    let world = World::new();
    let server = world.server();
    let key = new_key(&world, &["ha"]);
    let reads = new_key(&world, &["panel", "--read-only"]);
    let account = json!({"id": "alice"}).to_string();
    let headers = [("X-Api-Key", key.as_str())];
    request(
        server.address(),
        "POST",
        "/accounts",
        &headers,
        account.as_bytes(),
    )
    .expect(201);
    const LONG: &str = "Content-Length: 1000000000\r\n";
    let (key, reads) = (Some(key.as_str()), Some(reads.as_str()));
    let text = format!("Content-Type: application/xml\r\n{LONG}");
    for (status, head) in [
        (401, post(None, "/accounts", LONG)),
        (401, post(Some("wc_x"), "/accounts", LONG)),
        (403, post(reads, "/accounts", LONG)),
        (404, post(key, "/nowhere", LONG)),
        (405, post(key, "/accounts/alice/status", LONG)),
        (413, post(key, "/accounts", LONG)),
        (415, post(key, "/accounts", &text)),
    ] {
        let (answer, taken, time) = flooded(&server, &head);
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{status}");
        // The kernel's buffers take some megabytes before their server has read a byte.
        assert!(
            time < Duration::from_millis(1_900),
            "{status}: {taken} bytes in {time:?}"
        );
        // One that sends nothing more is closed as soon.
        let mut silent = Raw::connect(&server);
        silent.send(head.as_bytes());
        let began = Instant::now();
        assert_eq!(silent.reply().expect("an answer").status, status);
        assert!(silent.ends());
        assert!(began.elapsed() < Duration::from_millis(1_900), "{status}");
    }
    // A small body is skipped, and the connection stays open.
    let mut raw = Raw::connect(&server);
    for _ in 0..2 {
        let head = post(None, "/accounts", "Content-Length: 5000\r\n");
        raw.send(head.as_bytes());
        raw.send(&[b' '; 5000]);
        raw.reply().expect("an answer").expect(401);
    }
}

/// A connection that comes from 127.0.0.`last`, with a small window.
fn from(last: u8, to: SocketAddr) -> Raw {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let own = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0);
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    sockopt::set_socket_recv_buffer_size(&socket, 4096).expect("set");
    bind(&socket, &own).expect("bound");
    connect(&socket, &to).expect("connected");
    Raw::over(TcpStream::from(socket))
}

const PING: &[u8] = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn pings(raw: &mut Raw) -> bool {
    raw.send(PING);
    raw.reply().is_some_and(|answer| answer.status == 200)
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_gets_at_most_a_quarter_of_the_connections() {
    let world = World::new();
    let server = world.options().with("server.max_connections", 16).start();
    let key = new_key(&world, &["ha"]);
    let at = server.address();
    let mut few: Vec<Raw> = (0..4).map(|_| from(3, at)).collect();
    assert!(few.iter_mut().all(pings));
    // Alone it may have all the rest; with more, it takes its own, not the older ones of others.
    let mut many: Vec<Raw> = (0..12).map(|_| from(2, at)).collect();
    assert!(many.iter_mut().all(pings));
    many.extend((0..40).map(|_| {
        let mut more = from(2, at);
        assert!(pings(&mut more));
        more
    }));
    assert!(few.iter_mut().all(pings), "they are still there");
    // A second that asks gets its quarter, and a third.
    let mut others: Vec<Raw> = [4, 4, 4, 4, 5, 5, 5, 5].map(|n| from(n, at)).into();
    assert!(others.iter_mut().all(pings));
    assert!(few.iter_mut().chain(&mut others).all(pings));
    let left = many.iter_mut().map(pings).filter(|alive| *alive).count();
    assert_eq!(left, 4);
    drop((few, many, others));

    // At work as well: requests that take long, from one address.
    let silent = Receiver::answering(|_| {
        loop {
            std::thread::park();
        }
    });
    let headers = [("X-Api-Key", key.as_str())];
    let hook = json!({"url": silent.url()}).to_string();
    let made = request(at, "POST", "/webhooks", &headers, hook.as_bytes()).expect(201);
    let id = made["id"].as_str().expect("an id");
    let test = post(Some(&key), &format!("/webhooks/{id}/test"), "");
    let works = |address: u8| {
        let mut raw = from(address, at);
        raw.send(test.as_bytes());
        silent.next();
        raw
    };
    let mut busy: Vec<Raw> = (0..16).map(|_| works(2)).collect();
    let asks: Vec<Raw> = (0..4).map(|_| works(3)).collect();
    // The latest ones that had to close got an answer.
    for raw in &mut busy[12..] {
        let told = raw.reply().expect("an answer").expect(503);
        assert!(
            told["error"]
                .as_str()
                .expect("words")
                .contains("connections")
        );
    }
    // The same address gets no thirteenth connection, and an answer at once.
    let mut more = from(2, at);
    more.reply().expect("an answer").expect(503);
    drop(asks);
}

#[test]
fn behind_a_proxy_each_client_is_an_address() {
    let world = World::new();
    let server = world.options().with("server.max_connections", 16).start();
    let key = new_key(&world, &["ha"]);
    let at = server.address();
    let asks = |raw: &mut Raw, client: &str| {
        let head = format!(
            "GET /accounts HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key}\r\n\
             X-Forwarded-For: 203.0.113.1, {client}\r\n\r\n"
        );
        raw.send(head.as_bytes());
        raw.reply().is_some_and(|answer| answer.status == 200)
    };
    let mut few: Vec<Raw> = (0..4).map(|_| Raw::to(at)).collect();
    assert!(few.iter_mut().all(|raw| asks(raw, "2001:db8::1")));
    // One network of IPv6 is one address.
    for n in 0..40 {
        let mut raw = Raw::to(at);
        assert!(asks(&mut raw, &format!("2001:db8:0:9::{n:x}")));
    }
    let mut many: Vec<Raw> = Vec::new();
    for n in 0..20 {
        let mut raw = Raw::to(at);
        assert!(asks(&mut raw, &format!("2001:db8:0:9::{n:x}")), "{n}");
        many.push(raw);
    }
    assert!(few.iter_mut().all(|raw| asks(raw, "2001:db8::1")));
}

#[test]
fn clients_that_do_not_read_make_room_for_others() {
    let world = World::new();
    let server = world.options().with("server.max_connections", 8).start();
    let at = server.address();
    // `/ping` needs no key. Its answers fill the buffers of connections that nothing reads from.
    let many = PING.repeat(1_000);
    let mut deaf: Vec<Raw> = (0..16).map(|_| from(1, at)).collect();
    for raw in &mut deaf {
        raw.stream.set_nonblocking(true).expect("set");
        let began = Instant::now();
        let mut quiet = began;
        while quiet.elapsed() < Duration::from_millis(100) && began.elapsed() < DEADLINE {
            match raw.stream.write(&many) {
                Ok(_) => quiet = Instant::now(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(_) => break,
            }
        }
    }
    for _ in 0..50 {
        request(at, "GET", "/accounts", &[], b"").expect(200);
    }
}

#[test]
fn a_stop_answers_requests_in_progress() {
    let world = World::new();
    let mut server = world.server();
    let at = server.address();
    world.pair(&server, "alice", "491700000001");
    let silent = Receiver::answering(|_| {
        loop {
            std::thread::park();
        }
    });
    let hook = json!({"url": silent.url()});
    let made = world.post(&server, "/webhooks", &hook).expect(201);
    let id = made["id"].as_str().expect("an id");
    let form = "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 50000000\r\n";
    let part = "--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\r\n";
    let image = post(None, "/accounts/alice/message/send/image", form);
    let continued = post(
        None,
        "/accounts",
        "Content-Length: 9\r\nExpect: 100-continue\r\n",
    );
    let slow = post(None, &format!("/webhooks/{id}/test"), "");
    let half = post(None, "/accounts", "Content-Length: 9\r\n");
    let half = &half[..half.len() - 2];
    let mut within: Vec<Raw> = [&format!("{image}{part}"), &slow, half, &continued]
        .into_iter()
        .map(|text| {
            let mut raw = Raw::to(at);
            raw.send(text.as_bytes());
            raw
        })
        .collect();
    silent.next();
    assert_eq!(within[3].reply().expect("an interim answer").status, 100);
    eventually("a file on its way", || {
        let spool = std::fs::read_dir(world.options().data.join("tmp")).expect("listed");
        (spool.count() > 0).then_some(())
    });
    server.signal("TERM");
    // One client continues to send slowly.
    let mut sending = within[0].stream.try_clone().expect("a clone");
    let sender = std::thread::spawn(move || {
        while sending.write_all(&[7; 4096]).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    for (n, raw) in within.iter_mut().enumerate() {
        let told = raw.reply().unwrap_or_else(|| panic!("no answer to {n}"));
        assert_eq!(told.header("connection"), Some("close"), "{n}");
        assert!(told.header("retry-after").is_some(), "{n}");
        let told = told.expect(503);
        assert_eq!(told["error"], "The server is shutting down", "{n}");
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    sender.join().expect("it ended");
    let left = std::fs::read_dir(world.options().data.join("tmp")).expect("listed");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_header_that_is_not_ascii_is_refused_or_kept() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", "491700000001");
    let bob = world.phone("491700000002", "Bob");
    let _ = alice;
    let key = new_key(&world, &["ha"]);
    let send = |headers: &[&[u8]], text: &str| {
        let body = json!({"to": "491700000002", "message": text}).to_string();
        let mut head = post(Some(&key), "/accounts/alice/message/send", "").into_bytes();
        head.truncate(head.len() - 2);
        for header in headers {
            head.extend_from_slice(header);
            head.extend_from_slice(b"\r\n");
        }
        head.extend(format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
        let mut raw = Raw::connect(&server);
        raw.send(&head);
        raw.reply().expect("an answer")
    };
    // Two keys that differ only beyond ASCII were one, and the second message was not sent.
    for value in [
        &b"Idempotency-Key: caf\xc3\xa9-1"[..],
        b"idempotency-key: caf\xe9-1",
    ] {
        let refused = send(&[value], "lost").expect(400);
        assert_eq!(refused["field"], "Idempotency-Key");
    }
    let two = send(&[b"Idempotency-Key: a", b"Idempotency-Key: b"], "lost").expect(400);
    assert_eq!(two["field"], "Idempotency-Key");
    for name in [
        "Authorization",
        "Content-Type",
        "Host",
        "Last-Event-ID",
        "Origin",
        "Range",
        "X-Api-Key",
        "Sec-Fetch-Site",
        "Expect",
        "Connection",
    ] {
        let value = [name.as_bytes(), b": \xc3\xbc"].concat();
        let refused = send(&[&value], "lost").expect(400);
        // Two Host headers are always refused.
        if name != "Host" {
            assert_eq!(refused["field"], name);
        }
    }
    let wrong = send(&[b"X-Api-Key: wc_other"], "lost").expect(400);
    assert_eq!(wrong["field"], "X-Api-Key");
    let same = format!("X-Api-Key: {key}");
    send(
        &[
            b"User-Agent: K\xfcche",
            b"X-Name: \xff",
            b"Referer: \xc3\xbc",
        ],
        "one",
    )
    .expect(200);
    send(
        &[same.as_bytes(), b"If-None-Match: \"\xe9\"", b"Accept: \xe9"],
        "two",
    )
    .expect(200);
    let texts: Vec<_> = bob.received(2).iter().map(|m| m["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn the_number_of_accounts_is_bounded() {
    let world = World::new();
    let server = world.options().with("limits.max_accounts", 2).start();
    let create = |id: &str| world.post(&server, "/accounts", &json!({"id": id}));
    create("alice").expect(201);
    create("bob").expect(201);
    let words = create("carol").expect(409)["error"].to_string();
    assert!(
        words.contains("2 accounts") && words.contains("limits.max_accounts"),
        "{words}"
    );
    create("alice").expect(400);
    world
        .api(&server, "DELETE", "/accounts/bob", None)
        .expect(200);
    create("carol").expect(201);
    // More that there were before stay.
    server.kill();
    let server = world.options().with("limits.max_accounts", 1).start();
    let listed = world.get(&server, "/accounts");
    assert_eq!(listed["accounts"].as_array().map(Vec::len), Some(2));
    world
        .post(&server, "/accounts", &json!({"id": "dave"}))
        .expect(409);
}
