# What the lab needs of the machine. Sourced by what needs more than bash.
# shellcheck shell=bash

# Debian package -> a program of it.
declare -A NEEDED=(
    [containerd]=containerd [runc]=runc [iptables]=iptables [nftables]=nft [conntrack]=conntrack [iproute2]=ip
    [jq]=jq [openssl]=openssl [util-linux]=nsenter [mount]=mount [procps]=sysctl [kmod]=modprobe [binutils]=strip
    [ca-certificates]=update-ca-certificates
)

# Debian keeps programs for root where root's PATH may not lead.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing_packages() {
    local package
    for package in "${!NEEDED[@]}"; do
        command -v "${NEEDED[$package]}" >/dev/null || say "$package"
    done
    [[ -x /usr/lib/cni/bridge || -x /opt/cni/bin/bridge || -x /usr/libexec/cni/bridge ]] || say containernetworking-plugins
}

install_packages() {
    local missing
    mapfile -t missing < <(missing_packages | sort)
    [[ ${#missing[@]} -eq 0 ]] || install_debian "${missing[@]}"
}

# need_program PROGRAM [PACKAGE]: what only some commands need.
need_program() { command -v "$1" >/dev/null || install_debian "${2:-$1}"; }

install_debian() {
    local log=$LAB_STATE/apt-get.log
    command -v apt-get >/dev/null || die "needs what Debian calls $*; install it with this system's own tool"
    say "installing Debian packages: $*"
    mkdir -p "$LAB_STATE"
    {
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
    } >"$log" 2>&1 || {
        tail -n 10 "$log" | sed 's/^/    /' >&2
        die "apt-get could not install them; the whole log: $log"
    }
}
