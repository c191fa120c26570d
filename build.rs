//! Packs the page of `src/web` and the OpenAPI document, and sets two linker options that make the binary 4 % smaller, for builds where they work:
//!
//! - Packed relative relocations. The program then needs glibc 2.36 (Debian 12): set if the target is this
//!   machine, and its glibc is new enough.
//! - Identical code folding, an option of lld, which rustc uses by default for this target: set unless another
//!   linker is configured.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

/// The OpenAPI document, for `src/api/openapi/mod.rs`.
const DOCUMENT: &str = "src/api/openapi/openapi.json";

/// The page's modules: each imports from those before it alone.
const MODULES: &[&str] = &[
    "words", "dom", "api", "format", "list", "shell", "bubble", "actions", "search", "compose",
    "chat", "chats", "accounts", "link", "hooks", "server", "app",
];

/// Those of the sandbox's phone.
const PHONE: &[&str] = &["words", "phonewords", "dom", "api", "format", "phone"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/web");
    pack_page();
    pack_document();
    linker_options();
}

/// Writes the files of the page, compressed, and a table of them for `src/web/mod.rs`.
fn pack_page() {
    // Cargo sets it for every build script.
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("OUT_DIR"));
    let source = Path::new("src/web");
    let read = |name: &str| {
        let path = source.join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let joined = |modules: &[&str]| -> String {
        let scoped = |name: &&str| scoped(name, &read(&format!("{name}.js")));
        unindented(&modules.iter().map(scoped).collect::<String>())
    };
    const HTML: &str = "text/html; charset=utf-8";
    const CSS: &str = "text/css; charset=utf-8";
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let mut files = vec![
        ("/", HTML, read("index.html")),
        ("/web/style.css", CSS, unindented(&read("style.css"))),
        ("/web/page.js", SCRIPT, joined(MODULES)),
        ("/web/icon.svg", "image/svg+xml", read("icon.svg")),
    ];
    if env::var_os("CARGO_FEATURE_SANDBOX").is_some() {
        files.extend([
            ("/phone.html", HTML, read("phone.html")),
            ("/web/phone.css", CSS, read("phone.css")),
            ("/web/phone.js", SCRIPT, joined(PHONE)),
            ("/web/sandbox.css", CSS, read("sandbox.css")),
            ("/web/sandbox.js", SCRIPT, unindented(&read("sandbox.js"))),
        ]);
    }
    let mut table = String::from("&[");
    for (n, (path, kind, text)) in files.iter().enumerate() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text.as_bytes()).expect("memory takes it");
        let packed = gzip.finish().expect("memory takes it");
        let mut crc = flate2::Crc::new();
        crc.update(text.as_bytes());
        let file = out.join(format!("page-{n}.gz"));
        fs::write(&file, packed).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let _ = write!(
            table,
            "File {{ path: {path:?}, kind: {kind:?}, etag: \"\\\"{:08x}-{:x}\\\"\", size: {}, gzip: include_bytes!({:?}) }},",
            crc.sum(),
            text.len(),
            text.len(),
            file.display().to_string()
        );
    }
    table.push(']');
    let file = out.join("page.rs");
    fs::write(&file, table).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

/// A module as an expression in one script: `import { a } from './b.js'` takes `a` out of the constant `b_js`, and
/// what is exported comes out of the function that is the module. One request instead of one for each module.
fn scoped(name: &str, module: &str) -> String {
    let mut body = String::new();
    let mut exports = Vec::new();
    for line in module.lines() {
        if let Some(rest) = line.strip_prefix("import ") {
            let (names, from) = rest
                .split_once(" from './")
                .unwrap_or_else(|| panic!("src/web/{name}.js: {line}"));
            let from = from.trim_end_matches("';").trim_end_matches(".js");
            let names = names.replace(" as ", ": ");
            let _ = writeln!(body, "const {names} = {from}_js;");
            continue;
        }
        let Some(rest) = line.strip_prefix("export ") else {
            body.push_str(line);
            body.push('\n');
            continue;
        };
        let declared = rest.trim_start_matches("async ");
        let (_, named) = declared
            .split_once(' ')
            .unwrap_or_else(|| panic!("src/web/{name}.js: {line}"));
        // `const a = 1, B = /x/;` exports each name that stands before a ` = `, where the line has several.
        exports.push(first_name(named));
        if declared.starts_with("const ") {
            exports.extend(more_names(named));
        }
        body.push_str(rest);
        body.push('\n');
    }
    format!(
        "const {name}_js = (() => {{\n{body}return {{ {} }};\n}})();\n",
        exports.join(", ")
    )
}

fn first_name(text: &str) -> String {
    let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(is_name).collect()
}

/// The further names of `a = f(x, y = 1), B = /z/`: those behind a comma outside of all brackets.
fn more_names(named: &str) -> Vec<String> {
    let (mut depth, mut found) = (0, Vec::new());
    for (at, c) in named.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => found.push(first_name(named[at + 1..].trim_start())),
            _ => {}
        }
    }
    found
}

/// Without indentation, empty lines and lines that are comments.
fn unindented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_comment = false;
    for line in text.lines().map(str::trim) {
        let begins = line.starts_with("/*");
        let skipped = in_comment || begins || line.starts_with("// ") || line.is_empty();
        in_comment = (in_comment || begins) && !line.ends_with("*/");
        if !skipped {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn linker_options() {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let target = variable("TARGET");
    if target == variable("HOST") && target == "x86_64-unknown-linux-gnu" && glibc() >= (2, 36) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        let chosen = ["RUSTC_LINKER", "CARGO_ENCODED_RUSTFLAGS"];
        if chosen.into_iter().all(|name| variable(name).is_empty()) {
            println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
        }
    }
}

/// Writes the document without its white space, packed.
fn pack_document() {
    println!("cargo:rerun-if-changed={DOCUMENT}");
    let text = fs::read_to_string(DOCUMENT).unwrap_or_else(|error| panic!("{DOCUMENT}: {error}"));
    let (mut in_string, mut escaped) = (false, false);
    let compact = text.bytes().filter(|&byte| {
        let is_kept = in_string || !byte.is_ascii_whitespace();
        if byte == b'"' && !escaped {
            in_string = !in_string;
        }
        escaped = in_string && byte == b'\\' && !escaped;
        is_kept
    });
    let compact: Vec<u8> = compact.collect();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&compact).expect("memory takes it");
    let packed = encoder.finish().expect("memory takes it");
    // Cargo sets it for every build script.
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("OUT_DIR"));
    fs::write(out.join("openapi.json.deflate"), packed).expect("written");
}

/// The version of this machine's glibc; (0, 0) if unknown.
fn glibc() -> (u32, u32) {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = output.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    text.ok()
        .as_deref()
        .and_then(|text| text.trim().strip_prefix("glibc "))
        .and_then(|version| version.split_once('.'))
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .unwrap_or((0, 0))
}
