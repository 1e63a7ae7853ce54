#!/bin/sh
# The first process of a virtual machine whose kernel has cgroup v2 alone: runs the engine, looks at what the kernel then says,
# and prints "ok NAME" or "FAIL NAME: WHY" for each thing that must be true.
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs security /sys/kernel/security
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward

. /says.sh
group() { echo "/sys/fs/cgroup/ferry/$(ferry inspect -f '{{.Id}}' "$1")"; }
pid() { ferry inspect -f '{{.State.Pid}}' "$1"; }

ferry daemon --log-level debug >/run/daemon.log 2>&1 &
n=0; until ferry version >/dev/null 2>&1 || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.1; done
true_that import ferry import -c 'CMD ["sh"]' /busybox.tar busybox
same info "2 cgroupfs" "$(ferry info -f '{{.CgroupVersion}} {{.CgroupDriver}}')"
same hello "hello" "$(ferry run --rm busybox echo hello 2>&1)"

ferry run -d --name limited -m 64m --memory-reservation 32m --memory-swap 96m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 \
  --pids-limit 20 busybox sleep 1000 >/dev/null
g=$(group limited)
same memory.max 67108864 "$(cat "$g/memory.max")"
same memory.low 33554432 "$(cat "$g/memory.low")"
same memory.swap.max 33554432 "$(cat "$g/memory.swap.max" 2>/dev/null || echo 33554432)"
same cpu.max "50000 100000" "$(cat "$g/cpu.max")"
same cpu.weight 59 "$(cat "$g/cpu.weight")"
same cpuset.cpus 0 "$(cat "$g/cpuset.cpus")"
same pids.max 20 "$(cat "$g/pids.max")"
same in_its_group "0::/ferry/$(ferry inspect -f '{{.Id}}' limited)" "$(cat "/proc/$(pid limited)/cgroup")"
same own_cgroup_namespace "0::/" "$(ferry exec limited cat /proc/self/cgroup)"
same exec_is_in_the_group 2 "$(ferry exec limited sh -c 'wc -l < /sys/fs/cgroup/cgroup.procs')"
ferry update -m 128m --memory-swap 128m --pids-limit 30 limited >/dev/null
same update "134217728 30" "$(cat "$g/memory.max") $(cat "$g/pids.max")"
ferry pause limited >/dev/null
same pause "1" "$(settled "sed -n 's/^frozen //p' $g/cgroup.events" 1)"
ferry unpause limited >/dev/null
same unpause "0" "$(settled "sed -n 's/^frozen //p' $g/cgroup.events" 0)"
same stats "limited 128MiB 1" "$(ferry stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' limited | sed 's,[^ ]* / ,,')"
same forks "1" "$(ferry exec limited sh -c 'for i in $(seq 40); do sleep 5 & done' 2>&1 | grep -c -i 'fork\|resource' | sed 's/[1-9][0-9]*/1/')"
ferry rm -f limited >/dev/null
same group_is_gone "gone" "$([ -e "$g" ] && echo there || echo gone)"

ferry run --name greedy -m 16m --memory-swap 16m busybox sh -c 'tail /dev/zero' >/dev/null 2>&1
same oom "137 true" "$? $(ferry inspect -f '{{.State.OOMKilled}}' greedy)"

# Device rules are a program in the kernel here.
same null_device "ok" "$(ferry run --rm busybox sh -c 'echo > /dev/null && echo ok')"
same other_device "denied" "$(ferry run --rm --cap-add MKNOD busybox sh -c 'mknod /d b 254 0; cat /d >/dev/null 2>&1 || echo denied')"
same given_device "ok" "$(ferry run --rm --device /dev/vda busybox sh -c 'head -c 1 /dev/vda >/dev/null && echo ok')"
same device_rule "ok" "$(ferry run --rm --cap-add MKNOD --device-cgroup-rule 'b 254:* r' busybox sh -c 'mknod /d b 254 0; head -c 1 /d >/dev/null && echo ok')"
same read_only_rule "denied" "$(ferry run --rm --device /dev/vda:/dev/vda:r busybox sh -c 'echo > /dev/vda 2>/dev/null || echo denied')"
same privileged "ok" "$(ferry run --rm --privileged busybox sh -c 'head -c 1 /dev/vda >/dev/null && mkdir /sys/fs/cgroup/inner && echo ok')"
same cgroup_is_read_only "denied" "$(ferry run --rm busybox sh -c 'mkdir /sys/fs/cgroup/inner 2>/dev/null || echo denied')"

# The network: a bridge, addresses, a published port, names.
ferry run -d --name web -p 8080:80 busybox sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www' >/dev/null
same published "page" "$(settled 'wget -qO- http://127.0.0.1:8080/ 2>/dev/null' page)"
ferry network create side >/dev/null
ferry run -d --name named --network side busybox sh -c 'mkdir /www; echo name > /www/index.html; httpd -f -p 80 -h /www' >/dev/null
same names "name" "$(ferry run --rm --network side busybox sh -c 'sleep 1; wget -qO- http://named/')"
same joined_ipc "there" "$(ferry run -d --name shm --ipc shareable busybox sh -c 'echo there > /dev/shm/x; sleep 1000' >/dev/null; sleep 1; ferry run --rm --ipc container:shm busybox cat /dev/shm/x)"

# SCTP has ports, too.
ferry run -d --name sctp -p 7000:7/sctp busybox sleep 1000 >/dev/null
nsenter -t "$(pid sctp)" -n socat SCTP-LISTEN:7,fork,reuseaddr SYSTEM:'echo reached' &
same sctp_is_published "7/sctp -> 0.0.0.0:7000" "$(ferry port sctp | grep -v ::)"
same sctp reached "$(settled 'socat -u -T 20 SCTP:127.0.0.1:7000 - 2>/dev/null' reached)"
ferry rm -f sctp >/dev/null

# From another host, too, in both families.
ip-full netns add far
ip-full link add near type veth peer name far netns far
ip-full addr add 10.77.0.1/24 dev near && ip-full addr add fd00:77::1/64 dev near nodad && ip-full link set near up
ip-full -n far addr add 10.77.0.2/24 dev far && ip-full -n far addr add fd00:77::2/64 dev far nodad && ip-full -n far link set far up
ferry network create --ipv6 --subnet 10.9.9.0/24 --subnet fd00:9::/64 both >/dev/null
ferry run -d --name sctp --network both -p 7001:7/sctp busybox sleep 1000 >/dev/null
nsenter -t "$(pid sctp)" -n socat SCTP6-LISTEN:7,ipv6only=0,fork,reuseaddr SYSTEM:'echo reached' &
far="ip-full netns exec far socat -u -T 20"
same sctp_from_elsewhere reached "$(settled "$far SCTP4:10.77.0.1:7001 - 2>/dev/null" reached)"
same sctp_from_elsewhere_in_ipv6 reached "$(settled "$far 'SCTP6:[fd00:77::1]:7001' - 2>/dev/null" reached)"
same sctp_in_ipv6_from_here reached "$(settled "socat -u -T 20 'SCTP6:[fd00:77::1]:7001' - 2>/dev/null" reached)"
ferry rm -f sctp >/dev/null && ferry network rm both >/dev/null
ip-full link del near && ip-full netns del far

# Links of the host that containers share: what they are, and packets between two containers, who know each other by name.
kind() { nsenter -t "$(pid "$1")" -n ip-full -d -j link show eth0 | sed -n 's/.*"info_kind":"\([a-z]*\)","info_data":{"mode":"\([a-z0-9]*\)".*/\1 \2/p'; }
# shared NAME KIND OPTION…
shared() {
  net=$1 wanted=$2; shift 2
  true_that "$net.create" ferry network create "$@" "$net"
  for box in one two; do
    ferry run -d --name $box --network "$net" busybox sh -c "mkdir /www; echo $box > /www/index.html; httpd -f -p 80 -h /www" >/dev/null
  done
  same "$net.link" "$wanted" "$(kind one)"
  same "$net.traffic" two "$(settled 'ferry exec one wget -qO- http://two/ 2>/dev/null' two)"
  ferry rm -f one two >/dev/null
  true_that "$net.remove" ferry network rm "$net"
}
ip link add lan0 type dummy && ip link set lan0 up
shared macvlan "macvlan bridge" -d macvlan --subnet 10.9.1.0/24 -o parent=lan0
shared macvlan_alone "macvlan bridge" -d macvlan --subnet 10.9.2.0/24
shared macvlan_vlan "macvlan bridge" -d macvlan --subnet 10.9.3.0/24 -o parent=lan0.30
# The kernel makes dummy0 by itself.
same parents_that_were_made_are_gone "lo lan0" "$(echo $(ls /sys/class/net | grep -v -e dummy0 -e '^f[er]' | sort -r))"
shared ipvlan_l2 "ipvlan l2" -d ipvlan --subnet 10.9.4.0/24 -o parent=lan0
shared ipvlan_l3 "ipvlan l3" -d ipvlan --subnet 10.9.5.0/24 -o parent=lan0 -o ipvlan_mode=l3
shared ipvlan_l3s "ipvlan l3s" -d ipvlan --subnet 10.9.10.0/24 -o parent=lan0 -o ipvlan_mode=l3s
# apart FLAG: who shares a link with it does not reach its neighbours.
apart() {
  ferry network create -d ipvlan --subnet 10.9.11.0/24 -o parent=lan0 -o ipvlan_flag=$1 apart >/dev/null
  for box in one two; do ferry run -d --name $box --network apart busybox sleep 1000 >/dev/null; done
  shown=$(nsenter -t "$(pid one)" -n ip-full -d link show eth0 | grep -o 'ipvlan *mode.*' | cut -d ' ' -f 1-5)
  same "ipvlan_$1.link" "ipvlan mode l2 $1" "$(echo $shown | cut -d ' ' -f 1-4)"
  same "ipvlan_$1.apart" apart "$(ferry exec one ping -c 1 -W 2 10.9.11.3 >/dev/null || echo apart)"
  ferry rm -f one two >/dev/null && ferry network rm apart >/dev/null
}
apart private
apart vepa
shared ipvlan_vlan "ipvlan l2" -d ipvlan --subnet 10.9.6.0/24 -o parent=lan0.60

# A link that was made goes with the last network that shares it, whoever made it.
ferry network create -d macvlan --subnet 10.9.7.0/24 -o parent=lan0.70 maker >/dev/null
ferry network create -d macvlan --subnet 10.9.8.0/24 -o parent=lan0.70 sharer >/dev/null
true_that parent_maker_goes ferry network rm maker
same parent_stays lan0.70 "$(ls /sys/class/net | grep lan0.70)"
true_that parent_sharer_goes ferry network rm sharer
same parent_is_gone "" "$(ls /sys/class/net | grep lan0.70)"

# What a container writes has a limit of its own where the file system has projects.
ferry run -d --name small --storage-opt size=8m busybox sleep 1000 >/dev/null
same quota_is_what_df_says "8192" "$(ferry exec small df -k / | tail -n 1 | awk '{print $2}')"
same quota_holds "full" "$(ferry exec small sh -c 'dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null || echo full')"
same quota_is_its_own "ok" "$(ferry run --rm busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=20 2>/dev/null && echo ok')"
same quota_option "1" "$(ferry run --rm --storage-opt foo=1 busybox true 2>&1 | grep -c 'Unknown option foo')"
ferry rm -f small >/dev/null

# So have volumes: their size, their number of files, and what is made of them.
in_volume() { ferry run --rm -v "$1:/v" busybox sh -c "$2"; }
ferry volume create -o size=8m sized >/dev/null
same volume_quota_is_what_df_says 8192 "$(in_volume sized "df -k /v | tail -n 1 | awk '{print \$2}'")"
same volume_quota_holds full "$(in_volume sized 'dd if=/dev/zero of=/v/big bs=1M count=20 2>/dev/null || echo full')"
ferry volume create -o inodes=10 few >/dev/null
same volume_inodes_hold full "$(in_volume few 'for i in $(seq 30); do touch /v/$i || break; done 2>/dev/null; [ $(ls /v | wc -l) -lt 30 ] && echo full')"
true_that volume_quota_snapshot ferry volume snapshot sized before
true_that volume_quota_restore ferry volume restore -f sized before
same volume_quota_after_restore full "$(in_volume sized 'dd if=/dev/zero of=/v/more bs=1M count=20 2>/dev/null || echo full')"
true_that volume_quota_clone ferry volume clone sized sized2
same volume_quota_of_a_clone full "$(in_volume sized2 'dd if=/dev/zero of=/v/more bs=1M count=20 2>/dev/null || echo full')"
true_that volume_quota_rename ferry volume rename sized sized3
same volume_quota_of_a_renamed full "$(in_volume sized3 'dd if=/dev/zero of=/v/more bs=1M count=20 2>/dev/null || echo full')"
true_that volume_quota_remove ferry volume rm sized2 sized3 few
same volume_without_quota ok "$(in_volume plain 'dd if=/dev/zero of=/v/big bs=1M count=20 2>/dev/null && echo ok')"

# A user namespace: layers of an overlay whose ids are mapped.
ferry run -d --name mapped --userns=auto -v kept:/kept busybox sh -c 'touch /kept/file /own; sleep 1000' >/dev/null
same mapped_ids "0 0 0" "$(echo $(ferry exec mapped sh -c 'id -u; stat -c %u /bin/busybox /kept'))"
same mapped_outside "outside" "$([ "$(stat -c %u "/proc/$(pid mapped)")" -ge 1879048192 ] && echo outside)"
same volume_is_not_shifted 0 "$(stat -c %u /var/lib/ferry/volumes/kept/_data/file)"

# AppArmor: the default profile is loaded, and loaded again when somebody has unloaded it; others go by their names.
profile() { ferry run --rm "$@" busybox cat /proc/self/attr/current 2>&1 | tail -n 1; }
same apparmor_info "1" "$(ferry info -f '{{json .SecurityOptions}}' | grep -c '"name=apparmor"')"
same apparmor_default "docker-default (enforce)" "$(profile)"
same apparmor_init "docker-default (enforce)" "$(ferry run --rm --init busybox cat /proc/1/attr/current)"
same apparmor_unconfined "unconfined" "$(profile --security-opt apparmor=unconfined)"
same apparmor_privileged "unconfined" "$(profile --privileged)"
same apparmor_denies "denied" "$(ferry run --rm --cap-add SYS_ADMIN busybox sh -c 'mkdir -p /mnt; mount -t tmpfs t /mnt 2>/dev/null || echo denied')"
same apparmor_was_it "mounted" "$(ferry run --rm --cap-add SYS_ADMIN --security-opt apparmor=unconfined busybox sh -c 'mkdir -p /mnt; mount -t tmpfs t /mnt && echo mounted')"
apparmor_parser -Kr <<'END'
profile mine flags=(attach_disconnected) {
  file,
  network,
  capability,
  signal,
  deny /forbidden w,
}
END
ferry run -d --name mine --security-opt apparmor=mine busybox sleep 1000 >/dev/null
same apparmor_named "mine (enforce) denied" "$(echo $(ferry exec mine sh -c 'cat /proc/self/attr/current; echo > /forbidden 2>/dev/null || echo denied'))"
same apparmor_inspect "mine" "$(ferry inspect -f '{{.AppArmorProfile}}' mine)"
same apparmor_kill "137" "$(ferry kill mine >/dev/null; ferry wait mine)"
same apparmor_absent "1" "$(ferry run --rm --security-opt apparmor=absent busybox true 2>&1 | grep -c 'unable to apply apparmor profile')"
echo 'profile docker-default { }' | apparmor_parser -KR
same apparmor_again "docker-default (enforce)" "$(profile)"
ferry rm mine >/dev/null

# Killed with everything running, and there again.
kill -9 "$(cat /run/ferry/ferry.pid)"
ferry daemon --log-level debug >>/run/daemon.log 2>&1 &
n=0; until ferry version >/dev/null 2>&1 || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.1; done
same adopted "mapped named shm web" "$(echo $(ferry ps --format '{{.Names}}' | sort))"
same still_published "page" "$(wget -qO- http://127.0.0.1:8080/)"
same exec_after_a_crash "0" "$(ferry exec mapped id -u)"
ferry rm -f mapped named shm web >/dev/null
same nothing_is_left "" "$(find /sys/fs/cgroup/ferry -mindepth 1 -type d 2>/dev/null)"
echo "what the daemon said:"; grep -i 'warn\|error' /run/daemon.log | tail -n 20
echo "end of the tests"
poweroff -f
