//! Files that are sent: by form, as base64, by URL; good ones and bad ones.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Answer, DEADLINE, Form, Server, World};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const DOCUMENT: &str = "/accounts/alice/message/send/document";

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes that no compression makes small, the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn form(world: &World, server: &Server, path: &str, form: Form) -> Answer {
    let (kind, body) = form.build();
    let url = format!("{}{path}", server.base());
    world.http().send("POST", &url, &kind, Some(body))
}

#[test]
fn a_document_arrives_unchanged_from_every_source() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let content = noise(200_000);
    let expected = sha256(&content);

    // The file before the recipient, with a name that needs care.
    let sent = form(
        &world,
        &server,
        DOCUMENT,
        Form::new()
            .file(
                "document",
                "C:\\docs\\Rechnung für März.pdf",
                "application/pdf",
                &content,
            )
            .field("to", BOB)
            .field("caption", "the bill"),
    )
    .expect(200);
    let got = bob.received(1).remove(0);
    assert_eq!(got["media"]["error"], Value::Null, "{got}");
    assert_eq!(got["media"]["sha256"], expected);
    assert_eq!(got["media"]["fileName"], "Rechnung für März.pdf");
    assert_eq!(got["text"], "the bill");
    assert_eq!(got["messageId"], sent["messageId"]);

    // It shows up in the chat, with its file.
    let id = sent["messageId"].as_str().expect("an id");
    let message = world.get(&server, &format!("/accounts/alice/messages/{id}"))["message"].clone();
    assert_eq!(message["type"], "document");
    let status = message["status"].as_str();
    assert!(matches!(status, Some("sent" | "delivered")), "{message}");
    assert_eq!(message["hasMedia"], true);
    assert_eq!(message["mediaFileName"], "Rechnung für März.pdf");
    assert_eq!(message["mediaSize"], content.len());
    let url = message["mediaUrl"].as_str().expect("a URL");
    let file = world.api(&server, "GET", url, None);
    assert_eq!((file.status, sha256(&file.bytes)), (200, expected.clone()));

    // As base64 in JSON, with the slashes escaped as some languages do, and as a data: URL.
    let encoded = base64(&content);
    for text in [
        encoded.replace('/', "\\/"),
        format!("data:application/pdf;base64,{encoded}"),
    ] {
        let body = format!(
            "{{\"base64\": \"{text}\", \"to\": \"{BOB}\", \"fileName\": \"a.bin\", \"x\": [1]}}"
        );
        let url = format!("{}{DOCUMENT}", server.base());
        world
            .http()
            .send("POST", &url, "application/json", Some(body.into_bytes()))
            .expect(200);
    }
    // From a web server, behind a redirect.
    let web = Web::start(content);
    let body = json!({"to": BOB, "url": format!("{}/go", web.base)});
    world.post(&server, DOCUMENT, &body).expect(200);
    let all = bob.received(4);
    for got in &all {
        assert_eq!(got["media"]["sha256"], expected, "{got}");
        assert_eq!(got["media"]["error"], Value::Null, "{got}");
    }
    assert_eq!(all[3]["media"]["fileName"], "picture 1.bin");
    // Nothing is left on the way.
    let tmp = world.options().data.join("tmp");
    assert_eq!(std::fs::read_dir(tmp).expect("tmp").count(), 0);
}

#[test]
fn bad_files_get_clear_errors_and_nothing_is_sent() {
    let world = World::new();
    world.walks(&["POST /accounts/:id/message/send/document"]);
    let options = world.options().with("limits.max_file", "64 KiB");
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let small = noise(1_000);
    let file = |name: &str| Form::new().file(name, "a.bin", "application/octet-stream", &small);
    for (what, form_sent, status, words) in [
        ("no to", file("document"), 400, "to field is required"),
        (
            "no file",
            Form::new().field("to", BOB),
            400,
            "document file is required",
        ),
        (
            "another field's file",
            file("image").field("to", BOB),
            400,
            "document file is required",
        ),
        (
            "bad to",
            file("document").field("to", "nobody"),
            400,
            "Invalid WhatsApp JID format for \"to\" field. Expected format: \
             1234567890@s.whatsapp.net or 123456789@g.us",
        ),
        (
            "bad to, before the file",
            Form::new()
                .field("to", "nobody")
                .file("document", "a", "a/b", &small),
            400,
            "Invalid WhatsApp JID format for \"to\" field. Expected format: \
             1234567890@s.whatsapp.net or 123456789@g.us",
        ),
        (
            "two files",
            file("document")
                .file("document", "b", "a/b", &small)
                .field("to", BOB),
            400,
            "\"document\" must be one file",
        ),
        (
            "an empty file",
            Form::new()
                .file("document", "a", "a/b", b"")
                .field("to", BOB),
            400,
            "the file is empty",
        ),
        (
            "too large",
            Form::new()
                .field("to", BOB)
                .file("document", "a", "a/b", &noise(64 * 1024 + 1)),
            413,
            "The request body is over the limit of 65536 bytes",
        ),
        (
            "an unknown quote",
            file("document")
                .field("to", BOB)
                .field("quotedMessageId", "3EB0NONE"),
            404,
            "Quoted message not found",
        ),
    ] {
        let answer = form(&world, &server, DOCUMENT, form_sent);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.json()["error"], words, "{what}");
    }
    for (what, body, status, field) in [
        (
            "a number",
            json!({"to": BOB, "base64": 5}),
            400,
            "document file is required",
        ),
        (
            "no base64",
            json!({"to": BOB, "base64": "*"}),
            400,
            "\"base64\" must be base64",
        ),
        (
            "no web address",
            json!({"to": BOB, "url": "file:///etc/passwd"}),
            400,
            "\"url\" must be an http or https address",
        ),
        (
            "too large in base64",
            json!({"to": BOB, "base64": base64(&noise(70_000))}),
            413,
            "The request body is over the limit of 65536 bytes",
        ),
        (
            "a flag",
            json!({"to": BOB, "base64": "aGk=", "ptt": "maybe"}),
            400,
            "\"ptt\" must be true or false",
        ),
    ] {
        let answer = world.post(&server, DOCUMENT, &body);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.json()["error"], field, "{what}");
    }
    let unreachable = json!({"to": BOB, "url": "http://127.0.0.1:1/x"});
    let answer = world.post(&server, DOCUMENT, &unreachable).expect(400);
    let words = answer["error"].as_str().expect("words");
    assert!(
        words.starts_with("The file at \"url\" could not be fetched: "),
        "{words}"
    );
    let web = Web::start(noise(70_000));
    let large = json!({"to": BOB, "url": format!("{}/file", web.base)});
    world.post(&server, DOCUMENT, &large).expect(413);
    let missing = json!({"to": BOB, "url": format!("{}/none", web.base)});
    let answer = world.post(&server, DOCUMENT, &missing).expect(400);
    let words = answer["error"].as_str().expect("words");
    assert!(words.contains("404"), "{words}");

    let url = format!("{}{DOCUMENT}", server.base());
    for (kind, body, status) in [
        ("application/xml", "<a/>", 415),
        ("multipart/form-data; boundary=x", "no form", 400),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data",
            400,
        ),
        ("application/json", "{", 400),
    ] {
        let answer = world
            .http()
            .send("POST", &url, kind, Some(body.as_bytes().to_vec()));
        assert_eq!(answer.status, status, "{kind}: {answer:?}");
        assert_eq!(answer.json()["ok"], false);
    }
    world
        .post(&server, "/accounts/nobody/message/send/image", &json!({}))
        .expect(404);

    // Nothing of all that went out, nor stayed.
    form(&world, &server, DOCUMENT, file("document").field("to", BOB)).expect(200);
    assert_eq!(bob.received(1).len(), 1);
    let tmp = world.options().data.join("tmp");
    assert_eq!(std::fs::read_dir(tmp).expect("tmp").count(), 0);
}

/// The head of a part that has no end stays out of memory.
#[test]
fn an_endless_form_is_cut_off() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let mut body = b"--x\r\nContent-Disposition: form-data; name=\"".to_vec();
    body.resize(300_000, b'a');
    let url = format!("{}{DOCUMENT}", server.base());
    let kind = "multipart/form-data; boundary=x";
    let answer = world
        .http()
        .send("POST", &url, kind, Some(body))
        .expect(400);
    let words = answer["error"].as_str().expect("words");
    assert!(words.contains("too long"), "{words}");
}

#[test]
fn a_refused_upload_is_reported_and_loses_nothing() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let fault = json!({"kind": "refuse-uploads", "code": 500, "count": 50});
    world
        .admin("POST", "/faults", Some(&fault))
        .expect_success();
    let file = Form::new()
        .field("to", BOB)
        .file("document", "a.bin", "a/b", &noise(1_000));
    let answer = form(&world, &server, DOCUMENT, file.clone());
    assert_eq!(answer.status, 500, "{answer:?}");
    let words = answer.json()["error"].to_string();
    assert!(words.contains("did not take the file"), "{words}");
    let page = world.get(&server, "/messages");
    assert_eq!(page["pagination"]["total"], 0, "nothing was sent: {page}");
    world.admin("DELETE", "/faults", None).expect_success();
    form(&world, &server, DOCUMENT, file).expect(200);
    assert_eq!(bob.received(1).len(), 1);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A web server with one file, and a way around to it.
struct Web {
    base: String,
}

impl Web {
    fn start(content: Vec<u8>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that leaves early is its own affair.
                let _ = Web::answer(stream, &content);
            }
        });
        Web { base }
    }

    fn answer(mut stream: TcpStream, content: &[u8]) -> std::io::Result<()> {
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let path = String::from_utf8_lossy(&head);
        let path = path.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/go" => stream.write_all(
                b"HTTP/1.1 302 Found\r\nLocation: /picture%201.bin\r\nContent-Length: 0\r\n\r\n",
            ),
            "/none" => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            _ => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    content.len()
                );
                stream.write_all(head.as_bytes())?;
                stream.write_all(content)
            }
        }
    }
}
