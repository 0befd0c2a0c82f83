#!/bin/sh
# fajit-tune tune --devices all on hosts of several GPUs, which are emulated here.
set -eu
. "$1/tests/expect.sh"
tune=$build/tools/fajit-tune

# How many lines of a file match.
count() { # file, pattern
    grep -c -- "$2" "$1" || true
}

"$tune" warm attn:f32,d32,kernel=simt --arch sm_80 >"$dir/out" 2>&1 || {
    grep -q -i nvrtc "$dir/out" && exit 77
    cat "$dir/out"
    exit 1
}
: >"$dir/list"
for q in 16 24 32 40 48 56; do
    echo "attn:f32,b1,h1,q$q,k32,d32" >>"$dir/list"
done
limits='--device emu --devices all --candidates 2 --budget 60'

# Two of one model: every problem once, both take part, one file of records, each line named.
export FAJIT_EMU=h200,h200
# shellcheck disable=SC2086 # a list of words
"$tune" tune "@$dir/list" $limits --json >"$dir/json" 2>"$dir/err" || bad "two devices: $(cat "$dir/err")"
[ "$(wc -l <"$dir/json")" = 6 ] || bad "not every problem once: $(cat "$dir/json")"
while read -r problem; do
    [ "$(count "$dir/json" "\"$problem\"")" = 1 ] || bad "$problem: not once in $(cat "$dir/json")"
done <"$dir/list"
for device in emu:0 emu:1; do
    [ "$(count "$dir/json" "\"device\":\"$device\"")" -ge 1 ] || bad "$device did nothing: $(cat "$dir/json")"
done
grep -q '"from_record":true' "$dir/json" && bad "a problem was tuned before: $(cat "$dir/json")"
[ "$(count "$FAJIT_CACHE_DIR/tuning.txt" ' best ')" = 6 ] || bad "not 6 winners: $(cat "$FAJIT_CACHE_DIR/tuning.txt")"
! grep '^fj1' "$FAJIT_CACHE_DIR/tuning.txt" | grep -v ' NVIDIA_H200_(emulated)/90/132 ' || bad 'a record of another GPU'
expect 0 '^emu:[01]: attn:' "$tune" tune "@$dir/list" --device emu --devices all
[ "$(count "$dir/out" 'recorded before')" = 6 ] || bad "not all recorded: $(cat "$dir/out")"
expect 0 '^attn:' "$tune" tune "$(head -n 1 "$dir/list")" --device emu:1
expect 1 'emulated device 2 does not exist: "h200,h200" are 0 to 1' "$tune" tune "@$dir/list" --device emu:2
for device in emu: emu:x emu:-1 emux 1x -1 ''; do
    expect 1 'neither an ordinal nor' "$tune" tune "@$dir/list" --device "$device"
done

# A device of another model has records of its own, and the whole list.
export FAJIT_EMU=h200,a100,h200 FAJIT_CACHE_DIR="$dir/mixed"
# shellcheck disable=SC2086
"$tune" tune "@$dir/list" $limits --json >"$dir/json" 2>"$dir/err" || bad "two models: $(cat "$dir/err")"
[ "$(count "$dir/json" '"gpu":"NVIDIA_H200_(emulated)/90/132"')" = 6 ] || bad "h200: $(cat "$dir/json")"
[ "$(count "$dir/json" '"device":"emu:1","gpu":"NVIDIA_A100')" = 6 ] || bad "a100: $(cat "$dir/json")"
for gpu in NVIDIA_H200 NVIDIA_A100; do
    [ "$(count "$dir/mixed/tuning.txt" " $gpu.* best ")" = 6 ] || bad "$gpu: not 6 winners"
done
for device in emu:0 emu:1; do
    expect 0 'because  exact' "$tune" why "$(head -n 1 "$dir/list")" --device $device
done

# A worker that is killed takes nothing with it: its search goes on, and so does the other device.
export FAJIT_EMU=h200,h200 FAJIT_CACHE_DIR="$dir/killed"
# shellcheck disable=SC2086
"$tune" tune "@$dir/list" $limits --json >"$dir/json" 2>"$dir/err" &
child=$!
worker=
for _ in $(seq 100); do
    worker=$(pgrep -P $child | head -n 1) && break
    sleep 0.05
done
sleep 0.3
kill -9 "$worker" || bad 'no worker was seen'
wait $child || bad "a killed worker: $(cat "$dir/err")"
[ "$(count "$dir/json" '"finished":true')" = 6 ] || bad "a killed worker: $(cat "$dir/json" "$dir/err")"

# What cannot be used is said, before anything is tuned.
expect 1 'no emulated GPU is called "voodoo2"' env FAJIT_EMU=h200,voodoo2 "$tune" tune "@$dir/list" --device emu --devices all
expect 1 'arch alone has no devices' "$tune" tune "@$dir/list" --arch sm_90 --devices all
expect 1 'newer than the device' env FAJIT_EMU=a100,t4 "$tune" tune "@$dir/list" --arch sm_90 --device emu --devices all
# sm_80 can be imitated by one of the two: the other is named, and the list is tuned all the same.
expect 1 'device emu:0 cannot be opened: sm_80 is newer' env FAJIT_EMU=t4,a100 "$tune" tune "$(head -n 1 "$dir/list")" --arch sm_80 $limits
grep -q 'attn_fwd_simt bm=' "$dir/out" || bad "the other device did nothing: $(cat "$dir/out")"

# On a terminal: both devices in one line.
if command -v script >/dev/null; then
    export FAJIT_CACHE_DIR="$dir/screen.d"
    script -qec "stty cols 200; $tune tune @$dir/list $limits" "$dir/screen" >/dev/null 2>&1 </dev/null || bad "on a terminal: $(cat "$dir/screen")"
    grep -q '[0-5]/6, .* left | emu:0 .*best .* | emu:1 .*best' "$dir/screen" || bad "on a terminal: $(cat -v "$dir/screen")"
fi
exit $status
