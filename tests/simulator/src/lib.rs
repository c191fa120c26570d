//! WhatsApp's service on loopback, and the phones of the people on it.
//!
//! [`Simulator::start`] gives a service that clients reach by URL, that proves itself with an authority
//! and a private Noise root, and that is as strict as WhatsApp. One thread runs all of it and ends when
//! the [`Simulator`] is dropped. The phones are moved by HTTP requests under `/admin` on the
//! same port.
//!
//! ```text
//!  client ──TLS──▶ net ──▶ service ◀──directory── phone
//!  curl   ──TLS──▶ net ──▶ admin ──▶ service, phone
//! ```
//!
//! - `certs`, `noise`: how the service proves itself, without I/O.
//! - `net`: sockets, TLS, WebSocket, HTTP; the only module that waits.
//! - `service`: accounts, devices, queues, routing: one owner, no I/O.
//! - [`phone`]: primary devices, pure; they know the service as a [`directory::Directory`].
//! - [`media`]: the encrypted files that clients and phones upload.
//! - `admin`: the phones' hands.

mod admin;
mod certs;
pub mod directory;
pub mod media;
mod net;
mod noise;
pub mod phone;
mod service;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use http_types::{Method, Request};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use certs::{NoiseIdentity, Tls};
use media::MediaStore;
pub use net::Cut;
use net::{Command, Hub};
use service::Service;
/// The root of WhatsApp's own Noise certificates, which every client has built in.
pub use wacore::handshake::WA_CERT_PUB_KEY as WHATSAPP_NOISE_ROOT;

/// How a simulator is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; only loopback is accepted. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// With a seed, ids and protocol keys repeat from run to run. TLS keys never do.
    pub seed: Option<u64>,
    /// How long the first reference in a QR code can be scanned.
    pub first_ref_lifetime: Duration,
    /// How long each of the following five can be scanned after the one before it.
    pub next_ref_lifetime: Duration,
    /// Prints every stanza to standard error as it passes.
    pub log_stanzas: bool,
}

impl Default for Options {
    /// WhatsApp's lifetimes, a free port, random keys.
    fn default() -> Options {
        Options {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            seed: None,
            first_ref_lifetime: Duration::from_secs(60),
            next_ref_lifetime: Duration::from_secs(20),
            log_stanzas: false,
        }
    }
}

/// Commands that may wait for the simulator's thread; more are made to wait by their senders.
const COMMANDS: usize = 64;

/// A running simulator. Dropping it closes every connection and ends its thread.
#[derive(Debug)]
pub struct Simulator {
    addr: SocketAddr,
    ca_pem: String,
    noise_root: [u8; 32],
    commands: async_channel::Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts one with the default [`Options`].
    ///
    /// # Errors
    /// See [`start_with`](Self::start_with).
    pub fn start() -> Result<Simulator> {
        Simulator::start_with(Options::default())
    }

    /// Starts one. When this returns, it accepts connections.
    ///
    /// # Errors
    /// When the address is not on loopback or cannot be listened on, there is no place for temporary files,
    /// or no thread can be started.
    pub fn start_with(options: Options) -> Result<Simulator> {
        ensure!(
            options.listen.ip().is_loopback(),
            "{} is not a loopback address",
            options.listen
        );
        let seed = match options.seed {
            Some(seed) => seed,
            None => unforeseen_seed(),
        };
        let tls = Tls::generate()?;
        let mut rng = StdRng::seed_from_u64(seed);
        let identity = NoiseIdentity::generate(&mut rng, service::now_secs())?;
        let port = net::Port::take(options.listen)
            .with_context(|| format!("listen on {}", options.listen))?;
        let addr = port.addr();
        let place = MediaStore::place().context("make a folder for media")?;
        let (commands, told) = async_channel::bounded(COMMANDS);
        let (ca_pem, noise_root) = (tls.ca_pem.clone(), identity.root);

        let thread = std::thread::Builder::new()
            .name("simulator".to_owned())
            .spawn(move || {
                let (wake, woken) = async_channel::bounded(1);
                let hub = Rc::new(Hub {
                    service: RefCell::new(Service::new(
                        options,
                        MediaStore::new(place, addr.to_string(), seed),
                        seed,
                    )),
                    identity,
                    wake,
                    power: net::Power::default(),
                });
                let ex = smol::LocalExecutor::new();
                smol::block_on(ex.run(net::serve(&ex, port, tls.acceptor, hub, woken, told)));
            })?;
        let simulator = Simulator {
            addr,
            ca_pem,
            noise_root,
            commands,
            thread: Some(thread),
        };
        simulator.restore_power().context("start the service")?;
        Ok(simulator)
    }

    /// Where clients connect: `wss://127.0.0.1:PORT/ws/chat`.
    pub fn ws_url(&self) -> String {
        format!("wss://{}/ws/chat", self.addr)
    }

    /// Where the admin endpoints are: `https://127.0.0.1:PORT`.
    pub fn https_url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// The TLS authority's certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The public key of the Noise certificate chain's root.
    pub fn noise_root(&self) -> [u8; 32] {
        self.noise_root
    }

    /// Takes the service's power away: its port refuses, every connection is dead, and what was on its
    /// way in either direction is lost. What WhatsApp keeps for ever (accounts, devices, keys, groups,
    /// files, the queues of what was not acknowledged) is there when the power is. Returns when it is so.
    ///
    /// # Errors
    /// When the simulator has ended.
    pub fn lose_power(&self, cut: Cut) -> Result<()> {
        self.tell(|done| Command::Lose(cut, done))
    }

    /// Gives the power back, at the same port. Returns when connections are accepted.
    ///
    /// # Errors
    /// When the simulator has ended.
    pub fn restore_power(&self) -> Result<()> {
        self.tell(Command::Restore)
    }

    /// A request to the phones' hands (`/admin/…`) that does not take the network: it is answered, or
    /// refused with 503 while the service has no power, and never cut. Status and JSON body.
    ///
    /// # Errors
    /// When the simulator has ended, or the answer is no JSON.
    pub fn by_hand(
        &self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(u16, serde_json::Value)> {
        let method: Method = method.parse().map_err(|e| anyhow!("{method}: {e}"))?;
        let url = format!("{}/admin{path}", self.https_url());
        let mut request = Request::new(method, url.as_str());
        if let Some(body) = body {
            request.set_body(body.to_string());
        }
        let mut answer = self.tell(|reply| Command::Hands(Box::new(request), reply))?;
        let text = smol::block_on(answer.body_string()).map_err(|e| anyhow!("{path}: {e}"))?;
        let json = serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))?;
        Ok((answer.status().into(), json))
    }

    fn tell<T>(&self, command: impl FnOnce(async_channel::Sender<T>) -> Command) -> Result<T> {
        let (sender, answer) = async_channel::bounded(1);
        self.commands
            .send_blocking(command(sender))
            .context("the simulator has ended")?;
        answer.recv_blocking().context("the simulator has ended")
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.commands.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the simulator's thread panicked");
        }
    }
}

/// A seed from the randomness that the standard library keeps for its hash maps.
fn unforeseen_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now())
}
