#!/bin/sh
# The first process of a virtual machine whose kernel has SELinux: loads a policy, runs the engine, looks at the labels that the
# kernel then tells, and prints "ok NAME" or "FAIL NAME: WHY" for each thing that must be true.
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t selinuxfs selinux /sys/fs/selinux
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward

. /says.sh
pid() { ferry inspect -f '{{.State.Pid}}' "$1"; }
text() { tr -d '\0' < "$1"; }
label() { text "/proc/$(pid "$1")/attr/current"; }
level() { echo "$1" | cut -d: -f4-; }
# begin OPTION…
begin() {
  # Named, so that no command starts a daemon of its own.
  export DOCKER_HOST=unix:///run/ferry/ferry.sock
  ferry daemon "$@" >>/run/daemon.log 2>&1 &
  n=0; until ferry version >/dev/null 2>&1 || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.1; done
}
end() {
  kill "$(cat /run/ferry/ferry.pid)"
  n=0; while ferry version >/dev/null 2>&1 && [ $n -lt 300 ]; do n=$((n + 1)); sleep 0.1; done
}

# A kernel that has no policy yet has no labels either: options mean nothing.
begin --selinux-enabled
true_that import ferry import -c 'CMD ["sh"]' /busybox.tar busybox
same no_policy_no_labels "0" "$(ferry info -f '{{json .SecurityOptions}}' | grep -c '"name=selinux"')"
same no_policy_runs "kernel" "$(ferry run --rm --security-opt label=type:other_t busybox cat /proc/self/attr/current | tr -d '\0')"
end

cat /policy > /sys/fs/selinux/load
same policy_is_loaded "system_u:system_r:kernel_t:s0-s0:c0.c1023" "$(text /proc/self/attr/current)"

# Not asked for: labels are refused, not forgotten.
begin
same off_refused "1" "$(ferry run --rm --security-opt label=type:other_t busybox true 2>&1 | grep -c 'label=type:other_t needs a daemon with --selinux-enabled')"
same off_disable "kernel_t" "$(ferry run --rm --security-opt label=disable busybox cat /proc/self/attr/current | cut -d: -f3)"
end

begin --selinux-enabled
same info "1" "$(ferry info -f '{{json .SecurityOptions}}' | grep -c '"name=selinux"')"
ferry run -d --name one busybox sleep 1000 >/dev/null
ferry run -d --name two --init busybox sleep 1000 >/dev/null
one=$(ferry inspect -f '{{.ProcessLabel}}' one) two=$(ferry inspect -f '{{.ProcessLabel}}' two)
mount=$(ferry inspect -f '{{.MountLabel}}' one)
same inspect "system_u:system_r:container_t:s0:cN,cN" "$(echo "$one" | sed 's/c[0-9][0-9]*/cN/g')"
same inspect_mount "system_u:object_r:container_file_t:$(level "$one")" "$mount"
same apart "apart" "$([ "$(level "$one")" != "$(level "$two")" ] && echo apart)"
same process "$one" "$(label one)"
same init "$two" "$(label two)"
same under_init "$two" "$(set -- $(cat "/proc/$(pid two)/task/$(pid two)/children"); text "/proc/$1/attr/current")"
same exec "$one" "$(ferry exec one cat /proc/self/attr/current | tr -d '\0')"
same exec_privileged "$one" "$(ferry exec --privileged one cat /proc/self/attr/current | tr -d '\0')"
# context NAME PATH: what a mount says of its label
context() { ferry exec "$1" cat /proc/self/mountinfo | grep -E "^[0-9]+ [0-9]+ [^ ]+ [^ ]+ $2 " | sed -n 's/.*[ ,]context="\{0,1\}\([^" ]*\).*/\1/p'; }
same root "$mount" "$(context one /)"
same shm "$mount" "$(context one /dev/shm)"
same devpts "$mount" "$(context one /dev/pts)"
same tmpfs "$(ferry inspect -f '{{.MountLabel}}' "$(ferry run -d --name three --tmpfs /t busybox sleep 1000)")" "$(context three /t)"
same mapped "$(ferry inspect -f '{{.MountLabel}}' "$(ferry run -d --name four --userns=auto busybox sleep 1000)")" "$(context four /)"

# What the user says.
own() { ferry run --rm "$@" busybox cat /proc/self/attr/current 2>&1 | tr -d '\0'; }
same type "system_u:system_r:other_t:s0:c7,c8" "$(own --security-opt label=type:other_t --security-opt label=level:s0:c7,c8)"
same disable "kernel_t" "$(own --security-opt label=disable | cut -d: -f3)"
same privileged "kernel_t" "$(own --privileged | cut -d: -f3)"
same host_pid "kernel_t" "$(own --pid host | cut -d: -f3)"
same joined "$one" "$(own --pid container:one)"
same bogus "1" "$(own --security-opt label=bogus | grep -c 'Bad label option "bogus"')"
same absent "1" "$(own --security-opt label=type:absent_t | grep -c 'unable to .*label.*: invalid argument')"

# Files of the host: as they are, for this container, for all.
mkdir -p /data/as_it_is /data/private/deep /data/shared
for dir in as_it_is private/deep shared; do echo x > /data/$dir/file; done
of() { getfattr --absolute-names --only-values -n security.selinux "$1" | tr -d '\0'; }
ferry run -d --name bound -v /data/as_it_is:/a -v /data/private:/p:Z -v /data/shared:/s:z -v kept:/v busybox sleep 1000 >/dev/null
mine=$(ferry inspect -f '{{.MountLabel}}' bound) shared=system_u:object_r:container_file_t:s0
same as_it_is "system_u:object_r:file_t:s0" "$(of /data/as_it_is/file)"
same private "$mine $mine" "$(of /data/private) $(of /data/private/deep/file)"
same shared "$shared $shared" "$(of /data/shared) $(of /data/shared/file)"
same volume "$shared" "$(of /var/lib/ferry/volumes/kept/_data)"
same hosts "$shared" "$(of "$(ferry inspect -f '{{.HostsPath}}' bound)")"
same host_directory "1" "$(ferry run --rm -v /etc:/e:z busybox true 2>&1 | grep -c 'SELinux relabeling of /etc is not allowed')"

# And the kernel keeps them apart.
echo 1 > /sys/fs/selinux/enforce
same enforced_own "x" "$(ferry exec bound cat /p/deep/file)"
same enforced_shared "x" "$(ferry run --rm -v /data/shared:/s busybox cat /s/file)"
same enforced_other "denied" "$(ferry run --rm -v /data/private:/p busybox sh -c 'cat /p/deep/file 2>/dev/null || echo denied')"
same enforced_disabled "x" "$(ferry run --rm --security-opt label=disable -v /data/private:/p busybox cat /p/deep/file)"

# Labels last as long as the container.
kill -9 "$(cat /run/ferry/ferry.pid)"
begin --selinux-enabled
same adopted "$one $one" "$(ferry inspect -f '{{.ProcessLabel}}' one) $(label one)"
ferry restart -t 0 one >/dev/null
same restarted "$one" "$(label one)"
ferry rm -f one two three four bound >/dev/null
end

# Pods: this machine's engine is asked by the scenarios of Kubernetes' runtime interface.
begin --selinux-enabled --cri unix:///run/cri.sock --cni-conf-dir /nowhere
export FERRY_TEST_CRI=unix:///run/cri.sock FERRY_TEST_CRI_IMAGE=busybox:latest
true_that pods scenario cgroups::labels_of_selinux
echo "what the daemon said:"; grep -i 'warn\|error' /run/daemon.log | tail -n 20
echo "end of the tests"
poweroff -f
