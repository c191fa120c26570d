//! A webhook receiver: takes what is posted to it and hands it to the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use super::DEADLINE;

/// One request that came in.
#[derive(Debug)]
pub struct Delivery {
    /// Lower-case name and value.
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Delivery {
    /// The header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

/// Answers every request with the next of its statuses (200 after the last).
pub struct Receiver {
    address: SocketAddr,
    deliveries: mpsc::Receiver<Delivery>,
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::with_statuses(Vec::new())
    }

    /// Answers the first requests with these statuses.
    pub fn with_statuses(statuses: Vec<u16>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, deliveries) = mpsc::channel();
        let mut statuses = statuses.into_iter();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One connection after another, each until it closes: order is kept.
                let _ = serve(&stream, &sender, &mut statuses);
            }
        });
        Receiver {
            address,
            deliveries,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next delivery.
    pub fn next(&self) -> Delivery {
        self.deliveries
            .recv_timeout(DEADLINE)
            .expect("a webhook delivery")
    }

    /// What has come and was not taken yet.
    pub fn waiting(&self) -> Vec<Delivery> {
        self.deliveries.try_iter().collect()
    }
}

fn serve(
    stream: &TcpStream,
    sender: &mpsc::Sender<Delivery>,
    statuses: &mut impl Iterator<Item = u16>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers
            .iter()
            .find(|(n, _)| n == "content-length")
            .and_then(|(_, v)| v.parse().ok())
            .expect("webhooks are sent with a Content-Length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let status = statuses.next().unwrap_or(200);
        let delivery = Delivery {
            headers,
            body: serde_json::from_slice(&body).expect("webhooks carry JSON"),
        };
        let mut out = stream;
        write!(
            out,
            "HTTP/1.1 {status} Status\r\nContent-Length: 2\r\n\r\nok"
        )?;
        if sender.send(delivery).is_err() {
            return Ok(());
        }
    }
}
