//! The shell lines with curl in the README and in `config/README.md`: each works as pasted, after the lines
//! before it.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::auth::new_key;
use crate::files::Web;
use crate::media_in::base64;
use crate::support::{
    Answer, Authenticator, Phone, Receiver, Server, World, eventually, has_curl, not_tested,
};

/// The phone that scans the code.
const OWN: &str = "491700000001";
/// The recipient that the README names.
const FRIEND: &str = "919876543210";
const ACCOUNT: &str = "mybot";
const SITE: &str = "https://web.whatsapp.com";

/// The pages in the order in which a reader comes to them.
const PAGES: &[(&str, &str)] = &[
    ("README.md", include_str!("../../README.md")),
    ("config/README.md", include_str!("../../config/README.md")),
];

#[derive(Debug)]
enum Line<'a> {
    /// `NAME=value   # comment`.
    Set {
        name: &'a str,
        value: &'a str,
        comment: &'a str,
    },
    Curl(String),
}

/// The lines of the page's `bash` blocks that set a variable or run curl.
fn lines(page: &str) -> Vec<Line<'_>> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut command = String::new();
    for line in page.lines() {
        match line {
            "```bash" => inside = true,
            "```" => inside = false,
            _ if !inside || line.starts_with('#') => {}
            _ if !command.is_empty() || line.contains("curl") => {
                command.push_str(line);
                command.push('\n');
                if !line.ends_with('\\') {
                    let whole = std::mem::take(&mut command);
                    assert!(whole.starts_with("curl "), "not run by the test: {whole}");
                    found.push(Line::Curl(whole));
                }
            }
            _ => {
                let Some((name, rest)) = line.split_once('=') else {
                    continue;
                };
                if name.chars().all(|c| c.is_ascii_uppercase()) {
                    let (value, comment) = rest.split_once(" # ").unwrap_or((rest, ""));
                    let (value, comment) = (value.trim(), comment.trim());
                    found.push(Line::Set {
                        name,
                        value,
                        comment,
                    });
                }
            }
        }
    }
    assert_eq!(command, "", "a line that goes on nowhere");
    found
}

/// A reader with a shell.
struct Reader<'w> {
    world: &'w World,
    server: Server,
    /// Where the server is as seen from the reader, and the reader's key if there is one.
    host: String,
    key: Option<String>,
    friend: Phone<'w>,
    passkey: Authenticator,
    /// What `192.168.1.20` is here.
    web: Web,
    hook: Receiver,
    /// The reader's home and working directory.
    home: TempDir,
    /// The variables that are set.
    set: Vec<String>,
    /// The last answer.
    answer: String,
}

impl<'w> Reader<'w> {
    fn new(world: &'w World, host: String, with_key: bool) -> Reader<'w> {
        // The library's pictures and sounds are the reader's own.
        let home = tempfile::tempdir().expect("a directory");
        let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/media");
        for (from, to) in [("photo.jpg", "garden.jpg"), ("tone.mp3", "hello.mp3")] {
            std::fs::copy(media.join(from), home.path().join(to)).expect("a file");
        }
        // The pasted lines are unchanged: the status code is printed to standard error.
        let settings = "silent\nshow-error\nmax-time = 60\nwrite-out = \"%{stderr}%{http_code}\"\n";
        std::fs::write(home.path().join(".curlrc"), settings).expect("written");
        let web = Web::start(|_| {
            let pdf = b"%PDF-1.4\n%%EOF\n";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", pdf.len());
            [head.as_bytes(), pdf].concat()
        });
        let server = world.options().with("server.listen", "0.0.0.0:0").start();
        let passkey = Authenticator::new(b"the reader's");
        world
            .phone(OWN, "Reader")
            .post("passkey", &passkey.registration());
        Reader {
            world,
            server,
            host,
            key: with_key.then(|| new_key(world, &["me"])),
            friend: world.phone(FRIEND, "Robin"),
            passkey,
            web,
            hook: Receiver::start(),
            home,
            set: Vec::new(),
            answer: String::new(),
        }
    }

    /// A request of the test's own.
    fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        let url = format!("http://127.0.0.1:{}{path}", self.server.address().port());
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(self.key.as_deref().map(|key| ("X-Api-Key", key)));
        match method {
            "GET" => self.world.http().get_with(&url, &headers),
            _ => {
                let body = body.to_string().into_bytes();
                self.world.http().send_with(method, &url, &headers, body)
            }
        }
    }

    /// The phone scans the code on show.
    fn scan(&self) {
        let path = format!("/accounts/{ACCOUNT}/status");
        let qr = eventually("a QR code", || {
            let status = self.api("GET", &path, &Value::Null).expect(200);
            status["qr"].as_str().map(str::to_owned)
        });
        self.world.scan(OWN, ACCOUNT, &qr).expect_success();
    }

    fn connected(&self, mark: usize) {
        let line = format!("{ACCOUNT}: connected");
        self.server.wait_log_from(mark, &line);
    }

    /// The friend's image arrives.
    fn image_arrives(&self) {
        let bytes = std::fs::read(self.home.path().join("garden.jpg")).expect("a file");
        let image = json!({"base64": base64(&bytes), "mimetype": "image/jpeg"});
        let id = self.friend.send(&json!({"to": OWN, "image": image}));
        let path = format!("/accounts/{ACCOUNT}/messages/{id}");
        eventually("the image", || {
            let answer = self.api("GET", &path, &Value::Null);
            (answer.status == 200).then_some(())
        });
    }

    /// Links the account again, with a passkey required by WhatsApp.
    fn is_asked_for_a_passkey(&self) {
        let account = format!("/accounts/{ACCOUNT}");
        self.api("DELETE", &account, &Value::Null).expect(200);
        let fault = json!({"kind": "require-passkey", "number": OWN, "count": 1});
        self.world.fault(&fault);
        let body = json!({"id": ACCOUNT});
        self.api("POST", "/accounts", &body).expect(201);
        self.scan();
        self.passkey_shows("options");
    }

    /// Waits until `GET …/passkey` has that field.
    fn passkey_shows(&self, field: &str) -> Value {
        let path = format!("/accounts/{ACCOUNT}/passkey");
        eventually(field, || {
            let answer = self.api("GET", &path, &Value::Null);
            let shown = (answer.status == 200).then(|| answer.json()[field].clone());
            shown.filter(|value| !value.is_null())
        })
    }

    /// Sets a variable as the reader would.
    fn sets(&mut self, name: &str, value: &str, comment: &str) {
        let value = match name {
            "WILDCAT" => {
                assert_eq!(value, "http://localhost:3000");
                format!("http://{}:{}", self.host, self.server.address().port())
            }
            "KEY" => {
                assert_eq!(value, "$(sudo wildcat key add me)");
                self.key.clone().unwrap_or_default()
            }
            "ANSWER" => {
                assert_eq!(comment, "what the console printed");
                let options = self.passkey_shows("options");
                self.passkey.get(&options, SITE).to_string()
            }
            _ => {
                let field = comment.strip_prefix("the answer's ").expect("which field");
                let answer: Value = serde_json::from_str(&self.answer).expect("JSON");
                first(&answer, field).unwrap_or_else(|| panic!("no {field} in {answer}"))
            }
        };
        self.set.push(format!("{name}='{value}'"));
    }

    fn start(&self, command: &str) -> Child {
        let web = self.web.address();
        let hook = self.hook.url();
        let hook = hook.trim_start_matches("http://").trim_end_matches("/hook");
        let command = command
            .replace("192.168.1.20:8123", hook)
            .replace("192.168.1.20", web);
        let script = format!("{}\n{command}", self.set.join("\n"));
        Command::new("sh")
            .args(["-c", &script])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell")
    }

    /// Pastes a command, and does what happens beside it.
    fn pastes(&mut self, command: &str) {
        if command.contains("/chats\"") {
            self.image_arrives();
        } else if command.contains("/passkey/guide") {
            self.is_asked_for_a_passkey();
        }
        let mark = self.server.log_mark();
        let child = self.start(command);
        if command.contains("wait=") {
            self.friend.say(OWN, "is anybody there?");
        }
        if command.contains(" -N ") {
            self.read_stream(child, command);
            return;
        }
        let output = child.wait_with_output().expect("its end");
        self.check(command, &output);
        if command.contains("/qr\"") {
            self.scan();
            self.connected(mark);
        } else if command.contains("$ANSWER") {
            self.passkey_shows("code");
        } else if command.contains("/confirm") {
            self.connected(mark);
        }
    }

    /// A stream does not end: it is left once it has an event.
    fn read_stream(&self, mut child: Child, command: &str) {
        use std::io::{BufRead as _, BufReader};
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut lines = lines.map_while(Result::ok);
        // The stream begins with a comment or a `retry`; what happens from then on is in it.
        let began = lines.next();
        self.friend.say(OWN, "on the stream");
        let event = lines.find(|line| line.starts_with("data: "));
        let event = event.unwrap_or_else(|| panic!("{command}: nothing after {began:?}"));
        // curl, a child of the shell, ends with the next event that it cannot pass on.
        drop(lines);
        self.friend.say(OWN, "after it");
        child.wait().expect("its end");
        assert!(event.contains("on the stream"), "{command}: {event}");
    }

    /// The command has succeeded, and so has the request.
    fn check(&mut self, command: &str, output: &Output) {
        let status = String::from_utf8_lossy(&output.stderr).into_owned();
        self.answer = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = format!("{command}{status}\n{}", self.answer);
        assert!(output.status.success(), "{all}");
        assert!(["200", "201", "202"].contains(&&*status), "{all}");
        if command.contains(" -OJ ") {
            let file = std::fs::read_dir(self.home.path()).expect("listed");
            let whole = std::fs::read(self.home.path().join("garden.jpg")).expect("a file");
            let is_it = |entry: std::fs::DirEntry| {
                entry.file_name() != "garden.jpg"
                    && std::fs::read(entry.path()).is_ok_and(|bytes| bytes == whole)
            };
            assert!(file.flatten().any(is_it), "{all}");
        } else if command.contains("/qr\"") || command.contains("/guide") {
            assert!(self.answer.lines().count() > 10, "{all}");
        } else {
            let answer: Value = serde_json::from_str(&self.answer).expect("JSON");
            assert_eq!(answer["ok"], true, "{all}");
        }
    }
}

/// The first value of that name in an answer, as a shell would take it.
fn first(answer: &Value, field: &str) -> Option<String> {
    match answer {
        Value::Object(fields) => match fields.get(field) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => fields.values().find_map(|value| first(value, field)),
        },
        Value::Array(values) => values.iter().find_map(|value| first(value, field)),
        _ => None,
    }
}

/// The machine's address on its network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Connecting sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

fn read(host: String, with_key: bool) {
    let world = World::new();
    let mut reader = Reader::new(&world, host, with_key);
    for (name, page) in PAGES {
        let mut run = 0;
        for line in lines(page) {
            match line {
                Line::Set {
                    name,
                    value,
                    comment,
                } => reader.sets(name, value, comment),
                Line::Curl(command) => {
                    reader.pastes(&command);
                    run += 1;
                }
            }
        }
        let blocks = page.split("```bash").count() - 1;
        assert!(run > 0 && blocks > 0, "{name}: {run} lines");
        let in_page = page.lines().filter(|line| line.starts_with("curl "));
        assert_eq!(run, in_page.count(), "{name}: lines outside of a block");
    }
}

#[test]
fn the_readmes_lines_work_on_this_machine_without_a_key() {
    if !has_curl() {
        return;
    }
    read("localhost".to_owned(), false);
}

#[test]
fn the_readmes_lines_work_from_another_machine_with_a_key() {
    if !has_curl() {
        return;
    }
    let host = own_address().unwrap_or_else(|| {
        not_tested("in part: this machine has no address but the loopback's");
        IpAddr::from([127, 0, 0, 1])
    });
    read(host.to_string(), true);
}

/// Two screens before the first table: a person with a board reads no more.
#[test]
fn the_readme_begins_with_the_readers_first_steps() {
    let (_, readme) = PAGES[0];
    let before: Vec<&str> = readme
        .lines()
        .take_while(|line| !line.starts_with('|'))
        .collect();
    assert!(before.len() <= 105, "{} lines", before.len());
    let headings: Vec<&str> = before
        .iter()
        .filter_map(|line| line.strip_prefix("## "))
        .take(4)
        .collect();
    assert_eq!(
        headings,
        ["Install on a Raspberry Pi", "Pair", "Send", "Receive"]
    );
}
