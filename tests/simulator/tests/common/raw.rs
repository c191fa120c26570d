//! A client at the level of stanzas, over wacore's Noise states and nothing else of a client.

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::BytesMut;
use futures_lite::StreamExt as _;
use futures_rustls::client::TlsStream;
use http_types::Method;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use smol::net::TcpStream;
use wacore::pair::{DeviceState, PairUtils};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::consts::WA_CONN_HEADER;
use wacore_binary::{Jid, Node, NodeContent, Server, marshal};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::framing::{FrameDecoder, encode_frame};
use wacore_noise::{
    IkHandshakeState, IkServerHelloOutcome, NoiseCipher, XxFallbackHandshakeState, XxHandshakeState,
};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::ClientPayload;
use waproto::whatsapp::client_payload::DevicePairingRegistrationData;
use wildcat_simulator::Simulator;

use super::{admin, soon, tls};

/// How a client opens the handshake.
pub enum Greeting {
    /// Without knowing the server.
    Xx,
    /// With the server's key from an earlier connection.
    Ik([u8; 32]),
}

/// The keys of one device.
pub struct Device {
    pub noise: KeyPair,
    pub identity: KeyPair,
    pub signed: KeyPair,
    pub rng: StdRng,
    pub adv_secret: [u8; 32],
}

/// A connected client.
pub struct Raw {
    ws: WebSocketStream<TlsStream<TcpStream>>,
    frames: FrameDecoder,
    write: NoiseCipher,
    read: NoiseCipher,
    sent: u32,
    received: u32,
    ids: u32,
    /// The server's static key, if the handshake showed it.
    pub server_key: Option<[u8; 32]>,
    /// Whether the server took an IK attempt.
    pub took_ik: bool,
}

impl Device {
    pub fn new(seed: u64) -> Device {
        let mut rng = StdRng::seed_from_u64(seed);
        Device {
            noise: KeyPair::generate(&mut rng),
            identity: KeyPair::generate(&mut rng),
            signed: KeyPair::generate(&mut rng),
            adv_secret: [7; 32],
            rng,
        }
    }

    fn skey(&mut self) -> Node {
        let signature = self.signature();
        NodeBuilder::new("skey")
            .children([
                leaf("id", &[0, 0, 1]),
                leaf("value", self.signed.public_key.public_key_bytes()),
                leaf("signature", &signature),
            ])
            .build()
    }

    fn signature(&mut self) -> [u8; 64] {
        self.identity
            .calculate_signature(&self.signed.public_key.serialize(), &mut self.rng)
            .expect("a signature")
            .as_ref()
            .try_into()
            .expect("64 bytes")
    }

    pub fn registration(&mut self, name: &str) -> Vec<u8> {
        let signature = self.signature();
        ClientPayload {
            passive: Some(false),
            push_name: Some(name.to_owned()),
            device_pairing_data: MessageField::some(DevicePairingRegistrationData {
                e_regid: Some(vec![0, 0, 0, 9]),
                e_keytype: Some(vec![5]),
                e_ident: Some(self.identity.public_key.public_key_bytes().to_vec()),
                e_skey_id: Some(vec![0, 0, 1]),
                e_skey_val: Some(self.signed.public_key.public_key_bytes().to_vec()),
                e_skey_sig: Some(signature.to_vec()),
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec()
    }

    pub fn login(number: u64, device: u32) -> Vec<u8> {
        ClientPayload {
            username: Some(number),
            device: Some(device),
            passive: Some(true),
            ..Default::default()
        }
        .encode_to_vec()
    }

    /// Pairs by QR code with the phone of `number`, as its first linked device.
    pub async fn pair(&mut self, sim: &Simulator, number: &str) {
        let payload = self.registration("raw");
        let mut raw = Raw::connect(sim, &self.noise, Greeting::Xx, payload).await;
        let offer = raw.next().await;
        let pair_device = offer.get_optional_child("pair-device").expect("refs");
        let refs: Vec<String> = pair_device
            .get_children_by_tag("ref")
            .map(|r| r.content_as_string().expect("text").to_string())
            .collect();
        assert_eq!(refs.len(), 6);
        let b64 = |keys: &KeyPair| BASE64_STANDARD.encode(keys.public_key.public_key_bytes());
        let qr = format!(
            "https://wa.me/settings/linked_devices#{},{},{},{},1",
            refs[0],
            b64(&self.noise),
            b64(&self.identity),
            BASE64_STANDARD.encode(self.adv_secret),
        );
        let path = format!("mock-phone/scan-qr?number={number}");
        let scan = admin(sim, Method::Post, &path, &qr);
        let finish = async {
            let success = raw.until("iq").await;
            let identity = success
                .get_optional_child_by_tag(&["pair-success", "device-identity"])
                .and_then(|n| match &n.content {
                    Some(NodeContent::Bytes(b)) => Some(b.clone()),
                    _ => None,
                })
                .expect("an identity");
            let state = DeviceState {
                identity_key: self.identity.clone(),
                noise_key: self.noise.clone(),
                adv_secret_key: self.adv_secret,
            };
            let (signed, key_index) =
                PairUtils::do_pair_crypto(&state, &identity).expect("a genuine identity");
            let id = text(&success, "id");
            raw.send(&PairUtils::build_pair_success_response(
                &id, signed, key_index,
            ))
            .await;
            let restart = raw.until("stream:error").await;
            assert_eq!(text(&restart, "code"), "515");
        };
        let ((status, answer), ()) = futures_lite::future::zip(scan, finish).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["jid"], format!("{number}:1@s.whatsapp.net"));
    }

    /// Logs in, without asking for anything yet.
    pub async fn connect(&self, sim: &Simulator, number: &str) -> Raw {
        let payload = Device::login(number.parse().expect("digits"), 1);
        let mut raw = Raw::connect(sim, &self.noise, Greeting::Xx, payload).await;
        let success = raw.next().await;
        assert_eq!(success.tag, "success", "{success:?}");
        raw
    }

    /// The upload of `count` one-time prekeys; the public ones are `[n; 32]`.
    pub fn upload(&mut self, count: u8) -> Node {
        let keys = (1..=count).map(|n| {
            NodeBuilder::new("key")
                .children([leaf("id", &[0, 0, n]), leaf("value", &[n; 32])])
                .build()
        });
        let list = NodeBuilder::new("list").children(keys).build();
        let identity = self.identity.public_key.public_key_bytes().to_vec();
        iq("encrypt", "set")
            .children([
                leaf("registration", &[0, 0, 0, 9]),
                leaf("type", &[5]),
                leaf("identity", &identity),
                list,
                self.skey(),
            ])
            .build()
    }
}

impl Raw {
    pub async fn connect(
        sim: &Simulator,
        noise: &KeyPair,
        greeting: Greeting,
        payload: Vec<u8>,
    ) -> Raw {
        let (ws, _) = async_tungstenite::client_async(sim.ws_url(), tls(sim).await)
            .await
            .expect("a WebSocket");
        let mut wire = Wire {
            ws,
            frames: FrameDecoder::new(),
        };
        let fresh = || XxHandshakeState::new(noise.clone(), payload.clone(), &WA_CONN_HEADER);
        let (write, read, server_key, took_ik) = match greeting {
            Greeting::Xx => {
                let mut state = fresh().expect("a state");
                wire.put(&state.build_client_hello().expect("hello"), true)
                    .await;
                let hello = wire.frame().await;
                let finish = state
                    .read_server_hello_and_build_client_finish(&hello)
                    .expect("a genuine server hello");
                wire.put(&finish, false).await;
                let done = state.finish().expect("keys");
                let key = done.server_cert_chain.leaf_key;
                (done.write_cipher, done.read_cipher, Some(key), false)
            }
            Greeting::Ik(server) => {
                let mut state =
                    IkHandshakeState::new(noise.clone(), server, payload, &WA_CONN_HEADER)
                        .expect("a state");
                wire.put(&state.build_client_hello().expect("hello"), true)
                    .await;
                let hello = wire.frame().await;
                match state.read_server_hello(&hello).expect("a server hello") {
                    IkServerHelloOutcome::Continue(done) => {
                        (done.write_cipher, done.read_cipher, None, true)
                    }
                    IkServerHelloOutcome::Fallback(inputs) => {
                        let mut state =
                            XxFallbackHandshakeState::from_ik_failure(*inputs, &WA_CONN_HEADER)
                                .expect("a state");
                        let finish = state.build_client_finish().expect("a genuine hello");
                        wire.put(&finish, false).await;
                        let done = state.finish().expect("keys");
                        let key = done.server_cert_chain.leaf_key;
                        (done.write_cipher, done.read_cipher, Some(key), false)
                    }
                }
            }
        };
        Raw {
            ws: wire.ws,
            frames: wire.frames,
            write,
            read,
            sent: 0,
            received: 0,
            ids: 0,
            server_key,
            took_ik,
        }
    }

    pub async fn send(&mut self, node: &Node) {
        let mut bytes = marshal(node).expect("a stanza");
        self.write
            .encrypt_in_place_with_counter(self.sent, &mut bytes)
            .expect("a frame");
        self.sent += 1;
        let frame = encode_frame(&bytes, None).expect("a frame");
        self.ws.send(Message::binary(frame)).await.expect("sent");
    }

    /// The next stanza; `None` when the server closed the connection.
    pub async fn try_next(&mut self) -> Option<Node> {
        let mut frame = soon("a stanza", frame(&mut self.ws, &mut self.frames)).await?;
        self.read
            .decrypt_in_place_with_counter(self.received, &mut frame)
            .expect("a genuine frame");
        self.received += 1;
        let bytes = wacore_binary::util::unpack_bytes(frame).expect("a stanza");
        let node = marshal::unmarshal_ref(&bytes).expect("a stanza");
        Some(node.to_owned())
    }

    pub async fn next(&mut self) -> Node {
        self.try_next().await.expect("the connection is open")
    }

    /// The next stanza of this kind.
    pub async fn until(&mut self, tag: &str) -> Node {
        loop {
            let node = self.next().await;
            if node.tag == tag {
                return node;
            }
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, mut iq: Node) -> Node {
        self.ids += 1;
        let id = format!("raw-{}", self.ids);
        iq.attrs.insert("id", id.as_str());
        self.send(&iq).await;
        loop {
            let node = self.until("iq").await;
            if text(&node, "id") == id {
                return node;
            }
        }
    }
}

struct Wire {
    ws: WebSocketStream<TlsStream<TcpStream>>,
    frames: FrameDecoder,
}

impl Wire {
    async fn put(&mut self, message: &[u8], first: bool) {
        let header = first.then_some(&WA_CONN_HEADER[..]);
        let frame = encode_frame(message, header).expect("a frame");
        self.ws.send(Message::binary(frame)).await.expect("sent");
    }

    async fn frame(&mut self) -> BytesMut {
        soon("the server hello", frame(&mut self.ws, &mut self.frames))
            .await
            .expect("an open connection")
    }
}

async fn frame(
    ws: &mut WebSocketStream<TlsStream<TcpStream>>,
    frames: &mut FrameDecoder,
) -> Option<BytesMut> {
    loop {
        if let Some(frame) = frames.decode_frame() {
            return Some(frame);
        }
        match ws.next().await? {
            Ok(Message::Binary(data)) => frames.feed(&data),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

pub fn iq(xmlns: &str, kind: &str) -> NodeBuilder {
    NodeBuilder::new("iq")
        .attr("to", Jid::new("", Server::Pn))
        .attr("xmlns", xmlns)
        .attr("type", kind)
}

pub fn leaf(tag: &'static str, bytes: &[u8]) -> Node {
    NodeBuilder::new(tag).bytes(bytes).build()
}

pub fn text(node: &Node, key: &str) -> String {
    node.attrs
        .get(key)
        .map(|v| v.as_str().into_owned())
        .unwrap_or_default()
}
