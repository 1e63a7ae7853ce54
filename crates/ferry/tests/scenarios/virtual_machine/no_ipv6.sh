#!/bin/sh
# The first process of a virtual machine whose kernel was told to start without IPv6: runs the engine, and prints "ok NAME" or
# "FAIL NAME: WHY" for each thing that must be true.
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up

. /says.sh

ferry daemon --log-level debug >/run/daemon.log 2>&1 &
listens /run/ferry/ferry.sock
true_that import ferry import -c 'CMD ["sh"]' /busybox.tar busybox
same kernel "none" "$([ -e /proc/sys/net/ipv6 ] && echo some || echo none)"
true_that web ferry run -d --name web -p 8080:80 busybox sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -p 80 -h /www'
same port "80/tcp -> 0.0.0.0:8080" "$(ferry port web)"
same published "page" "$(settled 'wget -qO- http://127.0.0.1:8080/ 2>/dev/null' page)"
true_that create ferry network create side
true_that named ferry run -d --name named --network side busybox sh -c 'mkdir /www; echo name > /www/index.html; httpd -f -p 80 -h /www'
true_that connect ferry network connect side web
same names "name" "$(settled 'ferry exec web wget -qO- http://named/ 2>/dev/null' name)"
true_that disconnect ferry network disconnect side web
same published_still "page" "$(settled 'wget -qO- http://127.0.0.1:8080/ 2>/dev/null' page)"
true_that rm ferry rm -f web named
true_that remove ferry network rm side
echo "end of the tests"
poweroff -f
