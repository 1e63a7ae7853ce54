#!/usr/bin/env bash
# Everything that CI runs: installs what the tests need from Debian's packages and crates.io, then `cargo xtask check`.
# usage: scripts/test.sh [--no-scenarios]     (root, Debian or Ubuntu; about 30 minutes on two cores the first time)
cd "$(dirname "$0")/.."
. scripts/prepare.sh

# unstable: sets `options`, with which apt knows Debian's unstable release and nothing of this machine, whose packages may have greater
# versions; its lists are in `own`.
unstable() {
  own=$(mktemp -d)
  chmod 755 "$own"
  mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
  echo "deb http://deb.debian.org/debian sid main" >"$own/sources"
  options=(-qq -o "Dir::Etc::sourcelist=$own/sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$own/lists" -o Dir::State::status=/dev/null -o "Dir::Cache=$own/cache")
  apt-get "${options[@]}" update
}

# download PACKAGE: its .deb into this directory; `download PACKAGE sid` takes it from Debian's unstable release.
download() {
  if [ "${2:-}" != sid ]; then
    apt-get download -qq "$1" || { apt-get update -qq && apt-get download -qq "$1"; }
    return
  fi
  local own options
  unstable && apt-get "${options[@]}" download "$1"
  local result=$?
  rm -rf "$own"
  return $result
}

# peer PACKAGE PROGRAM [sid]: a program out of a Debian package that is not installed, because it would start a daemon or oust Docker's
# own, or because only Debian's unstable release has it.
peer() {
  local package=$1 program=$2 release=${3:-} directory=target/peers unpacked
  [ -n "$release" ] || ! command -v "$program" >/dev/null || return 0
  [ ! -x "$directory/usr/bin/$program" ] || return 0
  say "Unpacking $program from Debian's $package${release:+ of }$release"
  unpacked=$(mktemp -d)
  chmod 755 "$unpacked"
  (cd "$unpacked" && download "$package" "$release") || return 1
  dpkg -x "$unpacked"/*.deb "$unpacked/root"
  mkdir -p "$directory/usr/bin"
  find "$unpacked/root" -type f -name "$program" -perm -u+x -exec cp {} "$directory/usr/bin/" \;
  # The package is not installed, so nobody has brought its libraries.
  if [ -z "$release" ] && ldd "$directory/usr/bin/$program" 2>/dev/null | grep -q 'not found'; then
    install $(dpkg-deb -f "$unpacked"/*.deb Depends | tr ',' '\n' | sed 's/[(|].*//; s/ //g; s/:any$//' | grep '^lib\|-libs$')
  fi
  rm -rf "$unpacked"
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

# firewalls: ufw and firewalld with what they need, unpacked together as a root directory that tests lay over the machine's: installed they
# would change its own firewall.
firewalls() {
  local directory=target/peers/firewalls unpacked package program
  [ ! -x $directory/usr/sbin/ufw ] || return 0
  say "Unpacking Debian's ufw and firewalld"
  unpacked=$(mktemp -d)
  chmod 755 "$unpacked"
  (cd "$unpacked" && for package in ufw firewalld python3-firewall python3-nftables python3-dbus python3-gi gir1.2-glib-2.0 libgirepository-1.0-1 \
    python3-cap-ng libcap-ng0 libnftables1 libnftnl11 iptables libip4tc2 libip6tc2 libxtables12 libnetfilter-conntrack3 libnfnetlink0 dbus-daemon \
    libdbus-1-3; do download $package || exit 1; done) || return 1
  for package in "$unpacked"/*.deb; do dpkg -x "$package" "$unpacked/root"; done
  # Everything below /usr, as the machine has it.
  for program in lib sbin bin; do
    [ ! -d "$unpacked/root/$program" ] || { mkdir -p "$unpacked/root/usr/$program" && cp -a "$unpacked/root/$program/." "$unpacked/root/usr/$program/" && rm -r "$unpacked/root/$program"; }
  done
  # What their packages do when they are installed.
  for program in iptables ip6tables iptables-save ip6tables-save iptables-restore ip6tables-restore; do
    ln -sf xtables-nft-multi "$unpacked/root/usr/sbin/$program"
  done
  mkdir -p "$unpacked/root/etc/ufw"
  cp "$unpacked"/root/usr/share/ufw/{before,before6,after,after6,user,user6}.rules "$unpacked"/root/usr/share/ufw/{ufw.conf,before.init,after.init} "$unpacked/root/etc/ufw/"
  rm -rf $directory && mkdir -p target/peers && cp -a "$unpacked/root" $directory
  rm -rf "$unpacked"
}

# checkpoints: criu, Debian's newest, which knows newer kernels than the one of Debian 12, with the libraries that it was built with; a script starts it
# by their own loader.
checkpoints() {
  local directory=target/peers/criu own options package unpacked libraries
  if command -v criu >/dev/null; then criu check >/dev/null 2>&1; return; fi
  if [ -x target/peers/usr/bin/criu ]; then target/peers/usr/bin/criu check >/dev/null 2>&1; return; fi
  say "Unpacking Debian's criu of sid"
  unpacked=$(mktemp -d)
  chmod 755 "$unpacked"
  unstable || return 1
  # Everything that it needs, whatever of it is installed here.
  libraries=$(apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances criu | grep '^lib')
  (cd "$unpacked" && apt-get "${options[@]}" download criu $libraries) || return 1
  for package in "$unpacked"/*.deb; do dpkg -x "$package" "$unpacked/root"; done
  mkdir -p target/peers/usr/bin $directory
  cp -a "$unpacked/root/usr/sbin/criu" "$unpacked"/root/usr/lib/*-linux-gnu/lib*.so* "$unpacked"/root/usr/lib/*-linux-gnu/ld-linux-*.so* $directory/
  cat >target/peers/usr/bin/criu <<'END'
#!/bin/sh
# Debian's criu, which is unpacked and not installed, with its own libraries.
libraries=$(dirname "$(readlink -f "$0")")/../../criu
exec "$libraries"/ld-linux-*.so* --library-path "$libraries" "$libraries/criu" "$@"
END
  chmod 755 target/peers/usr/bin/criu
  rm -rf "$own" "$unpacked"
  target/peers/usr/bin/criu check >/dev/null 2>&1
}

prepare_rust
install busybox-static iproute2 iptables nftables procps python3 curl jq xz-utils attr libcap2-bin bsdutils openssl \
  apache2-utils mmdebstrap skopeo buildah cpio kmod e2fsprogs tmux chromium socat btrfs-progs xfsprogs \
  systemd dbus-daemon
# Node.js that is not Debian's brings an npm of its own, and its package conflicts with Debian's.
command -v npm >/dev/null || install nodejs npm
[ "$(uname -m)" != x86_64 ] || install qemu-system-x86
kernel
peer apparmor apparmor_parser
peer checkpolicy checkpolicy
peer docker-registry docker-registry
peer runc runc
peer crun crun
peer conmon conmon
peer podman podman
# File servers, which only a virtual machine runs.
for program in exportfs rpc.mountd rpc.nfsd; do peer nfs-kernel-server $program; done
peer samba smbd
# Network plugins of Kubernetes' pods, a directory of programs: those of Debian's unstable release know CNI 1.1, which is not tested with others.
if [ ! -x target/peers/usr/lib/cni/bridge ]; then
  say "Unpacking CNI plugins from Debian's containernetworking-plugins"
  unpacked=$(mktemp -d)
  chmod 755 "$unpacked"
  (cd "$unpacked" && { download containernetworking-plugins sid || download containernetworking-plugins; }) &&
    dpkg -x "$unpacked"/*.deb target/peers
  rm -rf "$unpacked"
fi
if apt-cache show docker-cli >/dev/null 2>&1; then peer docker-cli docker; else peer docker.io docker; fi
without=()
firewalls || without+=(firewalls)
# What Debian 12 has of these is years old, or not there at all. They are only run, never installed.
peer docker-buildx docker-buildx sid && target/peers/usr/bin/docker-buildx version >/dev/null || without+=(docker-buildx)
if peer docker-compose docker-compose sid && target/peers/usr/bin/docker-compose version >/dev/null; then
  export DOCKER_COMPOSE="$PWD/target/peers/usr/bin/docker-compose"
else
  without+=(docker-compose)
fi
for client in cosign oras; do peer $client $client sid && target/peers/usr/bin/$client version >/dev/null || without+=($client); done
peer kubectl kubectl sid && target/peers/usr/bin/kubectl version --client >/dev/null || without+=(kubectl)
# Debian 12's `ctr` speaks plain HTTP to loopback whatever certificates it is given.
for client in containerd ctr containerd-shim-runc-v2; do peer containerd $client sid && target/peers/usr/bin/$client -v >/dev/null || without+=($client); done
# Clients that are in no package of Debian's. Without their registries everything else is tested all the same.
say "Installing what drives the desktop in a browser"
(cd desktop && npm ci --no-audit --no-fund --silent) || without+=(desktop)
if [ ! -x target/peers/python/bin/python ]; then
  say "Installing docker-py"
  { python3 -m venv target/peers/python 2>/dev/null || { install python3-venv && python3 -m venv --clear target/peers/python; }; } &&
    target/peers/python/bin/pip install --quiet --disable-pip-version-check docker || { rm -rf target/peers/python; without+=(docker-py); }
fi
# Servers that speak S3's protocol. moto alone: what it needs for services that are not S3 is ten times as much.
if [ ! -x target/peers/moto/bin/moto_server ]; then
  say "Installing moto"
  python3 -m venv target/peers/moto && target/peers/moto/bin/pip install --quiet --disable-pip-version-check 'moto[s3]' flask flask-cors ||
    { rm -rf target/peers/moto; without+=(moto); }
fi
if [ ! -x target/peers/s3rver/node_modules/.bin/s3rver ]; then
  say "Installing s3rver"
  npm install --prefix target/peers/s3rver --no-audit --no-fund --silent s3rver@3.7.1 || { rm -rf target/peers/s3rver; without+=(s3rver); }
fi
# Not every kernel lets it work.
checkpoints || without+=(criu)
export FERRY_TESTS_COMPLETE=1 FERRY_TESTS_WITHOUT="${without[*]}"
[ ${#without[@]} -eq 0 ] || say "NOT TESTED, because where they are downloaded from does not answer: ${without[*]}"
say "Building the binary that the scenarios run"
cargo build --package ferry --target "$FERRY_TARGET"
export FERRY_BINARY="$PWD/target/$FERRY_TARGET/debug/ferry"
# The binary is built with its own flags; everything else as usual.
unset RUSTFLAGS
cargo xtask check "$@"
[ ${#without[@]} -eq 0 ] || say "NOT TESTED, because where they are downloaded from does not answer: ${without[*]}"
