//! The stock client as a separate process, for the benchmark to compare with the server: whatsapp-rust
//! on tokio, with its in-memory store and nothing around it.
//!
//! `stock WSS-URL CA-FILE` talks in JSON lines. It prints `{"qr": TEXT}` until it is linked, then
//! `{"connected": true}`, and from then on one line for each line that it reads:
//!
//! - `{"send": {"to": [NUMBER], "count": N, "concurrency": C}}`: sends `N` texts, `C` at a time, to these numbers
//!   in turn, and waits for the server's ack of each; `{"seconds": S, "micros": [latency of each]}`.
//! - `{"expect": N}`: `{"expecting": N}` at once, and `{"received": N}` when `N` more messages have come.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_rustls::pki_types::CertificateDer;
use futures_rustls::pki_types::pem::PemObject as _;
use futures_rustls::rustls::crypto::ring;
use futures_rustls::rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};
use whatsapp_rust::prelude::*;
use whatsapp_rust::send::SendOptions;
use whatsapp_rust::transport::{Connector, TokioWebSocketTransportFactory};
use whatsapp_rust::wacore::store::InMemoryBackend;
use whatsapp_rust::waproto::whatsapp as wa;

/// How long one ack may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Order {
    Send(Load),
    Expect(usize),
}

#[derive(Deserialize)]
struct Load {
    to: Vec<String>,
    count: usize,
    concurrency: usize,
}

/// What the client's events feed.
#[derive(Default)]
struct Heard {
    acks: Mutex<HashMap<String, oneshot::Sender<bool>>>,
    messages: AtomicUsize,
    news: Notify,
}

struct Ears(Arc<Heard>);

impl EventHandler for Ears {
    fn handle_event(&self, event: Arc<Event>) {
        match &*event {
            Event::PairingQrCode(qr) => say(&json!({"qr": qr.code})),
            // Later than `Connected` at a first login: then all that follows a login is done.
            Event::SelfPushNameUpdated(_) => say(&json!({"connected": true})),
            Event::ServerAck(ack) => {
                let mut acks = lock(&self.0.acks);
                if let Some(waiter) = acks.remove(&*ack.id) {
                    // No receiver: the run has failed already.
                    let _ = waiter.send(ack.error.is_none());
                }
            }
            Event::Messages(batch) => {
                let texts = batch.messages.iter();
                let texts = texts.filter(|it| it.message.text_content().is_some());
                self.0.messages.fetch_add(texts.count(), Ordering::SeqCst);
                self.0.news.notify_one();
            }
            _ => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(line: &Value) {
    // No receiver: the benchmark is over.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    env_logger::init();
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(ca)) = (args.next(), args.next()) else {
        bail!("usage: stock WSS-URL CA-FILE");
    };
    let heard = Arc::<Heard>::default();
    let connector = Connector::Rustls(tokio_rustls::TlsConnector::from(tls(Path::new(&ca))?));
    let bot = Bot::builder()
        .with_backend_arc(Arc::<InMemoryBackend>::default())
        .with_transport_factory(
            TokioWebSocketTransportFactory::new()
                .with_url(url)
                .with_connector(connector),
        )
        .with_version((2, 3000, 1))
        .with_event_handler(Ears(heard.clone()))
        .build()
        .await?;
    let client = bot.client();
    let handle = bot.spawn();
    let (tx, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                break;
            }
        }
    });
    let mut expected = 0;
    while let Some(line) = orders.recv().await {
        match serde_json::from_str(&line).with_context(|| line.clone())? {
            Order::Send(load) => say(&send(&client, &heard, load).await?),
            Order::Expect(count) => {
                say(&json!({"expecting": count}));
                expected += count;
                while heard.messages.load(Ordering::SeqCst) < expected {
                    heard.news.notified().await;
                }
                say(&json!({"received": count}));
            }
        }
    }
    handle.shutdown().await;
    Ok(())
}

fn tls(ca: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(tls))
}

async fn send(client: &Arc<Client>, heard: &Arc<Heard>, load: Load) -> Result<Value> {
    let next = Arc::new(AtomicUsize::new(0));
    let load = Arc::new(load);
    let start = Instant::now();
    let senders: Vec<_> = (0..load.concurrency)
        .map(|_| {
            let (client, heard) = (client.clone(), heard.clone());
            let (next, load) = (next.clone(), load.clone());
            tokio::spawn(async move {
                let mut micros = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    if n >= load.count {
                        return anyhow::Ok(micros);
                    }
                    let to = &load.to[n % load.to.len()];
                    let began = Instant::now();
                    send_one(&client, &heard, Jid::pn(to.as_str()), n).await?;
                    micros.push(began.elapsed().as_micros() as u64);
                }
            })
        })
        .collect();
    let mut micros = Vec::new();
    for sender in senders {
        micros.extend(sender.await??);
    }
    Ok(json!({"seconds": start.elapsed().as_secs_f64(), "micros": micros}))
}

/// Sends a text and waits until the server has it.
async fn send_one(client: &Arc<Client>, heard: &Heard, to: Jid, n: usize) -> Result<()> {
    let id = client.generate_message_id();
    let (tx, ack) = oneshot::channel();
    lock(&heard.acks).insert(id.clone(), tx);
    let message = wa::Message {
        conversation: Some(format!("message {n}")),
        ..Default::default()
    };
    let options = SendOptions::default().with_message_id(id);
    client
        .send_message_with_options(to, message, options)
        .await?;
    if !tokio::time::timeout(PATIENCE, ack).await?? {
        bail!("a message was refused");
    }
    Ok(())
}
