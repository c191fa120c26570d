# Shared by the scripts of this folder, which source it in the top directory.
#
# Cross builds run in a separate Debian root, because Debian's Rust can build its standard library for any
# target from source. The linker and the C compiler are Zig's, which includes musl. Everything comes from Debian, PyPI and crates.io.

# Downloads and builds; `cargo clean` removes them.
kept=${WILDCAT_CROSS_DIR:-$PWD/target/cross}
suite=forky
mirror=${WILDCAT_CROSS_MIRROR:-http://deb.debian.org/debian}
# Checksums are in zig.txt.
zig=0.15.2
zigbuild=0.24.1

# The static targets, whose binary runs on any Linux.
#   aarch64  Raspberry Pi 3, 4, 5, Zero 2 with a 64-bit system
#   armv7    Pi 2 and later with a 32-bit system
#   arm      ARMv6: Pi Zero, Pi 1, and every later one with a 32-bit system
all_targets=(
    aarch64-unknown-linux-musl
    armv7-unknown-linux-musleabihf
    arm-unknown-linux-musleabihf
    x86_64-unknown-linux-musl
)

fail() {
    echo "$0: $*" >&2
    exit 1
}

step() { printf -- '-- %s\n' "$*"; }

# need PROGRAM PACKAGE: installs PACKAGE if PROGRAM is missing.
need() {
    command -v "$1" >/dev/null && return
    step "installing $2"
    if [ "$(id -u)" != 0 ]; then
        fail "needs $1: apt-get install $2"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq "$2" >/dev/null || { apt-get update -qq && apt-get install -y -qq "$2" >/dev/null; }
}

known() {
    local target
    for target in "${all_targets[@]}"; do
        [ "$target" = "$1" ] && return
    done
    fail "$1 is none of ${all_targets[*]}"
}

# Installs the build root and Zig, once.
prepare() {
    [ "$(id -u)" = 0 ] || fail "needs root, to make a Debian root and to mount in it: sudo $0"
    mkdir -p "$kept"
    if [ ! -e "$kept/root/.complete" ]; then
        need mmdebstrap mmdebstrap
        step "a Debian $suite with Rust, 300 MB, once"
        rm -rf "$kept/root"
        # An archive snapshot has expired dates but valid signatures; manuals are not needed.
        mmdebstrap --mode=root --variant=apt --architectures=amd64 --quiet \
            --aptopt='Acquire::Check-Valid-Until "false"' \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
            --include=ca-certificates,rustc,cargo,rust-src,gcc,libc6-dev,binutils-multiarch \
            "$suite" "$kept/root" "$mirror"
        mkdir -p "$kept/root"/{source,cargo/registry,out,zig}
        touch "$kept/root/.complete"
    fi
    if [ ! -e "$kept/zig-$zig/.complete" ]; then
        step "Zig $zig, 100 MB, once"
        need pip3 python3-pip
        rm -rf "$kept/zig-$zig" "$kept/wheels"
        pip3 download --quiet --no-deps --only-binary=:all: --require-hashes \
            --requirement cross/zig.txt --dest "$kept/wheels"
        python3 - "$kept/wheels" "$kept/zig-$zig" <<'PYTHON'
import pathlib, sys, zipfile
for wheel in pathlib.Path(sys.argv[1]).glob("*.whl"):
    zipfile.ZipFile(wheel).extractall(sys.argv[2])
PYTHON
        mv "$kept/zig-$zig/cargo_zigbuild-$zigbuild.data/scripts/cargo-zigbuild" "$kept/zig-$zig/ziglang/"
        chmod +x "$kept/zig-$zig/ziglang/"{zig,cargo-zigbuild}
        rm -rf "$kept/wheels"
        touch "$kept/zig-$zig/.complete"
    fi
    # cargo in the root has no network: fetch the crates here.
    cargo fetch --locked --quiet
    # The standard library's crates; its manifest has features that only the root's cargo accepts.
    RUSTC_BOOTSTRAP=1 cargo fetch --locked --quiet \
        --manifest-path "$kept/root/usr/lib/rustlib/src/rust/library/Cargo.toml"
}

# inside COMMAND…: runs it in the root without network; the sources are read-only under /source, the output is in
# /out. The mounts end with it.
inside() {
    mkdir -p "$kept/out"
    local registry=${CARGO_HOME:-$HOME/.cargo}/registry
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare --mount --net bash -euc '
        root=$1 source=$2 registry=$3 out=$4 zig=$5; shift 5
        mount --bind "$source" "$root/source"
        mount -o remount,ro,bind "$root/source"
        mount --bind "$registry" "$root/cargo/registry"
        mount --bind "$out" "$root/out"
        mount --bind "$zig" "$root/zig"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        exec chroot "$root" env --ignore-environment --chdir=/source HOME=/root TERM=dumb \
            PATH=/zig:/usr/bin:/bin CARGO_ZIGBUILD_ZIG_PATH=/source/cross/zig CARGO_HOME=/cargo CARGO_TARGET_DIR=/out CARGO_NET_OFFLINE=true \
            CARGO_TERM_PROGRESS_WHEN=never "$@"
    ' inside "$kept/root" "$PWD" "$registry" "$kept/out" "$kept/zig-$zig/ziglang" "$@"
}

# The variables that cargo and the C compiler need for a target.
#
# - RUSTC_BOOTSTRAP allows a stable Rust to build its standard library, which Debian lacks for these targets.
# - musl is Zig's, so rustc must not link its own start-up files.
# - ARMv6: exactly that core, for Rust and C; other targets called "arm" are newer.
# - ARMv7: Thumb-2 instructions, as in Debian and Android: a quarter smaller.
# - 32 bits: a fixed load address, which saves an instruction per access to a global.
# - Time has 64 bits on 32-bit targets, too: musl has it since 1.2, Rust's libc needs a setting.
settings() {
    local name=${1//-/_} flags='-C link-self-contained=no -C target-feature=+crt-static'
    echo RUSTC_BOOTSTRAP=1
    if [[ $1 == arm*-musleabihf ]]; then
        flags+=' -C relocation-model=static'
        echo RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1
    fi
    if [[ $1 == armv7-* ]]; then
        flags+=' -C target-feature=+thumb-mode'
    fi
    if [ "$1" = arm-unknown-linux-musleabihf ]; then
        flags+=' -C target-cpu=arm1176jzf-s'
        echo "CFLAGS_$name=-mcpu=arm1176jzf_s"
    fi
    echo "CARGO_TARGET_${name^^}_RUSTFLAGS=$flags"
}
# cargo's options to build the standard library: small, without the parser of debug information, which a stripped
# binary does not have.
build_std=(-Z build-std=std,panic_abort,panic_unwind -Z build-std-features=panic-unwind,optimize_for_size)

# settled FOLDER: fixes time stamps in cargo's output. waproto's build script depends on a file that it writes, so
# that the next build would compile that crate and its dependents again.
settled() {
    find "$1" -name whatsapp.local.desc -exec touch --date=@1 {} +
}

# build_binaries TARGET…: release binaries in out/TARGET/release, with symbols.
build_binaries() {
    local target options=() variables=(CARGO_PROFILE_RELEASE_STRIP=false) more
    for target in "$@"; do
        options+=(--target "$target")
        mapfile -t more < <(settings "$target")
        variables+=("${more[@]}")
    done
    inside env "${variables[@]}" cargo-zigbuild build --locked --release "${build_std[@]}" "${options[@]}"
    settled "$kept/out"
}

# build_tests TARGET: builds the unit tests; sets `unit_tests` to the path.
build_tests() {
    local variables
    mapfile -t variables < <(settings "$1")
    # The path is in cargo's JSON output.
    unit_tests=$(inside env "${variables[@]}" CARGO_PROFILE_DEV_DEBUG=false \
        CARGO_PROFILE_DEV_STRIP=false cargo-zigbuild test --locked \
        --package wildcat --lib --no-run "${build_std[@]}" --target "$1" --message-format=json-render-diagnostics |
        python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line) if line.startswith("{") else {}
    if built.get("executable") and built["profile"]["test"]:
        print(built["executable"])')
    unit_tests=$kept${unit_tests}
    settled "$kept/out"
}
