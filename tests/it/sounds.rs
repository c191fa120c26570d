//! Audio that is sent: conversion, and the effect of a long one on other requests.

use std::time::{Duration, Instant};

use crate::support::{Answer, Form, Raw, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CARL: &str = "491700000003";

/// A FLAC file of silence at 8 kHz: 12 bytes for half a second, and as much work as any other (RFC 9639).
fn silence(seconds: u32) -> Vec<u8> {
    /// Samples in a frame.
    const BLOCK: u32 = 4_096;
    let crc = |bytes: &[u8], bits: u32, polynomial: u32| {
        bytes.iter().fold(0_u32, |crc, byte| {
            (0..8).fold(crc ^ (u32::from(*byte) << (bits - 8)), |crc, _| {
                let out = crc >> (bits - 1) & 1;
                ((crc << 1) ^ (polynomial * out)) & ((1 << bits) - 1)
            })
        })
    };
    let mut flac = b"fLaC\x80\0\0\x22\x10\0\x10\0\0\0\0\0\0\0".to_vec();
    // 8,000 Hz, one channel, 16 bits, and no word about the length.
    flac.extend(b"\x01\xF4\x00\xF0\0\0\0\0");
    flac.extend([0; 16]);
    for number in 0..seconds * 8_000 / BLOCK {
        let mut frame = b"\xFF\xF8\xC4\x08".to_vec();
        let number = char::from_u32(number).expect("below the surrogates");
        frame.extend(number.encode_utf8(&mut [0; 4]).bytes());
        frame.push(crc(&frame, 8, 0x07) as u8);
        // One sample, which all others are.
        frame.extend([0, 0, 0]);
        let sum = crc(&frame, 16, 0x8005) as u16;
        frame.extend(sum.to_be_bytes());
        flac.extend(frame);
    }
    flac
}

fn sound(to: &str, name: &str, content: &[u8]) -> Form {
    let form = Form::new().field("to", to).field("ptt", "true");
    form.file("audio", name, "application/octet-stream", content)
}

fn send(world: &World, server: &Server, account: &str, kind: &str, form: Form) -> Answer {
    let (content_type, body) = form.build();
    let url = format!("{}/accounts/{account}/message/send/{kind}", server.base());
    world.http().send("POST", &url, &content_type, Some(body))
}

/// Sends a form and does not wait for the answer.
fn begin(server: &Server, account: &str, form: Form) -> Raw {
    let (content_type, body) = form.build();
    let mut raw = Raw::connect(server);
    let head = format!(
        "POST /accounts/{account}/message/send/audio HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw.send(head.as_bytes());
    raw.send(&body);
    raw
}

/// Whether a thread converts now.
fn converts(server: &Server) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
    threads.flatten().any(|thread| {
        // It may have ended meanwhile.
        let name = std::fs::read_to_string(thread.path().join("comm"));
        name.is_ok_and(|name| name.trim() == "wildcat-convert")
    })
}

#[test]
fn a_long_conversion_delays_no_other_and_ends_with_its_client() {
    let world = World::new();
    let server = world.server();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let carl = world.phone(CARL, "Carl");
    let tmp = world.options().data.join("tmp");
    let on_the_way = || std::fs::read_dir(&tmp).expect("tmp").count();

    // Most of an hour each: a minute of work or more.
    let long = silence(50 * 60);
    let sent: Vec<Raw> = ["one.flac", "two.flac", "three.flac"]
        .into_iter()
        .map(|name| begin(&server, "alice", sound(CARL, name, &long)))
        .collect();
    eventually("all are there, and one is in work", || {
        (on_the_way() == 3 && converts(&server)).then_some(())
    });

    // Pictures go at once, and so do short sounds, of that account and of another.
    let picture = std::fs::read("tests/fixtures/media/small.png").expect("a picture");
    let tone = std::fs::read("tests/fixtures/media/tone.mp3").expect("a sound");
    let began = Instant::now();
    for account in ["alice", "bob"] {
        let form = Form::new()
            .field("to", CARL)
            .file("image", "a.png", "image/png", &picture);
        send(&world, &server, account, "image", form).expect(200);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(3), "two pictures took {took:?}");
    send(&world, &server, "bob", "audio", sound(CARL, "a.mp3", &tone)).expect(200);
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "a short sound took {took:?}"
    );
    assert_eq!(carl.received(3).len(), 3);
    assert_eq!(on_the_way(), 3, "the long ones go on meanwhile");

    // Their clients have disconnected: they end, and leave no files.
    drop(sent);
    let began = Instant::now();
    eventually("the conversions end", || {
        (on_the_way() == 0 && !converts(&server)).then_some(())
    });
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "they ended after {took:?}");
    let messages = world.get(&server, "/messages?accountId=alice");
    assert_eq!(
        messages["pagination"]["total"], 1,
        "the picture: {messages}"
    );

    // A short conversion is finished without its client.
    drop(begin(&server, "alice", sound(CARL, "b.mp3", &tone)));
    let all = carl.received(4);
    assert_eq!(
        all[3]["media"]["mimetype"], "audio/ogg; codecs=opus",
        "{all:?}"
    );
}

/// As browsers, phones and telephone systems record, and as the receiver's phone plays it.
#[test]
fn recordings_of_every_format_arrive_as_voice_notes() {
    let world = World::new();
    let server = world
        .options()
        .with("limits.messages_per_minute", 600)
        .start();
    world.pair(&server, "alice", ALICE);
    let carl = world.phone(CARL, "Carl");
    let names = [
        "tone.webm",
        "stereo.webm",
        "tone-opus.mp4",
        "alac.m4a",
        "adpcm-ima.wav",
        "gsm.wav",
        "ima4.aifc",
        "opus.caf",
        "tone.mp2",
        "center.ogg",
    ];
    for (count, name) in names.iter().enumerate() {
        let content = std::fs::read(format!("tests/fixtures/media/{name}")).expect("a sound");
        send(
            &world,
            &server,
            "alice",
            "audio",
            sound(CARL, name, &content),
        )
        .expect(200);
        let got = carl.received(count + 1).remove(count);
        assert_eq!(
            got["media"]["error"],
            serde_json::Value::Null,
            "{name}: {got}"
        );
        assert_eq!(
            got["media"]["mimetype"], "audio/ogg; codecs=opus",
            "{name}: {got}"
        );
    }
    let pdf = sound(CARL, "a.mp3", b"%PDF-1.7\n");
    let answer = send(&world, &server, "alice", "audio", pdf).expect(400);
    let words = answer["error"].as_str().expect("words");
    assert!(
        words.contains("convert it to MP3, M4A, OGG or WAV"),
        "{words}"
    );
}
