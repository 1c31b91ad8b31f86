# shellcheck shell=bash
# A template VM from a raw file: image, NVRAM, definition.

# Firmware under the names of Debian 12 (2 MiB, as the seed has) and Ubuntu 24.04 (4 MiB only).
# Variables must be of the code's size.
ovmf() {
    local suffix
    for suffix in '' _4M; do
        [ -e "/usr/share/OVMF/OVMF_CODE$suffix.fd" ] || continue
        echo "/usr/share/OVMF/OVMF_$1$suffix.fd"
        return
    done
    die "no OVMF below /usr/share/OVMF: run lab/install-packages"
}

nvram_path() { echo "$NVRAM_DIR/$1_VARS.fd"; }
image_exists() { rbd info "$POOL/$1" >/dev/null 2>&1; }
domain_exists() { virsh dominfo "$1" >/dev/null 2>&1; }

# An interrupted import leaves an image that looks whole; its name is given last.
image_import() {
    image_exists "$2" && return
    rbd rm --no-progress "$POOL/$2.importing" >/dev/null 2>&1 || true
    rbd import --no-progress --sparse-size 64K "$1" "$POOL/$2.importing"
    rbd rename "$POOL/$2.importing" "$POOL/$2"
}

# nvram_make NAME RAW LABEL LOADER
nvram_make() {
    local file
    file=$(nvram_path "$1")
    [ -e "$file" ] || "$LAB_SRC/lib/efi-boot-entry" "$(ovmf VARS)" "$file" "$2" "$3" "$4"
}

# domain_xml FILE NAME UUID MAC: fills in the places of FILE. With LAB_BRIDGE (see lab/in-net) the guest is on that bridge.
domain_xml() {
    local type cpu='' secret net="<interface type='user'>"
    [ -z "${LAB_BRIDGE:-}" ] || net="<interface type='bridge'><source bridge='$LAB_BRIDGE'/>"
    type=$(accel) secret=$(secret_uuid)
    [ "$type" != kvm ] || cpu="<cpu mode='host-passthrough' check='none'/>"
    [ -n "$secret" ] || die "libvirt has no secret for '$SECRET_USAGE'"
    sed -e "s|@TYPE@|$type|; s|@CPU@|$cpu|; s|@NAME@|$2|g; s|@UUID@|$3|g; s|@MAC@|$4|" \
        -e "s|<interface type='user'>|$net|" -e "s|@LOADER@|$(ovmf CODE)|; s|@NVRAM@|$(nvram_path "$2")|; s|@USER@|$CEPH_USER|" \
        -e "s|@SECRET@|$secret|; s|@POOL@|$POOL|; s|@PORT@|$(port mon_v1)|" \
        -e "s|@GENID@|$(uuidgen)|; s|@SERIAL@|$(head -c 8 /dev/urandom | od -An -tx1 | tr -d " \n")|" \
        -e "s|@CONSOLE@|$LAB_DIR/console|; s|@LIBDIR@|$VIRT_DIR/lib/qemu|" "$1"
}

random_mac() { printf '52:54:00:%02x:%02x:%02x\n' $((RANDOM % 256)) $((RANDOM % 256)) $((RANDOM % 256)); }

# domain_define FILE NAME UUID MAC. Twice: libvirt appends the controllers it adds, and sorts them when it reads
# the definition again, so the first dumpxml would differ from the one after a restart.
domain_define() {
    domain_exists "$2" || {
        domain_xml "$@" | virsh -q define --validate /dev/stdin
        virsh dumpxml --inactive --security-info "$2" | virsh -q define /dev/stdin
    }
}
