# shellcheck shell=bash
# What every template maker needs.
. "$LAB_SRC/lib/accel.sh"
. "$LAB_SRC/lib/ceph.sh"
. "$LAB_SRC/lib/libvirt.sh"
. "$LAB_SRC/lib/site.sh"
. "$LAB_SRC/lib/guest.sh"
. "$LAB_SRC/lib/domain.sh"
