# What a lab changes on the machine outside its own folder, namespace and cgroups, because the programs know no option
# for another place; and how that is undone. Sourced by lab/up and lab/down.
# shellcheck shell=bash

# Set by every kubelet.
KUBELET_SYSCTLS=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes)

other_labs_up() {
    local run
    for run in "$LAB_STATE"/*/run; do
        [[ ! -d $run || $run == "$LAB_RUN" ]] || return 0
    done
    return 1
}

# The first lab notes what the last one puts back.
remember_machine() {
    local name
    # A kubelet takes the machine's device plugins for itself, in a folder that cannot be configured.
    [[ ! -e /var/lib/kubelet/pki && ! -e /var/lib/kubelet/config.yaml ]] ||
        die "this machine is a Kubernetes node itself (/var/lib/kubelet is in use); a lab would disturb it"
    [[ ! -f $LAB_STATE/sysctls ]] || return 0
    for name in "${KUBELET_SYSCTLS[@]}"; do
        [[ ! -r /proc/sys/$name ]] || say "$name $(cat "/proc/sys/$name")"
    done >"$LAB_STATE/sysctls"
}

# Has to come before the lab's folders go: they name the files.
forget_files_elsewhere() {
    local file id link
    # What the network plugins keep for each sandbox whose end they were not told.
    for file in /var/lib/cni/results/"$LAB_CGROUP"-*-eth0; do
        id=${file#"/var/lib/cni/results/$LAB_CGROUP-"} id=${id%-eth0}
        # The pattern fits labs with a longer name too.
        [[ ! $id =~ ^[0-9a-f]{64}$ ]] || rm -f "$file" "/var/lib/cni/results/cni-loopback-$id-lo"
    done
    for file in "$LAB_DIR"/containerd/state/io.containerd.runtime.v2.task/k8s.io/*/address; do
        [[ ! -f $file ]] || rm -f "$(sed 's|^unix://||' "$file")"
    done
    for link in /var/log/containers/*.log; do
        [[ $(readlink "$link") != "$LAB_DIR"/* ]] || rm -f "$link"
    done
}

restore_machine() {
    local name value
    ! other_labs_up || return 0
    if [[ -f $LAB_STATE/sysctls ]]; then
        while read -r name value; do
            [[ $(cat "/proc/sys/$name") == "$value" ]] || echo "$value" >"/proc/sys/$name"
        done <"$LAB_STATE/sysctls"
        rm -f "$LAB_STATE/sysctls"
    fi
    rm -f /var/lib/kubelet/device-plugins/kubelet.sock
    rmdir /var/lib/kubelet/device-plugins /var/lib/kubelet /var/log/containers /var/lib/cni/results /var/lib/cni \
        /run/containerd/s /run/containerd 2>/dev/null || true
}
