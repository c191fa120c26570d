//! Previews of links: of a page that is fetched, of hostile ones, and of messages that come in.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const SEND: &str = "/accounts/alice/message/send";
/// An address of this machine that the server takes for one of the internet.
const PUBLIC: &str = "127.0.0.77";
const PHOTO: &[u8] = include_bytes!("../fixtures/media/photo.jpg");
const GOOD: &str = "<html><head><title>no</title><meta property='og:title' content='Fish &amp; chips'>\
    <meta name=description content='Fresh every day'><meta property=og:image content='/photo.jpg'></head>";

/// A web server, and the paths that it was asked for.
struct Web {
    base: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn start(address: &str, elsewhere: &str) -> Web {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (paths, elsewhere) = (asked.clone(), elsewhere.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (paths, elsewhere) = (paths.clone(), elsewhere.clone());
                std::thread::spawn(move || serve(stream, &paths, &elsewhere));
            }
        });
        Web { base, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("paths").clone()
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<String>>, elsewhere: &str) {
    let mut head = [0; 4096];
    let read = stream.read(&mut head).unwrap_or(0);
    let text = String::from_utf8_lossy(&head[..read]).into_owned();
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().expect("paths").push(path.clone());
    let to = |place: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n")
    };
    let page = |html: &str| {
        let length = html.len();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{html}"
        )
    };
    let answer = match path.as_str() {
        "/good" => page(GOOD),
        "/moved" => to("/good"),
        "/loop" => to("/loop"),
        "/inside" => to(elsewhere),
        "/large" => page(&GOOD.replace("/photo.jpg", "/large.jpg")),
        "/broken" => page("<title>Half <meta property=og:title content=\"<"),
        "/text" => page("just words, no tags").replace("text/html", "text/plain"),
        "/photo.jpg" | "/large.jpg" => {
            let padding = if path == "/large.jpg" { 2 << 20 } else { 0 };
            let length = PHOTO.len() + padding;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(PHOTO);
            let _ = stream.write_all(&vec![0; padding]);
            return;
        }
        "/endless" => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<title>Endless</title>";
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&[b' '; 4096]).is_ok() {}
            return;
        }
        "/silent" => {
            // Until the client gives up.
            let _ = stream.read(&mut head);
            return;
        }
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    let _ = stream.write_all(answer.as_bytes());
}

#[test]
fn a_text_shows_the_page_of_its_first_link_and_hostile_pages_cost_nothing() {
    let world = World::new();
    let inside = Web::start("127.0.0.1", "/");
    let web = Web::start(PUBLIC, &format!("{}/secret", inside.base));
    let server = world.options().env("WILDCAT_TEST_PUBLIC", PUBLIC).start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let mut count = 0;
    let mut send = |text: String, wish: Value| {
        let mut body = json!({"to": BOB, "message": text});
        if !wish.is_null() {
            body["linkPreview"] = wish;
        }
        let sent = world.post(&server, SEND, &body).expect(200);
        count += 1;
        let got = bob.received(count).remove(count - 1);
        assert_eq!(
            (&got["messageId"], &got["text"]),
            (&sent["messageId"], &json!(text))
        );
        let path = format!(
            "/accounts/alice/messages/{}",
            sent["messageId"].as_str().expect("an id")
        );
        let stored = world.get(&server, &path)["message"]["linkPreview"].clone();
        (got["linkPreview"].clone(), stored)
    };

    let link = format!("{}/good", web.base);
    let (mut shown, stored) = send(format!("look: {link}, or http://a.invalid"), Value::Null);
    assert!(
        shown["thumbnail"].as_u64().is_some_and(|bytes| bytes > 100),
        "{shown}"
    );
    shown
        .as_object_mut()
        .expect("a preview")
        .remove("thumbnail");
    let expected = json!({"url": link, "title": "Fish & chips", "description": "Fresh every day"});
    assert_eq!((&shown, &stored), (&expected, &expected));
    // Fetched once for several messages.
    let asked = web.asked();
    assert_eq!(asked, ["/good", "/photo.jpg"]);
    let (shown, _) = send(link.clone(), json!(true));
    assert_eq!(
        (&shown["title"], web.asked()),
        (&json!("Fish & chips"), asked.clone())
    );
    let (shown, _) = send(link.clone(), json!(false));
    assert_eq!(shown, Value::Null);
    let given = json!({"title": "My words", "description": "of it"});
    let (shown, stored) = send(format!("{}/given", web.base), given);
    assert_eq!(
        (&shown["title"], &stored["description"]),
        (&json!("My words"), &json!("of it"))
    );
    assert_eq!(web.asked(), asked, "nothing is fetched for these");

    for (path, title, has_image) in [
        ("/moved", json!("Fish & chips"), true),
        ("/large", json!("Fish & chips"), false),
        ("/endless", json!("Endless"), false),
        ("/loop", Value::Null, false),
        ("/inside", Value::Null, false),
        ("/text", Value::Null, false),
        ("/photo.jpg", Value::Null, false),
        ("/missing", Value::Null, false),
        ("/silent", Value::Null, false),
    ] {
        let (shown, stored) = send(format!("{}{path}", web.base), Value::Null);
        assert_eq!(
            (&shown["title"], &stored["title"]),
            (&title, &title),
            "{path}"
        );
        assert_eq!(!shown["thumbnail"].is_null(), has_image, "{path}: {shown}");
    }
    let (shown, _) = send(format!("{}/broken", web.base), Value::Null);
    assert!(shown["title"].is_null() || shown["title"].is_string());
    for address in [
        &inside.base,
        "http://localhost:1",
        "http://169.254.169.254",
        "http://192.168.1.1",
    ] {
        let (shown, _) = send(format!("{address}/secret"), Value::Null);
        assert_eq!(shown, Value::Null, "{address}");
    }
    assert_eq!(inside.asked(), [""; 0], "this machine is not asked");
    for bad in [json!(5), json!({"title": ""}), json!("perhaps")] {
        let body = json!({"to": BOB, "message": "x", "linkPreview": bad});
        let refused = world.post(&server, SEND, &body).expect(400);
        assert!(
            refused["error"]
                .as_str()
                .expect("words")
                .contains("linkPreview"),
            "{refused}"
        );
    }

    let preview =
        json!({"url": "https://example.org", "title": "Example", "description": "For docs"});
    let id =
        bob.send(&json!({"to": ALICE, "text": "see https://example.org", "linkPreview": preview}));
    let message = eventually("the message", || {
        let answer = world.api(
            &server,
            "GET",
            &format!("/accounts/alice/messages/{id}"),
            None,
        );
        (answer.status == 200).then(|| answer.json()["message"].clone())
    });
    assert_eq!(message["linkPreview"], preview);
}
