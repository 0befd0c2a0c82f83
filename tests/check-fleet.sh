#!/bin/sh
# Many processes on one cache, processes that are killed, disks that are full, and a warm cache that
# needs nothing: the tool from end to end, on the emulated device where a device is needed.
set -eu
. "$1/tests/expect.sh"
tune=$build/tools/fajit-tune
mkdir -m 700 "$dir/run"
export FAJIT_EMU=a100 XDG_RUNTIME_DIR="$dir/run"

# --- 32 processes start cold on one problem: one of them compiles --------------------------------

for i in $(seq 32); do
    "$tune" warm attn:f32,d32,kernel=simt --arch sm_80 >"$dir/cold.$i" 2>&1 &
done
wait
grep -q -i 'nvrtc.*not found\|no NVRTC' "$dir"/cold.* && exit 77
compiled=$(cat "$dir"/cold.* | grep -c '^compiled') || true
served=$(cat "$dir"/cold.* | grep -c '^disk cache') || true
[ "$compiled" = 1 ] || bad "$compiled of 32 processes compiled, not one"
[ "$served" = 31 ] || bad "$served of 32 processes found it in the cache, not 31: $(cat "$dir"/cold.*)"

# --- A warm cache: no NVRTC, nothing written ------------------------------------------------------

problems=
for d in 32 40 48 56 64; do
    for mask in '' ,causal; do
        problems="$problems attn:f32,d$d,kernel=simt$mask"
    done
done
# shellcheck disable=SC2086 # a list of words
expect 0 '^compiled' "$tune" warm $problems --arch sm_80
# What there is, with the times of its last change; a hit may touch an entry, at most once an hour.
picture() {
    find "$dir/cache" "$dir/run" -printf '%p %s %T@\n' | sort
}
picture >"$dir/before"
# shellcheck disable=SC2086
FAJIT_NVRTC=/nowhere expect 0 '^disk cache' "$tune" warm $problems --arch sm_80
! grep -q '^compiled' "$dir/out" || bad 'a warm cache compiled'
picture >"$dir/after"
cmp -s "$dir/before" "$dir/after" || bad "a warm cache wrote: $(diff "$dir/before" "$dir/after")"
expect 0 'entries' "$tune" pack "$dir/all.fjpack"
# A pack beside a directory that nobody may write to.
mkdir -m 500 "$dir/empty"
picture >"$dir/before"
# shellcheck disable=SC2086
FAJIT_CACHE_DIR="$dir/empty" FAJIT_CACHE=ro FAJIT_PACK_PATH="$dir/all.fjpack" FAJIT_NVRTC=/nowhere \
    expect 0 '^pack ' "$tune" warm $problems --arch sm_80
[ -z "$(ls -A "$dir/empty")" ] || bad 'a warm pack wrote into the cache directory'
if command -v strace >/dev/null && strace -o "$dir/trace" true 2>/dev/null; then
    # shellcheck disable=SC2086
    strace -f -o "$dir/trace" "$tune" warm $problems --arch sm_80 >/dev/null 2>&1
    ! grep -q 'nvrtc' "$dir/trace" || bad "a warm cache looked for NVRTC: $(grep -m 1 nvrtc "$dir/trace")"
    ! grep 'O_CREAT\|O_WRONLY\|O_RDWR\|rename\|unlink' "$dir/trace" | grep -v '/dev/' ||
        bad 'a warm cache opened a file for writing'
fi

# --- Killed at any moment --------------------------------------------------------------------------

# Lines that end: the last one may have been cut by the kill.
good_lines() {
    if [ -e "$dir/cache/tuning.txt" ]; then
        "$tune" merge "$dir/cache/tuning.txt" -o "$dir/merged.txt" >"$dir/out" 2>&1 || true
        grep -c '^fj1' "$dir/merged.txt" || true
    else
        echo 0
    fi
}

problem=attn:f32,b1,h1,q32,k32,d32,kernel=simt
before=0
for pause in 0.2 0.5 0.9 1.4 2; do
    setsid "$tune" tune $problem --device emu --candidates 6 >"$dir/killed" 2>&1 &
    child=$!
    sleep $pause
    kill -9 -- -$child 2>/dev/null || true
    wait $child 2>/dev/null || true
    after=$(good_lines)
    [ "$after" -ge "$before" ] || bad "killed after $pause s: $after records, $before before"
    before=$after
done
expect 0 'attn_fwd_simt bm=' "$tune" tune $problem --device emu --candidates 6
expect 0 'recorded before' "$tune" tune $problem --device emu
[ "$(good_lines)" -ge "$before" ] || bad 'resuming lost records'

expect 0 'entries' "$tune" pack "$dir/whole.fjpack"
cp "$dir/whole.fjpack" "$dir/kept.fjpack"
for pause in 0 0.002 0.005 0.01 0.02; do
    "$tune" pack "$dir/kept.fjpack" >/dev/null 2>&1 &
    child=$!
    sleep $pause
    kill -9 $child 2>/dev/null || true
    wait $child 2>/dev/null || true
    expect 0 'entries' "$tune" verify "$dir/kept.fjpack"
done

# --- A full disk ------------------------------------------------------------------------------------

# A limit on the size of files stands for it: writes fail alike. Kernels still compile, what is
# there already still counts, and nobody claims to have kept what was lost.
full() {
    (
        trap '' XFSZ
        ulimit -f 4 # blocks of 512 bytes
        exec "$@"
    )
}
expect 1 'could not be written' full "$tune" warm attn:f32,d96,kernel=simt --arch sm_80
grep -q '^compiled' "$dir/out" || bad "a full disk stopped a compile: $(cat "$dir/out")"
expect 0 '^compiled' "$tune" warm attn:f32,d96,kernel=simt --arch sm_80
expect 1 'pack' full "$tune" pack "$dir/full.fjpack"
[ ! -e "$dir/full.fjpack" ] || bad 'a pack that did not fit was left behind'
expect 0 'entries' "$tune" verify "$dir/kept.fjpack"
records=$(good_lines)
expect 1 'records are not saved' full "$tune" tune attn:f32,b1,h1,q48,k32,d32,kernel=simt --device emu --candidates 2
[ "$(good_lines)" -ge "$records" ] || bad 'a full disk cost records'
expect 1 'merge' full "$tune" merge "$dir/cache/tuning.txt" -o "$dir/cache/tuning.txt"
[ "$(good_lines)" -ge "$records" ] || bad 'a merge onto a full disk cost records'

# --- Foreign files ----------------------------------------------------------------------------------

echo 'not a pack' >"$dir/foreign.fjpack"
expect 1 'foreign.fjpack' "$tune" unpack "$dir/foreign.fjpack"
expect 1 'foreign.fjpack' "$tune" verify "$dir/foreign.fjpack"
# shellcheck disable=SC2086
FAJIT_PACK_PATH="$dir/foreign.fjpack:$dir/whole.fjpack" FAJIT_CACHE_DIR="$dir/other" \
    expect 0 '^pack ' "$tune" warm $problems --arch sm_80
head -c 300 /dev/urandom >"$dir/noise"
expect 1 'noise:' "$tune" warm "@$dir/noise" --arch sm_80
expect 1 'cannot read' "$tune" warm "@$dir/absent" --arch sm_80
cp "$dir/cache/tuning.txt" "$dir/saved.txt"
head -c 300 /dev/urandom >"$dir/cache/tuning.txt"
expect 0 'because  heuristic' "$tune" why $problem --device emu
expect 0 'attn_fwd_simt bm=' "$tune" tune $problem --device emu --candidates 2
expect 0 'because  exact' "$tune" why $problem --device emu
exit $status
