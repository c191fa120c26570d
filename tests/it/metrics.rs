//! `GET /metrics`: what a Prometheus server scrapes.

use serde_json::json;

use crate::support::{Receiver, Reply, Server, World, eventually};

const ALICE: &str = "491700000001";
const BOB: &str = "491700000002";
const CAROL: &str = "491700000003";

fn scrape(world: &World, server: &Server, accept: &str) -> (String, String) {
    let url = format!("{}/metrics", server.base());
    let answer = world.http().get_with(&url, &[("Accept", accept)]);
    assert_eq!(answer.status, 200);
    let kind = answer.header("content-type").expect("a type").to_owned();
    (kind, String::from_utf8(answer.bytes).expect("text"))
}

/// The value of a sample, by its name and labels.
fn value(text: &str, sample: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in {text}"))
        .parse()
        .expect("a number")
}

#[test]
fn metrics_count_what_happened_and_name_nobody() {
    let world = World::new();
    world.walks(&["GET /metrics"]);
    let options = world
        .options()
        .with("webhooks.retry_first", "100ms")
        .with("webhooks.retry_max", "100ms")
        .with("webhooks.give_up_after", "1s");
    let server = options.start();
    world.pair(&server, "alice", ALICE);
    world.pair(&server, "bob", BOB);
    let carol = world.phone(CAROL, "Carol");
    let takes = Receiver::start();
    let refuses = Receiver::answering(|_| Reply::status(503));
    for receiver in [&takes, &refuses] {
        let hook = json!({"url": receiver.url(), "events": ["message"], "accountId": "alice"});
        world.post(&server, "/webhooks", &hook).expect(201);
    }

    carol.say(ALICE, "in");
    let send = json!({"to": CAROL, "message": "out"});
    world
        .post(&server, "/accounts/bob/message/send", &send)
        .expect(200);
    let picture = std::fs::read("tests/fixtures/media/small.png").expect("a picture");
    let image = json!({"to": CAROL, "base64": crate::media_in::base64(&picture)});
    world
        .post(&server, "/accounts/bob/message/send/image", &image)
        .expect(200);
    let text = eventually("a dead letter", || {
        let (kind, text) = scrape(&world, &server, "*/*");
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        (value(&text, "wildcat_webhook_dead_letters_total") == 1.0).then_some(text)
    });
    for (sample, expected) in [
        ("wildcat_accounts{status=\"connected\"}", 2.0),
        ("wildcat_accounts{status=\"logged_out\"}", 0.0),
        ("wildcat_messages_received_total", 1.0),
        ("wildcat_messages_sent_total", 2.0),
        ("wildcat_send_seconds_count", 2.0),
        ("wildcat_send_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("wildcat_events_total{kind=\"message.sent\"}", 2.0),
        ("wildcat_outbox_messages", 0.0),
        ("wildcat_webhooks", 2.0),
        ("wildcat_webhook_deliveries_total", 1.0),
        ("wildcat_media_bytes", picture.len() as f64),
        ("wildcat_storage_failing", 0.0),
        ("wildcat_task_panics_total", 0.0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}");
    }
    assert!(value(&text, "wildcat_webhook_failures_total") >= 2.0);
    for sample in [
        "wildcat_event_log_position",
        "wildcat_commits_total",
        "wildcat_committed_bytes_total",
        "wildcat_database_bytes",
        "wildcat_longest_step_seconds",
        "process_resident_memory_bytes",
        "process_anonymous_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(value(&text, sample) > 0.0, "{sample}");
    }
    for private in ["alice", "bob", ALICE, BOB, CAROL, "127.0.0.1"] {
        assert!(!text.contains(private), "{private} in {text}");
    }
    // Each sample has one family, whose head stands before it.
    let mut family = "";
    let mut families = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(head) => {
                family = head.split(' ').next().expect("a name");
                families.push(family);
            }
            None if line.starts_with('#') => {}
            None => assert!(line.starts_with(family), "{line} behind {family}"),
        }
    }
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count, "each family stands once");

    let accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3";
    let (kind, open) = scrape(&world, &server, accept);
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.ends_with("\n# EOF\n"), "{open}");
    assert!(open.contains("# TYPE wildcat_commits counter\n"), "{open}");
    assert!(open.contains("\nwildcat_commits_total "), "{open}");

    // Every labelled family has as many samples as its words, however many accounts there are.
    let lines = text.lines().count();
    world.pair(&server, "carl", "491700000004");
    let (_, text) = scrape(&world, &server, "*/*");
    assert_eq!(text.lines().count(), lines);
}
