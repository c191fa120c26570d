//! A webhook receiver, which hands deliveries to the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use serde_json::Value;

use super::DEADLINE;

/// One request that came in.
#[derive(Debug, Clone)]
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

/// What a receiver answers.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Header lines, each with its line end.
    pub headers: String,
    pub body: String,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply {
            status,
            headers: String::new(),
            body: "ok".to_owned(),
        }
    }
}

type Answers = Arc<dyn Fn(&Delivery) -> Reply + Send + Sync>;

/// Listens until the test ends, with a thread for each connection.
pub struct Receiver {
    address: SocketAddr,
    deliveries: mpsc::Receiver<Delivery>,
}

impl Receiver {
    /// Answers everything with 200.
    pub fn start() -> Receiver {
        Receiver::with_statuses(Vec::new())
    }

    /// Answers the first requests with these statuses, all others with 200.
    pub fn with_statuses(statuses: Vec<u16>) -> Receiver {
        let statuses = Mutex::new(statuses.into_iter());
        Receiver::answering(move |_| {
            let next = statuses.lock().expect("statuses").next();
            Reply::status(next.unwrap_or(200))
        })
    }

    /// Answers by `answer`, after the test was notified of the request.
    pub fn answering(answer: impl Fn(&Delivery) -> Reply + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, deliveries) = mpsc::channel();
        let answer: Answers = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                thread::spawn(move || serve(&stream, &sender, &answer));
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

    /// Deliveries that were not taken yet.
    pub fn waiting(&self) -> Vec<Delivery> {
        self.deliveries.try_iter().collect()
    }
}

fn serve(
    stream: &TcpStream,
    sender: &mpsc::Sender<Delivery>,
    answer: &Answers,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
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
        let delivery = Delivery {
            headers,
            body: serde_json::from_slice(&body).expect("webhooks carry JSON"),
        };
        // Before the answer, so that later requests on other connections are after it.
        if sender.send(delivery.clone()).is_err() {
            return Ok(());
        }
        let reply = answer(&delivery);
        // In one write: the peer would delay the ACK of a part.
        let text = format!(
            "HTTP/1.1 {} Status\r\nContent-Length: {}\r\n{}\r\n{}",
            reply.status,
            reply.body.len(),
            reply.headers,
            reply.body
        );
        let mut out = stream;
        out.write_all(text.as_bytes())?;
    }
}
