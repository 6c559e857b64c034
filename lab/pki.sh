# The lab's small certificate authority and kubeconfigs. Sourced by lab/up.
# shellcheck shell=bash

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$LAB_PKI/$1.key"; }

# certificate NAME SUBJECT [ALTERNATIVE-NAMES]
certificate() {
    local name=$1 subject=$2 names=${3:-}
    new_key "$name"
    openssl req -new -key "$LAB_PKI/$name.key" -subj "$subject" |
        openssl x509 -req -CA "$LAB_PKI/ca.crt" -CAkey "$LAB_PKI/ca.key" -CAcreateserial -days 3650 \
            -extfile <(
                say "extendedKeyUsage = serverAuth, clientAuth"
                [[ -z $names ]] || say "subjectAltName = $names"
            ) -out "$LAB_PKI/$name.crt" 2>/dev/null
}

# Complete in itself, so that a copy of it works wherever the address is reachable.
kubeconfig() {
    local name=$1
    cat >"$LAB_CONFIG/$name.kubeconfig" <<EOF
apiVersion: v1
kind: Config
current-context: lab-$LAB_NAME
contexts:
- name: lab-$LAB_NAME
  context: { cluster: lab-$LAB_NAME, user: $name }
clusters:
- name: lab-$LAB_NAME
  cluster:
    server: https://$NODE_ADDRESS:6443
    certificate-authority-data: $(base64 -w0 "$LAB_PKI/ca.crt")
users:
- name: $name
  user:
    client-certificate-data: $(base64 -w0 "$LAB_PKI/$name.crt")
    client-key-data: $(base64 -w0 "$LAB_PKI/$name.key")
EOF
    chmod 600 "$LAB_CONFIG/$name.kubeconfig"
}

make_pki() {
    if [[ ! -f $LAB_PKI/complete ]]; then
        rm -rf "$LAB_PKI"
        mkdir -p "$LAB_PKI"
        chmod 700 "$LAB_PKI"
        new_key ca
        openssl req -x509 -new -key "$LAB_PKI/ca.key" -subj "/CN=switchback-lab-$LAB_NAME" -days 3650 -out "$LAB_PKI/ca.crt"
        certificate apiserver /CN=kube-apiserver "DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, DNS:kubernetes.default.svc.cluster.local, DNS:localhost, IP:127.0.0.1, IP:$API_ADDRESS, IP:$NODE_ADDRESS"
        certificate apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
        certificate admin /O=system:masters/CN=admin
        certificate controller-manager /CN=system:kube-controller-manager
        certificate scheduler /CN=system:kube-scheduler
        certificate proxy /CN=system:kube-proxy
        certificate kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" "DNS:$NODE_NAME, IP:$NODE_ADDRESS"
        new_key sa
        openssl ec -in "$LAB_PKI/sa.key" -pubout -out "$LAB_PKI/sa.pub" 2>/dev/null
        touch "$LAB_PKI/complete"
    fi
    local name
    for name in admin controller-manager scheduler proxy kubelet; do kubeconfig "$name"; done
}
