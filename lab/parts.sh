# How each part of the cluster is started. Sourced by lab/up and lab/part; runs inside the lab's network namespace.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used where this is sourced

# In the order in which they start.
PARTS=(etcd containerd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet)
# The API server goes before etcd: without etcd it would wait for a minute.
STOP_ORDER=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy containerd etcd)

answers_on_port() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

lab_kubectl() { KUBECONFIG=$LAB_KUBECONFIG KUBECACHEDIR=$LAB_RUN/kubectl-cache kubectl "$@"; }

lab_ctr() { ctr --address "$LAB_CONTAINERD" --namespace k8s.io "$@"; }

run_part() {
    case $1 in
    etcd) run_etcd ;;
    containerd) start_part containerd containerd --config "$LAB_CONFIG/containerd.toml" ;;
    kube-apiserver) run_apiserver ;;
    kube-controller-manager) run_controller_manager ;;
    kube-scheduler)
        start_part kube-scheduler kube-scheduler --kubeconfig="$LAB_CONFIG/scheduler.kubeconfig" \
            --leader-elect=false --bind-address=127.0.0.1 --kube-api-qps=200 --kube-api-burst=400
        ;;
    kube-proxy) start_part kube-proxy kube-proxy --config="$LAB_CONFIG/proxy.yaml" ;;
    kubelet)
        start_part kubelet kubelet --config="$LAB_CONFIG/kubelet.yaml" --kubeconfig="$LAB_CONFIG/kubelet.kubeconfig" \
            --hostname-override="$NODE_NAME" --node-ip="$NODE_ADDRESS" --root-dir="$LAB_DIR/kubelet"
        ;;
    *) die "no part \"$1\"; there are: ${PARTS[*]}" ;;
    esac
}

part_ready() {
    case $1 in
    etcd) answers_on_port 127.0.0.1 2379 ;;
    containerd) lab_ctr version ;;
    kube-apiserver) answers_on_port "$NODE_ADDRESS" 6443 && lab_kubectl get --raw /readyz ;;
    kube-controller-manager) answers_on_port 127.0.0.1 10257 ;;
    kube-scheduler) answers_on_port 127.0.0.1 10259 ;;
    kube-proxy) answers_on_port 127.0.0.1 10256 ;;
    kubelet) lab_kubectl wait node "$NODE_NAME" --for=condition=Ready --timeout=2s ;;
    esac
}

# Its data is gone with the lab: it need not reach a disk.
run_etcd() {
    start_part etcd etcd --data-dir "$LAB_RUN/etcd/data" --unsafe-no-fsync --logger zap --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380
}

run_apiserver() {
    mkdir -p "$LAB_LOG/audit"
    start_part kube-apiserver kube-apiserver \
        --etcd-servers=http://127.0.0.1:2379 \
        --bind-address=0.0.0.0 --advertise-address="$NODE_ADDRESS" --secure-port=6443 \
        --tls-cert-file="$LAB_PKI/apiserver.crt" --tls-private-key-file="$LAB_PKI/apiserver.key" \
        --client-ca-file="$LAB_PKI/ca.crt" \
        --kubelet-client-certificate="$LAB_PKI/apiserver-kubelet.crt" --kubelet-client-key="$LAB_PKI/apiserver-kubelet.key" \
        --kubelet-certificate-authority="$LAB_PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file="$LAB_PKI/sa.pub" --service-account-signing-key-file="$LAB_PKI/sa.key" \
        --service-cluster-ip-range=10.96.0.0/16 \
        --authorization-mode=Node,RBAC --allow-privileged=true \
        --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement \
        --feature-gates=MutatingAdmissionPolicy=true --runtime-config=admissionregistration.k8s.io/v1beta1=true \
        --audit-policy-file="$LAB_CONFIG/audit.yaml" --audit-log-path="$LAB_LOG/audit/audit.log" \
        --audit-log-maxsize=4000 \
        --shutdown-watch-termination-grace-period=1s # else it waits a minute for open watches
}

run_controller_manager() {
    start_part kube-controller-manager kube-controller-manager \
        --kubeconfig="$LAB_CONFIG/controller-manager.kubeconfig" --use-service-account-credentials=true \
        --service-account-private-key-file="$LAB_PKI/sa.key" --root-ca-file="$LAB_PKI/ca.crt" \
        --leader-elect=false --bind-address=127.0.0.1 \
        --cluster-cidr=10.201.0.0/16 --allocate-node-cidrs=true \
        --kube-api-qps=300 --kube-api-burst=600
}
