#!/bin/sh
# The first process of a virtual machine whose kernel serves files to an engine in a network namespace of its own, which is another
# host to it: volumes on NFS.
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /export
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t tmpfs tmpfs /export
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up

. /says.sh
# settled COMMAND: it is so after a while. Other scripts ask for words.
settled() { n=0; until "$1" || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.1; done; "$1"; }
# mounts TYPE: how many of the kind there are, in the daemon's namespace and in ours.
mounts() { cat /proc/self/mounts "/proc/$(cat /run/ferry.pid)/mounts" | sort -u | grep -c " $1 "; }

unshare -n sleep 100000 & client=$!
ip-full link add files0 type veth peer name files1
ip addr add 10.9.0.1/24 dev files0
ip link set files0 up
# Until then it is in the namespace of this script.
apart() { [ "$(readlink "/proc/$client/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
settled apart
ip-full link set files1 netns "$client"
in_client() { nsenter -t $client -n "$@"; }
in_client ip addr add 10.9.0.2/24 dev files1
in_client ip link set files1 up
in_client ip link set lo up
echo '10.9.0.1 files.test' > /etc/hosts
printf 'tcp 6 TCP\nudp 17 UDP\n' > /etc/protocols
printf 'nfs 2049/tcp\n' > /etc/services
printf 'udp tpi_clts v inet udp - -\ntcp tpi_cots_ord v inet tcp - -\nlocal tpi_cots_ord - loopback - - -\n' > /etc/netconfig

nfs() {
  modprobe nfsd && mount -t nfsd nfsd /proc/fs/nfsd && mkdir -p /var/lib/nfs/v4recovery && touch /etc/exports /var/lib/nfs/etab /var/lib/nfs/rmtab &&
    exportfs -o rw,fsid=0,no_root_squash,no_subtree_check,insecure '10.9.0.0/24:/export' && rpc.mountd -N 3 && rpc.nfsd -N 3 -U 2 && echo Y > /proc/fs/nfsd/v4_end_grace
}

in_client ferry daemon --log-level debug --pidfile /run/ferry.pid >/run/daemon.log 2>&1 &
# A command line would start a daemon of its own, if it came too early.
answers() { [ -s /run/ferry.pid ] && [ -S /run/ferry/ferry.sock ] && ferry version >/dev/null 2>&1; }
elsewhere() { settled answers; [ "$(readlink "/proc/$(cat /run/ferry.pid)/ns/net")" = "$(readlink "/proc/$client/ns/net")" ]; }
true_that daemon_is_another_host elsewhere
true_that import ferry import -c 'CMD ["sh"]' /busybox.tar busybox

true_that nfs_server nfs
true_that nfs_volume ferry volume create -o type=nfs -o device=:/ -o o=addr=files.test,rw,nfsvers=4.2,noatime far
same nfs_is_written "" "$(ferry run --rm -v far:/d busybox sh -c 'echo from a container > /d/note; chown 1000 /d/note' 2>&1)"
same nfs_is_on_the_server "1000 from a container" "$(stat -c %u /export/note) $(cat /export/note)"
ferry run -d --name first -v far:/d busybox sleep 1000 >/dev/null
ferry run -d --name second -v far:/d:ro busybox sleep 1000 >/dev/null
same nfs_type nfs4 "$(ferry exec first stat -f -c %T /d | sed 's/^nfs$/nfs4/')"
same nfs_options "1" "$(ferry exec first grep ' /d nfs4 ' /proc/mounts | grep noatime | grep vers=4.2 | grep -c addr=10.9.0.1)"
same nfs_is_shared "from a container" "$(ferry exec second cat /d/note)"
same nfs_read_only "refused" "$(ferry exec second sh -c 'echo x > /d/note' 2>/dev/null || echo refused)"
same nfs_from_the_server "changed" "$(echo changed > /export/note; ferry exec first sh -c 'n=0; until grep changed /d/note || [ $n -ge 100 ]; do n=$((n + 1)); sleep 0.1; done')"
ferry rm -f first second >/dev/null
same nfs_is_unmounted 0 "$(mounts nfs4)"
true_that nfs_subpath ferry run --rm --mount type=volume,source=far,target=/d,volume-nocopy busybox mkdir /d/below
same nfs_below "inside" "$(ferry run --rm --mount type=volume,source=far,target=/d,volume-subpath=below busybox sh -c 'echo inside > /d/f'; cat /export/below/f)"
true_that nfs_removed ferry volume rm far
same nfs_keeps_files "inside" "$(cat /export/below/f)"

# A daemon that dies lets what containers use be; the next one unmounts it after them.
ferry volume create -o type=nfs -o device=:/below -o o=addr=10.9.0.1,rw,nfsvers=4.2 below >/dev/null
ferry run -d --name stays -v below:/d busybox sleep 1000 >/dev/null
kill -9 "$(cat /run/ferry.pid)"; rm -f /run/ferry.pid /run/ferry/ferry.sock
in_client ferry daemon --log-level debug --pidfile /run/ferry.pid >/run/daemon2.log 2>&1 &
true_that next_daemon_too elsewhere
same nfs_over_a_crash "inside" "$(ferry exec stays cat /d/f)"
ferry rm -f stays >/dev/null
same nothing_is_left 0 "$(mounts nfs4)"
echo "what the daemon said:"; grep -i 'warn\|error' /run/daemon.log /run/daemon2.log | tail -n 20; dmesg | grep -i nfs | tail -n 20
echo "end of the tests"
poweroff -f
