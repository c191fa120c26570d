//! Deliveries from a real store to receivers in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use serde_json::{Value, json};
use smol::Executor;
use surf::http::{Error, Request, Response};
use surf::{Client, HttpClient};

use super::*;
use crate::event::Event;
use crate::message::{Message, MessageKind};
use crate::store::Options;
use crate::store::messages::Part;

/// The time limit of a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// All receivers: answers by path, and reports requests.
#[derive(Debug)]
struct Network {
    got: Sender<Got>,
    /// The statuses that a path answers in this order; then 200.
    answers: Mutex<HashMap<String, Vec<u16>>>,
}

#[derive(Debug)]
struct Got {
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

#[async_trait::async_trait]
impl HttpClient for Network {
    async fn send(&self, mut request: Request) -> Result<Response, Error> {
        let path = request.url().path().to_owned();
        let body = request.body_string().await?;
        let got = Got {
            headers: request
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_str().to_owned()))
                .collect(),
            body: serde_json::from_str(&body)?,
            path: path.clone(),
        };
        self.got.send(got).await?;
        if path == "/hangs" {
            future::pending::<()>().await;
        }
        let code = {
            let mut answers = self.answers.lock().unwrap();
            let codes = answers.entry(path).or_default();
            if codes.is_empty() {
                200
            } else {
                codes.remove(0)
            }
        };
        let mut response = Response::new(code);
        response.set_body("taken");
        Ok(response)
    }
}

struct World {
    directory: tempfile::TempDir,
    store: Store,
    deliveries: Deliveries,
    executor: Arc<Executor<'static>>,
    got: Receiver<Got>,
    network: Arc<Network>,
}

/// surf takes a client by value; this one is shared.
#[derive(Debug)]
struct Shared(Arc<Network>);

#[async_trait::async_trait]
impl HttpClient for Shared {
    async fn send(&self, request: Request) -> Result<Response, Error> {
        self.0.send(request).await
    }
}

const SETTINGS: DeliverySettings = DeliverySettings {
    timeout: PATIENCE,
    local_urls: false,
    max_hooks: 3,
    max_parallel: 4,
    max_concurrent: 16,
    max_response: 64 * 1024,
    retry: Retry {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(5),
        give_up_after: Duration::from_secs(1000),
    },
    max_dead: 10,
    mark_delay: Duration::ZERO,
};

fn start(
    store: &Store,
    network: &Arc<Network>,
    executor: &Arc<Executor<'static>>,
    settings: DeliverySettings,
) -> Deliveries {
    let client = Client::with_http_client(Shared(network.clone()));
    let clients = Clients::same(client);
    Deliveries::start(store.clone(), clients, executor.clone(), settings).unwrap()
}

fn with_world<T: Future<Output = ()>>(test: impl FnOnce(World) -> T) {
    with_settings(SETTINGS, test);
}

fn with_settings<T: Future<Output = ()>>(
    settings: DeliverySettings,
    test: impl FnOnce(World) -> T,
) {
    let executor = Arc::new(Executor::new());
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options::default()).unwrap();
    let (sender, got) = async_channel::unbounded();
    let network = Arc::new(Network {
        got: sender,
        answers: Mutex::default(),
    });
    let deliveries = start(&store, &network, &executor, settings);
    let world = World {
        directory,
        store,
        deliveries,
        executor: executor.clone(),
        got,
        network,
    };
    let finished = smol::block_on(executor.run(within(PATIENCE, test(world))));
    finished.expect("the test hangs");
}

impl World {
    async fn happens(&self, account: &'static str, text: &'static str) {
        self.happens_in("1@s.whatsapp.net", account, text).await;
    }

    async fn happens_in(&self, chat: &str, account: &str, text: &str) {
        let message = message(chat, account, text);
        self.store
            .write(move |tx| events::append(tx, &Event::Message(message.clone()), 1))
            .await
            .unwrap();
    }

    async fn hook(&self, url: &str) -> Registered {
        self.deliveries.register(new(url)).await.unwrap()
    }

    fn answers(&self, path: &str, codes: &[u16]) {
        let mut answers = self.network.answers.lock().unwrap();
        answers.insert(path.to_owned(), codes.to_vec());
    }

    /// The text of the next event that a receiver got, and its path.
    async fn next(&self) -> (String, String) {
        let got = self.got.recv().await.unwrap();
        (got.path, got.body["text"].as_str().unwrap().to_owned())
    }

    fn view(&self) -> HookView {
        self.deliveries.list().unwrap().remove(0)
    }

    /// Waits until the stored progress of all hooks is at `number`, with nothing open.
    async fn stored(&self, number: u64) {
        loop {
            let hooks = self.store.read(webhooks::list).unwrap();
            let done = |hook: &WebhookRecord| {
                hook.progress.cursor == number && hook.progress.open.is_empty()
            };
            if hooks.iter().all(done) {
                return;
            }
            future::yield_now().await;
        }
    }
}

fn message(chat: &str, account: &str, text: &str) -> Message {
    Message {
        sender: "1@s.whatsapp.net".to_owned(),
        text: Some(text.to_owned()),
        ..Message::empty(account, text, chat, MessageKind::Text, 1)
    }
}

fn new(url: &str) -> NewWebhook {
    NewWebhook {
        url: url.to_owned(),
        account_id: None,
        events: None,
        chats: None,
        ignore: None,
        secret: None,
        headers: None,
        local_urls: true,
    }
}

fn is(path: &str, text: &str) -> (String, String) {
    (path.to_owned(), text.to_owned())
}

#[test]
fn events_arrive_in_order_with_frame_and_headers() {
    with_world(|world| async move {
        world.happens("alice", "before").await;
        let hook = NewWebhook {
            secret: Some("secret".to_owned()),
            headers: Some(BTreeMap::from([("X-Mine".to_owned(), "1".to_owned())])),
            ..new("http://a/in")
        };
        assert!(
            world
                .deliveries
                .register(hook.clone())
                .await
                .unwrap()
                .created
        );
        assert!(!world.deliveries.register(hook).await.unwrap().created);
        for text in ["one", "two", "three"] {
            world.happens("alice", text).await;
        }
        let first = world.got.recv().await.unwrap();
        assert_eq!(
            (&first.body["event"], &first.body["text"]),
            (&json!("message"), &json!("one"))
        );
        assert_eq!(first.body["eventId"], first.headers["webhook-id"].as_str());
        assert_eq!(first.body["accountId"], "alice");
        assert_eq!(first.headers["x-mine"], "1");
        assert!(first.headers["webhook-signature"].starts_with("v1,"));
        assert_eq!(world.next().await, is("/in", "two"));
        assert_eq!(world.next().await, is("/in", "three"));
        world.stored(4).await;
        let view = world.deliveries.list().unwrap().remove(0);
        assert_eq!((view.pending, view.failures), (0, 0));
        assert_eq!(view.events, [EventKind::Message]);
        assert!(view.last_delivery.unwrap().ok);
    });
}

#[test]
fn a_failed_delivery_is_repeated_before_later_ones() {
    with_world(|world| async move {
        world.answers("/in", &[500, 302, 404, 204]);
        world.hook("http://a/in").await;
        world.happens("alice", "one").await;
        world.happens("alice", "two").await;
        for text in ["one", "one", "one", "one", "two"] {
            assert_eq!(world.next().await, is("/in", text));
        }
        world.stored(2).await;
        assert_eq!(world.deliveries.list().unwrap()[0].failures, 0);
    });
}

#[test]
fn nothing_is_lost_or_repeated_over_a_restart() {
    with_world(|world| async move {
        world.hook("http://a/in").await;
        world.happens("alice", "one").await;
        assert_eq!(world.next().await, is("/in", "one"));
        world.stored(1).await;
        world.deliveries.stop(PATIENCE).await;
        world.happens("alice", "two").await;
        world.store.close(PATIENCE).await.unwrap();

        let store = Store::open(world.directory.path(), Options::default()).unwrap();
        let again = start(&store, &world.network, &world.executor, SETTINGS);
        assert_eq!(world.next().await, is("/in", "two"));
        again.stop(PATIENCE).await;
        assert_eq!(store.read(webhooks::list).unwrap()[0].progress.cursor, 2);
        assert!(world.got.is_empty());
    });
}

#[test]
fn a_dead_receiver_delays_neither_other_hooks_nor_the_stop() {
    with_world(|world| async move {
        world.hook("http://a/hangs").await;
        world.happens("alice", "one").await;
        assert_eq!(world.next().await, is("/hangs", "one"));
        world.hook("http://a/in").await;
        world.happens("alice", "two").await;
        world.happens("alice", "three").await;
        assert_eq!(world.next().await, is("/in", "two"));
        assert_eq!(world.next().await, is("/in", "three"));
        let pending: Vec<u64> = world
            .deliveries
            .list()
            .unwrap()
            .iter()
            .map(|hook| hook.pending)
            .collect();
        assert_eq!(pending[0], 3);
        world.deliveries.stop(Duration::ZERO).await;
    });
}

#[test]
fn hooks_of_an_account_receive_nothing_of_others() {
    with_world(|world| async move {
        let bobs = NewWebhook {
            account_id: Some("bob".to_owned()),
            ..new("http://a/bob")
        };
        world.deliveries.register(bobs).await.unwrap();
        world.happens("alice", "one").await;
        world.happens("alice", "two").await;
        world.happens("bob", "three").await;
        assert_eq!(world.next().await, is("/bob", "three"));
        world.stored(3).await;
        assert!(world.got.is_empty());
    });
}

#[test]
fn a_removed_hook_receives_nothing_more() {
    with_world(|world| async move {
        let hook = world.hook("http://a/in").await;
        assert!(world.deliveries.remove(&hook.hook.id).await.unwrap());
        assert!(!world.deliveries.remove(&hook.hook.id).await.unwrap());
        world.hook("http://a/url").await;
        assert!(
            world
                .deliveries
                .remove_url("http://a/url", None)
                .await
                .unwrap()
        );
        assert!(
            !world
                .deliveries
                .remove_url("http://a/url", None)
                .await
                .unwrap()
        );
        world.hook("http://a/other").await;
        world.happens("alice", "one").await;
        assert_eq!(world.next().await, is("/other", "one"));
        world.stored(1).await;
        assert!(world.got.is_empty());
    });
}

#[test]
fn invalid_hooks_are_refused() {
    with_world(|world| async move {
        let refusal = async |new: NewWebhook| match world.deliveries.register(new).await {
            Err(error) => error.to_string(),
            Ok(registered) => panic!("{registered:?}"),
        };
        assert_eq!(refusal(new("no url")).await, "invalid URL");
        let secret = NewWebhook {
            secret: Some("whsec_***".to_owned()),
            ..new("http://a/")
        };
        assert!(refusal(secret).await.contains("\"secret\""));
        let header = NewWebhook {
            headers: Some(BTreeMap::from([("Host".to_owned(), "b".to_owned())])),
            ..new("http://a/")
        };
        assert!(refusal(header).await.contains("\"headers\""));
        for url in ["http://a/1", "http://a/2", "http://a/3"] {
            world.hook(url).await;
        }
        assert!(refusal(new("http://a/4")).await.contains("3 webhooks"));
        assert_eq!(world.deliveries.list().unwrap().len(), 3);
        assert!(!world.hook("http://a/3").await.created);
    });
}

#[test]
fn a_test_returns_the_receivers_answer() {
    with_world(|world| async move {
        world.answers("/in", &[418]);
        let hook = world.hook("http://me:pw@a/in?token=t").await;
        let outcome = world.deliveries.test(&hook.hook.id, true).await.unwrap();
        assert_eq!((outcome.delivered, outcome.status), (false, Some(418)));
        assert_eq!(outcome.body.as_deref(), Some("taken"));
        let got = world.got.recv().await.unwrap();
        assert_eq!(got.body["event"], "ping");
        assert_eq!(got.headers["authorization"], "Basic bWU6cHc=");
        assert!(world.deliveries.test("wh_99", true).await.is_err());
        let view = world.deliveries.list().unwrap().remove(0);
        assert_eq!(view.url, "http://***:***@a/in?token=***");
        assert_eq!(view.failures, 0, "a test is no delivery");
    });
}

#[test]
fn chats_do_not_wait_for_each_other() {
    with_world(|world| async move {
        world.hook("http://a/hangs").await;
        for chat in ["1@s.whatsapp.net", "2@s.whatsapp.net", "1@s.whatsapp.net"] {
            world.happens_in(chat, "alice", chat).await;
        }
        world.happens_in("2@s.whatsapp.net", "bob", "bob's").await;
        let mut got = [
            world.next().await.1,
            world.next().await.1,
            world.next().await.1,
        ];
        got.sort();
        assert_eq!(got, ["1@s.whatsapp.net", "2@s.whatsapp.net", "bob's"]);
        assert!(world.got.is_empty(), "the second of a chat waits");
        world.deliveries.stop(Duration::ZERO).await;
    });
}

#[test]
fn events_that_are_given_up_are_kept_and_replayed() {
    let mut settings = SETTINGS;
    settings.retry.give_up_after = Duration::ZERO;
    with_settings(settings, |world| async move {
        let hook = world.hook("http://a/in").await;
        world.answers("/in", &[500]);
        world.happens("alice", "one").await;
        world.happens("alice", "two").await;
        assert_eq!(world.next().await, is("/in", "one"));
        assert_eq!(world.next().await, is("/in", "two"));
        world.stored(2).await;
        let view = world.view();
        assert_eq!((view.dead, view.pending, view.failures), (1, 0, 0));
        let (dead, _, total) = world
            .deliveries
            .dead(&hook.hook.id, Part::of(9, 0))
            .unwrap();
        assert_eq!((dead.len(), total), (1, 1));
        assert_eq!(dead[0].header.attempts, 1);
        let error = dead[0].header.error.as_deref().unwrap();
        assert!(error.contains("500"), "{error}");
        assert!(dead[0].body.contains("\"one\""));

        let replay = |ids: Option<Vec<String>>| world.deliveries.replay(&hook.hook.id, ids);
        let unknown = replay(Some(vec!["evt_x_1".to_owned()])).await;
        assert!(matches!(unknown, Err(DeadError::Unknown(_))));
        assert!(matches!(
            world.deliveries.replay("wh_99", None).await,
            Err(DeadError::NotFound)
        ));
        // It fails again, and is a dead letter as before.
        world.answers("/in", &[503]);
        assert_eq!(replay(None).await.unwrap(), 1);
        assert_eq!(world.next().await, is("/in", "one"));
        let again = Some(vec![dead[0].header.id.clone()]);
        while world
            .deliveries
            .dead(&hook.hook.id, Part::of(9, 0))
            .unwrap()
            .0[0]
            .header
            .again
        {
            future::yield_now().await;
        }
        assert_eq!(replay(again).await.unwrap(), 1);
        let got = world.got.recv().await.unwrap();
        assert_eq!(got.body["text"], "one");
        assert_eq!(got.headers["webhook-id"], dead[0].header.id);
        while world.view().dead > 0 {
            future::yield_now().await;
        }
        assert_eq!(replay(None).await.unwrap(), 0);
    });
}

#[test]
fn most_events_of_a_dead_hook_expire_without_an_attempt() {
    let mut settings = SETTINGS;
    settings.retry.give_up_after = Duration::from_millis(200);
    settings.max_dead = 100;
    with_settings(settings, |world| async move {
        world.answers("/in", &[500; 10_000]);
        let hook = world.hook("http://a/in").await;
        let messages: Vec<Message> = (0..90)
            .map(|n| message("1@s.whatsapp.net", "alice", &n.to_string()))
            .collect();
        world
            .store
            .write(move |tx| {
                for message in &messages {
                    events::append(tx, &Event::Message(message.clone()), 1)?;
                }
                Ok(())
            })
            .await
            .unwrap();
        world.stored(90).await;
        let (dead, _, total) = world
            .deliveries
            .dead(&hook.hook.id, Part::of(999, 0))
            .unwrap();
        assert_eq!((dead.len(), total), (90, 90));
        let without = dead.iter().filter(|letter| letter.header.attempts == 0);
        assert!(without.count() > 50);
        // The view follows the stored progress after a moment.
        while world.view().pending > 0 {
            future::yield_now().await;
        }
        let view = world.view();
        assert_eq!(view.dead, 90);
        assert!(view.failures > 2);
    });
}

#[test]
fn a_receiver_that_answers_410_gets_no_more_until_it_registers() {
    with_world(|world| async move {
        let hook = world.hook("http://a/in").await;
        world.answers("/in", &[410]);
        world.happens("alice", "one").await;
        assert_eq!(world.next().await, is("/in", "one"));
        while world.view().disabled_at.is_none() || world.view().dead == 0 {
            future::yield_now().await;
        }
        world.happens("alice", "two").await;
        assert_eq!(world.view().pending, 0);
        assert!(matches!(
            world.deliveries.replay(&hook.hook.id, None).await,
            Err(DeadError::Disabled)
        ));
        // Not after a restart either.
        world.deliveries.stop(PATIENCE).await;
        let again = start(&world.store, &world.network, &world.executor, SETTINGS);
        world.happens("alice", "three").await;
        assert!(again.list().unwrap()[0].disabled_at.is_some());
        let enabled = again.register(new("http://a/in")).await.unwrap();
        assert_eq!(
            (enabled.hook.id, enabled.created),
            (hook.hook.id.clone(), false)
        );
        world.happens("alice", "four").await;
        assert_eq!(world.next().await, is("/in", "four"));
        assert!(again.list().unwrap()[0].disabled_at.is_none());
        assert_eq!(again.replay(&hook.hook.id, None).await.unwrap(), 1);
        assert_eq!(world.next().await, is("/in", "one"));
        assert!(world.got.is_empty());
    });
}

#[test]
fn many_deliveries_share_a_commit() {
    let mut settings = SETTINGS;
    settings.mark_delay = Duration::from_millis(300);
    with_settings(settings, |world| async move {
        world.hook("http://a/in").await;
        let before = world.store.stats().commits;
        let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        for text in &texts {
            world.happens_in("1@s.whatsapp.net", "alice", text).await;
        }
        let appended = world.store.stats().commits;
        for text in &texts {
            assert_eq!(world.next().await.1, *text);
        }
        world.stored(100).await;
        let marks = world.store.stats().commits - before - 100;
        assert!(appended - before >= 100 && marks <= 10, "{marks} commits");
    });
}
