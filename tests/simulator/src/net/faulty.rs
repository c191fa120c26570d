//! Files that come as no file should.

use std::fs::File;
use std::future::Future as _;
use std::io::{self, ErrorKind, Read as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_lite::AsyncRead;
use smol::Timer;

use crate::service::TransferFault;

/// How long a connection that stalls stays open: longer than any client waits.
const STALL: Duration = Duration::from_secs(600);

/// Returns when a client that waits has waited too long.
pub(super) async fn stall() {
    Timer::after(STALL).await;
}

/// A file in transfer, with its faults.
pub(super) struct Faulty {
    file: io::Take<File>,
    len: u64,
    at: u64,
    fault: Option<TransferFault>,
    pause: Option<Timer>,
}

impl Faulty {
    /// `len` is the length of `file` in bytes.
    pub(super) fn new(file: io::Take<File>, len: u64, fault: Option<TransferFault>) -> Faulty {
        Faulty {
            file,
            len,
            at: 0,
            fault,
            pause: None,
        }
    }

    /// Waits once; the next call starts a new pause.
    fn rest(&mut self, cx: &mut Context<'_>, pause: Duration) -> Poll<()> {
        let timer = self.pause.get_or_insert_with(|| Timer::after(pause));
        ready!(Pin::new(timer).poll(cx));
        self.pause = None;
        Poll::Ready(())
    }
}

impl AsyncRead for Faulty {
    // The files are local: reading them takes no time that counts.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let half = this.len / 2;
        let most = match this.fault {
            Some(TransferFault::Break) if this.at >= half => {
                return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
            }
            Some(TransferFault::Stall) if this.at >= half => {
                ready!(this.rest(cx, STALL));
                return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
            }
            Some(TransferFault::Break | TransferFault::Stall) => half - this.at,
            Some(TransferFault::Drip(ms)) => {
                ready!(this.rest(cx, Duration::from_millis(ms)));
                1
            }
            _ => u64::MAX,
        };
        let most = usize::try_from(most).map_or(buf.len(), |most| most.min(buf.len()));
        let mut n = this.file.read(&mut buf[..most])?;
        if this.fault == Some(TransferFault::Corrupt) && this.at == 0 && n > 0 {
            buf[0] ^= 1;
        }
        if n == 0 {
            let more = match this.fault {
                Some(TransferFault::Overlong(more)) => (this.len + more).saturating_sub(this.at),
                Some(TransferFault::Endless) => u64::MAX,
                _ => 0,
            };
            n = usize::try_from(more).map_or(buf.len(), |more| more.min(buf.len()));
            buf[..n].fill(b'x');
        }
        this.at += n as u64;
        Poll::Ready(Ok(n))
    }
}
