#!/bin/sh
# What fajit-inspect prints of traces and counts. Exit code 77: no NVRTC.
set -eu
inspect=$2/tools/fajit-inspect
problem=attn:f32,b1,h1,q64,k128,d64,kernel=simt,variant=v2,bm=64,bn=64
status=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset FAJIT_DEVICE FAJIT_CACHE FAJIT_LOG FAJIT_EMU FAJIT_EMU_CHECK
export FAJIT_CACHE_DIR="$dir/cache"

bad() {
    echo "$*"
    status=1
}

# wanted number of lines that match, pattern, arguments of fajit-inspect..
expect() {
    want=$1 pattern=$2
    shift 2
    code=0
    "$inspect" "$@" >"$dir/out" 2>&1 || code=$?
    got=$(grep -c -- "$pattern" "$dir/out" || true)
    [ "$got" = "$want" ] || bad "fajit-inspect $*: '$pattern' stands in $got lines, not $want"
}

if ! "$inspect" counts $problem >"$dir/out" 2>&1; then
    grep -q 'libnvrtc' "$dir/out" && exit 77
    cat "$dir/out"
    exit 1
fi

# Two blocks of keys, one score each; warp 0 has rows 0 and 1 of every 16.
expect 2 '^S\[17,3\] = ' trace $problem --print 'S[17,3]'
expect 2 '^m\[1\] = ' trace $problem --print 'm[1]' --print 'm[2]'
expect 0 '^S\[17,3\] = ' trace $problem --warp 1 --print 'S[17,3]'
[ $code = 1 ] || bad "an element of another warp: exit code $code"
expect 1 ' l \[64, 1\], rows between 2 and 51' trace $problem --warp 1 --print 'l[0]'
expect 2 ' S \[64, 64\] grid, after line [0-9]*, rows 0-1, 16-17, 32-33, 48-49$' trace $problem
expect 1 'stopped after 3 lines' trace $problem --steps 3
expect 1 'no CTA (7, 0, 0)' trace $problem --cta 7

# A line has the number that render gives it.
line=$("$inspect" render $problem --arch sm_90 | grep -n 'row_max(block_max)' | cut -d: -f1)
expect 1 "^ *$line  *| .*row_max(block_max)" trace $problem --from "$line" --to "$line"

expect 1 'PTX instructions of warps' counts $problem
expect 1 "^ *[0-9]* .* $line | .*row_max(block_max)" counts $problem --lines
expect 1 '^{.*"ex2":[1-9].*"lines":\[{"line":' counts $problem --lines --json
exit $status
