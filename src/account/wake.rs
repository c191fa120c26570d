//! How the tasks of an account wait.

use std::time::Duration;

use futures_lite::FutureExt as _;

use crate::clock;

/// Waits for a message on `kicked`, or for `rest` to pass if it is given. False once the channel is closed: the
/// account ends.
pub async fn kick_or_rest(kicked: &async_channel::Receiver<()>, rest: Option<Duration>) -> bool {
    let kick = async { kicked.recv().await.is_ok() };
    let timer = async {
        match rest {
            Some(rest) => clock::sleep(rest).await,
            None => std::future::pending().await,
        }
        true
    };
    kick.or(timer).await
}
