//! Accounts that WhatsApp asks for a passkey when they are linked (whatsapp-rust #928, whatsmeow #1185, Baileys #2672),
//! and business accounts that cannot be linked (whatsapp-rust #1439, #1440).

use std::time::Duration;

use serde_json::{Value, json};

use crate::openapi;
use crate::support::{Authenticator, Server, Time, World, eventually, run_to_end};

const ALICE: &str = "491700000001";
const SITE: &str = "https://web.whatsapp.com";
const PASSKEY: &str = "/accounts/alice/passkey";

struct Linking {
    server: Server,
    time: Time,
    passkey: Authenticator,
}

/// A server with an account that shows its QR code, and a phone with a passkey.
fn linking(world: &World) -> Linking {
    let mut options = world.options();
    let time = Time::of(&mut options);
    let server = options.start();
    let passkey = Authenticator::new(b"alices own");
    let phone = world.phone(ALICE, "Alice");
    phone.post("passkey", &passkey.registration());
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    server.wait_log("alice: a QR code waits");
    Linking {
        server,
        time,
        passkey,
    }
}

impl Linking {
    fn status(&self, world: &World) -> Value {
        world.get(&self.server, "/accounts/alice/status")
    }

    /// The phone scans the code on show; WhatsApp asks for the passkey.
    fn scan(&self, world: &World) -> Value {
        let qr = eventually("a QR code", || {
            self.status(world)["qr"].as_str().map(str::to_owned)
        });
        let scanned = world.scan(ALICE, "alice", &qr).expect_success();
        assert_eq!(scanned["passkey"], "required", "{scanned}");
        self.asked(world)
    }

    /// The requested options.
    fn asked(&self, world: &World) -> Value {
        eventually("a challenge", || {
            let asked = world.api(&self.server, "GET", PASSKEY, None);
            (asked.status == 200).then(|| asked.json())
        })
    }

    fn answer(&self, world: &World, asked: &Value) -> Value {
        let answer = self.passkey.get(&asked["options"], SITE);
        world.post(&self.server, PASSKEY, &answer).expect(200)
    }

    /// Waits for the code, which must be the phone's.
    fn code(&self, world: &World) -> String {
        let code = eventually("a code", || {
            let shown = world.get(&self.server, PASSKEY);
            shown["code"].as_str().map(str::to_owned)
        });
        let path = format!("/phones/{ALICE}");
        let phone = world.admin("GET", &path, None).expect(200);
        assert_eq!(phone["passkeyCode"], code.as_str());
        code
    }

    fn confirm(&self, world: &World) {
        let path = format!("{PASSKEY}/confirm");
        world.post(&self.server, &path, &json!({})).expect(200);
    }

    /// So much time passes that an account which waits for its scan has gone through all codes of a connection, some
    /// 160 s, and then the next code: 200 s.
    fn codes_run_out(&self, world: &World) {
        let other = json!({"id": "bob"});
        world.post(&self.server, "/accounts", &other).expect(201);
        let code = |before: &str| {
            eventually("bob's next code", || {
                let status = world.get(&self.server, "/accounts/bob/status");
                let code = status["qr"].as_str().filter(|code| *code != before);
                code.map(str::to_owned)
            })
        };
        let mut shown = code("");
        for seconds in [61, 21, 21, 21, 21, 21] {
            self.time.passes(Duration::from_secs(seconds));
            shown = code(&shown);
        }
        self.time.passes(Duration::from_secs(34));
        let gone = world.api(&self.server, "DELETE", "/accounts/bob", None);
        gone.expect(200);
    }

    fn states(&self, world: &World) -> Vec<String> {
        let page = world.get(&self.server, "/events?types=account.passkey");
        let events = page["events"].as_array().expect("events").iter();
        let state = |event: &Value| event["state"].as_str().expect("a state").to_owned();
        // Whether the phone or the answer to the caller is faster is chance.
        events
            .map(state)
            .filter(|s| s != "waiting_for_phone")
            .collect()
    }
}

/// The answer, checked against the OpenAPI document.
fn described(
    world: &World,
    server: &Server,
    method: &str,
    template: &str,
    body: Option<&Value>,
) -> Value {
    let document = world.get(server, "/openapi.json");
    let answer = world.api(server, method, &template.replace("{id}", "alice"), body);
    openapi::check(&document, method, template, answer.status, &answer.json());
    answer.expect(200)
}

fn require(world: &World, fails: Option<&str>) {
    world.fault(&json!({"kind": "require-passkey", "number": ALICE, "count": 1, "fails": fails}));
}

/// Before there was anything of it, the account stayed `connecting` under ever new QR codes, and then `not_started`:
/// "not scanned in time". And with it, as long as the codes' task went on, the connection was closed at 160 s.
#[test]
fn a_passkey_links_an_account_200_s_after_the_scan() {
    let world = World::new();
    world.walks(&[
        "GET /accounts/:id/passkey",
        "POST /accounts/:id/passkey",
        "POST /accounts/:id/passkey/confirm",
        "GET /accounts/:id/passkey/guide",
    ]);
    let linking = linking(&world);
    let server = &linking.server;
    for path in [PASSKEY, "/accounts/alice/passkey/guide"] {
        world.api(server, "GET", path, None).expect(404);
    }
    require(&world, None);
    let asked = linking.scan(&world);
    assert_eq!(asked["state"], "assertion_required");
    let options = &asked["options"]["publicKey"];
    assert_eq!(options["rpId"], "whatsapp.com");
    assert_eq!(options["userVerification"], "required");

    let status = linking.status(&world);
    assert_eq!(status["status"], "passkey_required", "{status}");
    assert_eq!(
        (&status["qr"], &status["hasQR"]),
        (&Value::Null, &json!(false))
    );
    let words = status["lastError"].as_str().expect("words");
    assert!(words.contains("passkey"), "{words}");
    let no_code = world.api(server, "GET", "/accounts/alice/qr", None);
    assert_eq!(no_code.expect(404)["status"], "passkey_required");
    let health = world.get(server, "/health");
    assert_eq!(health["accounts"][0]["healthy"], true, "{health}");

    let guide = world.api(server, "GET", "/accounts/alice/passkey/guide", None);
    assert!(
        guide
            .header("content-type")
            .is_some_and(|t| t.starts_with("text/plain"))
    );
    let guide = String::from_utf8(guide.bytes).expect("text");
    let challenge = options["challenge"].as_str().expect("a challenge");
    assert!(guide.contains(challenge) && guide.contains(SITE), "{guide}");

    // A malformed assertion is reported, and the challenge stays valid.
    for (origin, changed, field) in [
        ("https://whatsapp.example", None, "response.clientDataJSON"),
        (SITE, Some("AAAA"), "response.clientDataJSON"),
    ] {
        let mut options = asked["options"].clone();
        if let Some(challenge) = changed {
            options["publicKey"]["challenge"] = challenge.into();
        }
        let answer = linking.passkey.get(&options, origin);
        let refused = world.post(server, PASSKEY, &answer).expect(400);
        assert_eq!(refused["field"], field, "{refused}");
    }
    let refused = world
        .post(server, PASSKEY, &json!({"id": "AQ"}))
        .expect(400);
    assert_eq!(refused["field"], "assertion");
    let early = world.post(server, "/accounts/alice/passkey/confirm", &json!({}));
    early.expect(409);
    // Another passkey's signature is WhatsApp's to refuse.
    let stranger = Authenticator::new(b"alices own").get(&asked["options"], SITE);
    let refused = world.post(server, PASSKEY, &stranger).expect(400);
    assert_eq!(refused["code"], 401, "{refused}");

    linking.codes_run_out(&world);
    let asked = described(&world, server, "GET", "/accounts/{id}/passkey", None);
    assert_eq!(
        asked["options"]["publicKey"]["challenge"], challenge,
        "{asked}"
    );
    let text = linking.passkey.get(&asked["options"], SITE).to_string();
    let answered = world.post(server, PASSKEY, &json!({"assertion": text}));
    assert_eq!(answered.expect(200)["options"], Value::Null);
    linking.code(&world);
    world
        .post(server, PASSKEY, &json!({"assertion": text}))
        .expect(409);
    let confirm = "/accounts/{id}/passkey/confirm";
    described(&world, server, "POST", confirm, Some(&json!({})));
    server.wait_log("alice: connected");
    assert_eq!(
        linking.states(&world),
        [
            "assertion_required",
            "confirmation_required",
            "finishing",
            "linked"
        ]
    );
    let over = world.api(server, "GET", PASSKEY, None).expect(404);
    assert_eq!(over["status"], "connected");
    let bob = world.phone("491700000002", "Bob");
    let sent = json!({"to": bob.number, "message": "linked"});
    world
        .post(server, "/accounts/alice/message/send", &sent)
        .expect(200);
    assert_eq!(bob.received(1)[0]["text"], "linked");
}

/// As reported in openmessage #79: the code is accepted, `companion_finish` is answered, and then the passkey is
/// asked for.
#[test]
fn a_passkey_is_required_after_a_phone_code_too() {
    let world = World::new();
    let linking = linking(&world);
    require(&world, None);
    let path = "/accounts/alice/pair-code";
    let code = world.post(&linking.server, path, &json!({"phone": ALICE}));
    let code = code.expect(200)["code"].clone();
    let entered = json!({"number": ALICE, "code": code});
    let entered = world.admin("POST", "/mock-phone/enter-code", Some(&entered));
    assert_eq!(entered.expect_success()["passkey"], "required");
    let asked = linking.asked(&world);
    linking.answer(&world, &asked);
    linking.code(&world);
    linking.confirm(&world);
    linking.server.wait_log("alice: connected");
}

#[test]
fn each_failure_of_a_passkey_is_reported_and_a_new_code_follows() {
    let world = World::new();
    world.walks(&["DELETE /accounts/:id/passkey"]);
    let linking = linking(&world);
    let server = &linking.server;
    world.api(server, "DELETE", PASSKEY, None).expect(404);
    let ways: [(&str, &str); 8] = [
        ("options", "did not say for which"),
        ("prologue", "given up"),
        ("drop", "before it had accepted"),
        ("silence", "the phone did not answer in time"),
        ("identity", "could not agree"),
        ("nonce", "could not agree"),
        ("request", "did not accept its keys"),
        ("phone", "connection to WhatsApp"),
    ];
    for (way, words) in ways {
        require(&world, Some(way));
        let before = linking.status(&world)["qr"].clone();
        fail(&world, &linking, way);
        let status = eventually(&format!("a new code after {way}"), || {
            let status = linking.status(&world);
            (status["qr"].is_string() && status["qr"] != before).then_some(status)
        });
        assert_eq!(status["status"], "connecting", "{way}: {status}");
        let said = status["lastError"].as_str().unwrap_or_default();
        assert!(said.contains(words), "{way}: {status}");
    }
    // In time it was not, and then it works.
    require(&world, None);
    let asked = linking.scan(&world);
    linking.time.passes(Duration::from_secs(620));
    eventually("the time-out", || {
        let said = linking.status(&world)["lastError"].clone();
        said.as_str()?
            .contains("no answer was given in time")
            .then_some(())
    });
    let late = linking.passkey.get(&asked["options"], SITE);
    world.post(server, PASSKEY, &late).expect(404);
    require(&world, None);
    let asked = linking.scan(&world);
    linking.answer(&world, &asked);
    linking.code(&world);
    linking.confirm(&world);
    server.wait_log("alice: connected");
    let failed = |states: &[String]| states.iter().filter(|s| *s == "failed").count();
    assert_eq!(failed(&linking.states(&world)), ways.len() + 1);
}

/// Goes as far as that failure lets it.
fn fail(world: &World, linking: &Linking, way: &str) {
    let server = &linking.server;
    if way == "options" {
        let qr = linking.status(world)["qr"].clone();
        world.scan(ALICE, "alice", qr.as_str().expect("a code"));
        return;
    }
    let asked = linking.scan(world);
    let answer = linking.passkey.get(&asked["options"], SITE);
    let answered = world.post(server, PASSKEY, &answer);
    match way {
        "prologue" => {
            assert_eq!(answered.expect(400)["code"], 403);
            assert_eq!(world.get(server, PASSKEY)["state"], "assertion_required");
            world.api(server, "DELETE", PASSKEY, None).expect(200);
        }
        "drop" => _ = answered.expect(500),
        "silence" => {
            assert_eq!(answered.expect(200)["state"], "waiting_for_phone");
            linking.time.passes(Duration::from_secs(620));
        }
        "identity" | "nonce" => assert!(answered.status == 200 || answered.status == 404),
        "request" | "phone" => {
            answered.expect(200);
            linking.code(world);
            let path = format!("{PASSKEY}/confirm");
            let confirmed = world.post(server, &path, &json!({}));
            match way {
                "request" => assert_eq!(confirmed.status, 400, "{confirmed:?}"),
                // The connection's end may overtake the answer in front of it.
                _ => assert!([200, 500].contains(&confirmed.status), "{confirmed:?}"),
            }
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_key_of_another_account_neither_sees_nor_answers_it() {
    let world = World::new();
    let linking = linking(&world);
    require(&world, None);
    linking.scan(&world);
    let add = |arguments: &[&str]| {
        let data = world.options().data.display().to_string();
        let mut all = vec!["key", "add"];
        all.extend(arguments);
        all.extend(["--data", &data]);
        let (code, out, err) = run_to_end(world.directory.path(), &all, &[]);
        assert_eq!(code, 0, "{out}{err}");
        let mut words = out.split_whitespace().chain(err.split_whitespace());
        words
            .find(|word| word.starts_with("wc_"))
            .expect("a key")
            .to_owned()
    };
    let (own, other, reader) = (
        add(&["own", "--account", "alice"]),
        add(&["other", "--account", "bob"]),
        add(&["reader", "--read-only"]),
    );
    for path in [PASSKEY, "/accounts/alice/passkey/guide"] {
        for (key, status) in [(&own, 200), (&reader, 200), (&other, 404)] {
            let url = format!("{}{path}", linking.server.base());
            let answer = world.http().get_with(&url, &[("X-Api-Key", key)]);
            assert_eq!(answer.status, status, "{path}");
        }
    }
    for (method, path) in [
        ("POST", PASSKEY),
        ("POST", "/accounts/alice/passkey/confirm"),
        ("DELETE", PASSKEY),
    ] {
        for (key, status) in [(&other, 404), (&reader, 403)] {
            let url = format!("{}{path}", linking.server.base());
            let headers = [
                ("X-Api-Key", key.as_str()),
                ("Content-Type", "application/json"),
            ];
            let answer = world
                .http()
                .send_with(method, &url, &headers, b"{}".to_vec());
            assert_eq!(answer.status, status, "{method} {path}");
        }
    }
}

/// whatsapp-rust #1439 and #1440, zapfast #51. Before, a new QR code came after each attempt, for ever, and
/// `lastError` spoke of a signature.
#[test]
fn mixed_prefixes_of_a_business_account_are_reported_at_once() {
    let world = World::new();
    let linking = linking(&world);
    let server = &linking.server;
    for hosted in ["account", "device"] {
        world.fault(&json!({"kind": "sign-hosted", "number": ALICE, "count": 1, "hosted": hosted}));
        let qr = eventually("a QR code", || {
            linking.status(&world)["qr"].as_str().map(str::to_owned)
        });
        world.scan(ALICE, "alice", &qr).expect(502);
        let status = eventually("the end", || {
            let status = linking.status(&world);
            (status["status"] == "not_started").then_some(status)
        });
        let words = status["lastError"].as_str().expect("words");
        assert!(
            words.contains("Business account cannot be linked"),
            "{words}"
        );
        assert_eq!(status["qr"], Value::Null);
        world
            .post(server, "/accounts/alice/connect", &json!({}))
            .expect(200);
    }
    // The client signs as WhatsApp does not, and is refused at its first login.
    world.fault(&json!({"kind": "sign-hosted", "number": ALICE, "count": 1}));
    let qr = eventually("a QR code", || {
        linking.status(&world)["qr"].as_str().map(str::to_owned)
    });
    world.scan(ALICE, "alice", &qr).expect(502);
    let words = eventually("the end", || {
        let status = linking.status(&world);
        let out = status["status"] == "logged_out";
        out.then(|| status["lastError"].as_str().map(str::to_owned))
    });
    let words = words.expect("words");
    assert!(words.contains("right after it was linked"), "{words}");
    // And after that an ordinary account.
    world
        .post(server, "/accounts/alice/connect", &json!({}))
        .expect(200);
    let qr = eventually("a QR code", || {
        linking.status(&world)["qr"].as_str().map(str::to_owned)
    });
    world.scan(ALICE, "alice", &qr).expect_success();
    server.wait_log("alice: connected");
}
