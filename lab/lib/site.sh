# shellcheck shell=bash
# The site on top of the daemons: zs.toml, inventory, shell environment, pool, user and secret.

site_write() {
    mkdir -p "$LAB_DIR"/{state,cache}
    [ -e "$LAB_DIR/hosts.csv" ] || cp "$LAB_SRC/hosts.csv" "$LAB_DIR/hosts.csv"
    cat >"$LAB_DIR/zs.toml" <<TOML
[ceph]
conf = "$CEPH_CONF"
id = "$CEPH_USER"

[libvirt]
uri = "$LIBVIRT_DEFAULT_URI"

[site]
template = "$TEMPLATE"
pool = "$POOL"
storage_pool = "$STORAGE_POOL"
inventory = "$LAB_DIR/hosts.csv"
domain = "$DOMAIN_NAME"
TOML
}

site_env() {
    local zs
    zs=$(zs_bin)
    cat <<ENV
export LAB_DIR='$LAB_DIR'
export ZS_CONFIG='$LAB_DIR/zs.toml'
export ZS_STATE_DIR='$LAB_DIR/state'
export CEPH_CONF='$CEPH_CONF'
export LIBVIRT_DEFAULT_URI='$LIBVIRT_DEFAULT_URI'
export LIBGUESTFS_BACKEND='direct'
export LIBGUESTFS_CACHEDIR='$LAB_DIR/cache'
export PATH='$(dirname "$zs")':"\$PATH"
ENV
    if [ "$(cat "$LAB_DIR/accel")" = kvm ]; then
        echo "unset LIBGUESTFS_BACKEND_SETTINGS"
    else
        echo "export LIBGUESTFS_BACKEND_SETTINGS='force_tcg'"
    fi
}

# The lab is no special case: the product sets its own site up. By hand is for times without a zs.
site_pool() {
    local zs
    zs=$(zs_bin)
    if [ "${LAB_POOL_BY_HAND:-}" = 1 ]; then
        "$LAB_SRC/pool-by-hand"
    else
        [ -x "$zs" ] || die "no zs at $zs: cargo build --release --locked, or set ZS"
        (
            eval "$(site_env)"
            "$zs" pool.rhai >"$LAB_DIR/pool.log" 2>&1 || {
                cat "$LAB_DIR/pool.log" >&2
                die "zs pool.rhai failed"
            }
        )
    fi
    ceph auth get "client.$CEPH_USER" -o "$CEPH_DIR/client.$CEPH_USER.keyring" 2>/dev/null
    chmod 600 "$CEPH_DIR/client.$CEPH_USER.keyring"
}

ceph_version() { ceph --version | awk '{print $3}'; }

# The uuid libvirt keeps the secret under, looked up by its usage.
secret_uuid() { virsh -q secret-list | awk -v usage="ceph $SECRET_USAGE" '{u = $1; $1 = ""; sub(/^ +/, "")} $0 == usage {print u}'; }
