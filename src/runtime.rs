//! The executor, the supervisor of its tasks, the measurement of its steps, and the shutdown signal.

mod pulse;
pub mod tasks;

use std::os::unix::net::UnixStream;

use futures_lite::{AsyncReadExt as _, FutureExt as _, future};

pub use pulse::{Beat, Pulse, STALL, Stall};

/// The executor that every task of the server runs on; one thread drives it.
pub type Executor = smol::Executor<'static>;

/// Steps of tasks between two polls of the main future.
const BATCH: usize = 200;

/// Runs the executor's tasks on this thread until `main` resolves, and counts each step in `pulse`.
pub async fn drive<T>(executor: &Executor, pulse: &Pulse, main: impl Future<Output = T>) -> T {
    let work = async {
        loop {
            for _ in 0..BATCH {
                pulse.count(executor.tick()).await;
            }
            future::yield_now().await;
        }
    };
    main.or(work).await
}

/// Does work on a new thread of the lowest priority, which ends with the work.
///
/// # Errors
/// If the thread cannot be started, or panics.
pub async fn at_low_priority<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    /// The lowest priority.
    const NICE: i32 = 19;

    let (done, result) = async_channel::bounded(1);
    std::thread::Builder::new()
        .name("wildcat-convert".to_owned())
        .spawn(move || {
            // On Linux per thread. An error does not matter.
            let _ = rustix::process::setpriority_process(None, NICE);
            // Fails if the caller was dropped.
            let _ = done.try_send(work());
        })?;
    result
        .recv()
        .await
        .map_err(|_| std::io::Error::other("the work came to no end"))
}

/// A signal that is given once and stays given. Clones share it.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Never carries a value; closing it is the signal.
    sender: async_channel::Sender<std::convert::Infallible>,
    receiver: async_channel::Receiver<std::convert::Infallible>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let (sender, receiver) = async_channel::bounded(1);
        Shutdown { sender, receiver }
    }
}

impl Shutdown {
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Gives the signal; no-op the second time.
    pub fn trigger(&self) {
        self.sender.close();
    }

    pub fn is_triggered(&self) -> bool {
        self.receiver.is_closed()
    }

    /// Resolves once the signal was given.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let receiver = self.receiver.clone();
        async move {
            // Nothing is ever sent: this returns when the channel is closed.
            let _ = receiver.recv().await;
        }
    }

    /// The output of `future`, or `None` once the signal was given, which is looked at first: a future
    /// that never has to wait ends too.
    pub async fn run_until_triggered<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let stopped = async {
            self.wait().await;
            None
        };
        stopped.or(async { Some(future.await) }).await
    }
}

/// Unix signals as a future.
pub struct Signals {
    stream: smol::Async<UnixStream>,
}

impl Signals {
    /// # Errors
    /// When the system gives no socket or takes no handler.
    pub fn listen(signals: &[i32]) -> std::io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
        }
        Ok(Signals {
            stream: smol::Async::new(read)?,
        })
    }

    /// Resolves when one of them arrives.
    pub async fn wait(mut self) {
        let mut byte = [0; 1];
        // After an error no signal would arrive: treat it as one, so that the server stops.
        let _ = self.stream.read(&mut byte).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_is_sticky_and_reaches_all_listeners() {
        smol::block_on(async {
            let shutdown = Shutdown::new();
            let early = shutdown.wait();
            assert!(!shutdown.is_triggered());
            shutdown.clone().trigger();
            shutdown.trigger();
            early.await;
            shutdown.wait().await;
            assert!(shutdown.is_triggered());
        });
    }
}
