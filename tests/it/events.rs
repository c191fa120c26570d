//! The event log over HTTP: list, long poll, stream.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";

/// The texts of a page's messages.
fn texts(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("events");
    let texts = events.iter().filter_map(|event| event["text"].as_str());
    texts.collect()
}

/// An event stream, read block by block.
struct Stream {
    reader: BufReader<TcpStream>,
    /// The rest of the current chunk.
    chunk: Vec<u8>,
}

/// One block of a stream.
#[derive(Debug, Default)]
struct Block {
    id: Option<String>,
    event: Option<String>,
    data: Option<Value>,
    is_comment: bool,
}

impl Stream {
    /// Connects; the status, and the stream if that is 200, the body if not.
    fn open(server: &Server, query: &str, last: Option<&str>) -> Result<Stream, (u16, Value)> {
        let address = server.base().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let last = last.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        write!(
            stream,
            "GET /events{query} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n"
        )
        .expect("asked");
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_ascii_lowercase());
        }
        let status: u16 = head[0][9..12].parse().expect("a status");
        let value = |name: &str| {
            let start = format!("{name}: ");
            let line = head.iter().find(|line| line.starts_with(&start));
            line.map(|line| line[start.len()..].to_owned())
        };
        if status != 200 {
            let length = value("content-length").expect("a length");
            let mut body = vec![0; length.parse().expect("a number")];
            reader.read_exact(&mut body).expect("a body");
            return Err((status, serde_json::from_slice(&body).expect("JSON")));
        }
        let kind = value("content-type").expect("a type");
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        assert_eq!(value("transfer-encoding").as_deref(), Some("chunked"));
        let mut stream = Stream {
            reader,
            chunk: Vec::new(),
        };
        // It says at once that it is there, and where.
        let first = stream.block().expect("a first block");
        assert!(first.is_comment && first.data.is_none(), "{first:?}");
        Ok(stream)
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.chunk.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.chunk.drain(..=end).collect();
                let line = String::from_utf8(line).expect("UTF-8");
                return Some(line.trim_end_matches('\n').to_owned());
            }
            let mut size = String::new();
            self.reader.read_line(&mut size).expect("a chunk");
            let size = usize::from_str_radix(size.trim_end(), 16).expect("a chunk's size");
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).expect("a whole chunk");
            if size == 0 {
                assert!(self.chunk.is_empty(), "it ends between two blocks");
                return None;
            }
            self.chunk.extend_from_slice(&chunk[..size]);
        }
    }

    /// The next block; `None` at the end of the stream.
    fn block(&mut self) -> Option<Block> {
        let mut block = Block::default();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(block);
            }
            match line.split_once(": ") {
                Some(("id", id)) => block.id = Some(id.to_owned()),
                Some(("event", event)) => block.event = Some(event.to_owned()),
                Some(("data", data)) => {
                    block.data = Some(serde_json::from_str(data).expect("JSON"));
                }
                Some(("retry", _)) => {}
                _ => {
                    assert_eq!(line, ":");
                    block.is_comment = true;
                }
            }
        }
    }

    /// The next block with an event.
    fn event(&mut self) -> Block {
        loop {
            let block = self.block().expect("the stream goes on");
            if block.data.is_some() {
                return block;
            }
        }
    }
}

#[test]
fn events_are_listed_by_number() {
    let world = World::new();
    world.walks(&["GET /events"]);
    let server = world.server();
    // Before anything happened.
    let page = world.get(&server, "/events");
    assert_eq!(page["events"], json!([]));
    assert_eq!((&page["next"], &page["last"]), (&json!(0), &json!(0)));
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let carol = world.phone(CAROL, "Carol");
    let id = carol.say(ALICE, "one");
    carol.say(BOB, "two");
    carol.say(ALICE, "three");
    let all = eventually("three messages", || {
        let page = world.get(&server, "/events?types=message");
        (texts(&page).len() == 3).then_some(page)
    });
    let events = all["events"].as_array().expect("events");
    assert_eq!(all["hasMore"], false);
    assert_eq!(all["next"], all["last"]);
    // An event is what a webhook gets, with its number.
    let first = events.iter().find(|event| event["text"] == "one");
    let first = first.expect("the first message");
    assert_eq!(first["event"], "message");
    assert_eq!(first["messageId"], id);
    assert_eq!(first["accountId"], "alice");
    let number = first["number"].as_u64().expect("a number");
    let event_id = first["eventId"].as_str().expect("an id");
    assert!(event_id.ends_with(&format!("_{number}")), "{event_id}");

    // Each account's are its own.
    let bobs = world.get(&server, "/events?accountId=bob");
    assert_eq!(texts(&bobs), ["two"]);
    for event in bobs["events"].as_array().expect("events") {
        assert_eq!(event["accountId"], "bob");
    }
    let statuses = world.get(&server, "/events?types=account.status,account.qr");
    let kinds = statuses["events"].as_array().expect("events");
    assert!(kinds.len() >= 4, "{statuses}");
    for event in kinds {
        let kind = event["event"].as_str().expect("a kind");
        assert!(kind.starts_with("account."), "{kind}");
    }

    // Page by page: nothing twice, nothing left out.
    let (mut after, mut numbers) = (0, Vec::new());
    loop {
        let page = world.get(&server, &format!("/events?after={after}&limit=2"));
        let events = page["events"].as_array().expect("events");
        assert!(events.len() <= 2);
        numbers.extend(events.iter().map(|event| event["number"].as_u64()));
        after = page["next"].as_u64().expect("a number");
        if page["hasMore"] == false {
            break;
        }
    }
    let expected: Vec<Option<u64>> = (1..=after).map(Some).collect();
    assert_eq!(numbers, expected);
    let behind = world.get(&server, &format!("/events?after={event_id}&types=message"));
    assert_eq!(texts(&behind).len(), 2);
    let latest = world.get(&server, "/events?after=latest");
    assert_eq!(latest["events"], json!([]));
    assert_eq!(latest["next"], all["last"]);

    for (query, status, field) in [
        ("after=x", 400, json!("after")),
        ("after=-1", 400, json!("after")),
        ("limit=x", 400, json!("limit")),
        ("wait=x", 400, json!("wait")),
        ("types=message,nonsense", 400, json!("types")),
        ("accountId=nobody", 404, Value::Null),
        ("after=999999", 410, Value::Null),
        ("after=evt_0123456789abcdef_1", 410, Value::Null),
    ] {
        let answer = world.api(&server, "GET", &format!("/events?{query}"), None);
        let answer = answer.expect(status);
        assert_eq!(answer["field"], field, "{query}: {answer}");
        if status == 410 {
            assert_eq!(answer["firstAvailable"], 1, "{answer}");
        }
    }
}

#[test]
fn a_wait_ends_with_an_event_or_with_the_server() {
    let world = World::new();
    let mut server = world.options().with("events.max_readers", 2).start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let wait = |seconds: u32| format!("/events?after=latest&types=message&wait={seconds}");
    let began = Instant::now();
    let nothing = world.get(&server, &wait(1));
    assert_eq!(nothing["events"], json!([]));
    assert!(began.elapsed() >= Duration::from_secs(1));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let after = nothing["next"].as_u64().expect("a number");
            let path = format!("/events?after={after}&types=message&wait=60");
            world.get(&server, &path)
        });
        bob.say(ALICE, "news");
        assert_eq!(texts(&waiting.join().expect("an answer")), ["news"]);
    });
    // A wait is no reason for the server to stop late, and gets its answer.
    let asked = thread::scope(|scope| {
        let mark = server.log_mark();
        let mut stream = Stream::open(&server, "", None).expect("a stream");
        let waiting = scope.spawn(|| {
            loop {
                // The probe below may have the place for a moment.
                let answer = world.api(&server, "GET", &wait(60), None);
                if answer.status != 429 {
                    return answer;
                }
            }
        });
        // Both places are taken once it waits.
        eventually("the wait", || {
            let probe = world.api(&server, "GET", &wait(1), None);
            (probe.status == 429).then_some(())
        });
        server.signal("TERM");
        server.wait_log_from(mark, "stopping");
        while stream.block().is_some() {}
        waiting.join().expect("an answer")
    });
    assert_eq!(asked.expect(200)["events"], json!([]));
    assert!(server.wait().success());
}

#[test]
fn a_stream_resumes_after_the_last_event() {
    let world = World::new();
    let server = world.options().with("events.heartbeat", "1s").start();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let carol = world.phone(CAROL, "Carol");
    // From now on, without earlier events.
    let mut stream = Stream::open(&server, "?types=message&accountId=alice", None).expect("open");
    carol.say(BOB, "not for it");
    carol.say(ALICE, "one");
    let one = stream.event();
    assert_eq!(one.event.as_deref(), Some("message"));
    let data = one.data.expect("data");
    assert_eq!(data["text"], "one");
    assert_eq!(data["eventId"].as_str(), one.id.as_deref());
    // A stream without matching events gets heartbeats, and its position follows the log.
    carol.say(BOB, "not for it either");
    let beat = loop {
        let beat = stream.block().expect("it goes on");
        assert!(beat.is_comment, "{beat:?}");
        if beat.id.is_some() {
            break beat;
        }
    };
    assert_ne!(beat.id, one.id);
    drop(stream);
    carol.say(ALICE, "two");
    carol.say(ALICE, "three");
    eventually("both", || {
        let page = world.get(&server, "/events?types=message&accountId=alice");
        (texts(&page).len() == 3).then_some(())
    });
    // `after` of the address is the older word.
    let query = "?types=message&accountId=alice&after=0";
    let mut again = Stream::open(&server, query, beat.id.as_deref()).expect("open");
    for text in ["two", "three"] {
        assert_eq!(again.event().data.expect("data")["text"], text);
    }
    let mut whole = Stream::open(&server, "?types=message&after=0", None).expect("open");
    let mut all: Vec<String> = (0..5)
        .map(|_| whole.event().data.expect("data"))
        .map(|data| data["text"].as_str().expect("a text").to_owned())
        .collect();
    all.sort_unstable();
    let expected = ["not for it", "not for it either", "one", "three", "two"];
    assert_eq!(all, expected);
    for (last, status) in [("x", 400), ("999999", 410), ("evt_00_1", 410)] {
        let refused = Stream::open(&server, "", Some(last))
            .err()
            .expect("refused");
        assert_eq!(refused.0, status, "{refused:?}");
    }
}

#[test]
fn a_reader_behind_the_log_gets_410() {
    let world = World::new();
    let server = world.options().with("events.max_bytes", "64 KiB").start();
    world.pair(&server, "alice", ALICE);
    let bob = world.phone(BOB, "Bob");
    let first = world.get(&server, "/events?limit=1");
    let id = first["events"][0]["eventId"].as_str().expect("an id");
    let long = "x".repeat(10_000);
    for _ in 0..8 {
        bob.say(ALICE, &long);
    }
    let gone = eventually("the log's end", || {
        let answer = world.api(&server, "GET", "/events?after=1", None);
        (answer.status == 410).then(|| answer.json())
    });
    let available = gone["firstAvailable"].as_u64().expect("a number");
    assert!(available > 2, "{gone}");
    let words = gone["error"].as_str().expect("words");
    assert!(
        words.contains(&format!("after={}", available - 1)),
        "{words}"
    );
    let (status, told) = Stream::open(&server, "", Some(id)).err().expect("refused");
    assert_eq!(status, 410);
    assert!(told["firstAvailable"].as_u64() >= Some(available), "{told}");
    // As it says.
    let words = told["error"].as_str().expect("words");
    let after = words.rsplit('=').next().expect("a number");
    let rest = world.api(&server, "GET", &format!("/events?after={after}"), None);
    if rest.status != 410 {
        let rest = rest.expect(200);
        assert_eq!(rest["events"][0]["number"], told["firstAvailable"]);
    }
    // Without a position the list starts at the oldest event.
    let rest = world.get(&server, "/events");
    assert!(
        rest["events"][0]["number"].as_u64() >= Some(available),
        "{rest}"
    );
}

#[test]
fn waiting_readers_are_bounded_and_leaving_ones_make_room() {
    let world = World::new();
    let server = world.options().with("events.max_readers", 2).start();
    let stream = || Stream::open(&server, "", None);
    let first = stream().expect("open");
    let _second = stream().expect("open");
    let (status, told) = stream().err().expect("refused");
    assert_eq!(status, 429);
    assert!(told["retryAfter"].is_u64(), "{told}");
    let waiting = world.api(&server, "GET", "/events?wait=1", None);
    waiting.expect(429);
    assert!(waiting.header("retry-after").is_some());
    // Requests that do not wait use no slot.
    world.get(&server, "/events");
    world.get(&server, "/ping");
    // Nothing happens, and yet it is noticed that one is gone.
    drop(first);
    eventually("a place", || stream().ok());
}
