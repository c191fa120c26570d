//! Two linker options that make the binary 4 % smaller, for builds where they work.
//!
//! - Packed relative relocations. The program then needs glibc 2.36 (Debian 12): set if the target is this
//!   machine, and its glibc is new enough.
//! - Identical code folding, an option of lld, which rustc uses by default for this target: set unless another
//!   linker is configured.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
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
