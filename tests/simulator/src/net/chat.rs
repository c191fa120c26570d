//! One client's chat socket: WebSocket frames in and out of the service.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_channel::Receiver;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::{WebSocketReceiver, WebSocketSender};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt, StreamExt};
use wacore_binary::Node;

use super::{Hub, PATIENCE};
use crate::noise::{self, Answer, Established, Frames, Opener, Sealer};

/// Stanzas queued for a client that does not read. One more and the connection is closed: what
/// matters is in the device's offline queue and comes again at the next login.
const OUTBOUND: usize = 8192;
/// Encrypted bytes that go into one WebSocket message.
const BATCH: usize = 64 * 1024;
/// How long a closing connection may take to take its last stanzas.
const LINGER: Duration = Duration::from_secs(3);

/// Serves one chat socket until either side ends it.
///
/// # Errors
/// What ended it, for the log.
pub async fn serve<S>(io: S, hub: Rc<Hub>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(wacore_noise::framing::FRAME_MAX_SIZE * 2);
    config.max_frame_size = Some(wacore_noise::framing::FRAME_MAX_SIZE * 2);
    let opening = async {
        let ws = async_tungstenite::accept_async_with_config(io, Some(config)).await?;
        let (mut tx, mut rx) = ws.split();
        let mut frames = Frames::default();
        let established = handshake(&mut tx, &mut rx, &mut frames, &hub).await?;
        anyhow::Ok((tx, rx, frames, established))
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        bail!("the client took too long to say who it is")
    };
    let (tx, rx, frames, established) = opening.or(late).await?;

    log::debug!("a client connected with {:?}", established.pattern);
    let (queue, outbound) = async_channel::bounded(OUTBOUND);
    let transport = established.transport;
    let Some(id) =
        hub.with(|service| service.open(queue, established.client_static, &established.payload))
    else {
        // The network of this number is down: no packets.
        return Ok(());
    };
    let guard = Opened { hub: &hub, id };
    let read = read_loop(rx, frames, transport.opener, &hub, id);
    let write = write_loop(tx, transport.sealer, outbound);
    let ended = write.or(read).await;
    drop(guard);
    ended
}

/// Reports the end of a connection to the service, also when its task is dropped.
struct Opened<'a> {
    hub: &'a Hub,
    id: u64,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.hub.with(|service| service.closed(self.id));
    }
}

async fn handshake<S>(
    tx: &mut WebSocketSender<S>,
    rx: &mut WebSocketReceiver<S>,
    frames: &mut Frames,
    hub: &Hub,
) -> Result<Established>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = handshake_frame(rx, frames).await?;
    let ephemeral = hub.with(|service| service.new_key());
    match noise::answer_client_hello(&hub.identity, ephemeral, &hello)? {
        Answer::Done { hello, established } => {
            tx.send(Message::binary(noise::frame(&hello)?)).await?;
            Ok(*established)
        }
        Answer::AwaitFinish { hello, pending } => {
            tx.send(Message::binary(noise::frame(&hello)?)).await?;
            let finish = handshake_frame(rx, frames).await?;
            Ok(pending.finish(&finish)?)
        }
    }
}

async fn handshake_frame<S>(
    rx: &mut WebSocketReceiver<S>,
    frames: &mut Frames,
) -> Result<bytes::BytesMut>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        if let Some(frame) = frames.next_frame() {
            return Ok(frame);
        }
        frames.check_handshake_size()?;
        match rx.next().await.context("closed in the handshake")?? {
            Message::Binary(data) => frames.feed(&data)?,
            Message::Close(_) => bail!("closed in the handshake"),
            _ => {}
        }
    }
}

async fn read_loop<S>(
    mut rx: WebSocketReceiver<S>,
    mut frames: Frames,
    mut opener: Opener,
    hub: &Hub,
    id: u64,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        while let Some(frame) = frames.next_frame() {
            let node = opener.open(frame)?;
            hub.with(|service| service.stanza(id, node));
        }
        match rx.next().await {
            Some(Ok(Message::Binary(data))) => frames.feed(&data)?,
            Some(Ok(Message::Close(_))) | None => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(e.into()),
        }
        // A flood of frames on one socket must not starve the others.
        futures_lite::future::yield_now().await;
    }
}

/// Ends when the service has closed the queue and it is empty.
async fn write_loop<S>(
    mut tx: WebSocketSender<S>,
    mut sealer: Sealer,
    outbound: Receiver<Node>,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Ok(node) = outbound.recv().await {
        let mut wire = Vec::new();
        sealer.seal_into(&node, &mut wire)?;
        while wire.len() < BATCH
            && let Ok(more) = outbound.try_recv()
        {
            sealer.seal_into(&more, &mut wire)?;
        }
        let sent = async { tx.send(Message::binary(wire)).await.map_err(Into::into) };
        if outbound.is_closed() {
            sent.or(linger()).await?;
        } else {
            sent.await?;
        }
    }
    let closed = async { tx.close(None).await.map_err(Into::into) };
    closed.or(linger()).await?;
    // The reading half goes on until the client has answered. A socket that is dropped with something
    // unread resets the connection, and the client loses unread data: the last stanza.
    linger().await
}

async fn linger() -> Result<()> {
    smol::Timer::after(LINGER).await;
    bail!("the client does not read")
}
