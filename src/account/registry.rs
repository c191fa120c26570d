//! The registry of accounts: created, connected, listed, removed. [`Accounts`] starts one driver for each
//! account, and hands commands on to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock;
use crate::runtime::tasks::{self, Kind};
use crate::store::accounts::{self as records, AccountRecord, Wanted};
use crate::store::{StoreError, media as media_rows, outbox, purge};
use crate::sync::locked;
use crate::whatsapp::SessionError;

use super::backoff;
use super::claims::Claims;
use super::driver::{self, Command, Handle};
use super::media::Fetcher;
use super::types::{
    AccountError, AccountView, NewAccount, PairCode, RestrictionView, SendingLimits, Status,
    StatusView,
};
use super::wiring::Wiring;

/// Rows that one transaction of a removal deletes.
const PURGE_STEP: usize = 500;

/// All accounts of the server. Clones share them.
#[derive(Clone)]
pub struct Accounts(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub wiring: Arc<Wiring>,
    pub fetcher: Fetcher,
    pub limits: SendingLimits,
    pub claims: Claims,
    drivers: Mutex<Drivers>,
    /// Holds the id of the first account that connects.
    first_connected: (
        async_channel::Sender<String>,
        async_channel::Receiver<String>,
    ),
}

#[derive(Default)]
pub(super) struct Drivers {
    pub by_id: HashMap<String, Handle>,
    stopping: bool,
}

impl Accounts {
    /// Reads the accounts out of the store; none is connected yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(wiring: Wiring, limits: SendingLimits) -> Result<Accounts, StoreError> {
        let first_connected = async_channel::bounded(1);
        let records = wiring.store.read(records::list)?;
        let wiring = Arc::new(wiring);
        let fetcher = Fetcher::new(Arc::clone(&wiring));
        let by_id = records
            .iter()
            .map(|record| {
                let connected = first_connected.0.clone();
                let handle = driver::start(&fetcher, record, limits, connected);
                (record.id.clone(), handle)
            })
            .collect();
        let accounts = Accounts(Arc::new(Inner {
            wiring,
            fetcher,
            limits,
            claims: Claims::default(),
            drivers: Mutex::new(Drivers {
                by_id,
                stopping: false,
            }),
            first_connected,
        }));
        accounts.sweep_waiting_files();
        accounts.purge_in_background();
        accounts.sweep_files_in_background();
        Ok(accounts)
    }

    /// Connects at a start every account that is marked as connected: the paired ones, and with `unpaired` the
    /// others too. The first one connects at once, the others one after the other.
    pub fn connect_wanted(&self, unpaired: bool) {
        let records = match self.0.wiring.store.read(records::list) {
            Ok(records) => records,
            Err(error) => {
                log::error!("the accounts could not be read: {error}");
                return;
            }
        };
        let mut turn = clock::ticks();
        for record in records {
            let paired = record.jid.is_some();
            let wanted = record.wanted == Wanted::Connected && record.ended.is_none();
            if wanted && (paired || unpaired) {
                // A deleted account needs no connection. The queue has room: no other command was sent yet.
                if let Ok(handle) = self.handle(&record.id) {
                    let _ = handle.commands.try_send(Command::Start(turn));
                }
                turn = turn.saturating_add(backoff::between_starts(fastrand::f64()));
            }
        }
    }

    /// The first account that connects since the start; resolves once only.
    pub async fn first_connected(&self) -> Option<String> {
        let id = self.0.first_connected.1.recv().await.ok();
        self.0.first_connected.1.close();
        id
    }

    fn start_driver(&self, record: &AccountRecord) {
        let mut drivers = self.lock();
        if drivers.stopping {
            return;
        }
        let handle = driver::start(
            &self.0.fetcher,
            record,
            self.0.limits,
            self.0.first_connected.0.clone(),
        );
        drivers.by_id.insert(record.id.clone(), handle);
    }

    /// Runs `work` to its end even if the caller leaves, so that no creation or removal stays half done.
    pub(super) async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AccountError>> + Send + 'static,
    ) -> Result<T, AccountError> {
        let (sender, result) = async_channel::bounded(1);
        self.errand("an account's change", async move {
            // The caller may have gone.
            let _ = sender.try_send(work.await);
        });
        result
            .recv()
            .await
            .unwrap_or_else(|_| Err(AccountError::Session("internal error".into())))
    }

    /// Ends all sessions after their pending writes are stored; no account starts again.
    pub async fn stop(&self) {
        let handles: Vec<Handle> = {
            let mut drivers = self.lock();
            drivers.stopping = true;
            drivers.by_id.drain().map(|(_, handle)| handle).collect()
        };
        let mut answers = Vec::with_capacity(handles.len());
        for handle in &handles {
            let (sender, receiver) = async_channel::bounded(1);
            if handle.commands.send(Command::Stop(sender)).await.is_ok() {
                answers.push(receiver);
            }
        }
        for answer in answers {
            let _ = answer.recv().await;
        }
    }

    /// Adds an account and starts its pairing.
    ///
    /// # Errors
    /// [`AccountError::AlreadyExists`], [`AccountError::TooManyAccounts`],
    /// [`AccountError::ShuttingDown`], or the store's.
    pub async fn create(&self, new: NewAccount) -> Result<AccountView, AccountError> {
        let accounts = self.clone();
        self.whole(async move { accounts.create_now(new).await })
            .await
    }

    async fn create_now(&self, new: NewAccount) -> Result<AccountView, AccountError> {
        if self.lock().stopping {
            return Err(AccountError::ShuttingDown);
        }
        let id = new.id.clone();
        let now = clock::now();
        let most = self.0.limits.accounts;
        let record = self
            .0
            .wiring
            .store
            .write(move |tx| {
                let view = tx.view();
                if records::count(&view)? >= most && records::number(&view, &new.id)?.is_none() {
                    return Ok(Err(AccountError::TooManyAccounts { most }));
                }
                let collection_name = new
                    .collection_name
                    .clone()
                    .unwrap_or_else(|| format!("auth_{}", new.id));
                let name = new.name.clone();
                let created = records::create(tx, &new.id, name, collection_name, now)?;
                Ok(created.ok_or(AccountError::AlreadyExists))
            })
            .await??;
        self.start_driver(&record);
        self.connect(&id).await?;
        self.get(&id)
    }

    /// Whether there is one. Looks at memory only.
    pub fn any(&self) -> bool {
        !self.lock().by_id.is_empty()
    }

    /// All accounts, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<AccountView>, AccountError> {
        let records = self.0.wiring.store.read(records::list)?;
        Ok(records
            .into_iter()
            .filter_map(|record| {
                let handle = self.lock().by_id.get(&record.id).cloned()?;
                Some(view(record, &handle))
            })
            .collect())
    }

    /// One account.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub fn get(&self, id: &str) -> Result<AccountView, AccountError> {
        let handle = self.handle(id)?;
        Ok(view(self.record(id)?, &handle))
    }

    /// Unlinks the device at WhatsApp if it is connected, and removes the account with all it has.
    /// Its rows go in small transactions afterwards; nothing of it can be seen from here on.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub async fn delete(&self, id: &str) -> Result<(), AccountError> {
        let (accounts, id) = (self.clone(), id.to_owned());
        self.whole(async move { accounts.delete_now(&id).await })
            .await
    }

    /// Gives an account another name, or none.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub async fn rename(
        &self,
        id: &str,
        name: Option<String>,
    ) -> Result<AccountView, AccountError> {
        let handle = self.handle(id)?;
        let owned = id.to_owned();
        let renamed = self.0.wiring.store.write(move |tx| {
            records::update(tx, &owned, |record| {
                record.name.clone_from(&name);
                record.updated_at = clock::now();
            })
        });
        let record = renamed.await?.ok_or(AccountError::NotFound)?;
        Ok(view(record, &handle))
    }

    async fn delete_now(&self, id: &str) -> Result<(), AccountError> {
        let handle = self.handle(id)?;
        let (sender, done) = async_channel::bounded(1);
        let asked = handle.commands.send(Command::Remove(sender)).await;
        if asked.is_err() || done.recv().await.is_err() {
            // Another request removes it, or the server stops.
            return Err(AccountError::NotFound);
        }
        let number = handle.number;
        let owned = id.to_owned();
        let removed = self
            .0
            .wiring
            .store
            .write(move |tx| {
                if records::number(&tx.view(), &owned)? == Some(number) {
                    records::remove(tx, &owned)?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = removed {
            // It is still there, so it needs a driver.
            self.start_driver(&self.record(id)?);
            return Err(error.into());
        }
        self.forget_driver(id, number);
        self.purge_in_background();
        let files = self.0.wiring.files.clone();
        if let Err(error) = smol::unblock(move || files.remove_account(number)).await {
            // The next start sweeps them.
            log::error!("{id}: the account's files remain: {error}");
        }
        Ok(())
    }

    fn forget_driver(&self, id: &str, number: u32) {
        let mut drivers = self.lock();
        if drivers.by_id.get(id).is_some_and(|h| h.number == number) {
            drivers.by_id.remove(id);
        }
    }

    /// An account's status.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the store's.
    pub fn status(&self, id: &str) -> Result<StatusView, AccountError> {
        let handle = self.handle(id)?;
        let live = handle.live.get();
        let record = self.record(id)?;
        Ok(StatusView {
            account_id: id.to_owned(),
            status: live.status,
            standing: live.standing(),
            has_qr: live.qr.is_some(),
            qr_expires_at: live
                .qr
                .as_ref()
                .map(|_| clock::iso8601(live.qr_turn.expires_at)),
            qr_number: live.qr.as_ref().map(|_| live.qr_turn.number),
            qr: live.qr,
            jid: record.jid,
            last_update: clock::iso8601(live.since),
            last_error: live.last_error,
            restriction: restriction(&handle),
            banned_until: live.banned_until.map(clock::iso8601),
        })
    }

    /// Starts the account's session, if it has none; after a logout, a new pairing.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] or [`AccountError::ShuttingDown`].
    pub async fn connect(&self, id: &str) -> Result<Status, AccountError> {
        self.ask(id, Command::Connect).await
    }

    /// Ends the account's session and keeps its pairing, over a restart, too.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] or [`AccountError::ShuttingDown`].
    pub async fn disconnect(&self, id: &str) -> Result<(), AccountError> {
        self.ask(id, Command::Disconnect).await.map(|_| ())
    }

    /// The text of the QR code on show.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] or [`AccountError::NoQr`].
    pub fn qr(&self, id: &str) -> Result<String, AccountError> {
        let live = self.handle(id)?.live.get();
        live.qr.ok_or(AccountError::NoQr {
            status: live.status,
        })
    }

    /// A code for "link with phone number", for the phone of that number (digits only).
    ///
    /// # Errors
    /// [`AccountError::AlreadyPaired`], [`AccountError::NotConnected`] while no session runs, or
    /// WhatsApp's refusal.
    pub async fn pair_code(&self, id: &str, phone: &str) -> Result<PairCode, AccountError> {
        let live = self.handle(id)?.live.get();
        let status = live.status;
        if live.paired {
            return Err(AccountError::AlreadyPaired { status });
        }
        let session = live.session.ok_or(AccountError::NotConnected { status })?;
        let code = session
            .pairing_code(phone)
            .await
            .map_err(|error| match error {
                SessionError::PairingRefused { code, words } => {
                    AccountError::PairingRefused { code, words }
                }
                SessionError::Setup(_)
                | SessionError::PairingCode(_)
                | SessionError::PasskeyTwice
                | SessionError::Passkey(_) => AccountError::Session(error.to_string()),
            })?;
        Ok(PairCode {
            code: code.code,
            expires_at: code.expires_at,
        })
    }

    pub(super) async fn ask(
        &self,
        id: &str,
        command: impl FnOnce(async_channel::Sender<Status>) -> Command,
    ) -> Result<Status, AccountError> {
        let handle = self.handle(id)?;
        let (sender, answer) = async_channel::bounded(1);
        handle
            .commands
            .send(command(sender))
            .await
            .map_err(|_| AccountError::NotFound)?;
        answer.recv().await.map_err(|_| AccountError::NotFound)
    }

    pub(super) fn handle(&self, id: &str) -> Result<Handle, AccountError> {
        let drivers = self.lock();
        match drivers.by_id.get(id) {
            Some(handle) => Ok(handle.clone()),
            None if drivers.stopping => Err(AccountError::ShuttingDown),
            None => Err(AccountError::NotFound),
        }
    }

    fn record(&self, id: &str) -> Result<AccountRecord, AccountError> {
        self.0
            .wiring
            .store
            .read(|tx| records::get(tx, id))?
            .ok_or(AccountError::NotFound)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Drivers> {
        locked(&self.0.drivers)
    }

    /// Removes files that waited for messages that are not there: of a power cut between the two.
    /// To be called before anything is queued.
    fn sweep_waiting_files(&self) {
        let store = &self.0.wiring.store;
        let swept = self.0.wiring.files.sweep_waiting(|account, message_id| {
            // What cannot be read is not removed.
            !matches!(
                store.read(|tx| outbox::get(tx, account, message_id)),
                Ok(None)
            )
        });
        if let Err(error) = swept {
            log::warn!("the outbox's folder could not be swept: {error}");
        }
    }

    /// Removes files that no message knows: of accounts and messages that were deleted when the
    /// power went.
    fn sweep_files_in_background(&self) {
        let (store, files) = (self.0.wiring.store.clone(), self.0.wiring.files.clone());
        let sweeping = smol::unblock(move || {
            let swept = files.sweep(|account, number| {
                // What cannot be read is not removed.
                !matches!(
                    store.read(|tx| media_rows::get(tx, account, number)),
                    Ok(None)
                )
            });
            match swept {
                Ok(0) => {}
                Ok(removed) => log::info!("{removed} files of deleted messages removed"),
                Err(error) => log::warn!("the media folder could not be swept: {error}"),
            }
        });
        self.errand("the media folder", sweeping);
    }

    /// Deletes the rows of removed accounts in small transactions.
    fn purge_in_background(&self) {
        let store = self.0.wiring.store.clone();
        self.errand("what removed accounts have left", async move {
            loop {
                match store.write(|tx| purge::step(tx, PURGE_STEP)).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        log::error!("a removed account's rows remain: {error}");
                        return;
                    }
                }
            }
        });
    }

    /// Spawns a task that ends by itself.
    pub(super) fn errand(
        &self,
        name: impl Into<Cow<'static, str>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        tasks::guard(&self.0.wiring.executor, Kind::Errand, name, work).detach();
    }
}

fn restriction(handle: &Handle) -> Option<RestrictionView> {
    handle.live.restricted().map(|it| RestrictionView {
        until: clock::iso8601(it.until),
        reason: it.reason.name(),
        kind: it.kind,
    })
}

fn view(record: AccountRecord, handle: &Handle) -> AccountView {
    let live = handle.live.get();
    AccountView {
        underscore_id: record.id.clone(),
        id: record.id,
        name: record.name,
        collection_name: record.collection_name,
        status: live.status,
        current_status: if live.active {
            live.status
        } else {
            Status::NotStarted
        },
        standing: live.standing(),
        has_qr: live.qr.is_some(),
        jid: record.jid,
        lid: record.lid,
        push_name: record.push_name,
        last_error: live.last_error,
        restriction: restriction(handle),
        banned_until: live.banned_until.map(clock::iso8601),
        created_at: clock::iso8601(record.created_at),
        updated_at: clock::iso8601(record.updated_at),
    }
}
