//! Rules checked in the sources: imports between modules, and the documentation of every endpoint.

use std::path::{Path, PathBuf};

use wildcat::api::{ROUTES, Route};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below `src`, as its path there and its text.
fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let mut found = Vec::new();
    let mut directories = vec![src.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path
                    .strip_prefix(&src)
                    .expect("below")
                    .display()
                    .to_string();
                found.push((name, std::fs::read_to_string(&path).expect("read")));
            }
        }
    }
    assert!(found.len() > 30, "the sources were found");
    found
}

/// Code, without comments and without the tests at the end of a file.
fn code(text: &str) -> String {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_test_file(name: &str) -> bool {
    Path::new(name)
        .file_stem()
        .and_then(|s| s.to_str())
        .is_some_and(|s| s == "tests" || s.ends_with("_tests") || s == "testing")
}

#[test]
fn each_big_dependency_has_one_importer() {
    for (crate_name, home) in [
        ("heed", "store/"),
        ("tide", "api/"),
        // The protocol's messages reach `message` by one file.
        ("whatsapp_rust", "whatsapp/ message/wire.rs"),
        ("wacore", "whatsapp/"),
        ("waproto", "whatsapp/"),
        ("async_tungstenite", "net/"),
        ("multer", "api/"),
        ("wildcat_simulator", "sandbox.rs"),
    ] {
        for (name, text) in sources() {
            let is_home = home.split(' ').any(|home| name.starts_with(home));
            if is_home || is_test_file(&name) {
                continue;
            }
            let path = format!("{crate_name}::");
            let named = code(&text).lines().any(|line| {
                line.match_indices(&path).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                })
            });
            assert!(!named, "{name} names {crate_name}, which belongs to {home}");
        }
    }
}

/// What `message::wire` passes on is for the files of `message` alone: all others take and give whole messages.
#[test]
fn the_protocols_messages_are_named_in_two_places() {
    for (name, text) in sources() {
        if name.starts_with("message/") || name.starts_with("whatsapp/") || is_test_file(&name) {
            continue;
        }
        let code = code(&text);
        assert!(
            !code.contains("wire::") && !code.contains("wa::"),
            "{name} names the protocol's types"
        );
    }
    let list = std::fs::read_to_string(root().join("src/message/mod.rs")).expect("read");
    assert!(list.contains("\nmod wire;\n"), "message::wire is private");
}

/// What stands behind each `crate::`: one name, or those of the list in braces.
fn named_modules(code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(is_part).collect()
    };
    let mut found = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.push(name(&list[start..at]));
                    start = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn modules_are_found_alone_and_in_lists() {
    let code = "use crate::store::{Store, env::{A, B}};\nuse crate::{jid, net::{http, tls}, \
        keys::Key,\n};\ncrate::clock::now()";
    let expected = ["store", "jid", "net", "keys", "clock"];
    assert_eq!(named_modules(code), expected);
}

#[test]
fn modules_depend_one_way() {
    // Each may import what stands further down.
    const ORDER: &[&[&str]] = &[
        &["main", "lib", "server", "sandbox", "fuzzing"],
        &["maintenance", "archive"],
        &["api"],
        &["webhook", "account", "systemd"],
        &["whatsapp"],
        &["ledger"],
        &["store", "console"],
        &["event"],
        &["message"],
        &[
            "net", "media", "jid", "keys", "settings", "args", "qr", "runtime",
        ],
        &["clock", "text"],
        &["sync"],
    ];
    let rank = |module: &str| {
        ORDER
            .iter()
            .position(|row| row.contains(&module))
            .unwrap_or_else(|| panic!("{module} has no place in the order"))
    };
    for (name, text) in sources() {
        if is_test_file(&name) {
            continue;
        }
        let own = name
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
            .to_owned();
        for module in named_modules(&code(&text)) {
            if module == own || !module.starts_with(char::is_lowercase) {
                continue;
            }
            assert!(
                rank(&own) <= rank(&module),
                "{name} imports {module}, which stands above it"
            );
        }
    }
}

#[test]
fn only_the_clock_reads_the_time_of_day() {
    for (name, text) in sources() {
        if name != "clock/mod.rs" && !is_test_file(&name) {
            assert!(!code(&text).contains("SystemTime::now"), "{name}");
        }
    }
}

/// An event and the change that it reports are one transaction because one file appends all events.
#[test]
fn only_the_ledger_appends_events() {
    let mut appending = Vec::new();
    for (name, text) in sources() {
        if is_test_file(&name) {
            continue;
        }
        if code(&text).contains("events::append") {
            appending.push(name);
        }
    }
    assert_eq!(appending, ["ledger.rs"]);
}

#[test]
fn one_executor_and_no_pools() {
    for (name, text) in sources() {
        let code = code(&text);
        for spawn in ["smol::spawn(", "async_std::task::spawn", "thread::spawn("] {
            assert!(
                is_test_file(&name) || !code.contains(spawn),
                "{name} uses {spawn}"
            );
        }
        // A task that nothing supervises would die in silence.
        let supervises = name.starts_with("runtime") || is_test_file(&name);
        let solid: String = code.lines().map(str::trim).collect();
        // A thread of a scope, and the storage's own, which ends the server with it.
        let others = ["scope.spawn(", ".stack_size(WRITER_STACK).spawn("];
        let solid = others
            .iter()
            .fold(solid, |solid, other| solid.replace(other, ""));
        assert!(
            supervises || !solid.contains(".spawn("),
            "{name} spawns a task without runtime::tasks"
        );
    }
}

/// The endpoints of WILDCAT 2.0, as its users have them.
const WILDCAT_2: &[&str] = &[
    "GET /ping",
    "POST /accounts",
    "GET /accounts",
    "GET /accounts/:accountId",
    "DELETE /accounts/:accountId",
    "POST /accounts/:accountId/message/send",
    "POST /accounts/:accountId/message/send/image",
    "POST /accounts/:accountId/message/send/video",
    "POST /accounts/:accountId/message/send/audio",
    "POST /accounts/:accountId/message/send/document",
    "POST /accounts/:accountId/message/reply",
    "POST /accounts/:accountId/message/react",
    "POST /accounts/:accountId/message/delete",
    "GET /accounts/:accountId/chats",
    "GET /accounts/:accountId/chats/:chatId/messages",
    "GET /accounts/:accountId/messages/:messageId",
    "GET /accounts/:accountId/messages/:messageId/media",
    "GET /accounts/:accountId/status",
    "POST /accounts/:accountId/connect",
    "POST /accounts/:accountId/disconnect",
    "POST /webhooks",
];

#[test]
fn every_endpoint_of_wildcat_2_exists() {
    let here: Vec<String> = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    for endpoint in WILDCAT_2 {
        let endpoint = endpoint.replace(":accountId", ":id");
        assert!(here.contains(&endpoint), "{endpoint} is missing");
    }
}

/// The test that declares by `World::walks` that it walks a route; the run of that test holds it to that.
fn walked_by(endpoint: &str) -> String {
    let directory = root().join("tests/it");
    let files = std::fs::read_dir(directory).expect("the tests");
    for path in files.map(|entry| entry.expect("an entry").path()) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a test module");
        for test in text.split("#[test]\nfn ").skip(1) {
            let (name, body) = test.split_once("() {").expect("a test");
            let walks = body.split("world.walks(&[").nth(1);
            let listed = walks.and_then(|rest| rest.split("])").next());
            if listed.is_some_and(|listed| listed.contains(&format!("\"{endpoint}\""))) {
                let module = path.file_stem().expect("a name").display();
                return format!("{module}::{name}");
            }
        }
    }
    panic!("no test walks {endpoint}")
}

/// The rows of the table between two comments of that name.
fn table(file: &str, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(file)).expect(file);
    text.lines()
        .skip_while(|line| *line != format!("<!-- {name} -->"))
        .take_while(|line| *line != format!("<!-- /{name} -->"))
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect()
}

/// A row for each route, in the order of the routes.
fn rows(row: impl Fn(&Route) -> String) -> Vec<String> {
    ROUTES.iter().map(row).collect()
}

#[test]
fn the_readme_has_every_endpoint_and_no_other() {
    let expected = rows(|route| {
        let endpoint = format!("{} {}", route.method, route.path);
        format!("| `{endpoint}` | {} |", route.doc)
    });
    let should = expected.join("\n");
    let table = table("README.md", "endpoints");
    assert_eq!(table, expected, "the table should read:\n{should}");
}

#[test]
fn every_endpoint_has_a_test_that_is_listed() {
    let expected = rows(|route| {
        let endpoint = format!("{} {}", route.method, route.path);
        let test = walked_by(&endpoint);
        format!("| `{endpoint}` | `{test}` |")
    });
    let should = expected.join("\n");
    let table = table("tests/README.md", "walked");
    assert_eq!(table, expected, "the table should read:\n{should}");
}
