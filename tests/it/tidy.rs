//! The house rules, read out of the sources: who imports what, and that every endpoint is written
//! down.

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
        ("whatsapp_rust", "whatsapp/"),
        ("wacore", "whatsapp/"),
        ("waproto", "whatsapp/"),
        ("async_tungstenite", "net/"),
        ("multer", "api/"),
        ("wildcat_simulator", "sandbox.rs"),
    ] {
        for (name, text) in sources() {
            if name.starts_with(home) || is_test_file(&name) {
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

/// Which test walks each endpoint, with good and bad input: its module and its name.
const WALKED_BY: &[(&str, &str)] = &[
    ("GET /ping", "resources::health"),
    (
        "GET /health",
        "health::it_says_what_is_wrong_of_each_account",
    ),
    (
        "GET /openapi.json",
        "openapi::the_document_describes_what_is_answered",
    ),
    ("POST /accounts", "resources::accounts"),
    ("GET /accounts", "resources::accounts"),
    ("GET /accounts/:id", "resources::accounts"),
    ("DELETE /accounts/:id", "resources::accounts"),
    ("GET /accounts/:id/status", "resources::connection"),
    ("POST /accounts/:id/connect", "resources::connection"),
    ("POST /accounts/:id/disconnect", "resources::connection"),
    (
        "GET /accounts/:id/qr",
        "pairing::the_code_is_there_in_every_form_until_it_is_scanned",
    ),
    (
        "POST /accounts/:id/pair-code",
        "pairing::a_phone_number_and_a_code_pair_too",
    ),
    (
        "GET /accounts/:id/passkey",
        "passkey::a_passkey_links_an_account_200_s_after_the_scan",
    ),
    (
        "POST /accounts/:id/passkey",
        "passkey::a_passkey_links_an_account_200_s_after_the_scan",
    ),
    (
        "DELETE /accounts/:id/passkey",
        "passkey::each_way_in_which_a_passkey_fails_is_said_and_a_new_code_follows",
    ),
    (
        "POST /accounts/:id/passkey/confirm",
        "passkey::a_passkey_links_an_account_200_s_after_the_scan",
    ),
    (
        "GET /accounts/:id/passkey/guide",
        "passkey::a_passkey_links_an_account_200_s_after_the_scan",
    ),
    (
        "POST /accounts/:id/message/send",
        "messages::bad_input_is_told_in_words_and_sends_nothing",
    ),
    (
        "POST /accounts/:id/message/send/image",
        "resources::files_of_each_kind",
    ),
    (
        "POST /accounts/:id/message/send/video",
        "resources::files_of_each_kind",
    ),
    (
        "POST /accounts/:id/message/send/audio",
        "resources::files_of_each_kind",
    ),
    (
        "POST /accounts/:id/message/send/document",
        "media_out::bad_files_are_told_in_words_and_nothing_is_sent",
    ),
    (
        "POST /accounts/:id/message/send/sticker",
        "resources::files_of_each_kind",
    ),
    (
        "POST /accounts/:id/message/reply",
        "changes::the_api_replies_reacts_and_deletes",
    ),
    (
        "POST /accounts/:id/message/react",
        "changes::the_api_replies_reacts_and_deletes",
    ),
    (
        "POST /accounts/:id/message/delete",
        "changes::the_api_replies_reacts_and_deletes",
    ),
    (
        "GET /accounts/:id/outbox",
        "outbox::what_is_queued_offline_goes_in_order_when_the_account_is_back",
    ),
    (
        "DELETE /accounts/:id/outbox/:messageId",
        "outbox::a_message_that_waits_can_be_cancelled_and_expires",
    ),
    ("GET /accounts/:id/chats", "resources::chats_and_messages"),
    (
        "GET /accounts/:id/chats/:chatId/messages",
        "resources::chats_and_messages",
    ),
    (
        "POST /accounts/:id/chats/:chatId/read",
        "changes::own_messages_from_the_phone_show_up_and_read_chats_are_read",
    ),
    (
        "GET /accounts/:id/messages/:messageId",
        "resources::chats_and_messages",
    ),
    (
        "GET /accounts/:id/messages/:messageId/media",
        "media_in::a_file_is_stored_when_it_comes_and_served_in_whole_and_in_parts",
    ),
    ("GET /messages", "resources::chats_and_messages"),
    (
        "GET /media",
        "media_in::a_file_is_stored_when_it_comes_and_served_in_whole_and_in_parts",
    ),
    (
        "GET /media/:mediaId",
        "media_in::a_file_is_stored_when_it_comes_and_served_in_whole_and_in_parts",
    ),
    ("GET /events", "events::what_happened_is_listed_by_number"),
    (
        "POST /webhooks",
        "webhooks::registering_listing_and_removing",
    ),
    (
        "GET /webhooks",
        "webhooks::registering_listing_and_removing",
    ),
    (
        "DELETE /webhooks/:id",
        "webhooks::registering_listing_and_removing",
    ),
    (
        "DELETE /webhooks",
        "webhooks::registering_listing_and_removing",
    ),
    (
        "POST /webhooks/:id/test",
        "webhooks::registering_listing_and_removing",
    ),
    (
        "GET /webhooks/:id/dead",
        "webhooks::a_hook_that_is_down_is_probed_and_what_is_given_up_can_be_replayed",
    ),
    (
        "POST /webhooks/:id/replay",
        "webhooks::a_hook_that_is_down_is_probed_and_what_is_given_up_can_be_replayed",
    ),
];

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
fn everything_that_wildcat_2_has_is_here() {
    let here: Vec<String> = ROUTES
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    for endpoint in WILDCAT_2 {
        let endpoint = endpoint.replace(":accountId", ":id");
        assert!(here.contains(&endpoint), "{endpoint} is missing");
    }
}

/// The test that walks a route, which exists and names the route's last fixed word.
fn walked_by(route: &Route) -> &'static str {
    let endpoint = format!("{} {}", route.method, route.path);
    let (_, test) = WALKED_BY
        .iter()
        .find(|(walked, _)| *walked == endpoint)
        .unwrap_or_else(|| panic!("no test walks {endpoint}"));
    let (module, name) = test.split_once("::").expect("module::name");
    let file = root().join("tests/it").join(module).with_extension("rs");
    let text = std::fs::read_to_string(&file).expect("a test module");
    let start = text
        .find(&format!("#[test]\nfn {name}() {{"))
        .unwrap_or_else(|| panic!("there is no test {test}"));
    let body = &text[start..];
    let body = body.find("\n}\n").map_or(body, |end| &body[..end]);
    let word = route
        .path
        .rsplit('/')
        .find(|part| !part.is_empty() && !part.starts_with(':'))
        .expect("a fixed word");
    let constants: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("const "))
        .collect();
    let named = body.contains(word) || constants.iter().any(|line| line.contains(word));
    assert!(named, "{test} says nothing of {endpoint}");
    test
}

#[test]
fn the_readme_has_every_endpoint_and_no_other() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let table: Vec<&str> = readme
        .lines()
        .skip_while(|line| *line != "<!-- endpoints -->")
        .take_while(|line| *line != "<!-- /endpoints -->")
        .filter(|line| line.starts_with("| `"))
        .collect();
    let expected: Vec<String> = ROUTES
        .iter()
        .map(|route| {
            let test = walked_by(route);
            format!(
                "| `{} {}` | {} | `{test}` |",
                route.method, route.path, route.doc
            )
        })
        .collect();
    assert_eq!(
        table,
        expected,
        "the table should read:\n{}",
        expected.join("\n")
    );
}
