#!/bin/sh
# A kernel of the user's own, end to end: the example on the emulated device, tuned once and from its
# record afterwards, and the tools on its template.
set -eu
. "$1/tests/expect.sh"
inspect=$build/tools/fajit-inspect tune=$build/tools/fajit-tune rmsnorm=$build/tests/rmsnorm
export FAJIT_EMU=a100

[ "$(wc -l <"$root/tests/example/rmsnorm.cu")" -lt 60 ] || bad 'the template has 60 lines or more'
[ "$(wc -l <"$root/tests/example/rmsnorm.c")" -lt 100 ] || bad 'its host has 100 lines or more'

# Fewer values to try, so that the search ends in time on a busy machine.
mkdir "$dir/t"
sed -e 's/^\(.*tune *lanes\) .*/\1 256 128/' -e 's/^\(.*tune *vec\) .*/\1 8 4/' \
    "$root/tests/example/rmsnorm.cu" >"$dir/rmsnorm.cu"
cp "$dir/rmsnorm.cu" "$dir/t"
export FAJIT_TEMPLATE_DIR="$dir/t"
kernel=kernel:rmsnorm,dtype=bf16,hidden=4096

# Nothing below the first line works without NVRTC.
expect 0 'constexpr int kThreads = 256;' "$inspect" render $kernel --arch sm_80
"$tune" warm $kernel --arch sm_80 >"$dir/out" 2>&1 || {
    grep -q -i nvrtc "$dir/out" && exit 77
    cat "$dir/out"
    exit 1
}

# The library times, the example launches and judges, once a worker has seen a candidate through;
# then the record is followed, without NVRTC.
expect 0 'is right' env FAJIT_DEVICE=emu FAJIT_TUNE_WORKER="$tune" "$rmsnorm" 8
cp "$dir/out" "$dir/tuned"
grep -q ' kernel:rmsnorm,dtype=bf16,hidden=4096,sizes=8 rmsnorm user lanes=.* best ' \
    "$FAJIT_CACHE_DIR/tuning.txt" || bad "no record: $(cat "$FAJIT_CACHE_DIR/tuning.txt")"
expect 0 'is right' env FAJIT_DEVICE=emu FAJIT_NVRTC=/nowhere "$rmsnorm" 8
cmp -s "$dir/out" "$dir/tuned" || bad "not from its record: $(cat "$dir/tuned" "$dir/out")"
expect 0 'because  bucket: tuned record' "$tune" why $kernel,sizes=7 --device emu
expect 0 'because  heuristic' "$tune" why kernel:rmsnorm,dtype=f32,hidden=4096 --device emu

# Entries and records travel in a pack.
expect 0 'entries' "$tune" pack "$dir/all.fjpack"
expect 0 'is right' env FAJIT_DEVICE=emu FAJIT_CACHE_DIR="$dir/cold" FAJIT_PACK_PATH="$dir" \
    FAJIT_NVRTC=/nowhere "$rmsnorm" 8
cmp -s "$dir/out" "$dir/tuned" || bad "not from the pack: $(cat "$dir/tuned" "$dir/out")"

# A template that computes something else is found wrong.
sed 's/rsqrtf(sum/rsqrtf(2 * sum/' "$dir/rmsnorm.cu" >"$dir/t/rmsnorm.cu"
expect 1 'judged wrong: (0, 0) is' env FAJIT_DEVICE=emu "$rmsnorm" 8
cp "$dir/rmsnorm.cu" "$dir/t"

# The tools.
expect 0 'visible .entry rmsnorm_bf16_hidden4096__' "$inspect" ptx $kernel --arch sm_80
expect 0 'lanes=256,vec=8,rows=1 (heuristic' "$inspect" info $kernel --arch sm_80
expect 0 '^configuration vec=8' "$inspect" info $kernel,rows=2 --arch sm_80 --config lanes=64
expect 0 'disk cache' "$tune" warm $kernel --arch sm_80
expect 0 'rmsnorm_bf16_hidden4096__rows1_lanes256_vec8' "$tune" list
key=$("$tune" list | sed -n 's/ .*__rows1_lanes256_vec8$//p' | head -n 1)
expect 0 'Rendered from rmsnorm.cu' "$tune" show "$key" --source
FAJIT_RECORD="$dir/trace" "$tune" warm $kernel,vec=4 --arch sm_80 >/dev/null
expect 0 '^kernel:rmsnorm,dtype=bf16,hidden=4096,vec=4$' cat "$dir/trace"
expect 0 'disk cache' "$tune" warm "@$dir/trace" --arch sm_80
unset FAJIT_TEMPLATE_DIR
expect 1 'no template rmsnorm.cu' "$inspect" render $kernel --arch sm_80
expect 0 'kLanes' "$inspect" render $kernel --arch sm_80 --templates "$dir/t"

# What is refused.
try() {
    expect 1 "$2" "$inspect" info "$1" --arch sm_80 --templates "$dir/t"
}
try kernel:rmsnorm,dtype=bf16,hiden=4096 'the nearest is "hidden"'
try kernel:rmsnorm,dtype=bf16 'rmsnorm.cu:2: parameter hidden was not given'
try kernel:rmsnorm,dtype=bf16,hidden=100 'rmsnorm.cu:11: the template requires'
try kernel:../rmsnorm,dtype=bf16,hidden=4096 'is not a template name'
try kernel:rmsnorm2,dtype=bf16 'no template rmsnorm2.cu'
expect 1 'who alone knows how to launch it' "$tune" tune $kernel --device emu
expect 1 'who alone knows how to launch it' "$inspect" trace $kernel

exit $status
