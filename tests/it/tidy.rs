//! The house rules, read out of the sources: who imports what, and that every endpoint is written
//! down.

use std::path::{Path, PathBuf};

use wildcat::api::ROUTES;

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

#[test]
fn modules_depend_one_way() {
    // Each may import what stands further down.
    const ORDER: &[&[&str]] = &[
        &["main", "lib", "server", "sandbox"],
        &["api"],
        &["webhook", "account"],
        &["whatsapp"],
        &["store", "net", "media", "console"],
        &["event", "jid", "config", "args", "qr", "runtime"],
        &["clock"],
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
        for (at, _) in code(&text).match_indices("crate::") {
            let rest = &code(&text)[at + "crate::".len()..];
            let module: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if module.is_empty() || module == own || !module.starts_with(char::is_lowercase) {
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
        if name != "clock.rs" && !is_test_file(&name) {
            assert!(!code(&text).contains("SystemTime::now"), "{name}");
        }
    }
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
    }
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
        .map(|route| format!("| `{} {}` | {} |", route.method, route.path, route.doc))
        .collect();
    assert_eq!(
        table,
        expected,
        "the table should read:\n{}",
        expected.join("\n")
    );
}
