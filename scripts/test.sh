#!/usr/bin/env bash
# Everything that CI runs: installs what the tests need from Debian's packages and crates.io, then `cargo xtask check`.
# usage: scripts/test.sh [--no-scenarios]     (root, Debian or Ubuntu; about 30 minutes on two cores the first time)
cd "$(dirname "$0")/.."
. scripts/prepare.sh

prepare_rust
install busybox-static iproute2 nftables procps python3 python3-venv curl jq xz-utils
say "Building the binary that the scenarios run"
cargo build --package ferry --target "$FERRY_TARGET"
export FERRY_BINARY="$PWD/target/$FERRY_TARGET/debug/ferry"
# The binary is built with its own flags; everything else as usual.
unset RUSTFLAGS
cargo xtask check "$@"
