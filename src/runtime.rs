//! The one executor, what supervises its tasks, how it does, and the signal to stop.

mod pulse;
pub mod tasks;

use std::os::unix::net::UnixStream;

use futures_lite::{AsyncReadExt as _, FutureExt as _, future};

pub use pulse::{Beat, Pulse, STALL, Stall};

/// The executor that every task of the server runs on; one thread drives it.
pub type Executor = smol::Executor<'static>;

/// Steps of tasks between two looks at what drives them.
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

/// Does work on a thread of its own, for which everything else goes first, and which ends with it.
///
/// # Errors
/// If there can be no thread.
pub async fn at_low_priority<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    /// Of 0 to 19, which is the last.
    const NICE: i32 = 19;

    let (done, result) = async_channel::bounded(1);
    std::thread::Builder::new()
        .name("wildcat-convert".to_owned())
        .spawn(move || {
            // Linux counts this for each thread. Where it is forbidden, the work is done all the same.
            let _ = rustix::process::setpriority_process(None, NICE);
            // The caller may have gone.
            let _ = done.try_send(work());
        })?;
    result
        .recv()
        .await
        .map_err(|_| std::io::Error::other("the work came to no end"))
}

/// Says "stop" once, to everyone, for good: a late listener hears it too.
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

    /// Gives the signal. Again is harmless.
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

/// Hears signals as a future.
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
        // An error means that signals cannot be heard any more: stopping is the safe end.
        let _ = self.stream.read(&mut byte).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_is_sticky_and_reaches_everyone() {
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
