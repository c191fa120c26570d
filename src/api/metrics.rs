//! `GET /metrics`: what a Prometheus server scrapes. No label grows with accounts, chats or people.

use std::fmt::{Display, Write as _};
use std::fs;

use http_types::headers::ACCEPT;

use super::answer::{Answer, Reply};
use super::context::{ApiContext, Req};
use super::error::ApiError;
use crate::account::Status;
use crate::clock;
use crate::event::EventKind;
use crate::metrics::{
    BOUNDS_MS, DEAD_LETTERS, DELIVERIES, FAILED_DELIVERIES, REFUSED_SENDS, SEND_TIME, Times,
};
use crate::runtime::tasks;
use crate::store::{StoreError, accounts, outbox};

/// The media type of OpenMetrics, which a scraper asks for by `Accept`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Prometheus' own text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics in one of the two text formats.
pub struct Exposition {
    open: bool,
    text: String,
}

impl Reply for Exposition {
    fn into_answer(self) -> Result<Answer, ApiError> {
        let kind = if self.open { OPEN_METRICS } else { TEXT };
        Ok(Answer::file(kind, self.text.into_bytes()))
    }

    #[cfg(test)]
    fn describe(operation: &mut super::describe::Operation) {
        let text = || schemars::json_schema!({"type": "string"});
        let words = "The metrics; as OpenMetrics if `Accept` names it";
        let content = [
            ("text/plain", text()),
            ("application/openmetrics-text", text()),
        ];
        operation.content(200, words, content);
    }
}

/// Writes one family of metrics after the other.
struct Page {
    open: bool,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Page {
    /// The head of a family. In OpenMetrics a counter's family lacks the `_total` of its samples.
    fn family(&mut self, kind: Kind, name: &str, help: &str) {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let total = match kind {
            Kind::Counter if !self.open => "_total",
            _ => "",
        };
        self.line(format_args!("# HELP {name}{total} {help}"));
        self.line(format_args!("# TYPE {name}{total} {word}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(Kind::Gauge, name, help);
        self.line(format_args!("{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(Kind::Counter, name, help);
        self.line(format_args!("{name}_total {value}"));
    }

    /// A counter or gauge with one label, for each of its values.
    fn labelled<V: Display>(
        &mut self,
        kind: Kind,
        (name, label, help): (&str, &str, &str),
        values: impl Iterator<Item = (&'static str, V)>,
    ) {
        self.family(kind, name, help);
        let total = if kind == Kind::Counter { "_total" } else { "" };
        for (word, value) in values {
            self.line(format_args!("{name}{total}{{{label}=\"{word}\"}} {value}"));
        }
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Times) {
        self.family(Kind::Histogram, name, help);
        let bounds = BOUNDS_MS.iter().map(|ms| (*ms as f64 / 1000.0).to_string());
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(times.up_to) {
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        let [.., all] = times.up_to;
        self.line(format_args!("{name}_count {all}"));
        self.line(format_args!("{name}_sum {}", times.total.as_secs_f64()));
    }
}

/// The metrics of this server. Looks at each media file, on another thread, for their bytes.
pub async fn show(req: Req, _: ()) -> Result<Exposition, ApiError> {
    let context = req.state();
    let open = req
        .header(ACCEPT)
        .is_some_and(|values| values.as_str().contains("application/openmetrics-text"));
    let files = context.about.files.clone();
    let media = smol::unblock(move || files.bytes()).await;
    let mut page = Page {
        open,
        text: String::with_capacity(8 * 1024),
    };
    write(&mut page, context)?;
    if let Ok(bytes) = media {
        page.gauge("wildcat_media_bytes", "Bytes of stored files.", bytes);
    }
    process(&mut page, context);
    if open {
        page.line("# EOF");
    }
    Ok(Exposition {
        open,
        text: page.text,
    })
}

fn write(page: &mut Page, context: &ApiContext) -> Result<(), StoreError> {
    let healths = context.accounts.health(0);
    let states = Status::ALL.iter().map(|status| {
        let count = healths.iter().filter(|account| account.status == *status);
        (status.name(), count.count())
    });
    let family = ("wildcat_accounts", "status", "Accounts, by their status.");
    page.labelled(Kind::Gauge, family, states);

    let events = context.store.appended();
    page.counter(
        "wildcat_messages_received",
        "Messages that came in from others.",
        events.of(EventKind::Message, false),
    );
    page.counter(
        "wildcat_messages_sent",
        "Messages that WhatsApp's server has acknowledged.",
        SEND_TIME.get().up_to[BOUNDS_MS.len()],
    );
    page.counter(
        "wildcat_sends_refused",
        "Messages that WhatsApp's server has refused.",
        REFUSED_SENDS.get(),
    );
    page.histogram(
        "wildcat_send_seconds",
        "Time until WhatsApp's server has acknowledged a message.",
        &SEND_TIME.get(),
    );
    let kinds = EventKind::ALL.iter().map(|kind| {
        let count = events.of(*kind, true) + events.of(*kind, false);
        (kind.name(), count)
    });
    let family = (
        "wildcat_events",
        "kind",
        "Events of the log, by their kind.",
    );
    page.labelled(Kind::Counter, family, kinds);
    page.gauge(
        "wildcat_event_log_position",
        "The number of the last event.",
        context.store.last_event(),
    );
    let waiting = context.store.read(|tx| {
        let mut waiting: u64 = 0;
        for account in accounts::list(tx)? {
            waiting += outbox::state(tx, account.number)?.count;
        }
        Ok(waiting)
    })?;
    let help = "Messages that wait to be sent.";
    page.gauge("wildcat_outbox_messages", help, waiting);

    let (hooks, behind) = context.deliveries.backlog();
    page.gauge("wildcat_webhooks", "Webhooks that events go to.", hooks);
    page.gauge(
        "wildcat_webhook_lag_events",
        "Events that the webhook that is furthest behind has not passed.",
        behind,
    );
    let help = "Deliveries that a receiver took.";
    page.counter("wildcat_webhook_deliveries", help, DELIVERIES.get());
    page.counter(
        "wildcat_webhook_failures",
        "Attempts that a receiver did not take; each is repeated, or the last one.",
        FAILED_DELIVERIES.get(),
    );
    let help = "Events that were given up for a webhook.";
    page.counter("wildcat_webhook_dead_letters", help, DEAD_LETTERS.get());

    let stats = context.store.stats();
    page.gauge(
        "wildcat_database_bytes",
        "Bytes of the database in use.",
        stats.map_used,
    );
    page.counter(
        "wildcat_commits",
        "Transactions that were synced to the disk.",
        stats.commits,
    );
    page.counter(
        "wildcat_committed_bytes",
        "Bytes of keys and values in them.",
        stats.written,
    );
    let failing = u8::from(context.store.condition().failing.is_some());
    let help = "1 while nothing can be stored.";
    page.gauge("wildcat_storage_failing", help, failing);
    Ok(())
}

/// What Prometheus' own clients say of a process, as far as `/proc` tells it, and the event thread.
fn process(page: &mut Page, context: &ApiContext) {
    let beat = context.pulse.beat();
    page.counter(
        "wildcat_steps",
        "Steps of tasks on the event thread.",
        beat.steps,
    );
    page.gauge(
        "wildcat_longest_step_seconds",
        "The longest of them since the start.",
        beat.longest.as_secs_f64(),
    );
    let help = "Panics of tasks, each a fault of this program.";
    page.counter("wildcat_task_panics", help, tasks::tally().panics);
    page.gauge(
        "process_start_time_seconds",
        "When the server started, as Unix time.",
        context.about.started as f64 / 1000.0,
    );
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = [
        (
            "process_resident_memory_bytes",
            "VmRSS:",
            "Memory in use, mapped files included.",
        ),
        (
            "process_anonymous_memory_bytes",
            "RssAnon:",
            "Memory in use, without mapped files.",
        ),
    ];
    for (name, field, help) in memory {
        if let Some(kibibytes) = number_behind(&status, field) {
            page.gauge(name, help, kibibytes * 1024);
        }
    }
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    if let Some(bytes) = number_behind(&io, "write_bytes:") {
        let help = "Bytes that were written to disks.";
        page.counter("process_disk_written_bytes", help, bytes);
    }
    let version = env!("CARGO_PKG_VERSION");
    let family = ("wildcat_build_info", "version", "The server's version.");
    page.labelled(Kind::Gauge, family, [(version, 1)].into_iter());
    page.gauge(
        "wildcat_time_seconds",
        "The server's time, as Unix time.",
        clock::now() as f64 / 1000.0,
    );
}

/// The number in the line that begins with `field`.
fn number_behind(lines: &str, field: &str) -> Option<u64> {
    let line = lines.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_name_a_counter_as_they_demand() {
        for (open, head) in [
            (false, "# TYPE a_total counter"),
            (true, "# TYPE a counter"),
        ] {
            let mut page = Page {
                open,
                text: String::new(),
            };
            page.counter("a", "Words.", 3);
            assert!(page.text.contains(head), "{}", page.text);
            assert!(page.text.ends_with("\na_total 3\n"), "{}", page.text);
        }
    }

    #[test]
    fn numbers_are_found_behind_their_field() {
        let status = "VmRSS:\t    9352 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(number_behind(status, "VmRSS:"), Some(9352));
        assert_eq!(number_behind(status, "VmSwap:"), None);
    }
}
