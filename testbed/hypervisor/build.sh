#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# build.sh OUT: builds mini-ACRN as the 32-bit ELF container that QEMU's multiboot loader wants.
# CARGO_TARGET_DIR is honoured.
set -eu
out=${1:?usage: build.sh OUT}
cd "$(dirname "$0")"
target=x86_64-unknown-linux-gnu
# Only for the target's own code; build scripts and macros are built for the host without these.
flags='-C relocation-model=static -C no-redzone=yes -C target-feature=+crt-static'
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$flags -C force-unwind-tables=no"
case $out in /*) ;; *) out=$OLDPWD/$out ;; esac
cargo build --release --locked --target $target
objcopy -O elf32-i386 --strip-debug "${CARGO_TARGET_DIR:-target}/$target/release/mini-acrn" "$out"
