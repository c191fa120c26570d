//! A simulated WhatsApp with its people, and the HTTP calls of the tests.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wildcat::net;
use wildcat_simulator::Simulator;

use super::server::{copy_trusting, released};
use super::{DEADLINE, Server, ServerOptions};

/// A separate simulated WhatsApp, and a directory for servers.
pub struct World {
    pub simulator: Simulator,
    pub directory: TempDir,
    http: Http,
    /// A released binary that takes this simulator for WhatsApp.
    binary: Option<PathBuf>,
    /// Routes that this world's test walks.
    walked: Mutex<Vec<&'static str>>,
}

/// Routes that take no input that could be wrong.
const WITHOUT_INPUT: &[&str] = &[
    "GET /metrics",
    "GET /ping",
    "GET /health",
    "GET /server",
    "GET /keys",
    "GET /settings",
    "GET /openapi.json",
    "GET /accounts",
    "GET /webhooks",
];

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: no JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The body as JSON, if the status is `status`.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
        self.json()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// An HTTP client that trusts the simulator: the server's own.
pub struct Http {
    client: surf::Client,
    /// Method, path and status of each answer.
    answered: Mutex<BTreeSet<(String, String, u16)>>,
}

impl Http {
    /// Trusts the authority in that PEM file, too.
    pub fn new(extra_ca: Option<&std::path::Path>) -> Http {
        let tls = net::tls::client_config(extra_ca).expect("TLS");
        let limits = net::http::Limits {
            timeout: 2 * DEADLINE,
            max_body: 64 << 20,
            // Every request has its own connection: nothing waits for an executor to close it.
            max_idle: 0,
            idle_timeout: DEADLINE,
        };
        let executor = Arc::new(wildcat::runtime::Executor::new());
        Http {
            client: net::http::client(limits, tls, executor),
            answered: Mutex::default(),
        }
    }

    /// One request; `body` is sent as JSON.
    pub fn call(&self, method: &str, url: &str, body: Option<&Value>) -> Answer {
        let bytes = body.map(|body| body.to_string().into_bytes());
        self.send(method, url, "application/json", bytes)
    }

    /// One request with any body.
    pub fn send(&self, method: &str, url: &str, kind: &str, body: Option<Vec<u8>>) -> Answer {
        let method = method.parse().expect("a method");
        let url = surf::Url::parse(url).expect("a URL");
        let mut request = surf::RequestBuilder::new(method, url);
        if let Some(body) = body {
            request = request.body(body).header("Content-Type", kind);
        }
        self.run(request)
    }

    /// A `POST` of JSON with an `Idempotency-Key` to a server that may be gone: `None` without an
    /// answer.
    pub fn try_post(&self, url: &str, key: &str, body: &Value) -> Option<Answer> {
        let url = surf::Url::parse(url).expect("a URL");
        let request = surf::RequestBuilder::new(surf::http::Method::Post, url)
            .body(body.to_string().into_bytes())
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key);
        self.answer(request).ok()
    }

    /// A `GET` to a server that may hang up: `None` without an answer.
    pub fn try_get(&self, url: &str) -> Option<Answer> {
        let url = surf::Url::parse(url).expect("a URL");
        let request = surf::RequestBuilder::new(surf::http::Method::Get, url);
        self.answer(request).ok()
    }

    /// A `GET` with headers.
    pub fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let url = surf::Url::parse(url).expect("a URL");
        let mut request = surf::RequestBuilder::new(surf::http::Method::Get, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request)
    }

    /// One request with these headers, including `Content-Type`.
    pub fn send_with(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let method = method.parse().expect("a method");
        let url = surf::Url::parse(url).expect("a URL");
        let mut request = surf::RequestBuilder::new(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.run(request)
    }

    fn run(&self, request: surf::RequestBuilder) -> Answer {
        self.answer(request).expect("an answer")
    }

    /// Whether a request to that route was answered with a status of that class: 2 for 200 to 299.
    fn has_answered(&self, route: &str, class: u16) -> bool {
        let (method, pattern) = route.split_once(' ').expect("a method and a path");
        let fits = |path: &str| {
            let mut parts = path.split('/');
            let mut wanted = pattern.split('/');
            wanted.all(|wanted| {
                let part = parts.next();
                part.is_some_and(|part| wanted == part || wanted.starts_with(':'))
            }) && parts.next().is_none()
        };
        let answered = self.answered.lock().expect("answers");
        answered
            .iter()
            .any(|(by, path, status)| by == method && status / 100 == class && fits(path))
    }

    fn answer(&self, request: surf::RequestBuilder) -> surf::Result<Answer> {
        let request = request.build();
        let asked = (
            request.method().to_string(),
            request.url().path().to_owned(),
        );
        smol::block_on(async {
            let mut response = self.client.send(request).await?;
            let status = u16::from(response.status());
            let entry = (asked.0, asked.1, status);
            self.answered.lock().expect("answers").insert(entry);
            let headers = response
                .iter()
                .flat_map(|(name, values)| {
                    let name = name.as_str().to_ascii_lowercase();
                    values
                        .iter()
                        .map(move |value| (name.clone(), value.as_str().to_owned()))
                })
                .collect();
            Ok(Answer {
                status: response.status().into(),
                headers,
                bytes: response.body_bytes().await?,
            })
        })
    }
}

impl World {
    pub fn new() -> World {
        let simulator = Simulator::start().expect("the simulator starts");
        let directory = tempfile::tempdir().expect("a directory");
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, simulator.ca_pem()).expect("written");
        let http = Http::new(Some(&ca));
        let binary = released().map(|original| {
            let copy = directory.path().join("wildcat");
            copy_trusting(&simulator.noise_root(), &original, &copy);
            copy
        });
        World {
            simulator,
            directory,
            http,
            binary,
            walked: Mutex::default(),
        }
    }

    /// Declares that the test sends these routes good and, unless they take none, bad input: at its end, each has
    /// been answered with success and with a 4xx.
    pub fn walks(&self, routes: &[&'static str]) {
        self.walked.lock().expect("routes").extend(routes);
    }

    /// Options for a server that meets this WhatsApp; its data lie in `data/`.
    pub fn options(&self) -> ServerOptions {
        let ca = self.directory.path().join("ca.pem");
        let data = self.directory.path().join("data");
        let options = ServerOptions::new(data, self.binary.clone())
            .with("whatsapp.url", self.simulator.ws_url())
            .with("whatsapp.version", "2.3000.1")
            .with("tls.extra_ca", ca.display())
            // Tests send without pauses; those of the pace set one.
            .with("limits.burst", 6000)
            .with("outbox.gap", "0s");
        match released() {
            // Connects accounts without the pause between them; unknown to a released binary.
            None => options.env("WILDCAT_TEST_STARTS", 0),
            Some(_) => options,
        }
    }

    /// Starts a server that meets this WhatsApp.
    pub fn server(&self) -> Server {
        self.options().start()
    }

    /// A request to the server.
    pub fn api(&self, server: &Server, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}{path}", server.base());
        self.http.call(method, &url, body)
    }

    pub fn get(&self, server: &Server, path: &str) -> Value {
        self.api(server, "GET", path, None).expect(200)
    }

    pub fn post(&self, server: &Server, path: &str, body: &Value) -> Answer {
        self.api(server, "POST", path, Some(body))
    }

    /// A `POST` of JSON with an idempotency key.
    pub fn post_once(&self, server: &Server, path: &str, key: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", server.base());
        let headers = [
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ];
        self.http
            .send_with("POST", &url, &headers, body.to_string().into_bytes())
    }

    /// Sets a fault of WhatsApp.
    pub fn fault(&self, fault: &Value) {
        self.admin("POST", "/faults", Some(fault)).expect_success();
    }

    /// Any request, for tests of the protocol itself.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// A request to the phones' hands.
    pub fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}/admin{path}", self.simulator.https_url());
        self.http.call(method, &url, body)
    }

    /// A request to the phones' hands that takes no network: its status and body.
    pub fn by_hand(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.simulator
            .by_hand(method, path, body)
            .expect("the simulator runs")
    }

    /// A person without linked devices.
    pub fn phone(&self, number: &str, name: &str) -> Phone<'_> {
        self.admin(
            "POST",
            "/phones",
            Some(&json!({"number": number, "name": name})),
        )
        .expect_success();
        Phone {
            world: self,
            number: number.into(),
        }
    }

    /// Creates an account, reads its QR code from `/status`, and lets the phone of `number` scan
    /// it; returns when the account is connected.
    pub fn pair(&self, server: &Server, account: &str, number: &str) -> Phone<'_> {
        let mark = server.log_mark();
        let created = self.post(server, "/accounts", &json!({"id": account}));
        created.expect(201);
        server.wait_log_from(mark, &format!("{account}: a QR code waits"));
        let status = self.get(server, &format!("/accounts/{account}/status"));
        assert_eq!(status["status"], "connecting", "{status}");
        assert_eq!(status["hasQR"], true, "{status}");
        let qr = status["qr"].as_str().expect("the QR code's text");
        self.scan(number, account, qr).expect_success();
        server.wait_log_from(mark, &format!("{account}: connected"));
        Phone {
            world: self,
            number: number.into(),
        }
    }

    /// The phone of `number` scans a QR code.
    pub fn scan(&self, number: &str, name: &str, qr: &str) -> Answer {
        self.http.send(
            "POST",
            &format!(
                "{}/admin/mock-phone/scan-qr?number={number}&name={name}",
                self.simulator.https_url()
            ),
            "text/plain",
            Some(qr.as_bytes().to_vec()),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for route in self.walked.get_mut().expect("routes") {
            assert!(self.http.has_answered(route, 2), "{route} was not used");
            let takes_none = WITHOUT_INPUT.contains(route);
            let refused = takes_none || self.http.has_answered(route, 4);
            assert!(refused, "{route} got no bad input");
        }
    }
}

impl Answer {
    /// The body as JSON, if the request went well.
    pub fn expect_success(&self) -> Value {
        assert!(
            (200..300).contains(&self.status),
            "{}: {}",
            self.status,
            String::from_utf8_lossy(&self.bytes)
        );
        self.json()
    }
}

/// A person's phone.
pub struct Phone<'w> {
    world: &'w World,
    pub number: String,
}

impl Phone<'_> {
    pub fn jid(&self) -> String {
        format!("{}@s.whatsapp.net", self.number)
    }

    /// Sends; returns the message's id.
    pub fn send(&self, message: &Value) -> String {
        let sent = self.post("messages", message);
        sent["messageId"].as_str().expect("an id").to_owned()
    }

    pub fn say(&self, to: &str, text: &str) -> String {
        self.send(&json!({"to": to, "text": text}))
    }

    /// Waits until it has received `count` messages, and returns its inbox.
    pub fn received(&self, count: usize) -> Vec<Value> {
        let seconds = DEADLINE.as_secs();
        let page = self
            .world
            .admin(
                "GET",
                &format!(
                    "/phones/{}/messages?count={count}&wait={seconds}",
                    self.number
                ),
                None,
            )
            .expect(200);
        let messages = page["received"].as_array().expect("messages").clone();
        assert!(messages.len() >= count, "{page}");
        messages
    }

    /// The inbox: messages `received`, `sent`, and undecryptable (`unread`).
    pub fn state(&self) -> Value {
        let path = format!("/phones/{}/messages", self.number);
        self.world.admin("GET", &path, None).expect(200)
    }

    /// The messages received so far.
    pub fn all_received(&self) -> Vec<Value> {
        let page = self.state();
        page["received"].as_array().expect("messages").clone()
    }

    /// One of its endpoints.
    pub fn post(&self, what: &str, body: &Value) -> Value {
        self.world
            .admin(
                "POST",
                &format!("/phones/{}/{what}", self.number),
                Some(body),
            )
            .expect_success()
    }
}

/// Polls until `check` returns something, for states without an event.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let give_up = std::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(std::time::Instant::now() < give_up, "{what} never came");
        // Not a wait for a certain time: the next look at a state that no event reports.
        std::thread::sleep(Duration::from_millis(20));
    }
}
