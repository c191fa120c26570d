//! `wildcat sandbox`: runs the server and a simulated WhatsApp in one process, pairs an account, and prints
//! `curl` lines to try. Only in builds with the `sandbox` feature.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wildcat_simulator::Simulator;

use crate::runtime::{Executor, Pulse, drive};
use crate::settings::{self, Origin, Override, Overrides};
use crate::sync::within;
use crate::{RunError, Server, console, net};

/// The account that is paired at the start.
const ACCOUNT: &str = "demo";
/// The default address of the API.
const LISTEN: &str = "127.0.0.1:3000";
/// The number of its phone.
const OWN: &str = "491700000001";
/// A person to write to.
const FRIEND: &str = "491700000002";
const FRIEND_NAME: &str = "Robin";
/// The version of WhatsApp Web that the client sends.
const VERSION: &str = "2.3000.1";
/// How long the pairing may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until `stop` resolves. All data are in a temporary directory, which is removed at the end.
///
/// # Errors
/// If the server or the simulator cannot start, or the pairing fails.
pub fn run(overrides: &Overrides, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let directory = Directory::new()?;
    let simulator = Simulator::start().map_err(|e| failed(&e))?;
    let ca = directory.0.join("ca.pem");
    std::fs::write(&ca, simulator.ca_pem()).map_err(|e| failed(&e))?;
    let mut settings = settings(overrides, &simulator, &directory.0, &ca);
    let mut loaded = settings::load(&settings, std::env::vars_os())?;
    let is_set = match loaded.origin("server.listen") {
        None | Some(Origin::BuiltIn) => false,
        // A file found by default is that of a real server.
        Some(Origin::File { .. }) => overrides.file.is_some(),
        Some(_) => true,
    };
    if !is_set {
        settings
            .values
            .push(set("server.listen", LISTEN.to_owned()));
        loaded = settings::load(&settings, std::env::vars_os())?;
    }
    console::init_log(
        loaded.settings.log.level,
        crate::whatsapp::NOISY,
        crate::whatsapp::TELLING,
    );
    console::codes_are_simulated();

    let executor = Arc::new(Executor::new());
    let pulse = Arc::new(Pulse::default());
    smol::block_on(drive(&executor, &pulse, async {
        let server =
            Server::start(&loaded.settings, Arc::clone(&executor), Arc::clone(&pulse)).await?;
        let pairing = Pairing {
            http: net::http::client(
                net::http::Limits {
                    timeout: PATIENCE,
                    max_body: 1 << 20,
                    max_idle: 2,
                    idle_timeout: PATIENCE,
                },
                net::tls::client_config(Some(&ca))?,
                Arc::clone(&executor),
            ),
            api: server.local_url(),
            phones: format!("{}/admin", simulator.https_url()),
        };
        let paired = within(PATIENCE, pairing.pair()).await;
        let too_long = || Err(RunError::Sandbox("the pairing took too long".into()));
        if let Err(error) = paired.unwrap_or_else(too_long) {
            server.stop().await;
            return Err(error);
        }
        print!("{}", guide(&pairing.api, &pairing.phones, &ca));
        stop.await;
        server.stop().await;
        Ok(())
    }))
}

/// The settings of the command line, with those that the sandbox needs.
fn settings(
    overrides: &Overrides,
    simulator: &Simulator,
    directory: &Path,
    ca: &Path,
) -> Overrides {
    let mut values = vec![set(
        "storage.path",
        directory.join("data").display().to_string(),
    )];
    values.extend(overrides.values.iter().cloned());
    values.push(set("whatsapp.url", simulator.ws_url()));
    values.push(set("whatsapp.version", VERSION.into()));
    values.push(set("tls.extra_ca", ca.display().to_string()));
    Overrides {
        file: overrides.file.clone(),
        values,
    }
}

fn set(key: &'static str, value: String) -> Override {
    Override {
        key,
        flag: "wildcat sandbox",
        value,
    }
}

fn failed(error: &dyn std::fmt::Display) -> RunError {
    RunError::Sandbox(error.to_string())
}

/// A temporary directory, removed when dropped.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Result<Directory, RunError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("wildcat-sandbox-{}", std::process::id()));
        // Mode 0700, and an existing directory is an error: it could be another user's.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|e| RunError::Sandbox(format!("{}: {e}", path.display())))?;
        Ok(Directory(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The system clears its temporary files in any case.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Requests to the API and to the simulated phones.
struct Pairing {
    http: surf::Client,
    api: String,
    phones: String,
}

impl Pairing {
    /// Creates the account, waits for its code, scans it, and waits until it is connected.
    async fn pair(&self) -> Result<(), RunError> {
        let id = serde_json::json!({"id": ACCOUNT, "name": "Sandbox"});
        self.post(&format!("{}/accounts", self.api), &id.to_string())
            .await?;
        let friend = serde_json::json!({"number": FRIEND, "name": FRIEND_NAME});
        self.post(&format!("{}/phones", self.phones), &friend.to_string())
            .await?;
        let mut scanned = false;
        loop {
            let status = self
                .get(&format!("{}/accounts/{ACCOUNT}/status", self.api))
                .await?;
            if status["status"] == "connected" {
                return Ok(());
            }
            if let (false, Some(code)) = (scanned, status["qr"].as_str()) {
                let url = format!("{}/mock-phone/scan-qr?number={OWN}&name=You", self.phones);
                self.post(&url, code).await?;
                scanned = true;
            }
            // The API has no way to wait for a status.
            smol::Timer::after(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, url: &str) -> Result<serde_json::Value, RunError> {
        let mut answer = self.http.get(url).await.map_err(|e| failed(&e))?;
        answer.body_json().await.map_err(|e| failed(&e))
    }

    async fn post(&self, url: &str, body: &str) -> Result<(), RunError> {
        let request = self.http.post(url).body_string(body.to_owned());
        let mut answer = request.await.map_err(|e| failed(&e))?;
        if answer.status().is_success() {
            return Ok(());
        }
        let words = answer.body_string().await.unwrap_or_default();
        Err(RunError::Sandbox(format!("{url}: {words}")))
    }
}

/// The text with the commands to try.
fn guide(api: &str, phones: &str, ca: &Path) -> String {
    let ca = ca.display();
    format!(
        "
wildcat's sandbox is ready. Account \"{ACCOUNT}\" is paired with the phone {OWN}.
Nothing here reaches WhatsApp; everything is gone when you press Ctrl-C.

Send a message to {FRIEND_NAME}'s phone:
  curl {api}/accounts/{ACCOUNT}/message/send \\
    -H 'Content-Type: application/json' \\
    -d '{{\"to\": \"{FRIEND}@s.whatsapp.net\", \"message\": \"Hello!\"}}'

See it on that phone, decrypted:
  curl --cacert {ca} {phones}/phones/{FRIEND}/messages

Register a webhook (anything that takes a POST; `nc -lk 127.0.0.1 9000` shows it):
  curl {api}/webhooks \\
    -H 'Content-Type: application/json' \\
    -d '{{\"url\": \"http://127.0.0.1:9000/\"}}'

Let {FRIEND_NAME} answer:
  curl --cacert {ca} {phones}/phones/{FRIEND}/messages \\
    -d '{{\"to\": \"{OWN}\", \"text\": \"Hello yourself!\"}}'

Read the chat:
  curl {api}/accounts/{ACCOUNT}/chats/{FRIEND}@s.whatsapp.net/messages

"
    )
}
