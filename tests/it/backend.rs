//! The conformance suite of wacore's storage traits: the same cases over wacore's own in-memory
//! backend, the reference, and over this crate's, which is closed and opened between the steps.

mod app_sync;
mod device;
mod lmdb;
mod protocol;
mod secrets;
mod signal;
mod tc_tokens;

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use whatsapp_rust::wacore::store::InMemoryBackend;
use whatsapp_rust::wacore::store::traits::Backend;
use wildcat::store::{Options, Store};

/// The number of the account in whose name the cases run.
const ACCOUNT: u32 = 7;

/// What a case runs on.
enum Subject {
    Memory(Arc<InMemoryBackend>),
    Lmdb { store: Store, dir: TempDir },
}

impl Subject {
    fn memory() -> Subject {
        Subject::Memory(Arc::new(InMemoryBackend::new()))
    }

    fn lmdb() -> Subject {
        let dir = tempfile::tempdir().unwrap();
        let store = open(&dir);
        Subject::Lmdb { store, dir }
    }

    fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Subject::Memory(backend) => Arc::<InMemoryBackend>::clone(backend),
            Subject::Lmdb { store, .. } => Arc::new(ours(store, ACCOUNT)),
        }
    }

    /// The same data, as a restart finds it. The reference has no restart.
    async fn reopen(&mut self) -> Arc<dyn Backend> {
        if let Subject::Lmdb { store, dir } = self {
            close(store).await;
            *store = open(dir);
        }
        self.backend()
    }
}

fn open(dir: &TempDir) -> Store {
    // Nothing is deleted for its age before WhatsApp has sent the time.
    wildcat::clock::hear(wildcat::clock::now());
    Store::open(dir.path(), Options::default()).unwrap()
}

async fn close(store: &Store) {
    store.close(Duration::from_secs(20)).await.unwrap();
}

fn ours(store: &Store, account: u32) -> wildcat::whatsapp::Backend {
    wildcat::whatsapp::Backend::new(store.clone(), account)
}

/// Makes tests of the named async functions, each over both backends.
macro_rules! cases {
    ($($case:ident)*) => {
        mod memory {
            $(#[test] fn $case() {
                smol::block_on(super::$case(&mut crate::backend::Subject::memory()));
            })*
        }
        mod over_lmdb {
            $(#[test] fn $case() {
                smol::block_on(super::$case(&mut crate::backend::Subject::lmdb()));
            })*
        }
    };
}
use cases;

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}
