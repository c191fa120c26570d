//! Hostile clients: each is answered or disconnected, uses bounded memory, and does not block other clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Form, Raw, Receiver, Server, World, eventually, request};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";

const MIB: u64 = 1 << 20;

/// The anonymous memory of a process, in bytes.
fn anonymous(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes.and_then(|n| n.parse().ok()).expect("a number");
    kilobytes * 1024
}

/// Looks at the server while it is under attack: how much memory it takes, and whether it answers.
pub struct Watch {
    before: u64,
    most: Arc<AtomicU64>,
    pings: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(server: &Server) -> Watch {
        let (pid, address) = (server.pid(), server.address());
        let before = anonymous(pid);
        let most = Arc::new(AtomicU64::new(before));
        let pings = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let (most_seen, answered, stop) = (most.clone(), pings.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                request(address, "GET", "/ping", &[], b"").expect(200);
                answered.fetch_add(1, Ordering::Relaxed);
                most_seen.fetch_max(anonymous(pid), Ordering::Relaxed);
            }
        });
        Watch {
            before,
            most,
            pings,
            over,
            thread: Some(thread),
        }
    }

    /// Ends. The server must have answered all the time, and not grown by more than `most` bytes.
    pub fn end(mut self, most: u64) {
        // At least once behind everything that was sent.
        let seen = self.pings.load(Ordering::Relaxed);
        let thread = self.thread.take().expect("once");
        eventually("another ping", || {
            let more = self.pings.load(Ordering::Relaxed) > seen + 1;
            (more || thread.is_finished()).then_some(())
        });
        self.over.store(true, Ordering::Relaxed);
        thread.join().expect("every ping was answered");
        let grown = self
            .most
            .load(Ordering::Relaxed)
            .saturating_sub(self.before);
        assert!(
            grown <= most,
            "the memory grew by {} kB, from {} kB",
            grown / 1024,
            self.before / 1024
        );
    }
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("listed") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => directories.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// A failure has this status and is JSON with words, for every request.
fn assert_failure(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    let body = answer.json();
    assert_eq!(body["ok"], false, "{what}");
    assert!(
        body["error"].as_str().is_some_and(|e| !e.is_empty()),
        "{what}"
    );
}

#[test]
fn no_path_leaves_the_data_directory() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    std::fs::write(world.directory.path().join("secret"), "the secret").expect("written");
    for path in [
        "/../secret",
        "/media/../../secret",
        "/media/..%2f..%2fsecret",
        "/media/..%2F..%2Fsecret%00",
        "/media/%2e%2e%2f%2e%2e%2fsecret",
        "/media/%252e%252e%252fsecret",
        "/media/..\\..\\secret",
        "/media//etc/passwd",
        "/accounts/..%2f..%2fsecret/messages/x/media",
        "/accounts/alice/messages/..%2f..%2f..%2fsecret/media",
        "/accounts/alice/messages/%2fetc%2fpasswd/media",
        "/accounts/alice/../../../../etc/passwd",
        "http://localhost/../secret",
        "/.%2e/.%2e/secret",
    ] {
        let answer = request(server.address(), "GET", path, &[], b"");
        assert_failure(&answer, 404, path);
    }
    let chat = "/accounts/alice/chats/..%2f..%2fsecret/messages";
    let answer = request(server.address(), "GET", chat, &[], b"");
    assert_failure(&answer, 400, chat);
    for id in ["../x", "a/b", "..", ".", "a\0b", "%2e%2e", ""] {
        world
            .post(&server, "/accounts", &json!({"id": id}))
            .expect(400);
    }
    // Names of files go out and come in without their folders, and name nothing on this disk.
    let (kind, body) = Form::new()
        .field("to", BOB)
        .file("document", "../../../secret", "text/plain", b"mine")
        .build();
    let url = format!("{}/accounts/alice/message/send/document", server.base());
    world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    let got = bob.received(1);
    let text = got[0].to_string();
    assert!(text.contains("secret") && !text.contains(".."), "{text}");
    let file =
        json!({"base64": "dGhlaXJz", "fileName": "../../../secret", "mimetype": "text/plain"});
    let id = bob.send(&json!({"to": alice.jid(), "document": file}));
    let media = eventually("the file", || {
        let path = format!("/accounts/alice/messages/{id}/media");
        let answer = world.api(&server, "GET", &path, None);
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(media.bytes, b"theirs");
    let disposition = media.header("content-disposition").expect("a name");
    assert!(!disposition.contains('/'), "{disposition}");
    let secret = std::fs::read(world.directory.path().join("secret")).expect("read");
    assert_eq!(secret, b"the secret");
    let named = |path: &PathBuf| path.to_string_lossy().contains("secret");
    assert_eq!(
        files(world.directory.path())
            .iter()
            .filter(|p| named(p))
            .count(),
        1
    );
}

#[test]
fn names_and_captions_add_no_headers() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let receiver = Receiver::start();
    let hook = json!({"url": receiver.url()});
    world.post(&server, "/webhooks", &hook).expect(201);
    let evil = "a\r\nSet-Cookie: evil=1\r\n\r\n<script>\".pdf";
    let file = json!({"base64": "eA==", "fileName": evil, "caption": evil,
        "mimetype": "text/html\r\nX-Evil: 1"});
    let id = bob.send(&json!({"to": alice.jid(), "document": file}));
    let delivery = receiver.next();
    assert_eq!(delivery.body["caption"], evil, "as data it is what it is");
    assert_eq!(delivery.header("set-cookie"), None);
    assert!(!format!("{:?}", delivery.headers).contains("evil"));
    let path = format!("/accounts/alice/messages/{id}/media");
    let media = eventually("the file", || {
        let answer = request(server.address(), "GET", &path, &[], b"");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(media.bytes, b"x");
    assert_eq!(media.header("set-cookie"), None);
    assert_eq!(media.header("x-evil"), None);
    assert_eq!(
        media.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(media.header("x-content-type-options"), Some("nosniff"));
    // On the way out: the part's head, and what a person is shown.
    let (kind, body) = Form::new()
        .field("to", BOB)
        .field("caption", evil)
        .file("document", "a%0d%0aX-Evil: 1.pdf", "text/plain", b"y")
        .build();
    let url = format!("{}/accounts/alice/message/send/document", server.base());
    let sent = world.http().send("POST", &url, &kind, Some(body));
    assert_eq!(sent.header("x-evil"), None);
    sent.expect(200);
    bob.received(1);
    // Headers and addresses of hooks, ids that come back in words.
    for headers in [
        json!({"X-A": "1\r\nX-Evil: 1"}),
        json!({"X-A\r\nX-Evil": "1"}),
        json!({"Host": "evil"}),
        json!({"Content-Length": "0"}),
    ] {
        let hook = json!({"url": "http://127.0.0.1:1/", "headers": headers});
        world.post(&server, "/webhooks", &hook).expect(400);
    }
    let split = "/accounts/x%0d%0aSet-Cookie:%20evil=1/status";
    let answer = request(server.address(), "GET", split, &[], b"");
    assert_failure(&answer, 404, split);
    assert_eq!(answer.header("set-cookie"), None);
    let split = "/media/%0d%0aX-Evil:%201";
    let answer = request(server.address(), "GET", split, &[], b"");
    assert_eq!(answer.header("x-evil"), None);
}

/// A PNG that unpacks to 600 times its size: `width` x `height` pixels of nothing.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgba);
    let mut writer = encoder.write_header().expect("a header");
    let mut stream = writer.stream_writer().expect("a stream");
    let row = vec![0; width as usize * 4];
    for _ in 0..height {
        stream.write_all(&row).expect("a row");
    }
    stream.finish().expect("the end");
    writer.finish().expect("the end");
    bytes
}

/// A PNG that says it is that large.
fn png_of_size(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(8, 8);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

/// A GIF that says it is that large, with a frame of the same size and hardly any data.
fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    let size: Vec<u8> = [width.to_le_bytes(), height.to_le_bytes()].concat();
    bytes.extend_from_slice(&size);
    bytes.extend_from_slice(&[0x80, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x2C, 0, 0, 0, 0]);
    bytes.extend_from_slice(&size);
    bytes.extend_from_slice(&[0, 2, 2, 0x44, 1, 0, 0x3B]);
    bytes
}

/// A JPEG cut behind a frame header that says it is that large.
fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = std::fs::read(fixture("photo.jpg")).expect("a fixture");
    let frame = bytes
        .windows(2)
        .position(|w| w == [0xFF, 0xC0] || w == [0xFF, 0xC2]);
    let at = frame.expect("a frame header") + 5;
    bytes[at..at + 2].copy_from_slice(&height.to_be_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// A lossless WebP that says it is that large.
fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::fs::read(fixture("lossless.webp")).expect("a fixture");
    let at = bytes
        .windows(4)
        .position(|w| w == b"VP8L")
        .expect("lossless")
        + 9;
    let size = (width - 1) | (height - 1) << 14;
    bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
    bytes
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/media")
        .join(name)
}

#[test]
fn images_that_decompress_to_gigabytes_take_no_memory() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 1000)
        .start();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    let watch = Watch::start(&server);
    let send = |name: &str, endpoint: &str, image: &[u8]| {
        let (kind, body) = Form::new()
            .field("to", BOB)
            .file(endpoint, name, "image/png", image)
            .build();
        assert!(body.len() < 400_000, "{name}: {}", body.len());
        let path = format!("/accounts/alice/message/send/{endpoint}");
        let headers = [("Content-Type", kind.as_str())];
        let answer = request(server.address(), "POST", &path, &headers, &body);
        // Sent without a thumbnail, or refused in words: both are fine, and so is a small one.
        if answer.status != 200 {
            assert_failure(&answer, 400, name);
        }
    };
    send("unpacks.png", "image", &png(1_500, 1_000));
    for (width, height) in [(65_535, 65_535), (65_535, 1), (1, 65_535), (3_000, 1_000)] {
        send("large.gif", "image", &gif(width, height));
        send("large.jpg", "image", &jpeg(width, height));
        let (width, height) = (u32::from(width), u32::from(height));
        send("large.png", "image", &png_of_size(width, height));
    }
    for (width, height) in [(1 << 30, 1), (1, 1 << 30), (1 << 30, 1 << 30)] {
        send("larger.png", "image", &png_of_size(width, height));
    }
    for (width, height) in [(16_384, 16_384), (16_384, 1), (1_500, 1_000)] {
        send("large.webp", "image", &webp(width, height));
        send("large.webp", "sticker", &webp(width, height));
    }
    watch.end(40 * MIB);
}

/// The descriptors that this process may still open.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line
        .and_then(|line| line.split_whitespace().nth(3))
        .expect("a limit");
    soft.parse().unwrap_or(usize::MAX)
}

#[test]
fn a_thousand_idle_connections_do_not_block_others() {
    let world = World::new();
    // A system that lets a process have few descriptors gets as many as it can.
    let count = 1_000.min(descriptors().saturating_sub(300));
    // The default is 64 connections: silent ones make room.
    let server = world.server();
    let watch = Watch::start(&server);
    let mut silent: Vec<TcpStream> = (0..count)
        .map(|_| TcpStream::connect(server.address()).expect("connected"))
        .collect();
    // Half of them begin to speak, and stop.
    for stream in silent.iter_mut().skip(count / 2) {
        let _ = stream.write_all(b"GET /ping HT");
    }
    request(server.address(), "GET", "/accounts", &[], b"").expect(200);
    watch.end(8 * MIB);
    drop(silent);
    server.kill();

    // With room for all of them, they stay, and cost a little each.
    let server = world.options().with("server.max_connections", 2000).start();
    let watch = Watch::start(&server);
    let mut idle: Vec<Raw> = (0..count).map(|_| Raw::connect(&server)).collect();
    for raw in &mut idle {
        raw.send(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    for raw in &mut idle {
        raw.reply().expect("an answer").expect(200);
    }
    request(server.address(), "GET", "/accounts", &[], b"").expect(200);
    // All are still there.
    for raw in &mut idle {
        raw.send(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n");
        raw.reply().expect("another answer").expect(200);
    }
    watch.end(16 * MIB);
}

#[test]
fn clients_that_send_too_slowly_are_disconnected() {
    let world = World::new();
    let server = world.options().with("server.request_timeout", "1s").start();
    let address = server.address();
    let watch = Watch::start(&server);
    let began = Instant::now();
    let drips: Vec<_> = (0..40)
        .map(|i| {
            std::thread::spawn(move || {
                let mut raw = Raw::to(address);
                let (head, drop): (&[u8], &[u8]) = match i % 3 {
                    0 => (b"GET /accounts HTTP/1.1\r\nHost: localhost\r\n", b"A: b\r\n"),
                    1 => (
                        b"POST /accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
                        b"{",
                    ),
                    _ => (
                        b"POST /accounts HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
                        b"1\r\n \r\n",
                    ),
                };
                raw.send(head);
                let pause = Duration::from_millis(100);
                raw.stream.set_read_timeout(Some(pause)).expect("a timeout");
                let mut byte = [0; 1];
                loop {
                    raw.send(drop);
                    // The pause between two drops, unless the server says something first.
                    match raw.stream.read(&mut byte) {
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        _ => return,
                    }
                    assert!(began.elapsed() < DEADLINE, "it listens for ever");
                }
            })
        })
        .collect();
    for drip in drips {
        drip.join().expect("it was hung up on");
    }
    watch.end(8 * MIB);
}

#[test]
fn clients_that_do_not_read_are_disconnected() {
    let world = World::new();
    let server = world.options().with("server.request_timeout", "2s").start();
    world.pair(&server, "alice", ALICE);
    world.phone(BOB, "Bob");
    // More than the buffers of a connection hold, on both sides.
    let file = vec![7; 15 << 20];
    let (kind, body) = Form::new()
        .field("to", BOB)
        .file("document", "large.bin", "application/zip", &file)
        .build();
    let url = format!("{}/accounts/alice/message/send/document", server.base());
    let sent = world
        .http()
        .send("POST", &url, &kind, Some(body))
        .expect(200);
    let id = sent["messageId"].as_str().expect("an id");
    let path = format!("/accounts/alice/messages/{id}/media");
    eventually("the file", || {
        let listed = world.get(&server, &format!("/media?messageId={id}"));
        (listed["media"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    let watch = Watch::start(&server);
    let mut readers: Vec<Raw> = (0..40).map(|_| Raw::connect(&server)).collect();
    for raw in &mut readers {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    }
    // One that asks for much at once and takes none of it, either.
    let mut asker = Raw::connect(&server);
    let pause = Some(Duration::from_secs(1));
    asker.stream.set_write_timeout(pause).expect("a timeout");
    let many = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20_000);
    asker.send(many.as_bytes());
    // Every answer has begun; the others are served meanwhile, and in the end the server has hung
    // up on all.
    for raw in &mut readers {
        raw.stream.peek(&mut [0]).expect("the start of an answer");
    }
    eventually("the end of the connections", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("listed");
        let sockets = open
            .filter_map(Result::ok)
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count();
        (sockets < 15).then_some(())
    });
    watch.end(24 * MIB);
    // None got the whole file: 40 times 15 MB fit into no buffer.
    for raw in &mut readers {
        let answer = raw.reply();
        assert!(answer.is_none(), "it was read to its end");
    }
}

#[test]
fn json_may_be_neither_deep_nor_huge() {
    let world = World::new();
    let server = world.server();
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    let watch = Watch::start(&server);
    let post = |body: &[u8]| {
        let headers = [("Content-Type", "application/json")];
        let path = "/accounts/alice/message/send";
        request(server.address(), "POST", path, &headers, body)
    };
    let deep = |n: usize| [b"[".repeat(n), b"]".repeat(n)].concat();
    let objects = |n: usize| [br#"{"to":"#.repeat(n), b"1".to_vec(), b"}".repeat(n)].concat();
    for (what, body) in [
        ("deep lists", deep(500_000)),
        ("deep lists without an end", b"[".repeat(1_000_000)),
        ("deep objects", objects(100_000)),
        (
            "deep within a field",
            [b"{\"to\":".to_vec(), deep(100_000), b"}".to_vec()].concat(),
        ),
        ("many fields", many_fields(60_000)),
        (
            "a long number",
            [b"{\"to\":1".to_vec(), b"0".repeat(900_000), b"}".to_vec()].concat(),
        ),
        (
            "a long name",
            [b"{\"".to_vec(), b"a".repeat(900_000), b"\":1}".to_vec()].concat(),
        ),
        (
            "no UTF-8",
            b"{\"to\":\"\xff\xfe\",\"message\":\"x\"}".to_vec(),
        ),
        (
            "half a surrogate",
            br#"{"to":"\ud800","message":"x"}"#.to_vec(),
        ),
        ("nulls", vec![0; 1_000_000]),
    ] {
        assert_failure(&post(&body), 400, what);
    }
    let over = post(&vec![b' '; 1_100_000]);
    over.expect(413);
    let chunked = format!(
        "POST /accounts HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "40000\r\n".to_owned() + &" ".repeat(0x40000) + "\r\n"
    );
    let mut raw = Raw::connect(&server);
    raw.send(chunked.as_bytes());
    for _ in 0..4 {
        raw.send(&chunked.as_bytes()[chunked.find("40000").expect("a chunk")..]);
    }
    raw.reply().expect("an answer").expect(413);
    watch.end(24 * MIB);
}

fn many_fields(count: usize) -> Vec<u8> {
    let fields: serde_json::Map<String, Value> =
        (0..count).map(|i| (format!("f{i}"), json!(1))).collect();
    Value::Object(fields).to_string().into_bytes()
}

#[test]
fn forms_may_have_neither_many_parts_nor_large_heads() {
    let world = World::new();
    let server = world.options().with("limits.max_file", "8 MiB").start();
    world.pair(&server, "alice", ALICE);
    let watch = Watch::start(&server);
    let post = |kind: &str, body: &[u8]| {
        let path = "/accounts/alice/message/send/image";
        request(
            server.address(),
            "POST",
            path,
            &[("Content-Type", kind)],
            body,
        )
    };
    let mut many = Form::new();
    for i in 0..10_000 {
        many = many.field(&format!("f{i}"), "x");
    }
    let (kind, body) = many.build();
    assert_failure(&post(&kind, &body), 400, "many fields");
    let mut many = Form::new();
    for _ in 0..10_000 {
        many = many.field("mentions", BOB);
    }
    let (kind, body) = many.build();
    assert_failure(&post(&kind, &body), 400, "one field many times");
    let mut many = Form::new();
    for i in 0..20_000 {
        many = many.file(&format!("f{i}"), "x", "text/plain", b"");
    }
    let (kind, body) = many.build();
    assert_failure(&post(&kind, &body), 400, "many files");
    let long = "x".repeat(1_000_000);
    let (kind, body) = Form::new().field("caption", &long).build();
    assert_failure(&post(&kind, &body), 413, "a long field");
    for (what, form) in [
        ("a long name", Form::new().field(&long, "x")),
        (
            "a long file name",
            Form::new().file("image", &long, "image/png", b"x"),
        ),
        (
            "a file twice",
            Form::new()
                .field("to", BOB)
                .file("image", "a", "b/c", b"x")
                .file("image", "a", "b/c", b"x"),
        ),
    ] {
        let (kind, body) = form.build();
        assert_failure(&post(&kind, &body), 400, what);
    }
    let large = vec![0; 9 << 20];
    let (kind, body) = Form::new()
        .field("to", BOB)
        .file("image", "a", "b/c", &large)
        .build();
    post(&kind, &body).expect(413);
    let (kind, body) = Form::new()
        .field("to", BOB)
        .file("other", "a", "b/c", &large)
        .build();
    post(&kind, &body).expect(413);
    for (kind, body) in [
        ("multipart/form-data", "--x\r\n"),
        ("multipart/form-data; boundary=", "--\r\n"),
        ("multipart/form-data; boundary=x", "no form"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data\r\n",
        ),
        ("multipart/form-data; boundary=x", "--x\r\n\r\n\r\n--x"),
        ("multipart/form-data; boundary=x", ""),
    ] {
        assert_failure(&post(kind, body.as_bytes()), 400, body);
    }
    watch.end(24 * MIB);
    let left = files(&world.options().data.join("tmp"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn bytes_that_are_not_http_get_one_400() {
    let world = World::new();
    let server = world.server();
    let watch = Watch::start(&server);
    let ping = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Behind a good request, on the same connection.
    for garbage in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03",
        "\0\0\0\0",
        "GET\r\n\r\n",
        "GET /ping\r\n\r\n",
        "GET  /ping  HTTP/1.1\r\n\r\n",
        "GET /ping HTTP/9.9\r\nHost: x\r\n\r\n",
        "GET ping HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST /ping HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /ping HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
        "GET /pi\0ng HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut raw = Raw::connect(&server);
        raw.send(format!("{ping}{ping}{garbage}{ping}").as_bytes());
        raw.reply().expect("an answer").expect(200);
        raw.reply().expect("an answer").expect(200);
        let refused = raw
            .reply()
            .unwrap_or_else(|| panic!("no answer to {garbage:?}"));
        assert_failure(&refused, 400, garbage);
        assert_eq!(refused.header("connection"), Some("close"), "{garbage:?}");
        assert!(raw.ends(), "more than one answer to {garbage:?}");
    }
    // Heads beyond all measure.
    let head = |headers: &str| format!("GET /ping HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    for (what, text) in [
        (
            "a long header",
            head(&format!("A: {}\r\n", "x".repeat(1 << 20))),
        ),
        (
            "a long name",
            head(&format!("{}: x\r\n", "a".repeat(1 << 20))),
        ),
        ("many headers", head(&"A: b\r\n".repeat(100_000))),
        (
            "some more headers than there may be",
            head(&"A: b\r\n".repeat(100)),
        ),
        (
            "a long target",
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20)),
        ),
        ("a long method", "A".repeat(1 << 20)),
    ] {
        let mut raw = Raw::connect(&server);
        raw.send(text.as_bytes());
        let refused = raw.reply().unwrap_or_else(|| panic!("no answer to {what}"));
        assert_eq!(refused.status, 431, "{what}: {refused:?}");
        assert!(raw.ends(), "{what}");
    }
    // A body with wrong chunk sizes.
    for body in [
        "zz\r\n",
        "ffffffffffffffffff\r\n",
        "-1\r\n",
        "5\r\nabcdeXX",
        "\r\n\r\n",
    ] {
        let mut raw = Raw::connect(&server);
        let head =
            "POST /accounts HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        raw.send(format!("{head}{body}").as_bytes());
        let refused = raw
            .reply()
            .unwrap_or_else(|| panic!("no answer to {body:?}"));
        assert_failure(&refused, 400, body);
        assert!(raw.ends(), "{body:?}");
    }
    watch.end(8 * MIB);
}
