//! `wildcat sandbox`: runs the server and a simulated WhatsApp in one process, pairs an account, and prints
//! `curl` lines to try. Only in builds with the `sandbox` feature.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jpeg_encoder::{ColorType, Encoder, EncodingError};
use serde_json::{Value, json};
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
/// Another one, who is in the group.
const MEMBER: &str = "491700000003";
const MEMBER_NAME: &str = "Noor";
const GROUP: &str = "Book club";
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
        let id = json!({"id": ACCOUNT, "name": "Demo"});
        self.post(&format!("{}/accounts", self.api), &id.to_string())
            .await?;
        for (number, name) in [(FRIEND, FRIEND_NAME), (MEMBER, MEMBER_NAME)] {
            let phone = json!({"number": number, "name": name});
            self.post(&format!("{}/phones", self.phones), &phone.to_string())
                .await?;
        }
        let mut scanned = false;
        loop {
            let status = self
                .get(&format!("{}/accounts/{ACCOUNT}/status", self.api))
                .await?;
            if status["status"] == "connected" {
                return self.talk().await;
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

    /// What a person expects to see: two chats, a group, a picture, and one message that was not read yet.
    async fn talk(&self) -> Result<(), RunError> {
        let picture = STANDARD.encode(picture().map_err(|e| failed(&e))?);
        let hello = format!("Hello! I am {FRIEND_NAME}, a simulated phone.");
        self.say(FRIEND, json!({"to": OWN, "text": hello})).await?;
        let image =
            json!({"base64": picture, "mimetype": "image/jpeg", "caption": "Come and see it!"});
        self.say(FRIEND, json!({"to": OWN, "image": image})).await?;
        let group = json!({"subject": GROUP, "members": [MEMBER, OWN, FRIEND]}).to_string();
        let group = self
            .post(&format!("{}/groups", self.phones), &group)
            .await?["jid"]
            .clone();
        self.say(
            MEMBER,
            json!({"to": group, "text": "I have just finished it"}),
        )
        .await?;
        let chats = format!("{}/accounts/{ACCOUNT}/chats", self.api);
        while self.get(&chats).await?["pagination"]["total"] != 2 {
            smol::Timer::after(Duration::from_millis(50)).await;
        }
        for chat in [FRIEND, group.as_str().unwrap_or_default()] {
            self.post(&format!("{chats}/{chat}/read"), "{}").await?;
        }
        let answer =
            json!({"to": FRIEND, "message": "And I am wildcat. Nice to meet you"}).to_string();
        let send = format!("{}/accounts/{ACCOUNT}/message/send", self.api);
        self.post(&send, &answer).await?;
        self.say(MEMBER, json!({"to": OWN, "text": "Hello from the sandbox"}))
            .await
    }

    /// Lets a phone send a message.
    async fn say(&self, number: &str, message: Value) -> Result<(), RunError> {
        let url = format!("{}/phones/{number}/messages", self.phones);
        self.post(&url, &message.to_string()).await.map(|_| ())
    }

    async fn get(&self, url: &str) -> Result<Value, RunError> {
        let mut answer = self.http.get(url).await.map_err(|e| failed(&e))?;
        answer.body_json().await.map_err(|e| failed(&e))
    }

    async fn post(&self, url: &str, body: &str) -> Result<Value, RunError> {
        let request = self.http.post(url).body_string(body.to_owned());
        let mut answer = request.await.map_err(|e| failed(&e))?;
        if answer.status().is_success() {
            return answer.body_json().await.map_err(|e| failed(&e));
        }
        let words = answer.body_string().await.unwrap_or_default();
        Err(RunError::Sandbox(format!("{url}: {words}")))
    }
}

/// A greenhouse on a hill, as JPEG.
fn picture() -> Result<Vec<u8>, EncodingError> {
    const WIDTH: u16 = 640;
    const HEIGHT: u16 = 400;
    let mut pixels = Vec::with_capacity(usize::from(WIDTH) * usize::from(HEIGHT) * 3);
    for y in 0..i32::from(HEIGHT) {
        for x in 0..i32::from(WIDTH) {
            let hill = |middle: i32, top: i32| (x - middle).pow(2) / 900 + top;
            let (from_glass, roof) = ((x - 220).abs(), 150 + (x - 220).abs());
            let sun = (x - 500).pow(2) + (y - 90).pow(2) < 2_100;
            let frame = from_glass % 35 < 3 || (y - 240).abs() < 2;
            let colour: [u8; 3] = match () {
                () if from_glass <= 70 && y >= roof && y <= 320 && !frame => [234, 242, 238],
                () if from_glass <= 70 && y >= roof && y <= 320 => [136, 163, 156],
                () if y > hill(180, 300) => [107, 139, 75],
                () if y > hill(420, 250) => [143, 164, 108],
                () if sun => [253, 236, 196],
                // 207 and 148 at the top, 20 and 50 more at the horizon.
                () => [
                    244,
                    (207 + y / 20).min(227) as u8,
                    (148 + y / 8).min(198) as u8,
                ],
            };
            pixels.extend(colour);
        }
    }
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 80).encode(&pixels, WIDTH, HEIGHT, ColorType::Rgb)?;
    Ok(jpeg)
}

/// The text with the commands to try.
fn guide(api: &str, phones: &str, ca: &Path) -> String {
    let ca = ca.display();
    format!(
        "
wildcat's sandbox is ready. Account \"{ACCOUNT}\" is paired with the phone {OWN}.
Nothing here reaches WhatsApp; everything is gone when you press Ctrl-C.

Open {api}/ in a browser: the page has {FRIEND_NAME}'s phone beside it. Or, from another shell:

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
