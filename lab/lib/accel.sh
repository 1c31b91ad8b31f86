# shellcheck shell=bash
# Whether KVM works is found out by running a virtual processor: some machines have /dev/kvm and
# qemu aborts or hangs on it, or runs a few instructions and no kernel.

# A 64 KiB firmware whose first instructions (mov al,16; out 0xf4,al) end qemu with status 33.
kvm_works() {
    local rom status=0
    [ -c /dev/kvm ] || return 1
    rom=$LAB_DIR/accel.rom
    head -c 65536 /dev/zero >"$rom"
    printf '\260\020\346\364\364' | dd of="$rom" bs=1 seek=65520 conv=notrunc status=none
    (
        ulimit -c 0
        timeout -k 1 5 qemu-system-x86_64 -machine q35,accel=kvm -cpu host -m 16 -nodefaults -display none \
            -device isa-debug-exit,iobase=0xf4,iosize=1 -bios "$rom" </dev/null
    ) >/dev/null 2>&1 || status=$?
    rm -f "$rom"
    [ "$status" = 33 ] && kvm_boots
}

# A kernel without a root panics, and with panic=-1 and -no-reboot that ends qemu: in a second or two.
kvm_boots() {
    local kernel
    kernel=$(find /boot -name 'vmlinuz-*' -print -quit 2>/dev/null)
    [ -n "$kernel" ] || return 0
    (
        ulimit -c 0
        timeout -k 1 10 qemu-system-x86_64 -machine accel=kvm -cpu host -m 256 -nodefaults -display none -no-reboot \
            -kernel "$kernel" -append "panic=-1 quiet" </dev/null
    ) >/dev/null 2>&1
}

# accel: kvm or qemu, found out once per lab.
accel() {
    [ -s "$LAB_DIR/accel" ] || { if kvm_works; then echo kvm; else echo qemu; fi >"$LAB_DIR/accel"; }
    cat "$LAB_DIR/accel"
}
