//! wacore's transport over our WebSocket: a pipe of bytes and the reason why it ended.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_lite::future;
use futures_rustls::rustls::ClientConfig;
use http_types::Url;
use smol::Executor;
use whatsapp_rust::wacore::net::{
    DisconnectReason, Transport, TransportEvent, TransportFactory, WHATSAPP_WEB_ORIGIN,
};

use crate::clock;
use crate::net::dial::DialError;
use crate::net::ws::{self, Closed, WsError};
use crate::runtime::tasks::{self, Kind};

/// Events that wait for the client. When it is busy, the server has to wait: the socket is not read.
const EVENTS: usize = 16;

/// Opens WebSockets to one address.
pub struct WsTransportFactory {
    url: Url,
    tls: Arc<ClientConfig>,
    executor: Arc<Executor<'static>>,
    timeout: Duration,
}

impl WsTransportFactory {
    /// `timeout` is for connecting, and for each write.
    pub fn new(
        url: Url,
        tls: Arc<ClientConfig>,
        executor: Arc<Executor<'static>>,
        timeout: Duration,
    ) -> WsTransportFactory {
        WsTransportFactory {
            url,
            tls,
            executor,
            timeout,
        }
    }
}

#[async_trait]
impl TransportFactory for WsTransportFactory {
    async fn create_transport(
        &self,
    ) -> Result<(Arc<dyn Transport>, async_channel::Receiver<TransportEvent>), anyhow::Error> {
        let opened = ws::connect(&self.url, WHATSAPP_WEB_ORIGIN, &self.tls, self.timeout).await;
        if let Err(WsError::Dial(DialError::Tls { clock: true, .. })) = &opened {
            clock::distrust();
        }
        let (sender, receiver) = opened?;
        let (events, incoming) = async_channel::bounded(EVENTS);
        // The channel is new and empty: there is room.
        let _ = events.try_send(TransportEvent::Connected);
        let pumping = pump(receiver, events);
        tasks::guard(&self.executor, Kind::Transport, "a WebSocket", pumping).detach();
        Ok((Arc::new(WsTransport { sender }), incoming))
    }
}

/// One open WebSocket. Dropping it closes the connection.
struct WsTransport {
    sender: ws::Sender,
}

#[async_trait]
impl Transport for WsTransport {
    async fn send(&self, data: Bytes) -> Result<(), anyhow::Error> {
        Ok(self.sender.send(data).await?)
    }

    async fn disconnect(&self) {
        self.sender.close().await;
    }
}

/// Carries messages to the client until either side ends it.
async fn pump(mut receiver: ws::Receiver, events: async_channel::Sender<TransportEvent>) {
    let closed = loop {
        let message = match receiver.next().await {
            Ok(message) => message,
            Err(closed) => break closed,
        };
        let deliver = async {
            let event = TransportEvent::DataReceived(message);
            events.send(event).await.is_ok()
        };
        let stopped = async {
            receiver.stopped().await;
            false
        };
        if !future::or(deliver, stopped).await {
            break Closed::Here;
        }
    };
    let event = TransportEvent::Disconnected(match &closed {
        Closed::Server { code, reason } => DisconnectReason::ServerClose {
            code: *code,
            reason: reason.clone(),
        },
        Closed::Ended => DisconnectReason::StreamEnded,
        Closed::Failed(error) => DisconnectReason::ReadError(error.clone()),
        Closed::Here => DisconnectReason::Unknown,
    });
    // A client that still listens makes room in time; one that dropped the transport or the events
    // does not want to know.
    future::or(
        async {
            let _ = events.send(event).await;
        },
        receiver.stopped(),
    )
    .await;
}
