#!/bin/busybox sh
# The first process of the virtual machine, in its memory: finds the disk and goes on there.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox modprobe virtio_pci
/bin/busybox modprobe virtio_blk
/bin/busybox modprobe quota_v2
n=0
until [ -b /dev/vda ] || [ $n -ge 300 ]; do n=$((n + 1)); /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 -o prjquota /dev/vda /new && exec /bin/busybox switch_root /new /init
echo "FAIL disk: /dev/vda cannot be mounted"
/bin/busybox poweroff -f
