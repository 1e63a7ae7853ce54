#!/bin/sh
# The first process of a virtual machine whose kernel has cgroup v2 alone: runs the engine with Kubernetes' runtime interface, and
# the scenarios of that against it.
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t securityfs security /sys/kernel/security
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /var/tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward

. /says.sh

ferry daemon --log-level debug --cri unix:///run/cri.sock --cni-conf-dir /nowhere >/run/daemon.log 2>&1 &
listens /run/cri.sock
true_that import ferry import -c 'CMD ["sh"]' /busybox.tar busybox
apparmor_parser -Kr <<'END'
profile mine flags=(attach_disconnected) {
  file,
  network,
  capability,
  signal,
}
END
export FERRY_TEST_CRI=unix:///run/cri.sock FERRY_TEST_CRI_IMAGE=busybox:latest
true_that limits scenario cgroups::limits_of_version_2
true_that stats scenario pods::figures_of_containers_and_pods
true_that metrics scenario metrics::figures_by_name
true_that counters scenario metrics::figures_grow_as_the_kernel_counts
true_that apparmor scenario cgroups::apparmor_profiles_by_name
true_that life scenario pods::a_pod_lives
true_that sharing scenario pods::containers_of_a_pod_share_what_they_should
true_that user_namespace scenario userns::root_of_a_pod_is_nobody_on_the_host
true_that mapped_volumes scenario userns::volumes_of_a_pod_with_ids_of_its_own
true_that nothing_is_left test -z "$(find /sys/fs/cgroup/ferry* -mindepth 1 -type d 2>/dev/null)"
echo "what the daemon said:"; grep -i 'warn\|error' /run/daemon.log | tail -n 20
echo "end of the tests"
poweroff -f
