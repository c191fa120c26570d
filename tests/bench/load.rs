//! Concurrent requests, each timed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// One HTTP connection that is kept between requests, without anything that could slow it down.
pub struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// To a server at `http://ADDRESS:PORT`.
    pub fn open(base: &str) -> Connection {
        let host = base.strip_prefix("http://").expect("a plain address");
        let stream = TcpStream::connect(host).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        Connection {
            reader: BufReader::new(stream),
            host: host.to_owned(),
        }
    }

    /// Sends a request with a JSON body and returns the answer's JSON; anything but 200 ends the
    /// benchmark.
    pub fn json(&mut self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = "application/json";
        self.request(method, path, kind, body.len() as u64, |stream| {
            stream.write_all(body.as_bytes())
        })
    }

    /// The same with a body of `length` bytes that `write` writes.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        length: u64,
        write: impl FnOnce(&mut TcpStream) -> std::io::Result<()>,
    ) -> Value {
        let host = &self.host;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let stream = self.reader.get_mut();
        stream.write_all(head.as_bytes()).expect("sent");
        write(stream).expect("sent");
        let (status, bytes) = self.answer();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(status, 200, "{method} {path}: {text}");
        serde_json::from_slice(&bytes).expect("JSON")
    }

    fn answer(&mut self) -> (u16, Vec<u8>) {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("an answer");
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {line:?}"));
        let mut length = None;
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("a head");
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            }
        }
        let mut body = vec![0; length.expect("a Content-Length")];
        self.reader.read_exact(&mut body).expect("a body");
        (status, body)
    }
}

/// How long each of many actions took, and all of them together.
pub struct Timed {
    pub seconds: f64,
    /// Ascending.
    micros: Vec<u64>,
}

impl Timed {
    pub fn new(seconds: f64, mut micros: Vec<u64>) -> Timed {
        assert!(!micros.is_empty(), "nothing was timed");
        micros.sort_unstable();
        Timed { seconds, micros }
    }

    pub fn per_second(&self) -> f64 {
        self.micros.len() as f64 / self.seconds
    }

    /// Milliseconds within which `percent` of the actions were done.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.micros.len() * percent).div_ceil(100).max(1);
        self.micros[rank - 1] as f64 / 1e3
    }
}

/// Makes `count` requests, `concurrency` at a time, each on a new connection.
pub fn run(
    base: &str,
    count: usize,
    concurrency: usize,
    request: impl Fn(&mut Connection, usize) + Sync,
) -> Timed {
    let mut connections: Vec<_> = (0..concurrency).map(|_| Connection::open(base)).collect();
    let (next, request) = (AtomicUsize::new(0), &request);
    let start = Instant::now();
    let micros = thread::scope(|scope| {
        let workers: Vec<_> = connections
            .iter_mut()
            .map(|connection| {
                let next = &next;
                scope.spawn(move || {
                    let mut micros = Vec::new();
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= count {
                            return micros;
                        }
                        let began = Instant::now();
                        request(connection, n);
                        micros.push(micros_of(began.elapsed()));
                    }
                })
            })
            .collect();
        let done = workers.into_iter().map(|it| it.join().expect("answers"));
        done.flatten().collect()
    });
    Timed::new(start.elapsed().as_secs_f64(), micros)
}

fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
