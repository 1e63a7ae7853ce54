#!/bin/sh
# A virtual machine whose first process is systemd: the kernel starts this, which becomes systemd, which runs it again as a service.
# The engine is a service, too, as the guide has it. Prints "ok NAME" or "FAIL NAME: WHY" for each thing that must be true.
[ $$ != 1 ] || exec /lib/systemd/systemd
exec </dev/null >/dev/console 2>&1
export PATH=/bin:/sbin HOME=/root
echo 1 > /proc/sys/net/ipv4/ip_forward

. /says.sh
id() { ferry inspect -f '{{.Id}}' "$1"; }
pid() { ferry inspect -f '{{.State.Pid}}' "$1"; }
unit() { echo "ferry-$(id "$1").scope"; }
# show UNIT PROPERTY…: their values
show() { u=$1; shift; for name in "$@"; do systemctl show --value -p "$name" "$u"; done | tr '\n' ' ' | sed 's/ $//'; }

systemctl start --no-block ferry.service
listens /run/ferry/cri.sock || { cat /run/daemon.log; echo "FAIL daemon: it does not come up"; poweroff -f; }
same init "systemd" "$(cat /proc/1/comm)"
true_that import ferry import -c 'CMD ["sh"]' /busybox.tar busybox
same info "2 systemd" "$(ferry info -f '{{.CgroupVersion}} {{.CgroupDriver}}')"
same hello "hello" "$(ferry run --rm busybox echo hello 2>&1)"

# A container's scope, and its limits in the kernel and with systemd.
ferry run -d --name limited -m 64m --memory-reservation 32m --memory-swap 96m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 \
  --pids-limit 20 --cap-add MKNOD busybox sleep 1000 >/dev/null
u=$(unit limited)
g=/sys/fs/cgroup/system.slice/$u
same in_its_scope "0::/system.slice/$u" "$(cat "/proc/$(pid limited)/cgroup")"
same its_only_process "$(pid limited)" "$(cat "$g/cgroup.procs")"
same scope "loaded active running system.slice yes" "$(show "$u" LoadState ActiveState SubState Slice Delegate)"
kernel() { echo "$(cat "$g/memory.max") $(cat "$g/memory.low") $(cat "$g/cpu.max") $(cat "$g/cpu.weight") $(cat "$g/cpuset.cpus") $(cat "$g/pids.max")"; }
manager() { show "$u" MemoryMax MemoryLow CPUQuotaPerSecUSec CPUWeight AllowedCPUs TasksMax; }
same limits_in_the_kernel "67108864 33554432 50000 100000 59 0 20" "$(kernel)"
same limits_with_systemd "67108864 33554432 500ms 59 0 20" "$(manager)"
same own_cgroup_namespace "0::/" "$(ferry exec limited cat /proc/self/cgroup)"
same exec_is_in_the_scope 2 "$(ferry exec limited sh -c 'wc -l < /sys/fs/cgroup/cgroup.procs')"
same device_is_denied "denied" "$(ferry exec limited sh -c 'mknod /d b 254 0; cat /d >/dev/null 2>&1 || echo denied')"
systemctl daemon-reload
same limits_after_a_reload "67108864 33554432 50000 100000 59 0 20" "$(kernel)"
same device_is_denied_after_a_reload "denied" "$(ferry exec limited sh -c 'cat /d >/dev/null 2>&1 || echo denied')"
same one_process "one 1" "$(ferry run --rm --pids-limit 1 --cgroupns host -v /sys/fs/cgroup:/groups:ro busybox sh -c 'read line </proc/self/cgroup; n=0; until read limit </groups${line#0::}/pids.max; [ "$limit" = 1 ] || [ $n -ge 50000 ]; do n=$((n + 1)); done; echo one $limit' 2>&1)"
true_that update ferry update -m 128m --memory-swap 256m --cpus 0.255 --pids-limit 30 limited
same update_in_the_kernel "134217728 33554432 25500 100000 59 0 30" "$(kernel)"
same update_with_systemd "134217728 33554432 260ms 59 0 30" "$(manager)"
systemctl daemon-reload
# Parts of a percent are nothing that systemd keeps.
same update_after_a_reload "134217728 33554432 26000 100000 59 0 30" "$(kernel)"
ferry pause limited >/dev/null
same pause "1" "$(settled "sed -n 's/^frozen //p' $g/cgroup.events" 1)"
ferry unpause limited >/dev/null
same stats "limited 128MiB 1" "$(ferry stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' limited | sed 's,[^ ]* / ,,')"
true_that restart ferry restart -t 0 limited
true_that restart_again ferry restart -t 0 limited
same limits_after_a_restart "134217728 33554432 25500 100000 59 0 30" "$(kernel)"

# What is not limited has no limit of systemd's own.
ferry run -d --name free --cgroup-parent app-web.slice busybox sh -c 'sleep 1000' >/dev/null
same in_a_nested_slice "0::/app.slice/app-web.slice/$(unit free)" "$(cat "/proc/$(pid free)/cgroup")"
same no_limits "max infinity infinity" "$(cat "/sys/fs/cgroup/app.slice/app-web.slice/$(unit free)/pids.max") $(show "$(unit free)" TasksMax MemoryMax)"
same no_slice "1" "$(ferry run --rm --cgroup-parent app busybox true 2>&1 | grep -c 'should be a valid slice named as "xxx.slice"')"
same privileged "ok" "$(ferry run --rm --privileged busybox sh -c 'mkdir /sys/fs/cgroup/inner && echo ok')"

# Out of memory: what is killed is one process, and the name of what has failed is free again.
ferry run -d --name greedy -m 16m --memory-swap 16m busybox sh -c 'tail /dev/zero; sleep 1000' >/dev/null
greedy() { sed -n 's/^oom_kill //p' "/sys/fs/cgroup/system.slice/$(unit greedy)/memory.events" 2>/dev/null; }
same one_is_killed "1" "$(settled greedy 1)"
sleep 2
same others_go_on "true active" "$(ferry inspect -f '{{.State.Running}}' greedy) $(show "$(unit greedy)" ActiveState)"
ferry run --name hungry -m 16m --memory-swap 16m busybox tail /dev/zero >/dev/null 2>&1
same oom "137 true" "$? $(ferry inspect -f '{{.State.OOMKilled}}' hungry)"
same failed_scope_goes "not-found" "$(settled "show $(unit hungry) LoadState" not-found)"

# Another runtime gets the scope's name, and makes it: Ferry's own by runc's command line.
ferry run -d --name other --runtime other -m 64m busybox sleep 1000 >/dev/null
same other_runtime "0::/system.slice/$(unit other) 67108864 67108864" "$(cat "/proc/$(pid other)/cgroup") $(cat "/sys/fs/cgroup/system.slice/$(unit other)/memory.max") $(show "$(unit other)" MemoryMax)"
true_that other_runtime_update ferry update -m 96m --memory-swap 96m other
same other_runtime_updated "100663296 100663296" "$(cat "/sys/fs/cgroup/system.slice/$(unit other)/memory.max") $(show "$(unit other)" MemoryMax)"

# Pods, by the scenarios of Kubernetes' interface.
export FERRY_TEST_CRI=unix:///run/ferry/cri.sock FERRY_TEST_CRI_IMAGE=busybox:latest
true_that pod_in_a_slice scenario cgroups::pods_in_slices_of_systemd
true_that pod_limits scenario cgroups::limits_of_version_2
true_that pod_user_namespace scenario userns::root_of_a_pod_is_nobody_on_the_host
same no_scope_of_a_pod_is_left "4" "$(settled "systemctl list-units --no-legend --plain 'ferry-*.scope' | wc -l" 4)"

# Killed with everything running, and there again; what was not running had no scope.
before=$(systemctl list-units --no-legend --plain 'ferry-*.scope' | wc -l)
was=$(show ferry.service MainPID)
rm /run/ferry/cri.sock
kill -9 "$was"
same scopes_stay "$before" "$(systemctl list-units --no-legend --plain 'ferry-*.scope' | wc -l)"
listens /run/ferry/cri.sock
same adopted "free greedy limited other" "$(echo $(ferry ps --format '{{.Names}}' | sort))"
true_that update_after_a_crash ferry update -m 64m --memory-swap 64m limited
systemctl daemon-reload
same no_swap_after_a_reload "0 0" "$(cat "$g/memory.swap.max") $(show "$u" MemorySwapMax)"
same updated_after_a_crash "67108864 67108864" "$(cat "$g/memory.max") $(show "$u" MemoryMax)"

# Over the system bus, when there is one: its own socket is not there meanwhile.
systemctl start dbus.service
mv /run/systemd/private /run/systemd/private.away
ferry run -d --name bus -m 32m busybox sleep 1000 >/dev/null
true_that update_over_the_bus ferry update -m 48m --memory-swap 48m bus
mv /run/systemd/private.away /run/systemd/private
same over_the_bus "0::/system.slice/$(unit bus) 50331648" "$(cat "/proc/$(pid bus)/cgroup") $(show "$(unit bus)" MemoryMax)"

# Nothing stays of what ends.
ferry stop -t 0 limited >/dev/null
same stopped_scope_goes "not-found gone" "$(settled "show $u LoadState" not-found) $([ -e "$g" ] && echo there || echo gone)"
ferry rm -f bus free greedy hungry limited other >/dev/null
same no_scope_is_left "0" "$(settled "systemctl list-units --all --no-legend --plain 'ferry-*.scope' | wc -l" 0)"
same no_directory_is_left "" "$(find /sys/fs/cgroup -name 'ferry-*.scope')"
echo "what the daemon said:"; grep -i 'warn\|error' /run/daemon.log | tail -n 20
echo "end of the tests"
poweroff -f
