//! The command line: output, exit codes, files.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{World, has_curl, run_to_end};

#[test]
fn help_fits_a_screen_and_check_config_shows_the_origin_of_settings() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, out, err) = run_to_end(directory.path(), &["--help"], &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.lines().count() <= 24, "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");

    std::fs::write(
        directory.path().join("wildcat.toml"),
        "[server]\nlisten = \"127.0.0.1:4000\"\n",
    )
    .expect("written");
    let sandboxed = ("WILDCAT_WHATSAPP_URL", "wss://127.0.0.1:1/ws/chat");
    let (code, out, err) = run_to_end(
        directory.path(),
        &["check-config", "--log", "debug"],
        &[sandboxed, ("WILDCAT_LIMITS_MESSAGES_PER_MINUTE", "7")],
    );
    assert_eq!((code, err.as_str()), (0, ""));
    for line in [
        "listen = \"127.0.0.1:4000\"  # ./wildcat.toml:2",
        "messages_per_minute = 7  # WILDCAT_LIMITS_MESSAGES_PER_MINUTE",
        "level = \"debug\"  # --log",
    ] {
        assert!(out.contains(line), "{line}\nis not in\n{out}");
    }
    // WILDCAT 2.0's own names.
    let (code, out, _) = run_to_end(
        directory.path(),
        &["check-config"],
        &[sandboxed, ("PORT", "3456"), ("LOG_LEVEL", "warn")],
    );
    assert_eq!(code, 0);
    assert!(out.contains(":3456\""), "{out}");
    assert!(out.contains("level = \"warn\""), "{out}");
}

#[test]
fn the_manual_has_what_the_help_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, help, _) = run_to_end(directory.path(), &["--help"], &[]);
    // As it is read, without the marks of its form, and without spaces, which mean others there.
    let manual = include_str!("../../config/wildcat.1").replace("\\-", "-");
    let solid = |text: &str| text.split_whitespace().collect::<String>();
    let plain = |line: &str| {
        let line = line
            .replace("\\fR", "")
            .replace("\\fP", "")
            .replace('"', "");
        solid(line.split_once(' ').map_or("", |(_macro, rest)| rest))
    };
    let headings: Vec<String> = (manual.lines().zip(manual.lines().skip(1)))
        .filter(|(before, _)| *before == ".TP")
        .map(|(_, line)| plain(line))
        .collect();
    let (commands, options) = (help.split_once("Commands:\n"))
        .and_then(|(_, rest)| rest.split_once("Options:\n"))
        .expect("commands and options");
    let mut named: Vec<&str> = Vec::new();
    for line in commands.lines().chain(options.lines()) {
        // "  key              Keys…: `key add NAME …`, `key list`…": the first column, and the quoted text.
        let column = line
            .strip_prefix("  ")
            .and_then(|line| line.split("  ").next());
        named.extend(column.filter(|column| !column.is_empty() && *column != "key"));
        let quoted = line.split('`').skip(1).step_by(2);
        named.extend(quoted.filter(|text| text.starts_with("key ")));
    }
    let named: Vec<&str> = named.iter().flat_map(|name| name.split(", ")).collect();
    assert!(named.len() > 12, "{named:?}");
    for name in named {
        assert!(
            headings.contains(&solid(name)),
            "{name:?} is not in {headings:?}"
        );
    }
}

#[test]
fn mistakes_name_file_line_and_key() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(
        directory.path().join("wildcat.toml"),
        "[server]\nlisten = \"nowhere\"\n\n[whatsap]\nurl = \"x\"\n",
    )
    .expect("written");
    let (code, out, err) = run_to_end(
        directory.path(),
        &["run"],
        &[
            ("WILDCAT_WHATSAPP_URL", "wss://127.0.0.1:1/ws/chat"),
            ("WILDCAT_SERVER_LISTN", "1"),
        ],
    );
    assert_eq!((code, out.as_str()), (2, ""));
    for part in ["wildcat.toml:2: server.listen", "WILDCAT_SERVER_LISTN"] {
        assert!(err.contains(part), "{part} is not in\n{err}");
    }
    assert!(
        err.contains("wildcat.toml:5: ") && err.contains("whatsap.url"),
        "{err}"
    );
    let (code, _, err) = run_to_end(directory.path(), &["--frobnicate"], &[]);
    assert_eq!(code, 2);
    assert!(err.contains("--frobnicate"), "{err}");
}

#[test]
fn a_sandbox_build_refuses_other_hosts() {
    let directory = tempfile::tempdir().expect("a directory");
    let (code, _, err) = run_to_end(directory.path(), &["run"], &[]);
    assert_eq!(code, 2);
    assert!(err.contains("sandbox"), "{err}");
}

#[test]
fn a_second_server_on_the_same_data_gets_the_pid_of_the_first() {
    let world = World::new();
    let server = world.server();
    let mut second = world.options().spawn();
    let status = second.wait();
    assert_eq!(status.code(), Some(1));
    let log = second.log();
    assert!(log.contains(&server.pid().to_string()), "{log}");
    assert!(
        log.contains(&world.options().data.display().to_string()),
        "{log}"
    );
    // The first one does not mind.
    world.get(&server, "/ping");
    server.kill();
    // And a lock does not outlive a power cut.
    world.server();
}

#[test]
fn other_users_cannot_read_the_data() {
    let world = World::new();
    let server = world.server();
    world
        .post(&server, "/accounts", &json!({"id": "alice"}))
        .expect(201);
    let mut seen = 0;
    let mut directories = vec![world.options().data];
    while let Some(directory) = directories.pop() {
        let mode = |path: &std::path::Path| {
            let metadata = std::fs::metadata(path).expect("metadata");
            metadata.permissions().mode() & 0o777
        };
        assert_eq!(mode(&directory), 0o700, "{directory:?}");
        for entry in std::fs::read_dir(&directory).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{path:?}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "the environment and its lock");
}

#[test]
fn signals_stop_it_cleanly_and_in_time() {
    let world = World::new();
    for signal in ["TERM", "INT"] {
        let mut server = world.server();
        if signal == "TERM" {
            world.pair(&server, "alice", "491700000001");
        } else {
            server.wait_log("alice: connected");
        }
        let started = Instant::now();
        server.signal(signal);
        let status = server.wait();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(status.code(), Some(0), "{}", server.log());
        assert!(server.log().contains("stopped"), "{}", server.log());
    }
}

#[test]
fn a_second_signal_exits_at_once() {
    use std::io::{Read as _, Write as _};

    let world = World::new();
    let mut server = world.server();
    // A request that does not end holds a clean stop up.
    let address = server.base().trim_start_matches("http://").to_owned();
    let mut stream = std::net::TcpStream::connect(address).expect("connected");
    stream
        .write_all(
            b"POST /accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n",
        )
        .expect("sent");
    // A request waits for the body now.
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("an answer");
    assert_eq!(&line, b"HTTP/1.1 100");
    server.signal("TERM");
    server.wait_log("stopping");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(130), "{}", server.log());
}

#[test]
fn each_command_has_help_and_no_option_is_taken_for_a_value() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |args: &[&str]| run_to_end(directory.path(), args, &[]);
    let (_, general, _) = run(&["--help"]);
    for command in [
        "run",
        "key",
        "backup",
        "restore",
        "export",
        "check-config",
        "sandbox",
    ] {
        let (code, out, err) = run(&[command, "--help"]);
        assert_eq!((code, err.as_str()), (0, ""), "{command}");
        assert!(
            out.starts_with("Usage: wildcat ") && out != general,
            "{out}"
        );
        assert!(
            out.lines()
                .next()
                .is_some_and(|line| line.contains(command)),
            "{out}"
        );
        assert!(out.lines().count() <= 24, "{out}");
        assert_eq!(run(&["help", command]).1, out);
    }
    for args in [
        &["--data", "--help"][..],
        &["key", "list", "--data", "--help"],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains("--data needs a value"), "{err}");
    }
    let left = std::fs::read_dir(directory.path()).expect("listed").count();
    assert_eq!(left, 0, "nothing was made");
}

#[test]
fn the_start_logs_urls_and_the_next_step() {
    let world = World::new();
    let server = world.server();
    let place = server.wait_log("open http://");
    assert!(
        place.contains(&format!("open {}", server.base())),
        "{place}"
    );
    let data = world.options().data.canonicalize().expect("a path");
    assert!(place.contains(&data.display().to_string()), "{place}");
    let steps = server.wait_log("there is no account yet");
    assert!(
        steps.contains(&format!("curl {}/accounts", server.base())),
        "{steps}"
    );
    if !has_curl() {
        return;
    }
    // Word for word, as a shell takes it.
    let (_, command) = steps.split_once("yet: ").expect("a command");
    let (command, _) = command.split_once(" makes one").expect("its end");
    let made = std::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .output();
    let made = String::from_utf8(made.expect("curl").stdout).expect("JSON");
    assert!(made.contains("\"mybot\""), "{command}: {made}");
    server.wait_log(&format!("{}/accounts/mybot/qr shows it", server.base()));
    server.kill();
    let server = world.server();
    server.wait_log("open http://");
    world.get(&server, "/ping");
    assert!(!server.log().contains("no account yet"), "{}", server.log());
}

#[test]
fn the_sandbox_uses_the_given_address_and_draws_no_code() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    let directory = tempfile::tempdir().expect("a directory");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let mut child = Command::new(env!("CARGO_BIN_EXE_wildcat"))
        .arg("sandbox")
        .env_clear()
        .env("WILDCAT_SERVER_LISTEN", address.to_string())
        .env("TMPDIR", directory.path())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut said = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    // The guide's last line but one.
    while let Some(Ok(line)) = lines.next() {
        said.push_str(&line);
        said.push('\n');
        if line.contains("/messages") && line.contains("/chats/") {
            break;
        }
    }
    child.kill().expect("killed");
    let end = child.wait_with_output().expect("its end");
    let log = String::from_utf8_lossy(&end.stderr).into_owned();
    assert!(
        said.contains(&format!("curl http://{address}/accounts")),
        "{said}\n{log}"
    );
    assert!(
        log.contains(&format!("listening on http://{address}")),
        "{log}"
    );
    assert!(
        !log.contains("scan") && !said.contains("scan this code"),
        "{log}"
    );
}
