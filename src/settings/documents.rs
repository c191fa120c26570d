//! `config/wildcat.toml` and the settings in `config/wildcat.1`, held to the declarations.

use super::table::{Kind, Setting};
use super::{SETTINGS, values};

/// The longest line, in characters.
const WIDTH: usize = 110;

const HEAD: &str = r#"# wildcat's settings and their defaults. Generated from src/settings/declared.rs.
#
# A setting is looked for in this order, the last one found counts:
#   1. the defaults, as they stand here
#   2. a file: `--config FILE`, else ./wildcat.toml, else /etc/wildcat/wildcat.toml
#   3. the environment: WILDCAT_<SECTION>_<KEY>, for example WILDCAT_SERVER_LISTEN
#      (OLD, as WILDCAT 2.0 has them, too;
#      a WILDCAT_ variable counts more)
#   4. the command line: --listen, --data, --log
# A file needs to hold only what differs. `wildcat check-config` shows the effective settings, and where each
# was found.
#
# Durations: "500ms", "30s", "5m", "1h". Sizes: "512 B", "64 KiB", "1 MiB".
"#;

const BEGIN: &str = ".\\\" Generated from src/settings/declared.rs, to the end of this section.\n";

#[test]
fn the_settings_file_is_the_declarations() {
    let old: Vec<&str> = SETTINGS.iter().flat_map(|one| one.old).copied().collect();
    let (last, others) = old.split_last().unwrap();
    let mut file = HEAD.replace("OLD", &format!("{} and {last}", others.join(", ")));
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            file += &format!("\n[{section}]\n");
        }
        for line in wrapped(&words(setting), WIDTH - 2) {
            file += &format!("# {line}\n");
        }
        let value = setting.toml(setting.default);
        file += &format!("{} = {value}\n", setting.name);
    }
    held("config/wildcat.toml", &file);
}

#[test]
fn the_manual_has_the_declarations() {
    let mut settings = String::new();
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            settings += &format!(".SS [{section}]\n");
        }
        let value = roff(&setting.toml(setting.default)).replace('"', "\\(dq");
        settings += &format!(".TP\n.BR {} \" = {value}\"\n", setting.name);
        for line in wrapped(&words(setting), WIDTH) {
            settings += &format!("{}\n", roff(&line));
        }
    }
    let page = include_str!("../../config/wildcat.1");
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(".SH ").unwrap();
    held(
        "config/wildcat.1",
        &format!("{before}{BEGIN}{settings}.SH {after}"),
    );
}

#[test]
fn every_setting_is_described() {
    for setting in SETTINGS {
        let words = words(setting);
        assert!(words.len() > 20 && words.ends_with('.'), "{words}");
    }
}

/// A setting's words, and its bounds.
fn words(setting: &Setting) -> String {
    let words = setting.words.trim();
    match setting.kind {
        Kind::Text | Kind::Flag => words.to_owned(),
        kind => {
            // `wrapped` keeps what such spaces join on one line.
            let range = format!("Range: {}.", values::show_bounds(kind));
            format!("{words} {}", range.replace(' ', "\u{a0}"))
        }
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                *line += &format!(" {word}");
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let joined = lines.iter().map(|line| line.replace('\u{a0}', " "));
    joined.collect()
}

fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line,
    }
}

/// Compares a checked-in file with what it should be, or writes it anew. Tests run in the package's folder, also on a
/// board, where the path at which they were compiled does not exist.
fn held(path: &str, expected: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(
        found == expected,
        "{path} is not what src/settings/declared.rs says: \
         run `UPDATE_GENERATED=1 cargo test --lib settings::`"
    );
}
