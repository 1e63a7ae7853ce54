#!/usr/bin/env bash
# Everything that CI runs: installs what the tests need from Debian's packages and crates.io, then `cargo xtask check`.
# usage: scripts/test.sh [--no-scenarios]     (root, Debian or Ubuntu; about 30 minutes on two cores the first time)
cd "$(dirname "$0")/.."
. scripts/prepare.sh

# peer PACKAGE PROGRAM…: programs out of a Debian package that is not installed, because it would start a daemon or oust Docker's own.
peer() {
  local package=$1 directory=target/peers unpacked
  shift
  for program in "$@"; do
    command -v "$program" >/dev/null && continue
    [ -x "$directory/usr/bin/$program" ] && continue
    say "Unpacking $program from Debian's $package"
    unpacked=$(mktemp -d)
    chmod 755 "$unpacked"
    (cd "$unpacked" && apt-get download -qq "$package") || (apt-get update -qq && cd "$unpacked" && apt-get download -qq "$package")
    dpkg -x "$unpacked"/*.deb "$unpacked/root"
    mkdir -p "$directory/usr/bin"
    find "$unpacked/root" -type f -name "$program" -perm -u+x -exec cp {} "$directory/usr/bin/" \;
    # The package is not installed, so nobody has brought its libraries.
    if ldd "$directory/usr/bin/$program" 2>/dev/null | grep -q 'not found'; then
      install $(dpkg-deb -f "$unpacked"/*.deb Depends | tr ',' '\n' | sed 's/[(|].*//; s/ //g; s/:any$//' | grep '^lib')
    fi
    rm -rf "$unpacked"
  done
}

# kernel: Debian's for virtual machines, unpacked and not installed. What it has and this machine's kernel may lack is tested there.
kernel() {
  local directory=target/peers/kernel package unpacked
  [ "$(uname -m)" = x86_64 ] || return 0
  ls $directory/boot/vmlinuz-* >/dev/null 2>&1 && return
  # Ubuntu has no such package; there the test is skipped, and says so.
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: //p' | head -1)
  [ -n "$package" ] || return 0
  say "Unpacking Debian's $package"
  unpacked=$(mktemp -d)
  chmod 755 "$unpacked"
  (cd "$unpacked" && apt-get download -qq "$package") || (apt-get update -qq && cd "$unpacked" && apt-get download -qq "$package")
  mkdir -p "$directory"
  dpkg -x "$unpacked"/*.deb "$directory"
  # Newer releases keep everything below /usr.
  [ -d $directory/lib ] || ln -s usr/lib $directory/lib
  rm -rf "$unpacked"
}

prepare_rust
install busybox-static iproute2 nftables procps python3 curl jq xz-utils attr libcap2-bin bsdutils openssl \
  apache2-utils mmdebstrap skopeo buildah cpio kmod e2fsprogs tmux chromium
# Node.js that is not Debian's brings an npm of its own, and its package conflicts with Debian's.
command -v npm >/dev/null || install nodejs npm
[ "$(uname -m)" != x86_64 ] || install qemu-system-x86
kernel
peer docker-registry docker-registry
peer runc runc
peer crun crun
peer conmon conmon
peer podman podman
# Network plugins of Kubernetes' pods: a directory of programs, found where the package would put them.
if [ ! -x /usr/lib/cni/bridge ] && [ ! -x target/peers/usr/lib/cni/bridge ]; then
  say "Unpacking CNI plugins from Debian's containernetworking-plugins"
  (cd "$(mktemp -d)" && apt-get download -qq containernetworking-plugins && dpkg -x ./*.deb "$OLDPWD/target/peers")
fi
apt-cache show docker-cli >/dev/null 2>&1 && peer docker-cli docker || peer docker.io docker
peer docker-buildx docker-buildx
# Compose 1.x is another program.
case $(apt-cache show docker-compose 2>/dev/null | sed -n 's/^Version: //p' | sort -V | tail -1) in
  2.*) peer docker-compose docker-compose && export DOCKER_COMPOSE="$PWD/target/peers/usr/bin/docker-compose" ;;
  *) say "Debian's docker-compose is no 2.x here: nothing is compared with Docker's Compose" ;;
esac
# Clients that are in no package of Debian's. Without their registries everything else is tested all the same.
without=()
say "Installing what drives the desktop in a browser"
(cd desktop && npm ci --no-audit --no-fund --silent) || without+=(desktop)
if [ ! -x target/peers/python/bin/python ]; then
  say "Installing docker-py"
  { python3 -m venv target/peers/python 2>/dev/null || { install python3-venv && python3 -m venv --clear target/peers/python; }; } &&
    target/peers/python/bin/pip install --quiet --disable-pip-version-check docker || { rm -rf target/peers/python; without+=(docker-py); }
fi
export FERRY_TESTS_COMPLETE=1 FERRY_TESTS_WITHOUT="${without[*]}"
[ ${#without[@]} -eq 0 ] || say "NOT TESTED, because npm's or PyPI's registry does not answer: ${without[*]}"
say "Building the binary that the scenarios run"
cargo build --package ferry --target "$FERRY_TARGET"
export FERRY_BINARY="$PWD/target/$FERRY_TARGET/debug/ferry"
# The binary is built with its own flags; everything else as usual.
unset RUSTFLAGS
cargo xtask check "$@"
[ ${#without[@]} -eq 0 ] || say "NOT TESTED, because npm's or PyPI's registry does not answer: ${without[*]}"
