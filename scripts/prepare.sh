# Sourced by demo.sh and test.sh: installs what a fresh Debian or Ubuntu lacks, and finds the target to build for.
# After it: $FERRY_TARGET is the Rust target triple, and RUSTFLAGS are set if that target needs them.
set -euo pipefail

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# install PACKAGE…: those of Debian's packages that are not there yet.
install() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing from Debian: ${missing[*]}"
  [ "$(id -u)" = 0 ] || { echo "this needs root: apt-get install ${missing[*]}" >&2; exit 1; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
    { apt-get update -qq; apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
}

# rustup_script URL: the script that installs rustup.
rustup_script() { curl --proto '=https' --tlsv1.2 -sSf --connect-timeout 15 "$1"; }

# prepare_rust: a compiler, and a target that links statically.
prepare_rust() {
  install build-essential ca-certificates curl
  export PATH="$HOME/.cargo/bin:$PATH"
  if ! command -v cargo >/dev/null; then
    say "Installing Rust with rustup"
    # The same script in two places; some networks reach only the second, which everything else comes from, too.
    local script
    script=$(rustup_script https://sh.rustup.rs || rustup_script https://static.rust-lang.org/rustup/rustup-init.sh)
    # The version whose lints the code was read by: a later clippy may know more of them.
    sh -s -- -y --profile minimal --default-toolchain 1.95.0 -c clippy -c rustfmt <<<"$script"
  fi
  FERRY_TARGET="$(uname -m)-unknown-linux-musl"
  if command -v rustup >/dev/null && rustup target add "$FERRY_TARGET" >/dev/null 2>&1; then
    install musl-tools
  else
    # No musl standard library to be had: glibc links statically, too.
    FERRY_TARGET="$(uname -m)-unknown-linux-gnu"
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
  fi
  export FERRY_TARGET
}
