# Shared by the lab's scripts: names, paths, messages, recorded processes. Sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is used where this is sourced

LAB_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_CACHE=${SWITCHBACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/switchback-lab}
LAB_STATE_DEFAULT=/var/tmp/switchback-lab
LAB_STATE=${SWITCHBACK_STATE:-$LAB_STATE_DEFAULT}

# The same in every lab: each has a network namespace of its own.
NODE_ADDRESS=10.200.0.1
NODE_NAME=node-1
API_ADDRESS=10.96.0.1
DNS_ADDRESS=10.96.0.10

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Sets everything that belongs to one lab. Whatever is global on the machine (cgroups, sockets, mounts) carries its name.
use_lab() {
    LAB_NAME=$1
    # Unix socket paths end at 107 bytes and the deepest of ours needs 40; cgroups and files take the name as it is.
    [[ $LAB_NAME =~ ^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$ ]] ||
        die "\"$LAB_NAME\" is no name for a lab: 1 to 20 small letters, digits and dashes"
    LAB_DIR=$LAB_STATE/$LAB_NAME
    LAB_RUN=$LAB_DIR/run         # process ids, the network namespace; gone when the lab is down
    LAB_LOG=$LAB_DIR/log         # kept for reading after the lab is down
    LAB_PKI=$LAB_DIR/pki         # kept: same certificates after the next start
    LAB_CONFIG=$LAB_DIR/config
    LAB_NETNS=$LAB_RUN/netns
    LAB_CGROUP=switchback-lab-$LAB_NAME
    # Two checkouts with a state folder each may use the same name.
    [[ $LAB_STATE == "$LAB_STATE_DEFAULT" ]] || LAB_CGROUP+=-$(cksum <<<"$LAB_STATE" | cut -d ' ' -f 1)
    LAB_CONTAINERD=$LAB_DIR/containerd/containerd.sock
    LAB_KUBECONFIG=$LAB_CONFIG/admin.kubeconfig
}

# One start or stop of a lab at a time.
lock_lab() {
    mkdir -p "$LAB_STATE"
    exec {LAB_LOCK}>"$LAB_STATE/$LAB_NAME.lock"
    flock --nonblock "$LAB_LOCK" || {
        say "waiting for another start or stop of lab \"$LAB_NAME\""
        flock "$LAB_LOCK"
    }
}

need_root() {
    [[ $(id -u) == 0 ]] || die "needs root: the lab makes a network namespace, mounts and cgroups. See lab/README.md"
}

in_netns() { nsenter --net="$LAB_NETNS" "$@"; }

is_mounted() { findmnt --noheadings --mountpoint "$1" >/dev/null; }

# --- Folders of programs -------------------------------------------------------------------------------------------

program_folders() { awk '!/^#/ && NF { print $1 }' "$LAB_SOURCE/go/programs" | uniq; }

# The cache folder of one folder of programs: another go.mod, source, flag or compiler is another folder.
program_dir() {
    local folder=$1 hash
    hash=$(
        {
            awk -v folder="$folder" '$1 == folder' "$LAB_SOURCE/go/programs"
            find "$LAB_SOURCE/go/$folder" -type f -print0 | sort -z | xargs -0 cat
            uname -m
        } | sha256sum
    )
    printf '%s/bin/%s-%s\n' "$LAB_CACHE" "$folder" "${hash:0:16}"
}

program_path() {
    local folder path=
    for folder in $(program_folders); do path+=$(program_dir "$folder"):; done
    printf '%s\n' "${path%:}"
}

# --- Recorded processes --------------------------------------------------------------------------------------------

# Field 22 of stat, the start time; the program's name before it may hold spaces and brackets.
process_start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    # shellcheck disable=SC2086
    set -- $stat
    [[ $1 != Z ]] || return 1
    printf '%s\n' "${20}"
}

# Prints the process id of a part, if that process still is the one that was started: ids are used again.
part_pid() {
    local pid start program
    read -r pid start program 2>/dev/null <"$LAB_RUN/$1.pid" || return 1
    [[ $(process_start_time "$pid") == "$start" ]] || return 1
    [[ $(cat "/proc/$pid/comm") == "${program:0:15}" ]] || return 1
    printf '%s\n' "$pid"
}

# start_part NAME COMMAND…: runs it apart from this shell, in the lab's cgroup, with a log and a recorded id.
start_part() {
    local part=$1 pid fd program
    shift
    program=$(basename "$1")
    mkdir -p "$LAB_LOG"
    (
        echo "$BASHPID" >"$(tracking_cgroup)/cgroup.procs"
        echo "$BASHPID" >"$(cpu_cgroup)/cgroup.procs"
        # A lock or a pipe of the caller that lived on in here would keep the caller waiting.
        for fd in /proc/"$BASHPID"/fd/*; do
            fd=${fd##*/}
            [[ $fd -le 2 ]] || eval "exec $fd>&-"
        done
        exec setsid "$@"
    ) </dev/null >"$LAB_LOG/$part.log" 2>&1 &
    pid=$!
    printf '%s %s %s\n' "$pid" "$(process_start_time "$pid")" "$program" >"$LAB_RUN/$part.pid"
    disown "$pid"
    # Until then it is a shell, which part_pid would not take for the part.
    while process_start_time "$pid" >/dev/null && ! part_pid "$part" >/dev/null; do sleep 0.01; done
}

# stop_part NAME [SECONDS]: asks, waits, then kills.
stop_part() {
    local part=$1 seconds=${2:-20} pid tries
    if pid=$(part_pid "$part"); then
        kill -TERM "$pid" 2>/dev/null || true
        kill -CONT "$pid" 2>/dev/null || true
        for ((tries = seconds * 20; tries > 0; tries--)); do
            part_pid "$part" >/dev/null || break
            sleep 0.05
        done
        pid=$(part_pid "$part") && kill -KILL "$pid" 2>/dev/null
    fi
    rm -f "$LAB_RUN/$part.pid"
}

# Says what failed, where its log is, and how the log ends.
part_failed() {
    local part=$1 why=$2
    {
        say "$part $why. The end of $LAB_LOG/$part.log:"
        tail -n 15 "$LAB_LOG/$part.log" | cut -c 1-400 | sed 's/^/    /'
    } >&2
    exit 1
}

# wait_for PART SECONDS COMMAND…: until the command succeeds; fails early when the part has ended.
wait_for() {
    local part=$1 seconds=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        part_pid "$part" >/dev/null || part_failed "$part" "has ended"
        [[ $SECONDS -lt $end ]] || part_failed "$part" "is not ready after $seconds s"
        sleep 0.1
    done
}

# --- Control groups ------------------------------------------------------------------------------------------------

# Every hierarchy of the machine: one per controller in version 1, one in version 2.
cgroup_hierarchies() {
    findmnt --noheadings --raw --output TARGET,FSTYPE,OPTIONS --types cgroup,cgroup2 | awk '$3 ~ /^rw|,rw/ { print $1 }'
}

is_cgroup_v2_only() { [[ -f /sys/fs/cgroup/cgroup.controllers ]]; }

# The group that holds each process of the lab, its containers' shims too, wherever they were started from.
tracking_cgroup() {
    if is_cgroup_v2_only; then
        printf '/sys/fs/cgroup/%s/system\n' "$LAB_CGROUP"
    else
        printf '/sys/fs/cgroup/pids/%s/system\n' "$LAB_CGROUP"
    fi
}

# Where the lab's own processes get their share of the processors.
cpu_cgroup() {
    if is_cgroup_v2_only; then tracking_cgroup; else printf '/sys/fs/cgroup/cpu/%s/system\n' "$LAB_CGROUP"; fi
}

make_cgroups() {
    local hierarchy group file
    for hierarchy in $(cgroup_hierarchies); do
        group=$hierarchy/$LAB_CGROUP
        mkdir -p "$group"
        if is_cgroup_v2_only; then
            # A group has either processes or children with controllers: ours has children.
            for file in "$hierarchy" "$group"; do
                sed 's/[a-z_]\+/+&/g' "$file/cgroup.controllers" >"$file/cgroup.subtree_control" ||
                    die "cannot delegate the controllers of $file: processes live directly in it"
            done
        elif [[ -f $hierarchy/cpuset.cpus ]]; then
            cat "$hierarchy/cpuset.cpus" >"$group/cpuset.cpus"
            cat "$hierarchy/cpuset.mems" >"$group/cpuset.mems"
        fi
    done
    mkdir -p "$(tracking_cgroup)"
    raise_share
}

# A probe of a pod has a second to answer. Beside a compiler on every core it would not, if all that runs in the lab
# counted as one process among many.
raise_share() {
    if is_cgroup_v2_only; then
        echo 1000 >"/sys/fs/cgroup/$LAB_CGROUP/cpu.weight"
    else
        mkdir -p "/sys/fs/cgroup/cpu/$LAB_CGROUP/system"
        echo 10240 >"/sys/fs/cgroup/cpu/$LAB_CGROUP/cpu.shares"
        # As much as the kubelet gives to all pods together on two cores.
        echo 2048 >"/sys/fs/cgroup/cpu/$LAB_CGROUP/system/cpu.shares"
    fi
}

# Ends every process that the lab's groups hold and removes the groups. They were made by the lab and hold nothing else.
remove_cgroups() {
    local hierarchy group pids tries
    for ((tries = 0; tries < 100; tries++)); do
        pids=$(for hierarchy in $(cgroup_hierarchies); do
            find "$hierarchy/$LAB_CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null || true
        done | sort -un)
        [[ -n $pids ]] || break
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        sleep 0.05
    done
    for hierarchy in $(cgroup_hierarchies); do
        group=$hierarchy/$LAB_CGROUP
        [[ -d $group ]] || continue
        for ((tries = 0; tries < 40; tries++)); do
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
            [[ -d $group ]] || break
            sleep 0.05
        done
        [[ ! -d $group ]] || say "left behind: $group" >&2
    done
}
