//! A fuzz target: answers of servers, without a connection.

use futures_lite::future::block_on;
use http_types::Method;

use super::head::{self, Framing, Head, RawHead};
use crate::net::chunked::Chunked;

/// Parses `data` as an answer and reads its headers and body.
pub fn read(data: &[u8]) {
    for method in [Method::Get, Method::Head] {
        let Ok(head) = block_on(head::read(&mut &data[..], method)) else {
            continue;
        };
        let Head {
            raw, rest, framing, ..
        } = head;
        assert!((100..600).contains(&raw.status));
        let is_plain = |value: &[u8]| !value.iter().any(|byte| b"\r\n\0".contains(byte));
        assert!(raw.headers.iter().all(|(_, value)| is_plain(value)));
        if framing == Framing::Chunked {
            decode(&rest);
        }
        let known = raw.clone();
        let response = raw.into_response();
        // http-types panics here over values that it cannot hold.
        let _ = (response.content_type(), response.status(), response.len());
        for (name, value) in response.iter() {
            assert!(
                value.iter().all(|value| value.as_str().is_ascii()),
                "{name}"
            );
        }
        assert_eq!(response.ext().get::<RawHead>(), Some(&known));
    }
}

fn decode(rest: &[u8]) {
    let (mut chunked, mut at, mut out) = (Chunked::default(), 0, [0; 64]);
    while at < rest.len() {
        match chunked.decode(&rest[at..], &mut out) {
            Ok(step) if step.done => return,
            Ok(step) => {
                assert!(step.used > 0 || step.written > 0, "it goes on");
                at += step.used;
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_parse_or_fail_without_a_panic() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/seeds/answer");
        // A fixed seed: the same input on every run.
        let mut random = fastrand::Rng::with_seed(7);
        let mut count = 0;
        for entry in std::fs::read_dir(seeds).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            read(&seed);
            count += 1;
            for end in 0..seed.len() {
                read(&seed[..end]);
            }
            for _ in 0..1_000 {
                let mut data = seed.clone();
                for _ in 0..random.usize(1..5) {
                    let at = random.usize(..data.len());
                    match random.u8(..4) {
                        0 => data[at] = random.u8(..),
                        1 => data.insert(at, *random.choice(b"\r\n :;,\xe9\0").unwrap()),
                        2 => drop(data.remove(at)),
                        _ => data.extend_from_within(at..(at + 20).min(data.len())),
                    }
                }
                read(&data);
            }
        }
        assert!(count >= 6, "the seeds are there");
    }
}
