//! The stock client in a separate process: `tests/simulator/examples/stock.rs`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::load::Timed;
use crate::support::{World, released};

/// A linked and connected client. Killed when it is dropped.
pub struct Stock {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Stock {
    /// Builds it in the profile of the server beside it, and links it to the phone of `number`.
    pub fn link(world: &World, number: &str) -> Stock {
        Stock::link_under(world, number, &[])
    }

    /// The same, run by a program with arguments.
    pub fn link_under(world: &World, number: &str, wrapper: &[String]) -> Stock {
        let binary = build();
        let mut command = match wrapper.split_first() {
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let mut child = command
            .arg(world.simulator.ws_url())
            .arg(world.directory.path().join("ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(match wrapper {
                [] => Stdio::inherit(),
                _ => Stdio::piped(),
            })
            .spawn()
            .expect("the stock client starts");
        let mut stock = Stock {
            input: child.stdin.take().expect("piped"),
            output: BufReader::new(child.stdout.take().expect("piped")),
            child,
        };
        let qr = stock.hear();
        let qr = qr["qr"].as_str().expect("a QR code");
        world.scan(number, "alice", qr).expect_success();
        while stock.hear()["connected"] != true {}
        stock
    }

    /// Sends `count` texts to these numbers in turn, `concurrency` at a time.
    pub fn send(&mut self, to: &[String], count: usize, concurrency: usize) -> Timed {
        self.say(&json!({"send": {"to": to, "count": count, "concurrency": concurrency}}));
        let done = self.hear();
        let micros = done["micros"].as_array().expect("latencies");
        Timed::new(
            done["seconds"].as_f64().expect("seconds"),
            micros.iter().filter_map(Value::as_u64).collect(),
        )
    }

    /// From now on, `count` further messages count for [`received`](Self::received).
    pub fn expect(&mut self, count: usize) {
        self.say(&json!({"expect": count}));
        assert_eq!(self.hear()["expecting"], count);
    }

    /// Waits until the client has handed over all expected messages.
    pub fn received(&mut self) {
        assert!(self.hear()["received"].is_u64());
    }

    /// Ends it; what its wrapper has said.
    pub fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill").success());
        let mut said = String::new();
        let stderr = self.child.stderr.take().expect("piped");
        BufReader::new(stderr)
            .read_to_string(&mut said)
            .expect("text");
        said
    }

    fn say(&mut self, line: &Value) {
        writeln!(self.input, "{line}").expect("the stock client listens");
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the stock client ended");
        serde_json::from_str(&line).expect("JSON")
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--quiet", "-p", "wildcat-simulator"]);
    command.args(["--example", "stock"]);
    // A configured release binary has one beside it.
    let profile = match cfg!(debug_assertions) && released().is_none() {
        true => "debug",
        false => "release",
    };
    if profile == "release" {
        command.arg("--release");
    }
    let status = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo");
    assert!(status.success(), "the stock client cannot be built");
    // Benchmarks run in target/PROFILE/deps.
    let own = std::env::current_exe().expect("a path");
    let target = own.ancestors().nth(3).expect("target");
    target.join(profile).join("examples/stock")
}
