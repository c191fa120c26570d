# See Cross.toml; not run where wildcat is built. cross names its own image for the target.
ARG CROSS_BASE_IMAGE
FROM $CROSS_BASE_IMAGE

# A static binary; on 32 bits with a fixed address and 64-bit time, on ARMv7 with Thumb-2. The reasons are in
# cross/lib.sh.
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_MUSLEABIHF_RUSTFLAGS="-C target-feature=+crt-static,+thumb-mode -C relocation-model=static" \
    RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1
# The core of the Pi Zero and 1, for Rust and C. The compiler is gcc, which writes the name with hyphens.
ENV CARGO_TARGET_ARM_UNKNOWN_LINUX_MUSLEABIHF_RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static -C target-cpu=arm1176jzf-s" \
    CFLAGS_arm_unknown_linux_musleabihf="-mcpu=arm1176jzf-s"
