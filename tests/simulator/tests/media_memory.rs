//! A large file passes through the media service without passing through memory. Alone in its binary:
//! the memory of the process is measured.
#![cfg(target_os = "linux")]

mod common;

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::Device;
use common::files::{media_conn, send};
use futures_lite::io::{AsyncRead, BufReader};
use http_types::{Body, Method};
use sha2::{Digest as _, Sha256};
use wildcat_simulator::Simulator;

const ALICE: &str = "15550000001";
const SIZE: usize = 50 * 1024 * 1024;
/// What 50 MB may add to the peak: far less than they are.
const ALLOWED: u64 = 6 * 1024 * 1024;

/// Bytes that are made as they are read.
struct Stream {
    at: usize,
}

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        let n = buf.len().min(SIZE - self.at);
        for (offset, slot) in buf[..n].iter_mut().enumerate() {
            *slot = byte(self.at + offset);
        }
        self.at += n;
        Poll::Ready(Ok(n))
    }
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("a peak");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    kib * 1024
}

#[test]
fn fifty_megabytes_go_up_and_down_in_flat_memory() {
    smol::block_on(async {
        let sim = Simulator::start().expect("a simulator");
        let mut alice = Device::new(1);
        alice.pair(&sim, ALICE).await;
        let mut raw = alice.connect(&sim, ALICE).await;
        let (auth, _) = media_conn(&mut raw).await;
        let mut hash = Sha256::new();
        let piece: Vec<u8> = (0..251 * 1024).map(byte).collect();
        for from in (0..SIZE).step_by(piece.len()) {
            hash.update(&piece[..piece.len().min(SIZE - from)]);
        }
        let token = BASE64_URL_SAFE_NO_PAD.encode(hash.finalize());
        let target = format!("/mms/video/{token}?auth={auth}&token={token}");

        let before = peak();
        let body = Body::from_reader(BufReader::new(Stream { at: 0 }), Some(SIZE));
        let mut answer = send(&sim, Method::Post, &target, body).await;
        assert_eq!(u16::from(answer.status()), 200);
        let text = answer.body_string().await.expect("text");
        let stored: serde_json::Value = serde_json::from_str(&text).expect("JSON");

        let path = stored["direct_path"].as_str().expect("a path");
        let mut answer = send(&sim, Method::Get, path, Body::empty()).await;
        let mut got = 0;
        let mut piece = vec![0; 64 * 1024];
        loop {
            let n = futures_lite::AsyncReadExt::read(&mut answer, &mut piece)
                .await
                .expect("bytes");
            if n == 0 {
                break;
            }
            let right = piece[..n]
                .iter()
                .enumerate()
                .all(|(offset, seen)| *seen == byte(got + offset));
            assert!(right, "wrong bytes after {got}");
            got += n;
        }
        assert_eq!(got, SIZE);
        let grown = peak().saturating_sub(before);
        assert!(grown < ALLOWED, "the peak grew by {grown} bytes");
    });
}
