//! Keys: authentication, rights of a key, and cross-origin requests.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wildcat::api::ROUTES;

use crate::support::{Answer, Server, World, eventually, request, run_to_end};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";

/// What a request with a right key and nothing else can be answered: it is served, lacks a field, or names nothing.
const PASSED: &[u16] = &[200, 400, 404];
/// A header that a proxy on this machine adds.
const PROXIED: (&str, &str) = ("X-Forwarded-For", "203.0.113.9");

/// `wildcat key …` on the data of that world's server: exit code, standard output, error.
fn key_command(world: &World, args: &[&str]) -> (i32, String, String) {
    let data = world.options().data;
    // It makes none where no server has been.
    std::fs::create_dir_all(&data).expect("a directory");
    let data = data.display().to_string();
    let mut all = vec!["key"];
    all.extend(args);
    all.extend(["--data", &data]);
    run_to_end(world.directory.path(), &all, &[])
}

/// A new key, made by the command with these arguments behind `key add`.
pub fn new_key(world: &World, args: &[&str]) -> String {
    let mut all = vec!["add"];
    all.extend(args);
    let (code, out, err) = key_command(world, &all);
    assert_eq!(code, 0, "{err}");
    out.trim_end().to_owned()
}

fn with(server: &Server, key: &str, method: &str, path: &str) -> Answer {
    request(server.address(), method, path, &[("X-Api-Key", key)], b"")
}

fn post_with(server: &Server, key: &str, path: &str, body: &Value) -> Answer {
    let headers = [("X-Api-Key", key), ("Content-Type", "application/json")];
    let body = body.to_string();
    request(server.address(), "POST", path, &headers, body.as_bytes())
}

/// Every endpoint but `/ping` and `/server`, with something in place of its parameters.
fn endpoints(account: &str) -> Vec<(String, String)> {
    ROUTES
        .iter()
        .filter(|route| !["/ping", "/server"].contains(&route.path))
        .map(|route| {
            let path = route
                .path
                .replace("/accounts/:id", &format!("/accounts/{account}"))
                .replace("/webhooks/:id", "/webhooks/wh_999")
                .replace(":chatId", CAROL)
                .replace(":messageId", "3EB0NONE")
                .replace(":mediaId", "000000010000000000000001")
                .replace(":contactId", CAROL)
                .replace(":groupId", "120363000000000001@g.us")
                .replace(":callId", "C0FFEE")
                .replace(":lid", CAROL);
            assert!(!path.contains(':'), "{path} has a parameter left");
            (route.method.to_string(), path)
        })
        .collect()
}

/// An address of this machine that is not loopback, if it has one.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: asks the system which address it would send from.
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

#[test]
fn without_keys_this_machine_is_served_and_other_clients_get_instructions() {
    let world = World::new();
    let server = world.options().with("server.listen", "0.0.0.0:0").start();
    let local = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    request(local, "GET", "/accounts", &[], b"").expect(200);
    let refused = |answer: Answer| {
        // No password would help.
        assert_eq!(answer.header("www-authenticate"), None);
        let words = answer.expect(401)["error"].to_string();
        for part in ["wildcat key add", "auth.open", "X-Api-Key"] {
            assert!(words.contains(part), "{words}");
        }
    };
    for header in [
        PROXIED,
        ("Forwarded", "for=203.0.113.9"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", "\u{fc}, 203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("Via", "1.1 proxy"),
    ] {
        refused(request(local, "GET", "/accounts", &[header], b""));
        request(local, "GET", "/ping", &[header], b"").expect(200);
    }
    if let Some(own) = own_address() {
        let address = SocketAddr::from((own, server.address().port()));
        refused(request(address, "GET", "/accounts", &[], b""));
        let body = br#"{"id":"alice"}"#;
        refused(request(address, "POST", "/accounts", &[], body));
        request(address, "GET", "/ping", &[], b"").expect(200);
        // The way that the words show.
        let key = new_key(&world, &["phone"]);
        let headers = [("X-Api-Key", key.as_str())];
        request(address, "GET", "/accounts", &headers, b"").expect(200);
    }
}

#[test]
fn an_open_server_serves_all_clients_but_no_cross_origin_pages() {
    let world = World::new();
    let server = world.options().with("auth.open", true).start();
    server.wait_log("auth.open");
    let at = server.address();
    request(at, "GET", "/accounts", &[PROXIED], b"").expect(200);
    let page = [PROXIED, ("Origin", "http://evil.example")];
    request(at, "GET", "/accounts", &page, b"").expect(403);
}

#[test]
fn every_endpoint_needs_a_key_and_a_key_opens_it() {
    let world = World::new();
    let server = world.server();
    let at = server.address();
    // Made while the server runs; it counts at once.
    let key = new_key(&world, &["home-assistant"]);
    let second = new_key(&world, &["n8n"]);
    let basic = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("any:{key}"))
    };
    let (bearer, basic) = (format!("Bearer {key}"), format!("Basic {basic}"));
    request(at, "GET", "/ping", &[], b"").expect(200);
    let mut walked = 0;
    for (method, path) in endpoints("nobody") {
        let words = request(at, &method, &path, &[], b"").expect(401)["error"].to_string();
        assert!(words.contains("X-Api-Key"), "{words}");
        for header in [
            ("X-Api-Key", key.as_str()),
            ("Authorization", bearer.as_str()),
            ("Authorization", basic.as_str()),
        ] {
            let status = request(at, &method, &path, &[header], b"").status;
            assert!(PASSED.contains(&status), "{method} {path}: {status}");
        }
        walked += 1;
    }
    assert_eq!(walked, ROUTES.len() - 2);
    assert_eq!(request(at, "HEAD", "/accounts", &[], b"").status, 401);
    // Existing and unknown routes get the same answer.
    request(at, "GET", "/nowhere", &[], b"").expect(401);
    with(&server, &key, "GET", "/nowhere").expect(404);

    // Only hashes are stored, in a private file, and the log has no keys.
    let file = world.options().data.join("keys.toml");
    let text = std::fs::read_to_string(&file).expect("read");
    let mode = std::fs::metadata(&file)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for secret in [&key, &second] {
        assert!(!text.contains(secret.as_str()), "{text}");
        assert!(!server.log().contains(secret.as_str()));
    }
    // A removed key is refused, the other still works, also after a restart.
    let (code, _, err) = key_command(&world, &["remove", "home-assistant"]);
    assert_eq!(code, 0, "{err}");
    with(&server, &key, "GET", "/accounts").expect(401);
    with(&server, &second, "GET", "/accounts").expect(200);
    server.kill();
    let server = world.server();
    with(&server, &key, "GET", "/accounts").expect(401);
    with(&server, &second, "GET", "/accounts").expect(200);
}

#[test]
fn the_key_command_reports_errors_and_lists_keys() {
    let world = World::new();
    let data = world.options().data;
    // No directory is configured and the default does not exist: a key there would have no effect.
    let (code, out, err) = run_to_end(world.directory.path(), &["key", "add", "ha"], &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("--data"), "{err}");
    let named = ["key", "add", "ha", "--data", data.to_str().expect("UTF-8")];
    let (code, out, err) = run_to_end(world.directory.path(), &named, &[]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("start the server first") && !data.exists(),
        "{err}"
    );
    let (code, _, err) = key_command(&world, &["add"]);
    assert_eq!(code, 2);
    assert!(err.contains("name is missing"), "{err}");
    let (code, _, err) = key_command(&world, &["add", "early", "--account", "nobody"]);
    assert_eq!(code, 0);
    assert!(err.contains("no account \"nobody\" yet"), "{err}");
    key_command(&world, &["remove", "early"]);

    let key = new_key(&world, &["ha", "--account", "alice", "--read-only"]);
    assert!(key.starts_with("wc_") && key.len() == 46, "{key}");
    let (code, out, err) = key_command(&world, &["add", "ha"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("already"), "{err}");
    let (code, _, err) = key_command(&world, &["add", "two words"]);
    assert_eq!(code, 1);
    assert!(err.contains("two words"), "{err}");
    let (code, out, _) = key_command(&world, &["list"]);
    assert_eq!(code, 0);
    for part in ["ha", "alice", "reads"] {
        assert!(out.contains(part), "{out}");
    }
    assert!(!out.contains(&key) && !out.contains("wc_"), "{out}");
    let (code, _, err) = key_command(&world, &["remove", "nobody"]);
    assert_eq!(code, 1);
    assert!(err.contains("nobody"), "{err}");
    let (code, _, err) = key_command(&world, &["remove", "ha"]);
    assert_eq!(code, 0);
    assert!(err.contains("only its own machine"), "{err}");
    let (code, _, err) = key_command(&world, &["frobnicate"]);
    assert_eq!(code, 2, "{err}");

    // A malformed file refuses all keys.
    let server = world.server();
    std::fs::write(data.join("keys.toml"), "[[key]]\nname = 1\n").expect("written");
    let refused = request(server.address(), "GET", "/accounts", &[], b"");
    let words = refused.expect(500)["error"].to_string();
    assert!(words.contains("keys"), "{words}");
    assert!(!words.contains("keys.toml"), "{words}");
    server.wait_log("keys.toml");
    request(server.address(), "GET", "/ping", &[], b"").expect(200);
}

#[test]
fn a_key_of_one_account_sees_nothing_of_another() {
    let world = World::new();
    let server = world.server();
    let alice = world.pair(&server, "alice", ALICE);
    let bob = world.pair(&server, "bob", BOB);
    let carol = world.phone(CAROL, "Carol");
    let mut files = Vec::new();
    for (account, phone) in [("alice", &alice), ("bob", &bob)] {
        carol.say(&phone.jid(), &format!("for {account}"));
        let file = json!({"base64": "c29tZXRoaW5n", "fileName": account, "mimetype": "text/plain"});
        let id = carol.send(&json!({"to": phone.jid(), "document": file}));
        files.push(eventually("the file", || {
            let media = world.get(&server, &format!("/media?messageId={id}"));
            media["media"][0]["mediaId"].as_str().map(str::to_owned)
        }));
        let hook = json!({"url": format!("http://127.0.0.1:1/{account}"), "accountId": account});
        world.post(&server, "/webhooks", &hook).expect(201);
    }
    let all = json!({"url": "http://127.0.0.1:1/all"});
    world.post(&server, "/webhooks", &all).expect(201);
    let hooks = world.get(&server, "/webhooks");
    let hook_of = |account: Value| {
        let hooks = hooks["webhooks"].as_array().expect("hooks");
        let hook = hooks.iter().find(|hook| hook["accountId"] == account);
        hook.expect("registered")["id"].as_str().expect("an id")
    };

    let key = new_key(&world, &["alices", "--account", "alice"]);
    let get = |path: &str| with(&server, &key, "GET", path);
    // For every request another account looks like one that does not exist.
    for (method, path) in endpoints("bob") {
        let answer = with(&server, &key, &method, &path);
        if path.starts_with("/accounts/bob") {
            assert_eq!(answer.expect(404)["error"], "Account not found", "{path}");
        } else {
            let status = answer.status;
            let passed = PASSED.contains(&status) || status == 403;
            assert!(passed, "{method} {path}: {status}");
            let text = String::from_utf8_lossy(&answer.bytes).into_owned();
            let names_bob = path != "/openapi.json" && text.contains("bob");
            assert!(!names_bob && !text.contains(BOB), "{path}: {text}");
        }
    }
    for spelling in [
        "/accounts/%62ob",
        "/accounts/bob/",
        "/accounts/alice%2F..%2Fbob",
    ] {
        assert_eq!(get(spelling).status, 404, "{spelling}");
    }
    let named = post_with(&server, &key, "/accounts", &json!({"id": "mallory"}));
    named.expect(403);
    // Its own is all there.
    let accounts = get("/accounts").expect(200);
    assert_eq!(accounts["accounts"].as_array().expect("a list").len(), 1);
    assert_eq!(accounts["accounts"][0]["id"], "alice");
    get("/accounts/alice/status").expect(200);
    let messages = get("/messages").expect(200);
    let messages = messages["messages"].as_array().expect("a list").clone();
    assert_eq!(messages.len(), 2);
    assert!(messages.iter().all(|m| m["accountId"] == "alice"));
    get("/messages?accountId=bob").expect(404);
    let log = get("/events").expect(200);
    let log = log["events"].as_array().expect("a list").clone();
    assert!(log.len() >= 2);
    assert!(log.iter().all(|event| event["accountId"] == "alice"));
    get("/events?accountId=bob").expect(404);
    let media = get("/media").expect(200);
    assert_eq!(media["media"].as_array().expect("a list").len(), 1);
    get("/media?accountId=bob").expect(404);
    assert_eq!(get(&format!("/media/{}", files[0])).status, 200);
    get(&format!("/media/{}", files[1])).expect(404);

    // Hooks: its own, also those that it makes without a word.
    let listed = get("/webhooks").expect(200);
    assert_eq!(listed["webhooks"].as_array().expect("a list").len(), 1);
    for foreign in [hook_of(json!("bob")), hook_of(Value::Null)] {
        let path = format!("/webhooks/{foreign}");
        with(&server, &key, "DELETE", &path).expect(404);
        with(&server, &key, "POST", &format!("{path}/test")).expect(404);
    }
    with(
        &server,
        &key,
        "DELETE",
        "/webhooks?url=http://127.0.0.1:1/bob",
    )
    .expect(404);
    let theirs = json!({"url": "http://127.0.0.1:1/x", "accountId": "bob"});
    post_with(&server, &key, "/webhooks", &theirs).expect(404);
    let own = json!({"url": "http://127.0.0.1:1/x"});
    let own = post_with(&server, &key, "/webhooks", &own).expect(201)["id"].clone();
    let own = own.as_str().expect("an id");
    let root = new_key(&world, &["root"]);
    let listed = with(&server, &root, "GET", "/webhooks").expect(200);
    let listed = listed["webhooks"].as_array().expect("a list");
    assert_eq!(listed.len(), 4, "nothing of others was removed");
    let made = listed.iter().find(|hook| hook["id"] == own).expect("made");
    assert_eq!(made["accountId"], "alice");
    with(&server, &key, "DELETE", &format!("/webhooks/{own}")).expect(200);
    // It has full access to its own account.
    let text = json!({"to": CAROL, "message": "hello"});
    post_with(&server, &key, "/accounts/alice/message/send", &text).expect(200);
    carol.received(1);
}

#[test]
fn a_read_only_key_reads() {
    let world = World::new();
    let server = world.server();
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    let key = new_key(&world, &["panel", "--read-only"]);
    for (method, path) in endpoints("alice") {
        let answer = with(&server, &key, &method, &path);
        if method == "GET" {
            let status = answer.status;
            assert!(PASSED.contains(&status), "{method} {path}: {status}");
        } else {
            let words = answer.expect(403)["error"].to_string();
            assert!(words.contains("only read"), "{words}");
        }
    }
    assert_eq!(with(&server, &key, "HEAD", "/accounts").status, 200);
    with(&server, &key, "GET", "/accounts/alice").expect(200);
}

#[test]
fn wrong_keys_are_slowed_down_and_right_ones_are_not() {
    let world = World::new();
    let server = world.server();
    let at = server.address();
    let key = new_key(&world, &["ha"]);
    for i in 0..10 {
        let wrong = format!("wc_{i}");
        let words = with(&server, &wrong, "GET", "/accounts").expect(401)["error"].to_string();
        assert!(words.contains("not known"), "{words}");
    }
    let started = Instant::now();
    let slowed = with(&server, "wc_11", "GET", "/accounts");
    assert!(started.elapsed() >= Duration::from_secs(1));
    let wait = slowed.expect(429)["retryAfter"].as_u64().expect("seconds");
    assert!((1..=7).contains(&wait), "{wait}");
    let header = slowed.header("retry-after").expect("a header");
    assert_eq!(header, wait.to_string());
    // Other clients beside the guessing one: with a valid key, and from another address.
    with(&server, &key, "GET", "/accounts").expect(200);
    let elsewhere = [("X-Api-Key", "wc_12"), PROXIED];
    request(at, "GET", "/accounts", &elsewhere, b"").expect(401);
    // Without any there is nothing to guess.
    request(at, "GET", "/accounts", &[], b"").expect(401);
}

#[test]
fn a_cross_origin_page_reaches_nothing() {
    let world = World::new();
    let server = world
        .options()
        .with("server.hosts", "wildcat.example.org, Panel.example.org")
        .start();
    let at = server.address();
    let port = at.port();
    let get = |headers: &[(&str, &str)]| request(at, "GET", "/accounts", headers, b"");
    // DNS rebinding: the page's own name leads to this machine.
    for host in [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1.evil.example",
        "pi.evil.example",
    ] {
        let words = get(&[("Host", host)]).expect(403)["error"].to_string();
        assert!(words.contains("server.hosts"), "{words}");
        request(at, "GET", "/ping", &[("Host", host)], b"").expect(200);
    }
    let local = format!("localhost:{port}");
    for host in [
        local.as_str(),
        "127.0.0.1",
        "[::1]:3000",
        "wildcat.example.org",
        "192.168.1.5",
    ] {
        get(&[("Host", host)]).expect(200);
    }
    // A form, and a script, of another page. What curl -d sends looks the same but for the origin.
    let body = br#"{"id":"mallory"}"#;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json",
    ] {
        for origin in [
            "http://evil.example",
            "https://evil.example",
            "null",
            "http://localhost",
        ] {
            let headers = [("Content-Type", kind), ("Origin", origin)];
            request(at, "POST", "/accounts", &headers, body).expect(403);
        }
        let headers = [("Content-Type", kind), ("Sec-Fetch-Site", "cross-site")];
        request(at, "POST", "/accounts", &headers, body).expect(403);
    }
    let preflight = [
        ("Origin", "http://evil.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    let answer = request(at, "OPTIONS", "/accounts", &preflight, b"");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(get(&[("Sec-Fetch-Site", "same-site")]).status, 403);
    let accounts = get(&[]);
    let policy = accounts.header("cross-origin-resource-policy");
    assert_eq!(policy, Some("same-origin"));
    assert_eq!(
        accounts.expect(200)["accounts"],
        json!([]),
        "nothing was made"
    );

    // A right key in a browser's memory does not help the page.
    let key = new_key(&world, &["browser"]);
    let evil = [
        ("X-Api-Key", key.as_str()),
        ("Origin", "http://evil.example"),
    ];
    get(&evil).expect(403);
    get(&[("X-Api-Key", &key), ("Host", "evil.example")]).expect(403);
    // A container's name, as programs in other containers use it, is fine with a key.
    get(&[("X-Api-Key", &key), ("Host", "wildcat:3000")]).expect(200);
    get(&[("Host", "wildcat:3000")]).expect(403);
    // Pages of this server, and of hosts that the settings name; and links that lead here.
    let own = format!("http://{local}");
    for headers in [
        [("Host", local.as_str()), ("Origin", own.as_str())],
        [
            ("Host", "127.0.0.1"),
            ("Origin", "https://panel.example.org"),
        ],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")],
    ] {
        let mut headers = headers.to_vec();
        headers.push(("X-Api-Key", &key));
        get(&headers).expect(200);
    }
    let link = [
        ("X-Api-Key", key.as_str()),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ];
    get(&link).expect(200);
}
