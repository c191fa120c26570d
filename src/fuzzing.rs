//! The targets of `tests/fuzz`: the parsers of untrusted bytes, without a network. Only with the feature
//! `fuzzing`. A finding is a panic, also one that the server would catch. A failed setup panics, too.

use std::cell::OnceCell;
use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use crate::api::fuzzing::Requests;
use crate::clock;
use crate::media::{MediaKind, MediaRequest, Spool, Work};
use crate::runtime::{Executor, Shutdown};
use crate::server::Server;
use crate::settings::{self, Override, Overrides};
use crate::store::{self, Store, accounts};
use crate::whatsapp::fuzzing::Messages;

/// The only account, which never connects.
const ACCOUNT: &str = "alice";

/// The time limit of preparing a file, which these kinds do not need.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

thread_local! {
    static REQUESTS: OnceCell<(Requests, Server)> = const { OnceCell::new() };
    static MESSAGES: OnceCell<Messages> = const { OnceCell::new() };
    static SPOOL: OnceCell<Spool> = const { OnceCell::new() };
}

/// A directory of this process; `tests/fuzz/run` puts it in memory and removes it.
fn directory(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wildcat-fuzz-{}-{name}", std::process::id()))
}

/// A store with one account.
fn new_store(directory: &std::path::Path) -> Store {
    let store = Store::open(directory, store::Options::default());
    let store = store.unwrap_or_else(|e| panic!("{e}"));
    let now = clock::now();
    let made = smol::block_on(store.write(move |tx| {
        accounts::create(tx, ACCOUNT, None, "auth_alice".to_owned(), now).map(|_| ())
    }));
    made.unwrap_or_else(|e| panic!("{e}"));
    store
}

/// Bytes of a client's connection: requests with heads and bodies.
pub fn request(data: &[u8]) {
    REQUESTS.with(|cell| cell.get_or_init(server).0.connection(data));
}

fn server() -> (Requests, Server) {
    let directory = directory("request");
    let store = new_store(&directory);
    let closed = smol::block_on(store.close(std::time::Duration::from_secs(5)));
    closed.unwrap_or_else(|e| panic!("{e}"));
    let set = |key, value: String| Override {
        key,
        flag: "fuzzing",
        value,
    };
    let overrides = Overrides {
        file: None,
        values: vec![
            set("server.listen", "127.0.0.1:0".to_owned()),
            set("storage.path", directory.display().to_string()),
            set("whatsapp.url", "wss://127.0.0.1:1/".to_owned()),
            set("whatsapp.version", "2.3000.1".to_owned()),
        ],
    };
    let loaded = settings::load(&overrides, []).unwrap_or_else(|e| panic!("{e}"));
    let executor = Arc::new(Executor::new());
    let started = Server::start(&loaded.settings, Arc::clone(&executor), Arc::default());
    let server = smol::block_on(executor.run(started)).unwrap_or_else(|e| panic!("{e}"));
    let mut context = server.context().clone();
    // Requests that wait for events return at once.
    context.stopping = Shutdown::new();
    context.stopping.trigger();
    (Requests::new(context, executor), server)
}

/// An incoming message: its envelope, and the bytes of its protobuf.
pub fn inbound(data: &[u8]) {
    MESSAGES.with(|cell| {
        let messages = cell.get_or_init(|| Messages {
            store: new_store(&directory("inbound")),
            account_id: ACCOUNT,
        });
        messages.arrives(data);
    });
}

/// A server's answer to an outgoing request.
pub fn answer(data: &[u8]) {
    crate::net::http::fuzzing::read(data);
}

/// A file to send, as each kind whose content is parsed.
pub fn picture(data: &[u8]) {
    SPOOL.with(|cell| {
        let spool = cell.get_or_init(|| {
            Spool::open(&directory("picture")).unwrap_or_else(|e| panic!("a spool: {e}"))
        });
        for kind in [
            MediaKind::Image,
            MediaKind::Video,
            MediaKind::Sticker,
            MediaKind::Document,
        ] {
            let Ok((spooled, mut file)) = spool.create() else {
                return;
            };
            if file.write_all(data).and_then(|()| file.rewind()).is_err() {
                return;
            }
            let request = MediaRequest {
                kind,
                ptt: false,
                gif_playback: false,
                note: false,
                pack: None,
                mimetype: None,
                declared: None,
                file_name: None,
            };
            // An error is fine.
            let _ = Work::new(request, spooled, spool.clone()).step(PATIENCE);
        }
    });
}
