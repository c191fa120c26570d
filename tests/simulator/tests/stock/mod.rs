//! A simulator, its admin endpoints, and stock clients that get only a URL and an authority.
//! Every wait is for an event or an answer.
// Each test file uses a part of it.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_rustls::pki_types::pem::PemObject as _;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use http_types::{Method, Request, Response};
use serde_json::{Value, json};
use whatsapp_rust::pair_code::PairCodeOptions;
use whatsapp_rust::prelude::*;
use whatsapp_rust::transport::{Connector, TokioWebSocketTransportFactory};
use whatsapp_rust::wacore::store::InMemoryBackend;
use whatsapp_rust::wacore::store::device::DevicePropsOverride;
use wildcat_simulator::{Options, Simulator};

/// How long anything may take before the test says that it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A simulator and the means to reach it.
pub struct World {
    /// What clients that are started from now on say about themselves.
    pub props: std::sync::Mutex<Option<DevicePropsOverride>>,
    simulator: Simulator,
    tls: Arc<ClientConfig>,
}

impl World {
    pub fn start() -> Self {
        let _ = env_logger::builder().is_test(true).try_init();
        let simulator = Simulator::start_with(Options {
            seed: Some(11),
            ..Options::default()
        })
        .expect("a simulator");
        let authority = CertificateDer::from_pem_slice(simulator.ca_pem().as_bytes()).expect("PEM");
        let mut roots = RootCertStore::empty();
        roots.add(authority).expect("an authority");
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            props: std::sync::Mutex::default(),
            simulator,
            tls: Arc::new(tls),
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        self.request(Method::Get, path, String::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.request(Method::Post, path, body.to_string()).await
    }

    /// One admin request; anything but 200 fails the test.
    pub async fn request(&self, method: Method, path: &str, body: String) -> Value {
        let (status, answer) = self.exchange(method, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// A POST that may be refused; status and answer.
    pub async fn try_post(&self, path: &str, body: Value) -> (u16, Value) {
        self.exchange(Method::Post, path, body.to_string()).await
    }

    async fn exchange(&self, method: Method, path: &str, body: String) -> (u16, Value) {
        let url = format!("{}/admin/{path}", self.simulator.https_url());
        let tls = self.tls.clone();
        let exchange = move || smol::block_on(exchange(tls, method, &url, body));
        tokio::task::spawn_blocking(exchange)
            .await
            .expect("no panic")
    }

    /// A person without linked devices; the LID.
    pub async fn person(&self, number: &str, name: &str) -> String {
        let made = self
            .post("phones", json!({"number": number, "name": name}))
            .await;
        made["lid"].as_str().expect("a lid").to_owned()
    }

    /// The person says something; the message's id.
    pub async fn say(&self, number: &str, to: &str, text: &str) -> String {
        let path = format!("phones/{number}/messages");
        let sent = self.post(&path, json!({"to": to, "text": text})).await;
        sent["messageId"].as_str().expect("an id").to_owned()
    }

    /// The person sends something; the message's id.
    pub async fn send(&self, number: &str, body: Value) -> String {
        let sent = self.post(&format!("phones/{number}/messages"), body).await;
        sent["messageId"].as_str().expect("an id").to_owned()
    }

    /// A GET outside of the admin endpoints, or one that answers with bytes.
    pub async fn bytes(&self, path: &str, range: Option<&str>) -> (u16, Vec<u8>) {
        let mut request = Request::new(
            Method::Get,
            format!("{}/{path}", self.simulator.https_url()).as_str(),
        );
        if let Some(range) = range {
            request.insert_header("range", range);
        }
        let tls = self.tls.clone();
        let exchange = move || {
            smol::block_on(async {
                let mut response = answer(tls, request).await;
                let body = response.body_bytes().await.expect("a body");
                (response.status().into(), body)
            })
        };
        tokio::task::spawn_blocking(exchange)
            .await
            .expect("no panic")
    }

    /// Waits until the phone has received `count` messages; all that it has.
    pub async fn received(&self, number: &str, count: usize) -> Vec<Value> {
        let path = format!("phones/{number}/messages?count={count}&wait=60");
        let inbox = self.get(&path).await;
        inbox["received"].as_array().expect("a list").clone()
    }

    /// Waits until a message of the phone's has a receipt.
    pub async fn has_receipt(&self, number: &str, id: &str, kind: &str) {
        let path = format!("phones/{number}/messages?messageId={id}&receipt={kind}&wait=60");
        self.get(&path).await;
    }
}

async fn exchange(tls: Arc<ClientConfig>, method: Method, url: &str, body: String) -> (u16, Value) {
    let mut request = Request::new(method, url);
    request.set_body(body);
    let mut response = answer(tls, request).await;
    let text = response.body_string().await.expect("a body");
    let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (response.status().into(), answer)
}

async fn answer(tls: Arc<ClientConfig>, request: Request) -> Response {
    let url = request.url();
    let addr = (url.host_str().expect("a host"), url.port().expect("a port"));
    let tcp = smol::net::TcpStream::connect(addr).await.expect("connects");
    let name = ServerName::try_from(addr.0.to_owned()).expect("a name");
    let stream = futures_rustls::TlsConnector::from(tls)
        .connect(name, tcp)
        .await
        .expect("TLS");
    let stream = Arc::new(smol::lock::Mutex::new(stream));
    async_h1::connect(Shared(stream), request)
        .await
        .expect("HTTP")
}

/// async-h1 wants a stream that can be cloned.
#[derive(Clone)]
struct Shared<S>(Arc<smol::lock::Mutex<S>>);

macro_rules! poll_locked {
    ($self:ident, $cx:ident, $stream:ident => $poll:expr) => {{
        // Uncontended: one request at a time, on one thread.
        let mut guard = $self.0.try_lock().expect("one user at a time");
        let $stream = std::pin::Pin::new(&mut *guard);
        $poll
    }};
}

type Poll<T> = std::task::Poll<std::io::Result<T>>;

impl<S: futures_lite::AsyncRead + Unpin> futures_lite::AsyncRead for Shared<S> {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> Poll<usize> {
        poll_locked!(self, cx, stream => stream.poll_read(cx, buf))
    }
}

impl<S: futures_lite::AsyncWrite + Unpin> futures_lite::AsyncWrite for Shared<S> {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> Poll<usize> {
        poll_locked!(self, cx, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        poll_locked!(self, cx, stream => stream.poll_flush(cx))
    }

    fn poll_close(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        poll_locked!(self, cx, stream => stream.poll_close(cx))
    }
}

/// Hands on every event of a client.
struct Forward(tokio::sync::mpsc::UnboundedSender<Arc<Event>>);

impl EventHandler for Forward {
    fn handle_event(&self, event: Arc<Event>) {
        // The test may be over.
        let _ = self.0.send(event);
    }
}

/// A stock client: its store, and, while it runs, the client and its events.
pub struct Device {
    pub store: Arc<InMemoryBackend>,
    pub client: Arc<Client>,
    handle: BotHandle,
    events: tokio::sync::mpsc::UnboundedReceiver<Arc<Event>>,
    seen: VecDeque<Arc<Event>>,
    messages: VecDeque<InboundMessage>,
}

impl Device {
    /// Starts a client on a store. With `number`, it asks to be linked by phone code.
    pub async fn start(world: &World, store: Arc<InMemoryBackend>, number: Option<&str>) -> Self {
        let (tx, events) = tokio::sync::mpsc::unbounded_channel();
        let connector = Connector::Rustls(tokio_rustls::TlsConnector::from(world.tls.clone()));
        let transport = TokioWebSocketTransportFactory::new()
            .with_url(world.simulator.ws_url())
            .with_connector(connector);
        let authority = world.simulator.ca_pem().as_bytes();
        let authority = ureq::tls::Certificate::from_pem(authority).expect("PEM");
        let roots = ureq::tls::RootCerts::new_with_certs(&[authority]);
        let config = ureq::Agent::config_builder()
            .tls_config(ureq::tls::TlsConfig::builder().root_certs(roots).build())
            .build();
        let http = whatsapp_rust::http::UreqHttpClient::with_agent(config.into());
        let mut builder = Bot::builder()
            .with_http_client(http)
            .with_backend_arc(store.clone())
            .with_transport_factory(transport)
            .with_version((2, 3000, 1))
            .with_wanted_pre_key_count(30)
            .with_event_handler(Forward(tx));
        if let Some(props) = world.props.lock().expect("no panic").clone() {
            builder = builder.with_device_props(props);
        }
        if let Some(number) = number {
            builder = builder.with_pair_code(PairCodeOptions {
                phone_number: number.to_owned(),
                ..Default::default()
            });
        }
        let bot = builder.build().await.expect("a client");
        let client = bot.client();
        Self {
            store,
            client,
            handle: bot.spawn(),
            events,
            seen: VecDeque::new(),
            messages: VecDeque::new(),
        }
    }

    /// A new client, linked to a number by QR code and connected.
    pub async fn link(world: &World, number: &str, name: &str) -> Self {
        let mut device = Self::link_another(world, number, name).await;
        // A client that is stopped before it knows its name waits ten seconds at its next login for the
        // app-state keys that would tell it.
        device
            .expect("the own name", |event| {
                matches!(event, Event::SelfPushNameUpdated(_)).then_some(())
            })
            .await;
        device
    }

    /// The same, without a check of its later state.
    pub async fn link_another(world: &World, number: &str, name: &str) -> Self {
        let mut device = Self::start(world, Arc::default(), None).await;
        let qr = device
            .expect("a QR code", |event| match event {
                Event::PairingQrCode(qr) => Some(qr.code.clone()),
                _ => None,
            })
            .await;
        let path = format!("mock-phone/scan-qr?number={number}&name={name}");
        let paired = world.request(Method::Post, &path, qr).await;
        let jid = paired["jid"].as_str().expect("a jid");
        assert!(jid.starts_with(&format!("{number}:")), "{jid}");
        device.connected().await;
        device
    }

    pub async fn connected(&mut self) {
        self.expect("to be connected", |event| {
            matches!(event, Event::Connected(_)).then_some(())
        })
        .await;
    }

    /// Stops cleanly.
    pub async fn stop(self) -> Arc<InMemoryBackend> {
        self.handle.shutdown().await;
        self.store
    }

    /// Waits for an event that is no message; those that are not it stay for later.
    pub async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        self.until(what, |device| {
            let (at, found) = device
                .seen
                .iter()
                .enumerate()
                .find_map(|(at, event)| Some((at, pick(event)?)))?;
            device.seen.remove(at);
            Some(found)
        })
        .await
    }

    /// Waits for the text message `text`.
    pub async fn text(&mut self, text: &str) -> Arc<MessageInfo> {
        let what = format!("the message {text:?}");
        self.until(&what, |device| {
            let at = device
                .messages
                .iter()
                .position(|message| message.message.text_content() == Some(text))?;
            Some(device.messages.remove(at)?.info)
        })
        .await
    }

    /// Waits for the message with this id.
    pub async fn message(&mut self, id: &str) -> InboundMessage {
        let what = format!("the message {id}");
        self.until(&what, |device| {
            let at = device
                .messages
                .iter()
                .position(|message| message.info.id.as_str() == id)?;
            device.messages.remove(at)
        })
        .await
    }

    /// Looks again after every event.
    async fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.take_events();
            if let Some(found) = look(self) {
                return found;
            }
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => self.sort(event),
                Ok(None) | Err(_) => {
                    let kinds: Vec<_> = self.seen.iter().map(|event| event.kind()).collect();
                    let texts = self.unexpected_texts();
                    panic!("waited for {what}, but there was only {kinds:?} and {texts:?}");
                }
            }
        }
    }

    fn take_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.sort(event);
        }
    }

    fn sort(&mut self, event: Arc<Event>) {
        match &*event {
            Event::Messages(batch) => self.messages.extend(batch.messages.iter().cloned()),
            _ => self.seen.push_back(event),
        }
    }

    /// Waits for a receipt of one kind for one message.
    pub async fn receipt(&mut self, id: &str, kind: &str) {
        let what = format!("a receipt {kind} for {id}");
        self.expect(&what, |event| match event {
            Event::Receipt(receipt) => (format!("{:?}", receipt.r#type) == kind
                && receipt.message_ids.iter().any(|it| it.as_str() == id))
            .then_some(()),
            _ => None,
        })
        .await;
    }

    /// Texts that arrived unexpectedly.
    pub fn unexpected_texts(&mut self) -> Vec<String> {
        self.take_events();
        let messages = self.messages.iter();
        messages
            .filter_map(|message| message.message.text_content().map(str::to_owned))
            .collect()
    }

    /// Whether a QR code was shown.
    pub fn asked_for_pairing(&self) -> bool {
        self.seen
            .iter()
            .any(|event| matches!(**event, Event::PairingQrCode(_)))
    }
}
