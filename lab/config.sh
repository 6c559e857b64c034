# The configuration files of the lab's parts. Sourced by lab/up.
# shellcheck shell=bash

find_cni_plugins() {
    local dir
    for dir in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
        [[ ! -x $dir/bridge ]] || { say "$dir" && return; }
    done
    die "no CNI plugins in /usr/lib/cni, /opt/cni/bin or /usr/libexec/cni"
}

write_config() {
    mkdir -p "$LAB_CONFIG/cni" # kubeconfigs are here too
    write_containerd_config
    write_cni_config
    write_kubelet_config
    write_proxy_config
    write_audit_policy
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE no container would start otherwise.
# Root, netns_mounts_under_state_dir, opt.path: containerd's own defaults are places that labs would share.
write_containerd_config() {
    local snapshotter=overlayfs
    # Overlay on overlay does not work: inside a container, snapshots are plain copies.
    [[ $(stat -f -c %T "$LAB_DIR") != overlayfs ]] || snapshotter=native
    cat >"$LAB_CONFIG/containerd.toml" <<EOF
version = 2
root = "$LAB_DIR/containerd/root"
state = "$LAB_DIR/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
address = "$LAB_CONTAINERD"
[plugins."io.containerd.internal.v1.opt"]
path = "$LAB_DIR/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/lab-pause:1"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$(find_cni_plugins)"
conf_dir = "$LAB_CONFIG/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$snapshotter"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "$LAB_DIR/containerd/runc"
EOF
}

# The network's name is in the names of files under /var/lib/cni that the plugins write and lab/down removes.
write_cni_config() {
    jq -n --arg name "$LAB_CGROUP" --arg data "$LAB_RUN/addresses" '{
        cniVersion: "0.4.0", name: $name,
        plugins: [
            { type: "bridge", bridge: "cni0", isGateway: true, ipMasq: false, hairpinMode: true,
              ipam: { type: "host-local", dataDir: $data,
                      ranges: [[{ subnet: "10.201.0.0/24" }]], routes: [{ dst: "0.0.0.0/0" }] } },
            { type: "portmap", capabilities: { portMappings: true } }
        ] }' >"$LAB_CONFIG/cni/10-lab.conflist"
}

write_kubelet_config() {
    cat >"$LAB_CONFIG/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_ADDRESS
healthzBindAddress: 127.0.0.1
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $LAB_PKI/ca.crt } }
authorization: { mode: Webhook }
cgroupDriver: cgroupfs
cgroupRoot: /$LAB_CGROUP
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$LAB_CONTAINERD
tlsCertFile: $LAB_PKI/kubelet.crt
tlsPrivateKeyFile: $LAB_PKI/kubelet.key
resolvConf: ""
clusterDNS: ["$DNS_ADDRESS"]
clusterDomain: cluster.local
evictionHard: { memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%" }
imageGCHighThresholdPercent: 100
maxPods: 250
podLogsDir: $LAB_DIR/podlogs
volumePluginDir: $LAB_DIR/kubelet/plugins-exec
kubeAPIQPS: 200
kubeAPIBurst: 400
EOF
}

write_proxy_config() {
    cat >"$LAB_CONFIG/proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: { kubeconfig: $LAB_CONFIG/proxy.kubeconfig }
bindAddress: 127.0.0.1
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
mode: nftables
clusterCIDR: 10.201.0.0/16
hostnameOverride: $NODE_NAME
conntrack: { maxPerCore: 0 }
EOF
}

# Bodies where a benchmark needs to see what was written: when a pod turned unready, and what a Service was patched to.
write_audit_policy() {
    cat >"$LAB_CONFIG/audit.yaml" <<EOF
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/livez*", "/readyz*", "/healthz*"]
- level: Request
  verbs: [patch, update]
  resources:
  - group: ""
    resources: [pods/status, services]
- level: Metadata
EOF
}
