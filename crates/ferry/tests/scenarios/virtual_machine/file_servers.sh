#!/bin/sh
# The first process of a virtual machine whose kernel serves files to an engine in a network namespace of its own, which is another
# host to it: volumes on NFS and on SMB. Those of the daemon's own are on XFS, which counts by projects.
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /export
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t tmpfs tmpfs /export
mkdir -p /var/lib/ferry/volumes
mount -t xfs -o loop,prjquota /xfs /var/lib/ferry/volumes
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

# Limits that the kernel keeps: not one byte, not one file more, and what was written stays.
sized() { ferry run --rm -v "$1:/v" busybox sh -c "$2"; }
overflow='dd if=/dev/zero of=/v/more bs=64k count=320 2>&1 | grep -c "No space left\|quota exceeded"'
same xfs_is_there "xfs prjquota" "$(grep ' /var/lib/ferry/volumes ' /proc/mounts | sed 's/.* \(xfs\) .*\(prjquota\).*/\1 \2/')"
true_that xfs_volume ferry volume create -o size=8m -o inodes=40 sized
same xfs_size_is_seen 8192 "$(sized sized 'df -k /v | tail -n 1' | awk '{print $2}')"
same xfs_size_holds "1 kept" "$(echo $(sized sized "echo kept > /v/note; $overflow; cat /v/note"))"
same xfs_size_is_not_passed 1 "$([ "$(du -sk /var/lib/ferry/volumes/sized/_data | cut -f 1)" -le 8192 ] && echo 1)"
same xfs_inodes_hold full "$(sized sized 'rm /v/more; for i in $(seq 60); do touch /v/$i || break; done 2>/dev/null; [ $(ls /v | wc -l) -lt 40 ] && echo full')"
true_that xfs_snapshot ferry volume snapshot sized before
true_that xfs_restore ferry volume restore -f sized before
true_that xfs_clone ferry volume clone sized again
for volume in sized again; do ferry run --rm -v $volume:/v busybox sh -c 'rm /v/[0-9]*'; done
same xfs_holds_after_a_restore 1 "$(sized sized "$overflow")"
same xfs_holds_in_a_clone 1 "$(sized again "$overflow")"
true_that xfs_rename ferry volume rename again other
same xfs_holds_after_a_rename 1 "$(sized other "rm /v/more; $overflow")"
ferry volume create plain >/dev/null
same xfs_without_a_limit 0 "$(sized plain "$overflow")"
same xfs_wrong_size 1 "$(ferry volume create -o size=much wrong 2>&1 | grep -c "invalid size: 'much'")"
true_that xfs_remove ferry volume rm sized other plain

# Counted are projects here, too, but no limit would hold anybody up.
mkdir -p /two/volumes && mount -t ext4 -o loop /ext4 /two/volumes
ferry daemon --data-root /two --exec-root /run/two --bridge none >/run/daemon3.log 2>&1 &
two() { ferry -H unix:///run/two/ferry.sock "$@"; }
two_answers() { [ -S /run/two/ferry.sock ] && two version >/dev/null 2>&1; }
true_that second_daemon settled two_answers
same limits_that_nobody_keeps "1 1" "$(echo $(for limit in size=1m inodes=9; do two volume create -o $limit wrong 2>&1 | grep -c 'requested but no quota support'; done))"
same no_limits 0 "$(two volume create plain >/dev/null; echo $?)"

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
again() {
  kill -9 "$(cat /run/ferry.pid)"; rm -f /run/ferry.pid /run/ferry/ferry.sock
  in_client ferry daemon --log-level debug --pidfile /run/ferry.pid >>/run/daemon2.log 2>&1 &
  elsewhere
}
ferry volume create -o type=nfs -o device=:/below -o o=addr=10.9.0.1,rw,nfsvers=4.2 below >/dev/null
ferry run -d --name stays -v below:/d busybox sleep 1000 >/dev/null
true_that next_daemon_too again
same nfs_over_a_crash "inside" "$(ferry exec stays cat /d/f)"
ferry rm -f stays >/dev/null
same nfs_nothing_is_left 0 "$(mounts nfs4)"
# Samba, with one user, who has a password: "password".
smb() {
  mkdir -p /export/smb /run/samba && chown 1000 /export/smb && printf 'root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' > /etc/passwd &&
    printf 'root:x:0:\nme:x:1000:\nnogroup:x:65534:\n' > /etc/group || return 1
  printf 'me:1000:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:8846F7EAEE8FB117AD06BDD830B7586C:[UX         ]:LCT-6540D1A0:\n' > /etc/smbpasswd
  for directory in 'private dir' 'lock directory' 'state directory' 'cache directory' 'pid directory' 'ncalrpc dir'; do echo "$directory = /run/samba"; done > /run/directories
  cat - /run/directories > /etc/smb.conf <<'END'
[files]
path = /export/smb
read only = no
[global]
passdb backend = smbpasswd:/etc/smbpasswd
dos charset = ASCII
server role = standalone server
smb ports = 445
load printers = no
printing = bsd
disable spoolss = yes
server multi channel support = no
END
  smbd -s /etc/smb.conf -l /run -D
}
smb_listens() { netstat -ltn | grep -q ':445 '; }
true_that smb_server smb
true_that smb_server_listens settled smb_listens
# It is to be seen in nothing but the volume's options, where Docker has it, too.
office() { ferry volume create -o type=cifs -o device=//files.test/files -o "o=username=me,password=$1,vers=3.1.1,uid=7,file_mode=0640,noatime$2" "$3"; }
true_that smb_volume office password "" office
office 'not-it' "" wrong >/dev/null
same smb_wrong_password "1 0" "$(echo $(ferry run --rm -v wrong:/d busybox true 2>&1 | tee /tmp/wrong | grep -c 'wrong/_data, flags: 0x400, data: username=me,password=\*\*\*\*\*\*\*\*,.*: permission denied$'; grep -c not-it /tmp/wrong))"
same smb_is_written "" "$(ferry run --rm -v office:/d busybox sh -c 'echo from a container > /d/note' 2>&1)"
same smb_is_on_the_server "1000 from a container" "$(stat -c %u /export/smb/note) $(cat /export/smb/note)"
ferry run -d --name first -v office:/d busybox sleep 1000 >/dev/null
ferry run -d --name second -v office:/d:ro busybox sleep 1000 >/dev/null
same smb_options "1" "$(ferry exec first grep ' /d cifs ' /proc/mounts | grep noatime | grep vers=3.1.1 | grep username=me | grep -c addr=10.9.0.1)"
same smb_owners "7 640" "$(ferry exec first stat -c '%u %a' /d/note)"
same smb_is_shared "from a container" "$(ferry exec second cat /d/note)"
same smb_read_only "refused" "$(ferry exec second sh -c 'echo x > /d/note' 2>/dev/null || echo refused)"
same smb_is_mounted_once 1 "$(grep -c ' cifs ' "/proc/$(cat /run/ferry.pid)/mounts")"
ferry restart -t 0 first >/dev/null
same smb_after_a_restart "from a container" "$(ferry exec first cat /d/note)"
true_that daemon_after_smb_too again
same smb_over_a_crash "from a container" "$(ferry exec first cat /d/note)"
same smb_is_written_after_it "more" "$(ferry exec first sh -c 'echo more > /d/note'; cat /export/smb/note)"
same smb_subpath "inside" "$(ferry exec first mkdir /d/below; ferry run --rm --mount type=volume,source=office,target=/d,volume-subpath=below busybox sh -c 'echo inside > /d/f'; cat /export/smb/below/f)"
same smb_in_use 1 "$(ferry volume rm office 2>&1 | grep -c 'volume is in use - \[')"
ferry rm -f first second >/dev/null
same smb_is_unmounted 0 "$(mounts cifs)"
same smb_keeps_files "more" "$(ferry volume rm office wrong >/dev/null; cat /export/smb/note)"
same smb_password_is_kept_quiet 0 "$(cat /run/daemon.log /run/daemon2.log | grep -c 'password=password\|not-it')"

echo "what the daemon said:"; grep -i 'warn\|error' /run/daemon.log /run/daemon2.log | tail -n 20; cat /run/log.smbd | tail -n 30; dmesg | grep -i "nfs\\|cifs" | tail -n 20
echo "end of the tests"
poweroff -f
