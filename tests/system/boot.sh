#!/bin/sh
# Boots systemd as process 1 of a system of its own: this one's files with others put over them. What is written is lost at the end.
#
#   unshare --pid --fork --kill-child --mount --uts --ipc --net --cgroup boot.sh WORK TREE
#
# WORK: an empty directory.  TREE: what is put over this system's files, such as the result of `make install DESTDIR=TREE`.
set -eu
work=$1
tree=$2

mount --make-rprivate /
ip link set lo up
mount -t tmpfs -o size=3g tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
cp -a "$tree/." "$work/root/"
chmod 755 "$work/root"
cd "$work/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
# Of this system's own services none is to run.
rm -rf etc/systemd/system etc/cowbook var/lib/cowbook var/cache/cowbook var/log/journal
mkdir -p etc/systemd/system srv/captures
cat >etc/systemd/system/bare.target <<'UNIT'
[Unit]
Description=Nothing but what is asked for
Wants=systemd-journald.socket systemd-journald.service
AllowIsolate=yes
UNIT
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=unshare PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --unit=bare.target --log-target=journal-or-kmsg --show-status=no
