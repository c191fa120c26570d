//! Moves the clocks of a server.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::{DEADLINE, ServerOptions};

/// Moves the clocks of the server that was started with these options.
pub struct Time {
    server: PathBuf,
    own: UnixDatagram,
}

impl Time {
    /// To be called before the server is started. Release binaries ignore it.
    pub fn of(options: &mut ServerOptions) -> Time {
        let directory = options.data.parent().expect("a parent");
        let (server, own) = (directory.join("time"), directory.join("time-of-test"));
        for of_one_before in [&server, &own] {
            let _ = std::fs::remove_file(of_one_before);
        }
        options.put("WILDCAT_TEST_CLOCK", server.display());
        let own = UnixDatagram::bind(own).expect("a socket");
        own.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Time { server, own }
    }

    /// So much time passes at once, and has passed when this returns: pauses end that were shorter, and stamps are
    /// later. Requests, sockets and the simulator do not notice; what the client of WhatsApp sleeps lasts a second
    /// at least, so that awaited answers can arrive.
    pub fn passes(&self, length: Duration) {
        let millis = length.as_millis().to_string();
        self.own
            .send_to(millis.as_bytes(), &self.server)
            .expect("sent");
        self.own.recv(&mut [0]).expect("it has passed");
    }
}
