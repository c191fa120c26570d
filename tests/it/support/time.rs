//! Time that passes at once: the clocks of a server, moved by a test.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::ServerOptions;

/// Moves the clocks of the server that was started with these options.
pub struct Time(PathBuf);

impl Time {
    /// To be called before the server is started. A released binary knows nothing of it.
    pub fn of(options: &mut ServerOptions) -> Time {
        let path = options.data.parent().expect("a parent").join("time");
        // Of a server before this one.
        let _ = std::fs::remove_file(&path);
        let variable = ("WILDCAT_TEST_CLOCK".to_owned(), path.display().to_string());
        options.env.push(variable);
        Time(path)
    }

    /// So much time passes at once: pauses end that were shorter, and stamps are later. Requests, sockets
    /// and the simulator do not notice.
    pub fn passes(&self, length: Duration) {
        let millis = length.as_millis().to_string();
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.send_to(millis.as_bytes(), &self.0).expect("sent");
    }
}
