//! Rules checked in the sources: imports between modules, and the documentation of every endpoint.

use std::collections::{BTreeMap, BTreeSet};
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
    let end = text
        .match_indices("#[cfg(test)]\n")
        .find_map(|(at, attribute)| {
            let item = text[at + attribute.len()..].lines().next()?;
            (item.contains("mod ") && item.ends_with('{')).then_some(at)
        });
    text[..end.unwrap_or(text.len())]
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

/// The names after each `crate::`: one, or those of a list in braces.
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
    // Each may import from lower rows.
    const ORDER: &[&[&str]] = &[
        &["main", "lib", "server", "sandbox", "fuzzing"],
        &["maintenance", "archive", "console"],
        &["api"],
        &["webhook", "account", "systemd"],
        &["whatsapp"],
        &["ledger"],
        &["store"],
        &["event"],
        &["message"],
        &["fields"],
        &[
            "net", "media", "jid", "keys", "settings", "args", "qr", "runtime", "web",
        ],
        &["clock", "text"],
        &["sync", "metrics"],
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

/// The paths of a `use` tree, or a path as it stands: `a::{b, c::{d, e as f}}` is `a::b`, `a::c::d`, `a::c::e`.
fn paths_of(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((stem, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split_whitespace().collect()];
    };
    let stem: String = stem.split_whitespace().collect();
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let branch = &list[start..at];
                if !branch.trim().is_empty() {
                    found.extend(paths_of(branch).iter().map(|path| format!("{stem}{path}")));
                }
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// Every path in a file's code that may lead to another file: of its `use` items, and of its expressions.
fn paths_in(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for item in code.split_inclusive(';') {
        let uses = item.rfind("use ").filter(|at| {
            let before = item[..*at].trim_end();
            before.is_empty()
                || before.ends_with(['}', ';', ']', '{', '\n', ')'])
                || before.ends_with("pub")
        });
        match uses {
            Some(at) => {
                rest.push_str(&item[..at]);
                found.extend(paths_of(item[at + "use ".len()..].trim_end_matches(';')));
            }
            None => rest.push_str(item),
        }
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = rest
        .split(|c: char| !is_part(c))
        .filter(|word| word.contains("::"));
    found.extend(words.map(str::to_owned));
    found
}

/// The modules of a folder of `src`, each with those that it names. A file that names what another one
/// re-exports names that one.
fn named_within(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut codes = BTreeMap::new();
    for (name, text) in sources() {
        if name.starts_with(&format!("{folder}/")) && !is_test_file(&name) {
            let module = name.trim_end_matches(".rs").trim_end_matches("/mod");
            codes.insert(module.replace('/', "::"), code(&text));
        }
    }
    assert!(codes.len() > 1, "{folder} has files");
    let modules: BTreeSet<String> = codes.keys().cloned().collect();
    let file_of = |path: &str| -> Option<String> {
        let mut path = path.to_owned();
        while !modules.contains(&path) {
            path.truncate(path.rfind("::")?);
        }
        Some(path)
    };
    let named = codes.iter().map(|(module, code)| {
        let absolute = |path: String| -> String {
            if let Some(path) = path.strip_prefix("crate::") {
                return path.to_owned();
            }
            let mut base = module.clone();
            let mut path = path.strip_prefix("self::").unwrap_or(&path).to_owned();
            while let Some(rest) = path.strip_prefix("super::").map(str::to_owned) {
                base.truncate(base.rfind("::").unwrap_or(0));
                path = rest;
            }
            format!("{base}::{path}")
        };
        let files = paths_in(code).into_iter().map(absolute);
        let files = files.filter_map(|path| file_of(&path));
        (
            module.clone(),
            files.filter(|file| file != module).collect(),
        )
    });
    named.collect()
}

#[test]
fn paths_are_found_in_lists_and_in_expressions() {
    let code = "use super::{a::A, b::{self, B as C}};\npub use self::d::*;\nfn f() {\n    \
        crate::account::e::f(super::g::H);\n}\n";
    let expected = ["super::a::A", "super::b::self", "super::b::B", "self::d::*"];
    let found = paths_in(code);
    assert_eq!(found[..4], expected);
    assert_eq!(found[4..], ["crate::account::e::f", "super::g::H"]);
}

/// A file that can be read without those that read it: no files below a folder import each other in a circle.
#[test]
fn no_files_import_each_other_in_a_circle() {
    for folder in ["account", "api", "whatsapp"] {
        let mut left = named_within(folder);
        // What names nothing that is left is in no circle.
        loop {
            let done: Vec<String> = left
                .iter()
                .filter(|(_, named)| named.iter().all(|file| !left.contains_key(file)))
                .map(|(module, _)| module.clone())
                .collect();
            if done.is_empty() {
                break;
            }
            left.retain(|module, _| !done.contains(module));
        }
        // Nor is what none of them names.
        let mut circles = left.clone();
        loop {
            let before = circles.len();
            let named: BTreeSet<String> = circles.values().flatten().cloned().collect();
            circles.retain(|module, _| named.contains(module));
            if circles.len() == before {
                break;
            }
        }
        for named in circles.values_mut() {
            named.retain(|file| left.contains_key(file));
        }
        assert!(circles.is_empty(), "circles of imports: {circles:#?}");
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
        let paths = paths_in(&code(&text));
        if paths.iter().any(|path| path.ends_with("events::append")) {
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

/// Pages that compare this API with others name endpoints that exist.
#[test]
fn the_pages_for_those_who_come_from_others_name_real_endpoints() {
    let page = std::fs::read_to_string(root().join("config/coming-from.md")).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut named = 0;
    for row in rows {
        let ours = row.rsplit(" | ").next().expect("the last cell");
        // Every second piece is between two backticks.
        for code in ours.split('`').skip(1).step_by(2) {
            let Some((method, path)) = code.split_once(" /") else {
                continue;
            };
            let path = format!("/{path}");
            assert!(
                ROUTES
                    .iter()
                    .any(|route| route.method.as_ref() == method && route.path == path),
                "{code} in {row}"
            );
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
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

/// The words of an array of a shell script, `name=(…)`.
fn shell_array(script: &str, name: &str) -> Vec<String> {
    let start = format!("\n{name}=(");
    let at = script.find(&start).expect("the array") + start.len();
    let end = at + script[at..].find(')').expect("its end");
    script[at..end]
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// A name that matches no test would be run, or left out, without a word.
#[test]
fn the_tests_that_are_run_on_boards_exist() {
    let read = |path: String| std::fs::read_to_string(root().join(path)).unwrap_or_default();
    let script = read("cross/check".to_owned());
    for name in shell_array(&script, "flows") {
        let (module, test) = name.split_once("::").expect("a module");
        let tests = read(format!("tests/it/{module}.rs"));
        assert!(tests.contains(&format!("\nfn {test}")), "{name}");
    }
    let sources = sources();
    for name in shell_array(&script, "units") {
        let found = match name.strip_suffix("::").or(name.split("::").next()) {
            _ if name == "--skip" => true,
            Some(module) if name.contains("::") => sources.iter().any(|(path, _)| {
                path.starts_with(&format!("{module}/")) || *path == format!("{module}.rs")
            }),
            _ => sources
                .iter()
                .any(|(path, text)| path.contains(&name) || text.contains(&format!("fn {name}"))),
        };
        assert!(found, "{name}");
    }
}
