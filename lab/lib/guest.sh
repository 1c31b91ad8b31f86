# shellcheck shell=bash
# The guest: a directory tree made into a disk image without mounting anything.

GUEST_SRC=$LAB_SRC/guest

# The newest kernel that has its modules here.
guest_kernel() {
    local file found=''
    for file in $(printf '%s\n' /boot/vmlinuz-* | sort -V); do
        [ ! -d "/lib/modules/${file#/boot/vmlinuz-}" ] || found=${file#/boot/vmlinuz-}
    done
    [ -n "$found" ] || die "no kernel with modules below /boot: run lab/install-packages"
    echo "$found"
}

# guest_files DIR NAME: what makes one machine differ from another, and what inspection looks at.
guest_files() {
    local dir=$1 name=$2 id type
    mkdir -p "$dir"/{boot/efi,dev,home,media,mnt,opt,proc,root,run,srv,sys,tmp} \
        "$dir"/usr/{bin,sbin,lib,lib64,share} "$dir"/var/{cache,log,tmp,lib/dbus,lib/dpkg,lib/systemd} \
        "$dir"/etc/{default,init.d,netplan,ssh,acpi/PWRF}
    for type in bin sbin lib lib64; do ln -sfn "usr/$type" "$dir/$type"; done
    ln -sfn /run "$dir/var/run"
    chmod 1777 "$dir/tmp" "$dir/var/tmp"
    chmod 700 "$dir/root"

    cat >"$dir/usr/lib/os-release" <<'TEXT'
NAME="Ubuntu"
VERSION="20.04.6 LTS (Focal Fossa)"
ID=ubuntu
ID_LIKE=debian
PRETTY_NAME="Ubuntu 20.04.6 LTS"
VERSION_ID="20.04"
VERSION_CODENAME=focal
UBUNTU_CODENAME=focal
TEXT
    ln -sf ../usr/lib/os-release "$dir/etc/os-release"
    printf 'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=20.04\nDISTRIB_CODENAME=focal\nDISTRIB_DESCRIPTION="Ubuntu 20.04.6 LTS"\n' >"$dir/etc/lsb-release"
    echo bullseye/sid >"$dir/etc/debian_version"
    : >"$dir/var/lib/dpkg/status"
    printf 'LABEL=z-root / ext4 defaults 0 1\nLABEL=Z-EFI /boot/efi vfat umask=0077 0 1\n' >"$dir/etc/fstab"
    printf 'root:x:0:0:root:/root:/bin/sh\n' >"$dir/etc/passwd"
    printf 'root:x:0:\n' >"$dir/etc/group"
    printf 'root:!:19000:0:99999:7:::\n' >"$dir/etc/shadow"
    chmod 640 "$dir/etc/shadow"
    printf 'GRUB_TERMINAL=serial\nGRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200 --stop=1"\n' >"$dir/etc/default/grub"

    echo "$name" >"$dir/etc/hostname"
    printf '127.0.0.1 localhost\n%s %s.%s %s\n' "$TEMPLATE_IP" "$name" "$DOMAIN_NAME" "$name" >"$dir/etc/hosts"
    cat >"$dir/etc/netplan/01-netcfg.yaml" <<TEXT
# This file describes the network interfaces available on your system
# For more information, see netplan(5).
network:
  version: 2
  renderer: networkd
  ethernets:
    enp1s0:
      addresses: [ $TEMPLATE_IP/24 ]
      gateway4: 192.168.6.200
      nameservers:
        addresses: [ 192.168.6.200, 192.168.6.11 ]
        search: [ $DOMAIN_NAME ]
TEXT
    id=$(tr -d - </proc/sys/kernel/random/uuid)
    echo "$id" >"$dir/etc/machine-id"
    echo "$id" >"$dir/var/lib/dbus/machine-id"
    chmod 444 "$dir/etc/machine-id" "$dir/var/lib/dbus/machine-id"
    head -c 512 /dev/urandom >"$dir/var/lib/systemd/random-seed"
    chmod 600 "$dir/var/lib/systemd/random-seed"
    for type in rsa ecdsa ed25519; do
        ssh-keygen -q -t "$type" -N '' -C "root@$name" -f "$dir/etc/ssh/ssh_host_${type}_key"
    done
}

# guest_userland DIR: busybox as everything, and the start-up.
guest_userland() {
    local dir=$1 applet
    cp "$(busybox_static)" "$dir/usr/bin/busybox"
    for applet in $("$dir/usr/bin/busybox" --list); do
        case $applet in
        busybox) ;;
        init | halt | poweroff | reboot) ln -sf ../bin/busybox "$dir/usr/sbin/$applet" ;;
        *) ln -sf busybox "$dir/usr/bin/$applet" ;;
        esac
    done
    install -m 755 "$GUEST_SRC/rcS" "$GUEST_SRC/rcK" "$dir/etc/init.d/"
    install -m 644 "$GUEST_SRC/inittab" "$dir/etc/inittab"
    install -m 644 "$GUEST_SRC/profile" "$dir/etc/profile"
    install -m 755 "$GUEST_SRC/shutdown" "$dir/usr/sbin/shutdown"
    # What acpid runs for the power button.
    printf '#!/bin/sh\npoweroff\n' >"$dir/etc/acpi/PWRF/00000080"
    chmod 755 "$dir/etc/acpi/PWRF/00000080"
}

# The shared one would need its libraries in the initrd.
busybox_static() {
    local file
    for file in /bin/busybox /usr/bin/busybox; do
        [ ! -x "$file" ] || { echo "$file"; return; }
    done
    die "busybox is missing: run lab/install-packages"
}

# guest_services DIR: the host's own qemu-ga and dropbear, with the libraries they name.
guest_services() {
    local dir=$1 name bin lib
    for name in qemu-ga dropbear dropbearconvert; do
        bin=$(PATH=$PATH:/usr/sbin command -v "$name") || die "$name is missing: run lab/install-packages"
        install -D -m 755 "$bin" "$dir/usr/sbin/$name"
        for lib in $(ldd "$bin" | grep -oE '/[^ ]+'); do install -D "$lib" "$dir/usr${lib#/usr}"; done
    done
}

# guest_initrd FILE KERNEL
guest_initrd() {
    local file=$1 kernel=$2 dir module verb path name
    dir=$(mktemp -d "$LAB_DIR/cache/initrd.XXXXXX")
    mkdir -p "$dir"/{bin,dev,modules,proc,root,sys}
    cp "$(busybox_static)" "$dir/bin/busybox"
    install -m 755 "$GUEST_SRC/initrd-init" "$dir/init"
    : >"$dir/modules/order"
    for module in virtio_pci virtio_blk ext4 virtio_console virtio_net virtio_rng vfat nls_cp437 nls_ascii nls_iso8859-1 button evdev; do
        # Some are built in, some not shipped, differing by distribution.
        while read -r verb path _; do
            [ "$verb" = insmod ] || continue
            name=${path##*/} name=${name%%.ko*}.ko
            [ ! -e "$dir/modules/$name" ] || continue
            case $path in
            *.zst) zstd -dqc "$path" ;;
            *.xz) xz -dc "$path" ;;
            *) cat "$path" ;;
            esac >"$dir/modules/$name"
            echo "$name" >>"$dir/modules/order"
        done < <(modprobe -S "$kernel" --show-depends "$module" 2>/dev/null)
    done
    (cd "$dir" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$file"
    rm -rf "$dir"
}

# guest_esp FILE MIB LOADER…: an EFI system partition whose GRUB stands at each LOADER path.
guest_esp() {
    local file=$1 size=$2 kernel work loader
    shift 2
    truncate -s "${size}M" "$file"
    mkfs.vfat -n Z-EFI "$file" >/dev/null
    [ $# -gt 0 ] || return 0
    kernel=$(guest_kernel)
    work=$(mktemp -d "$LAB_DIR/cache/esp.XXXXXX")
    cp "/boot/vmlinuz-$kernel" "$work/vmlinuz"
    guest_initrd "$work/initrd" "$kernel"
    cat >"$work/grub.cfg" <<'CFG'
serial --unit=0 --speed=115200
terminal_output serial
linux /vmlinuz console=ttyS0,115200 quiet panic=5 mitigations=off
initrd /initrd
boot
CFG
    grub-mkimage -O x86_64-efi -p / -c "$work/grub.cfg" -o "$work/grub.efi" part_gpt fat serial terminal linux boot
    mcopy -i "$file" "$work/vmlinuz" "$work/initrd" ::/
    for loader in "$@"; do
        mmd_p "$file" "$(dirname "$loader")"
        mcopy -i "$file" "$work/grub.efi" "::$loader"
    done
    rm -rf "$work"
}

# mmd_p IMAGE DIRECTORY: makes each missing part of the path.
mmd_p() {
    local part path='' parts
    IFS=/ read -ra parts <<<"${2#/}"
    for part in "${parts[@]}"; do
        path=$path/$part
        mdir -i "$1" "::$path" >/dev/null 2>&1 || mmd -i "$1" "::$path"
    done
}

# guest_raw FILE MIB TREE_FN ESP_MIB [LOADER…]: the whole disk image, kept as FILE. TREE_FN fills a
# directory. Without a LOADER it has no kernel and does not boot.
guest_raw() {
    local file=$1 size=$2 fill=$3 esp_size=$4 work
    shift 4
    [ ! -e "$file" ] || return 0
    work=$(mktemp -d "$LAB_DIR/cache/raw.XXXXXX")
    mkdir "$work/tree"
    "$fill" "$work/tree"
    guest_esp "$work/esp" "$esp_size" "$@"
    guest_disk "$work/raw" "$work/tree" "$work/esp" "$size"
    mv "$work/raw" "$file"
    rm -rf "$work"
}

# guest_disk FILE TREE ESP MIB: GPT, the EFI system partition first, then an ext4 of the tree.
guest_disk() {
    local file=$1 tree=$2 esp=$3 size=$4 esp_mib root_mib
    esp_mib=$(($(stat -c %s "$esp") >> 20))
    root_mib=$((size - esp_mib - 2))
    rm -f "$file" "$file.root"
    truncate -s "${root_mib}M" "$file.root"
    mke2fs -q -t ext4 -L z-root -m 1 -d "$tree" "$file.root"
    truncate -s "${size}M" "$file"
    sgdisk -n "1:1M:+${esp_mib}M" -t 1:ef00 -c 1:EFI -n "2:0:+${root_mib}M" -t 2:8300 -c 2:root "$file" >/dev/null
    dd if="$esp" of="$file" bs=1M seek=1 conv=notrunc,sparse status=none
    dd if="$file.root" of="$file" bs=1M seek=$((1 + esp_mib)) conv=notrunc,sparse status=none
    rm -f "$file.root"
}
