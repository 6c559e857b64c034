# Shared by the chart's tests. Sourced, never run.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used where this is sourced
CHART=charts/switchback
FAILURES=0

pass() { printf 'ok    %s\n' "$*"; }

miss() {
    printf 'FAIL  %s\n' "$*" >&2
    FAILURES=$((FAILURES + 1))
}

# holds WHAT COMMAND…: the command must succeed.
holds() {
    local what=$1 answer
    shift
    if answer=$("$@" 2>&1); then pass "$what"; else
        miss "$what"
        printf '      %s\n' "${answer//$'\n'/$'\n'      }" >&2
    fi
}

# refused WHAT WORDS COMMAND…: the command must fail and say WORDS.
refused() {
    local what=$1 words=$2 answer
    shift 2
    if answer=$("$@" 2>&1); then miss "$what: was accepted"; elif [[ $answer == *"$words"* ]]; then pass "$what"; else
        miss "$what: refused without saying \"$words\""
        printf '      %s\n' "${answer//$'\n'/$'\n'      }" >&2
    fi
}

# equal WHAT EXPECTED FOUND
equal() {
    if [[ $2 == "$3" ]]; then pass "$1"; else miss "$1: expected \"$2\", found \"$3\""; fi
}

finish() {
    [[ $FAILURES == 0 ]] || {
        printf '%s of the chart'\''s tests failed\n' "$FAILURES" >&2
        exit 1
    }
}
