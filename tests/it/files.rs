//! Files as they really are: named and typed by many programs, fetched from servers of every kind, behind
//! certificates without a known authority.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::media_out::sha256;
use crate::support::{Answer, DEADLINE, Server, World, request};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const DOCUMENT: &str = "/accounts/alice/message/send/document";
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n\0";

/// A document in a form whose part has this head behind its `name`.
fn in_form(world: &World, server: &Server, head: &[u8], content: &[u8]) -> Answer {
    let mut body = format!(
        "--X\r\nContent-Disposition: form-data; name=to\r\n\r\n{BOB}\r\n--X\r\n\
         Content-Disposition: form-data; name=document"
    )
    .into_bytes();
    body.extend_from_slice(head);
    body.extend_from_slice(b"\r\n\r\n");
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--X--\r\n");
    let url = format!("{}{DOCUMENT}", server.base());
    let kind = "Multipart/Form-Data; Boundary=X";
    world.http().send("POST", &url, kind, Some(body))
}

#[test]
fn documents_arrive_with_their_type_and_never_without_a_name() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let zip = |names: &[&str]| {
        let mut zip = Vec::new();
        for name in names {
            zip.extend_from_slice(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
            zip.extend_from_slice(&u16::try_from(name.len()).expect("short").to_le_bytes());
            zip.extend_from_slice(b"\0\0");
            zip.extend_from_slice(name.as_bytes());
        }
        zip
    };
    let docx = zip(&[
        "[Content_Types].xml",
        "_rels/.rels",
        "docProps/core.xml",
        "word/document.xml",
    ]);
    let kmz = zip(&["doc.kml"]);
    let utf16: Vec<u8> = std::iter::once(0xFEFF_u16)
        .chain("Id;Name\r\n1;A\r\n".encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let long = format!("; filename=\"{}.pdf\"", "ä".repeat(300));
    let cut = format!("{}.pdf", "ä".repeat(125));
    let encoded =
        "; filename=\"=?utf-8?B?UsOpc3Vtw6kucGRm?=\"; filename*=utf-8''R%C3%A9sum%C3%A9.pdf";
    let word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    let forms: &[(&[u8], &[u8], &str, &str)] = &[
        (
            b"; filename=report.docx\r\nContent-Type: application/octet-stream",
            &docx,
            "report.docx",
            word,
        ),
        (
            b"; filename=place.kmz",
            &kmz,
            "place.kmz",
            "application/vnd.google-earth.kmz",
        ),
        (
            b"; filename=a.csv\r\nContent-Type: text/csv",
            &utf16,
            "a.csv",
            "text/csv",
        ),
        (
            b"; filename=b.csv",
            b"BMI,weight\n22,70\n",
            "b.csv",
            "text/csv",
        ),
        (
            b"; filename=c\r\nContent-Type: text/csv",
            b"MZ,area\n1,2\n",
            "c",
            "text/csv",
        ),
        (b"", PDF, "document.pdf", "application/pdf"),
        (b"", &docx, "document.docx", word),
        (
            b"; filename=\"\"",
            b"just text",
            "document.txt",
            "text/plain",
        ),
        (encoded.as_bytes(), PDF, "Résumé.pdf", "application/pdf"),
        (
            b"; filename*=utf-8''R%C3%A9sum%C3%A9.pdf",
            PDF,
            "Résumé.pdf",
            "application/pdf",
        ),
        (
            b"; filename=\"R\xE9sum\xE9.pdf\"",
            PDF,
            "Résumé.pdf",
            "application/pdf",
        ),
        (
            b"; filename=\"a%22b.pdf\"",
            PDF,
            "a\"b.pdf",
            "application/pdf",
        ),
        (
            b"; filename=\"C:\\fakepath\\a.pdf\"",
            PDF,
            "a.pdf",
            "application/pdf",
        ),
        (long.as_bytes(), PDF, &cut, "application/pdf"),
    ];
    for (head, content, ..) in forms {
        in_form(&world, &server, head, content).expect(200);
    }
    let base64 = STANDARD.encode(PDF);
    let wrapped = format!(
        "\n{}\r\n {}",
        &base64[..8],
        base64[8..].trim_end_matches('=')
    );
    let url_safe = STANDARD
        .encode(b"\xFB\xFF\xFE?")
        .replace('+', "-")
        .replace('/', "_");
    let json_bodies = [
        (json!({"base64": base64}), "document.pdf", "application/pdf"),
        (
            json!({"base64": wrapped, "mimetype": "application/pdf"}),
            "document.pdf",
            "application/pdf",
        ),
        (
            json!({"base64": base64, "filename": "lower.pdf"}),
            "lower.pdf",
            "application/pdf",
        ),
        (
            json!({"base64": base64, "fileName": "../C:\\x\u{202E}\n.pdf"}),
            "x.pdf",
            "application/pdf",
        ),
        (
            json!({"base64": url_safe}),
            "document.bin",
            "application/octet-stream",
        ),
        (
            json!({"url": format!("data:application/pdf;name=b%C3%A4.pdf;base64,{base64}")}),
            "bä.pdf",
            "application/pdf",
        ),
        (
            json!({"base64": "DATA:text/csv;charset=utf-8,a;b%0D%0A"}),
            "document.csv",
            "text/csv; charset=utf-8",
        ),
    ];
    for (body, ..) in &json_bodies {
        let mut body = body.clone();
        body["to"] = json!(BOB);
        world.post(&server, DOCUMENT, &body).expect(200);
    }
    let all = bob.received(forms.len() + json_bodies.len());
    let names = forms.iter().map(|(_, _, name, kind)| (*name, *kind));
    let others = json_bodies.iter().map(|(_, name, kind)| (*name, *kind));
    for (got, (name, kind)) in all.iter().zip(names.chain(others)) {
        let media = &got["media"];
        assert_eq!(media["error"], Value::Null, "{got}");
        assert_eq!(
            (media["fileName"].as_str(), media["mimetype"].as_str()),
            (Some(name), Some(kind))
        );
    }
    let bad = json!({"to": BOB, "url": "data:application/pdf;base64,*"});
    let answer = world.post(&server, DOCUMENT, &bad).expect(400);
    assert_eq!(answer["field"], "url", "{answer}");
    let both = json!({"to": BOB, "base64": base64, "url": "data:,x"});
    assert_eq!(
        world.post(&server, DOCUMENT, &both).expect(400)["field"],
        "base64"
    );
}

/// A web server with an answer for each path, which records requests.
pub struct Web {
    base: String,
    heads: Arc<Mutex<Vec<String>>>,
}

type Answers = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

impl Web {
    pub fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer): (_, Answers) = (Arc::clone(&heads), Arc::new(answer));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that leaves early is its own affair.
                let _ = Web::serve(stream, &noted, &answer);
            }
        });
        Web {
            base: format!("http://{address}"),
            heads,
        }
    }

    fn serve(
        mut stream: TcpStream,
        noted: &Mutex<Vec<String>>,
        answer: &Answers,
    ) -> std::io::Result<()> {
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        noted.lock().expect("heads").push(head);
        stream.write_all(&answer(&path))
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// The last request for that path.
    fn asked(&self, path: &str) -> String {
        let heads = self.heads.lock().expect("heads");
        let start = format!("GET {path} ");
        let found = heads.iter().rfind(|head| head.starts_with(&start));
        found
            .unwrap_or_else(|| panic!("{path} was not asked for: {heads:?}"))
            .to_ascii_lowercase()
    }
}

fn whole(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(content).expect("packed");
    packed.finish().expect("packed")
}

#[test]
fn answers_of_servers_are_decompressed_and_named() {
    let world = World::new();
    let server = world.options().with("limits.max_file", "1 MiB").start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let content = b"Id;Name\r\n1;A\r\n".repeat(500);
    let expected = sha256(&content);
    let given = content.clone();
    let web = Web::start(move |path| {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&given).expect("packed");
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(&given).expect("packed");
        match path {
            "/table.csv" => whole(
                "Content-Encoding: gzip\r\nContent-Type: text/csv\r\n",
                &gzip(&given),
            ),
            "/zlib" => whole(
                "Content-Encoding: Deflate\r\nContent-Disposition: attachment; filename=\"zlib%20a.csv\"\r\n",
                &zlib.finish().expect("packed"),
            ),
            "/raw/" => whole(
                "Content-Encoding: deflate\r\n",
                &deflate.finish().expect("packed"),
            ),
            "/long" => {
                let mut headers =
                    "Content-Disposition: inline; filename=a.csv; filename*=UTF-8''%C3%A4.csv\r\n"
                        .to_owned();
                headers
                    .extend((0..150).map(|n| format!("Set-Cookie: a{n}={}\r\n", "x".repeat(200))));
                whole(&headers, &given)
            }
            "/chunks" => {
                let mut answer =
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n".to_vec();
                for piece in given.chunks(1_000) {
                    answer.extend(format!("{:06x}  ;name=\"a;b\"\r\n", piece.len()).bytes());
                    answer.extend_from_slice(piece);
                    answer.extend_from_slice(b"\r\n");
                }
                answer.extend_from_slice(b"000;last\r\nX: y\r\nZ: z\r\n\r\n");
                answer
            }
            "/bytes" => whole(
                "X-Owner: Café\r\nContent-Disposition: attachment; filename=\"Größe.csv\"\r\n",
                &given,
            ),
            "/latin" => {
                let head = b"HTTP/1.0 200 Tr\xE8s\r\nContent-Disposition: attachment; filename=Gr\xF6\xDFe.csv\r\n\r\n";
                [&head[..], &given].concat()
            }
            "/far" => "HTTP/1.1 302 Là\r\nLocation: /w\u{f6}rd.csv\r\nContent-Length: 0\r\n\r\n"
                .as_bytes()
                .to_vec(),
            "/w%C3%B6rd.csv" => whole("", &given),
            "/bomb" => whole("Content-Encoding: gzip\r\n", &gzip(&vec![0; 40 << 20])),
            "/film" => b"HTTP/1.1 200 OK\r\nContent-Type: Multipart/X-Mixed-Replace; boundary=x\r\n\r\n--x\r\n".to_vec(),
            "/brotli" => whole("Content-Encoding: br\r\n", b"abc"),
            "/cut" => whole("Content-Encoding: gzip\r\n", &gzip(&given)[..20]),
            "/tgz" => whole(
                "Content-Encoding: x-gzip\r\nContent-Type: application/x-gzip\r\n",
                &gzip(&given),
            ),
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        }
    });
    let send = |path: &str| {
        let body = json!({"to": BOB, "url": format!("{}{path}", web.base)});
        world.post(&server, DOCUMENT, &body)
    };
    let good = [
        ("/table.csv", "table.csv"),
        ("/zlib", "zlib a.csv"),
        ("/raw/", "document.txt"),
        ("/long", "ä.csv"),
        ("/chunks", "chunks"),
        ("/bytes", "Größe.csv"),
        ("/latin", "Größe.csv"),
        ("/far", "wörd.csv"),
    ];
    for (path, _) in good {
        send(path).expect(200);
    }
    for (got, (path, name)) in bob.received(good.len()).iter().zip(good) {
        assert_eq!(got["media"]["sha256"], expected, "{path}: {got}");
        assert_eq!(got["media"]["fileName"], name, "{path}");
    }
    send("/tgz").expect(200);
    let got = bob.received(good.len() + 1).remove(good.len());
    assert_eq!(got["media"]["sha256"], sha256(&gzip(&content)), "{got}");
    send("/bomb").expect(413);
    for (path, words) in [
        ("/film", "stream without an end"),
        ("/brotli", "packed as br"),
        ("/cut", "cannot be unpacked"),
    ] {
        let answer = send(path).expect(400);
        let said = answer["error"].as_str().expect("words");
        assert!(said.contains(words), "{path}: {said}");
    }
    let tmp = world.options().data.join("tmp");
    assert_eq!(std::fs::read_dir(tmp).expect("tmp").count(), 0);
}

#[test]
fn a_password_is_sent_to_its_own_server_only() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let other = Web::start(|_| whole("", PDF));
    let elsewhere = other.base.clone();
    let web = Web::start(move |path| {
        match path {
        "/away" => format!(
            "HTTP/1.1 302 Found\r\nLocation: http://evil:word@{}/b.pdf\r\nContent-Length: 0\r\n\r\n",
            elsewhere.trim_start_matches("http://")
        )
        .into_bytes(),
        "/near" => b"HTTP/1.1 307 Near\r\nLocation: a.pdf\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/basic" => b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/digest" => b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=x\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => whole("", PDF),
    }
    });
    let port = web.base.trim_start_matches("http://").to_owned();
    let send = |path: &str, headers: Value| {
        let body = json!({"to": BOB, "url": format!("http://me:p%40ss-w0rd@{port}{path}"), "headers": headers});
        world.post(&server, DOCUMENT, &body)
    };
    let basic = format!(
        "\r\nauthorization: basic {}\r\n",
        STANDARD.encode("me:p@ss-w0rd").to_ascii_lowercase()
    );

    send("/near", json!({"X-Key": "secret", "Cookie": "a=b"})).expect(200);
    for path in ["/near", "/a.pdf"] {
        let asked = web.asked(path);
        assert!(
            asked.contains(&basic) && asked.contains("\r\nx-key: secret\r\n"),
            "{asked}"
        );
        assert!(asked.contains(&format!("\r\nhost: {port}\r\n")), "{asked}");
    }
    send("/away", json!({"X-Key": "secret"})).expect(200);
    assert!(web.asked("/away").contains(&basic));
    let asked = other.asked("/b.pdf");
    assert!(
        !asked.contains("authorization") && !asked.contains("x-key"),
        "{asked}"
    );
    send("/own", json!({"Authorization": "Bearer mine"})).expect(200);
    let asked = web.asked("/own");
    assert!(
        asked.contains("\r\nauthorization: bearer mine\r\n") && !asked.contains("basic"),
        "{asked}"
    );
    assert_eq!(bob.received(3)[0]["media"]["fileName"], "a.pdf");

    for (path, words) in [
        ("/basic", "does not take the password"),
        ("/digest", "Digest"),
    ] {
        let answer = send(path, Value::Null).expect(400);
        let said = answer["error"].as_str().expect("words");
        assert!(said.contains("401") && said.contains(words), "{said}");
        assert!(!said.contains("p@ss") && !said.contains("p%40ss"), "{said}");
    }
    let without = json!({"to": BOB, "url": format!("{}/basic", web.base)});
    let answer = world.post(&server, DOCUMENT, &without).expect(400);
    let said = answer["error"].as_str().expect("words");
    assert!(said.contains("http://user:password@host/"), "{said}");
    for headers in [
        json!({"Host": "evil.example"}),
        json!({"Transfer-Encoding": "chunked"}),
        json!({"X-A": "b\r\nX-C: d"}),
        json!({"X-A": "é"}),
        json!({"X A": "b"}),
        json!("X-A: b"),
    ] {
        let answer = send("/never", headers).expect(400);
        assert_eq!(answer["field"], "headers", "{answer}");
    }
    let log = server.log();
    for secret in ["p@ss-w0rd", "p%40ss-w0rd", "secret"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn simple_forms_are_accepted_but_not_from_cross_origin_pages() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let at = server.address();
    let form = "application/x-www-form-urlencoded";
    let post = |what: &str, headers: &[(&str, &str)], body: &[u8]| {
        let path = format!("/accounts/alice/message/{what}");
        request(at, "POST", &path, headers, body)
    };
    let plain = |what: &str, kind: &str, body: &[u8]| post(what, &[("Content-Type", kind)], body);

    // What Home Assistant, Apprise, `curl -d` and PowerShell send.
    let sent = plain(
        "send",
        form,
        format!("to={BOB}&message=one+%26+two%21").as_bytes(),
    )
    .expect(200);
    let id = sent["messageId"].as_str().expect("an id").to_owned();
    let text = format!("message=caf%C3%A9&to=%2B{BOB}&type=info&version=1.0");
    plain(
        "send",
        "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
        text.as_bytes(),
    )
    .expect(200);
    let marked = format!("\u{feff}to={BOB}&message=marked");
    plain("send", form, marked.as_bytes()).expect(200);
    let json = format!("\u{feff}{{\"to\": \"{BOB}\", \"message\": \"json\"}}");
    for kind in [
        form,
        "application/json",
        "APPLICATION/JSON; charset=utf-8",
        "application/vnd.api+json",
    ] {
        plain("send", kind, json.as_bytes()).expect(200);
    }
    let parts = format!(
        "--X\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n{BOB}\r\n--X\r\nContent-Disposition: \
         form-data; name=\"message\"\r\n\r\nparts\r\n--X--\r\n"
    );
    let kind = "multipart/form-data; boundary=X";
    plain("send", kind, parts.as_bytes()).expect(200);
    let reply = format!("to={BOB}&message=again&quotedMessageId={id}");
    plain("reply", form, reply.as_bytes()).expect(200);
    let reaction = format!("to={BOB}&messageId={id}&emoji=%F0%9F%91%8D");
    plain("react", form, reaction.as_bytes()).expect(200);
    let web = Web::start(|_| whole("Content-Type: application/pdf\r\n", PDF));
    let file = format!(
        "to={BOB}&url={}%2Fa.pdf&caption=a+file",
        web.base.replace(':', "%3A")
    );
    plain("send/document", form, file.as_bytes()).expect(200);
    let base64 = STANDARD.encode(b"%PDF-1.4\0\xFB\xEF\xBE");
    assert!(base64.contains('+'), "{base64}");
    let file = format!("to={BOB}&filename=b.pdf&base64={base64}");
    plain("send/document", form, file.as_bytes()).expect(200);
    let marked = format!("\u{feff}{{\"to\": \"{BOB}\", \"base64\": \"{base64}\"}}");
    plain("send/document", "application/json", marked.as_bytes()).expect(200);

    let all = bob.received(13);
    let texts: Vec<&str> = all.iter().filter_map(|got| got["text"].as_str()).collect();
    for text in [
        "one & two!",
        "café",
        "marked",
        "json",
        "parts",
        "again",
        "a file",
    ] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    let files: Vec<&Value> = all
        .iter()
        .map(|got| &got["media"])
        .filter(|media| !media.is_null())
        .collect();
    assert_eq!(files.len(), 3, "{all:?}");
    assert_eq!(
        (&files[0]["fileName"], &files[1]["fileName"]),
        (&json!("a.pdf"), &json!("b.pdf"))
    );
    assert_eq!(files[1]["sha256"], sha256(b"%PDF-1.4\0\xFB\xEF\xBE"));
    plain(
        "delete",
        form,
        format!("to={BOB}&messageId={id}").as_bytes(),
    )
    .expect(200);

    for (body, status, words) in [
        (&b"message=x"[..], 400, "to and message are required"),
        (b"to=%FF&message=x", 400, "The form is not UTF-8"),
        (b"", 400, "to and message are required"),
    ] {
        assert_eq!(plain("send", form, body).expect(status)["error"], words);
    }
    let no_boundary = plain("send/document", "multipart/form-data", b"x").expect(400);
    assert!(
        no_boundary["error"]
            .as_str()
            .is_some_and(|words| words.contains("boundary"))
    );
    plain("send", "application/xml", b"<a/>").expect(415);

    // A page of another server can send exactly this without asking first.
    let count = bob.all_received().len();
    let own = format!("http://{at}");
    let host = at.to_string();
    let body = format!("to={BOB}&message=from+a+page");
    for what in [
        "send",
        "reply",
        "react",
        "delete",
        "send/document",
        "send/image",
    ] {
        for kind in [
            form,
            "Application/X-WWW-Form-Urlencoded;charset=utf-8",
            "text/plain",
            "multipart/form-data; boundary=x",
        ] {
            for (name, value) in [
                ("Origin", "http://evil.example"),
                ("Origin", "null"),
                ("Origin", "http://localhost:1"),
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Site", "same-site"),
            ] {
                let headers = [
                    ("Host", host.as_str()),
                    ("Content-Type", kind),
                    (name, value),
                ];
                post(what, &headers, body.as_bytes()).expect(403);
            }
            let navigates = [
                ("Host", host.as_str()),
                ("Content-Type", kind),
                ("Sec-Fetch-Site", "cross-site"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "document"),
            ];
            post(what, &navigates, body.as_bytes()).expect(403);
        }
    }
    assert_eq!(bob.all_received().len(), count, "nothing was sent");
    let same = [
        ("Host", host.as_str()),
        ("Content-Type", form),
        ("Origin", own.as_str()),
    ];
    post("send", &same, body.as_bytes()).expect(200);
}

/// A web server with a self-signed certificate; returns the number of bodies that it received.
fn over_tls(params: &rcgen::CertificateParams) -> (SocketAddr, String) {
    use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
    use futures_rustls::TlsAcceptor;
    use futures_rustls::pki_types::PrivateKeyDer;
    use futures_rustls::rustls::ServerConfig;
    use futures_rustls::rustls::crypto::ring;

    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let pem = certificate.pem();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that does not like the certificate leaves.
            let _ = smol::block_on(async {
                let stream = smol::Async::new(stream)?;
                let mut stream = acceptor.accept(stream).await?;
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read(&mut byte).await? == 0 {
                        return Ok(());
                    }
                    head.push(byte[0]);
                }
                stream
                    .write_all(&whole("Connection: close\r\n", PDF))
                    .await?;
                stream.close().await
            });
        }
    });
    (address, pem)
}

#[test]
fn a_receiver_is_trusted_by_its_own_certificate() {
    let world = World::new();
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        rcgen::CertificateParams::new(names).expect("parameters")
    };
    let mut as_openssl_makes = named(&["127.0.0.1"]);
    as_openssl_makes.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let mut expired = named(&["127.0.0.1"]);
    expired.not_after = rcgen::date_time_ymd(2024, 2, 29);
    let (good, good_pem) = over_tls(&as_openssl_makes);
    let (nameless, nameless_pem) = over_tls(&named(&[]));
    let (old, old_pem) = over_tls(&expired);
    let (misnamed, misnamed_pem) = over_tls(&named(&["cam.example"]));
    let (unknown, _) = over_tls(&named(&["127.0.0.1"]));

    let simulators = world.simulator.ca_pem().to_owned();
    let trust = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(
        trust.path(),
        [simulators, good_pem, nameless_pem, old_pem, misnamed_pem].concat(),
    )
    .expect("written");
    let server = world
        .options()
        .with("tls.extra_ca", trust.path().display())
        .start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");

    let fetch = |address: SocketAddr| {
        let body = json!({"to": BOB, "url": format!("https://{address}/a.pdf")});
        world.post(&server, DOCUMENT, &body)
    };
    let test = |address: SocketAddr| {
        let hook = world
            .post(
                &server,
                "/webhooks",
                &json!({"url": format!("https://{address}/")}),
            )
            .json();
        let id = hook["id"].as_str().expect("an id").to_owned();
        world
            .post(&server, &format!("/webhooks/{id}/test"), &json!({}))
            .json()
            .to_string()
    };
    for address in [good, nameless] {
        fetch(address).expect(200);
        let said = test(address);
        assert!(said.contains("\"status\":200"), "{said}");
    }
    assert_eq!(bob.received(2).len(), 2);
    for (address, words) in [
        (old, "its certificate has expired on 2024-02-29"),
        (
            misnamed,
            "its certificate is not for 127.0.0.1 but for cam.example",
        ),
        (
            unknown,
            "unknown authority: put that authority's certificate into the file of tls.extra_ca",
        ),
    ] {
        let answer = fetch(address).expect(400);
        let said = answer["error"].as_str().expect("words");
        assert!(said.contains(words), "{said}");
        let said = test(address);
        assert!(said.contains(words), "{said}");
    }
}
