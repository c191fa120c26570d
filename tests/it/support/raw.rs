//! HTTP as bytes on a socket, for requests that no well-behaved client sends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::{Answer, DEADLINE, Server};

/// A connection to the server.
pub struct Raw {
    pub stream: TcpStream,
    buf: Vec<u8>,
}

impl Raw {
    pub fn connect(server: &Server) -> Raw {
        Raw::to(server.address())
    }

    pub fn to(address: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(address).expect("connected"))
    }

    pub fn over(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout");
        Raw {
            stream,
            buf: Vec::new(),
        }
    }

    /// Sends as much as the server takes: one that has answered may have closed.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next answer; `None` if the connection ends before it is whole.
    pub fn reply(&mut self) -> Option<Answer> {
        let end = loop {
            match self.buf.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.fill()?,
            }
        };
        let head: Vec<u8> = self.buf.drain(..end).collect();
        let head = String::from_utf8(head).expect("a head is ASCII");
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| value.parse().expect("a length"));
        while self.buf.len() < length {
            self.fill()?;
        }
        Some(Answer {
            status,
            headers,
            bytes: self.buf.drain(..length).collect(),
        })
    }

    fn fill(&mut self) -> Option<()> {
        let mut buf = [0; 16 * 1024];
        match self.stream.read(&mut buf) {
            Ok(0) | Err(_) => None,
            Ok(read) => {
                self.buf.extend_from_slice(&buf[..read]);
                Some(())
            }
        }
    }

    /// Waits until the server closes; whether it said nothing more.
    pub fn ends(&mut self) -> bool {
        self.buf.is_empty() && self.fill().is_none()
    }
}

/// One request with only these and the required headers, and its answer.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut raw = Raw::to(address);
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    raw.send(head.as_bytes());
    raw.send(body);
    if method == "HEAD" {
        return raw.head_reply();
    }
    raw.reply().expect("an answer")
}

impl Raw {
    /// An answer without its body.
    fn head_reply(&mut self) -> Answer {
        while !self.buf.windows(4).any(|w| w == b"\r\n\r\n") {
            self.fill().expect("a head");
        }
        let head = String::from_utf8_lossy(&self.buf).into_owned();
        let status = head.split(' ').nth(1).expect("a status");
        Answer {
            status: status.parse().expect("a status"),
            headers: Vec::new(),
            bytes: Vec::new(),
        }
    }
}
