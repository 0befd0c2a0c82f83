# What scripts that run the tools begin with: a directory of their own, no settings of the caller's,
# and a way to say what a command should do. Sourced with the script's arguments; `status` is the
# script's exit code.
# shellcheck shell=sh disable=SC2034
root=$1 build=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset FAJIT_DEVICE FAJIT_CACHE FAJIT_LOG FAJIT_TUNE FAJIT_PACK_PATH FAJIT_RECORD FAJIT_TEMPLATE_DIR \
    FAJIT_TUNE_WORKER
export FAJIT_CACHE_DIR="$dir/cache"
status=0

bad() {
    echo "$*"
    status=1
}

# wanted exit code, pattern in stdout or stderr, command..
expect() {
    want=$1 pattern=$2
    shift 2
    code=0
    "$@" >"$dir/out" 2>&1 </dev/null || code=$?
    [ $code = "$want" ] || bad "$*: exit code $code, not $want: $(tail -n 1 "$dir/out")"
    grep -q -- "$pattern" "$dir/out" || bad "$*: no '$pattern' in: $(cat "$dir/out")"
}
