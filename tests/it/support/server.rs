//! The server under test: the real binary, its log, its end.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Instant;

use wildcat_simulator::WHATSAPP_NOISE_ROOT;

use super::DEADLINE;

/// Another binary than the one that cargo has built beside this test.
static BINARY: OnceLock<PathBuf> = OnceLock::new();

/// Runs servers from that file from now on.
pub fn use_binary(path: &Path) {
    // The first one counts.
    let _ = BINARY.set(path.to_owned());
}

fn binary() -> &'static Path {
    BINARY.get_or_init(|| match released() {
        Some(path) => path,
        None => PathBuf::from(env!("CARGO_BIN_EXE_wildcat")),
    })
}

/// A release binary, for any processor, to run instead:
/// `WILDCAT_TEST_BINARY`.
pub fn released() -> Option<PathBuf> {
    std::env::var_os("WILDCAT_TEST_BINARY").map(PathBuf::from)
}

/// How many bits a word of the tested binary has: 32 or 64.
pub fn bits() -> u32 {
    let mut start = [0; 5];
    std::fs::File::open(binary())
        .and_then(|mut file| file.read_exact(&mut start))
        .expect("the binary");
    assert_eq!(&start[..4], b"\x7fELF");
    u32::from(start[4]) * 32
}

/// The program, with arguments, that runs binaries of another processor: `WILDCAT_TEST_RUNNER`.
fn runner() -> Vec<String> {
    let runner = std::env::var("WILDCAT_TEST_RUNNER").unwrap_or_default();
    runner.split_whitespace().map(str::to_owned).collect()
}

/// Copies a released binary and lets the copy trust another root of Noise certificates than
/// WhatsApp's; nothing else of it is changed, and it checks certificates as the original does.
pub fn copy_trusting(root: &[u8; 32], original: &Path, copy: &Path) {
    let mut bytes = std::fs::read(original).expect("the released binary");
    let mut found = 0;
    let mut at = 0;
    while let Some(next) = bytes[at..]
        .windows(32)
        .position(|window| window == WHATSAPP_NOISE_ROOT)
    {
        at += next;
        bytes[at..at + 32].copy_from_slice(root);
        found += 1;
    }
    assert!(found > 0, "{original:?} holds no root key of WhatsApp");
    std::fs::write(copy, bytes).expect("written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(copy, executable).expect("its mode");
}

/// How to start a server: `world.options().with("limits.burst", 1).start()`.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its data directory. Its parent is the working directory.
    pub data: PathBuf,
    /// The binary, if it is not that of all tests.
    binary: Option<PathBuf>,
    /// Environment variables; the settings are among them.
    env: BTreeMap<String, String>,
    /// A program, with arguments, that starts the binary in its place: the process stays the same.
    wrapper: Vec<String>,
}

impl ServerOptions {
    pub fn new(data: PathBuf, binary: Option<PathBuf>) -> ServerOptions {
        ServerOptions {
            data,
            binary,
            env: BTreeMap::new(),
            wrapper: Vec::new(),
        }
    }

    /// Sets a setting, by its name in `config/wildcat.toml`; replaces an earlier value.
    #[must_use]
    pub fn with(self, setting: &str, value: impl ToString) -> ServerOptions {
        self.env(&variable(setting), value)
    }

    /// Leaves a setting at its default.
    #[must_use]
    pub fn without(mut self, setting: &str) -> ServerOptions {
        self.env.remove(&variable(setting));
        self
    }

    /// Sets an environment variable that is no setting.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> ServerOptions {
        self.put(name, value);
        self
    }

    pub(super) fn put(&mut self, name: &str, value: impl ToString) {
        self.env.insert(name.to_owned(), value.to_string());
    }

    /// Lets that program, with those arguments, start the binary.
    #[must_use]
    pub fn under<S: AsRef<str>>(mut self, words: impl IntoIterator<Item = S>) -> ServerOptions {
        self.wrapper = words.into_iter().map(|it| it.as_ref().to_owned()).collect();
        self
    }

    /// The environment that the server gets beside the machine's own.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// Starts the binary and waits until it listens.
    pub fn start(&self) -> Server {
        let mut server = self.spawn();
        let line = server.wait_log("listening on ");
        let address = line.rsplit(' ').next().expect("an address");
        server.base = address.to_owned();
        server
    }

    /// Starts the binary without waiting for anything.
    pub fn spawn(&self) -> Server {
        Server::spawn(self)
    }
}

/// The environment variable of a setting: `WILDCAT_LIMITS_BURST` of `limits.burst`.
fn variable(setting: &str) -> String {
    assert!(setting.contains('.'), "{setting} is no setting");
    format!("WILDCAT_{}", setting.replace('.', "_").to_uppercase())
}

/// A running server. Killed when it is dropped.
pub struct Server {
    child: Child,
    log: Arc<Log>,
    base: String,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    news: Condvar,
}

impl Server {
    fn spawn(options: &ServerOptions) -> Server {
        let words: Vec<String> = options.wrapper.iter().cloned().chain(runner()).collect();
        let binary = options.binary.as_deref().unwrap_or_else(|| binary());
        let mut command = command(&words, binary);
        // Nothing of the machine's own settings may leak in.
        command.env_clear();
        for name in ["PATH", "HOME", "LD_LIBRARY_PATH", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command
            .current_dir(options.data.parent().expect("a parent"))
            .arg("--data")
            .arg(&options.data)
            .env("WILDCAT_SERVER_LISTEN", "127.0.0.1:0")
            .envs(&options.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().expect("piped");
        let into = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                into.lines.lock().expect("log").push(line);
                into.news.notify_all();
            }
            into.lines.lock().expect("log").push("<end of log>".into());
            into.news.notify_all();
        });
        Server {
            child,
            log,
            base: String::new(),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let address = self.base.trim_start_matches("http://");
        address.parse().expect("an address")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many lines the log has: a point to wait from.
    pub fn log_mark(&self) -> usize {
        self.log.lines.lock().expect("log").len()
    }

    /// Waits for the first line that contains `text`, from the start.
    pub fn wait_log(&self, text: &str) -> String {
        self.wait_log_from(0, text)
    }

    /// Waits for a line that contains `text`, from line `mark` on.
    pub fn wait_log_from(&self, mark: usize, text: &str) -> String {
        let give_up = Instant::now() + DEADLINE;
        let mut lines = self.log.lines.lock().expect("log");
        loop {
            if let Some(line) = lines.iter().skip(mark).find(|line| line.contains(text)) {
                return line.clone();
            }
            let left = give_up.saturating_duration_since(Instant::now());
            let ended = lines.last().is_some_and(|line| line == "<end of log>");
            if left.is_zero() || ended {
                let all = lines.join("\n");
                drop(lines);
                panic!("the log never said {text:?}; it said:\n{all}");
            }
            lines = self.log.news.wait_timeout(lines, left).expect("log").0;
        }
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        self.log.lines.lock().expect("log").join("\n")
    }

    /// Pulls the plug.
    pub fn kill(mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("it is gone");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.wait_log("<end of log>");
        self.child.wait().expect("it ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the server's log\n{}\n---", self.log());
        }
    }
}

/// That binary, run by that program if there is one.
fn command(runner: &[String], binary: &Path) -> Command {
    let Some((program, args)) = runner.split_first() else {
        return Command::new(binary);
    };
    let mut command = Command::new(program);
    command.args(args).arg(binary);
    command
}

/// How the binary is run: a program and its first arguments.
pub fn program() -> Vec<std::ffi::OsString> {
    let command = command(&runner(), binary());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(ToOwned::to_owned).collect()
}

/// Runs the binary to its end: exit code, standard output, standard error.
pub fn run_to_end(directory: &Path, args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let mut child = command(&runner(), binary())
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut out = String::new();
    let mut err = String::new();
    child
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut out)
        .expect("text");
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut err)
        .expect("text");
    let status = child.wait().expect("it ends");
    (status.code().unwrap_or(-1), out, err)
}
