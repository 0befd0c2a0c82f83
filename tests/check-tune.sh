#!/bin/sh
# fajit-tune from end to end on the emulated device: search, records, packs, traces, bad input.
set -eu
. "$1/tests/expect.sh"
tune=$build/tools/fajit-tune
export FAJIT_EMU=a100

# Nothing below works without NVRTC.
"$tune" warm attn:f32,d32,kernel=simt --arch sm_80 >"$dir/out" 2>&1 || {
    grep -q -i nvrtc "$dir/out" && exit 77
    cat "$dir/out"
    exit 1
}

problem=attn:f32,b1,h1,q32,k32,d32,kernel=simt
limits='--device emu --candidates 4 --budget 60'
# shellcheck disable=SC2086 # a list of words
expect 0 'attn_fwd_simt bm=' "$tune" tune $problem $limits
expect 0 'recorded before' "$tune" tune $problem --device emu
expect 0 'candidates timed' "$tune" tune $problem --device emu --candidates 2 --force --no-worker
expect 0 'because  exact: tuned record' "$tune" why $problem --device emu
expect 0 'because  bucket: tuned record' "$tune" why attn:f32,b1,h1,q31,k30,d32,kernel=simt --device emu
expect 0 'because  heuristic' env FAJIT_TUNE=off "$tune" why $problem --device emu
expect 1 "'k' open" "$tune" tune attn:f32,b1,h1,q32,d32 --device emu
expect 2 'llama3-8b' "$tune" warm --preset llama3-9b --arch sm_80
for preset in $(sed -n 's/^  \([a-z][a-z0-9.-]*\)  .*config.json.*/\1/p' "$dir/out"); do
    expect 0 'because' "$tune" why --preset "$preset" --arch sm_75
    expect 0 'because' "$tune" why --preset "$preset" --arch sm_90
done
expect 2 'no problem given' "$tune" warm --arch sm_80

# The picture of a search holds every candidate that is recorded, whoever draws it.
"$tune" why $problem --device emu >"$dir/why"
candidates=$(grep -c '^  exact ' "$dir/why")
[ "$candidates" -ge 4 ] || bad "only $candidates candidates of a search are told: $(cat "$dir/why")"
expect 0 "^$candidates candidates in" "$tune" plot $problem --device emu -o "$dir/search.gp"
if command -v gnuplot >/dev/null; then
    expect 0 "^$candidates candidates in" "$tune" plot $problem --device emu -o "$dir/search.svg"
else
    expect 1 'gnuplot, which draws.*Install it' "$tune" plot $problem --device emu -o "$dir/search.svg"
    cp "$dir/search.gp" "$dir/search.svg"
fi
sed -n 's/^  exact .* \(bm=[^ ]*\) .*/\1/p' "$dir/why" | while read -r config; do
    grep -q -- "$config" "$dir/search.svg" || echo "$config"
done >"$dir/missing"
[ ! -s "$dir/missing" ] || bad "not in the picture: $(cat "$dir/missing")"
expect 1 'gnuplot, which draws.*Install it' env PATH=/nowhere "$tune" plot $problem --device emu -o "$dir/no.svg"
[ ! -e "$dir/no.svg" ] || bad 'a picture was left behind that nobody drew'
expect 1 'no search of' "$tune" plot attn:f32,b1,h1,q32,k1024,d64 --device emu
expect 2 'one problem' "$tune" plot --device emu
expect 2 'FILE.svg' "$tune" plot $problem --device emu -o "$dir/search.png"

# What is wrong where no reference was computed is found beside the first right output: a template
# whose tiles of 32 keys leave one head of eight to chance, which is none of the sampled ones.
mkdir "$dir/templates"
sed 's/out.o = o_data + batch \* o_strides.batch + head \*/out.o = o_data + batch * o_strides.batch + (kBlockN == 32 \&\& head == 1 ? 3 : head) */' \
    "$1/templates/attn_fwd_simt.cu" >"$dir/templates/attn_fwd_simt.cu"
cmp -s "$1/templates/attn_fwd_simt.cu" "$dir/templates/attn_fwd_simt.cu" && bad 'the template was not changed'
wrong=attn:f32,b1,h8,q32,k32,d32,kernel=simt
export FAJIT_TEMPLATE_DIR="$dir/templates"
# shellcheck disable=SC2086
expect 0 'attn_fwd_simt bm=' "$tune" tune $wrong --device emu --candidates 6
expect 0 'exact *wrong .*bn=32' "$tune" why $wrong --device emu
! grep -q 'exact *timed .*bn=32' "$dir/out" || bad "a wrong configuration is served: $(cat "$dir/out")"
grep -q 'exact *timed ' "$dir/out" || bad "no configuration is right: $(cat "$dir/out")"
unset FAJIT_TEMPLATE_DIR

# GPUs that nobody measured get what their tables say, and it spills nothing.
arch_default() { # arch, words, configuration
    expect 0 'because  arch:' "$tune" why "attn:f16,$2,kernel=mma" --arch "$1"
    grep -q "config   $3" "$dir/out" || bad "$1 $2: no $3 in: $(cat "$dir/out")"
    expect 0 '__bm' "$tune" warm "attn:f16,$2,kernel=mma" --arch "$1"
    name=$(sed -n 's/.* ms  \([^ ]*\) .*/\1/p' "$dir/out")
    key=$("$tune" list | sed -n "s/^\([^ ]*\) .* $name\$/\1/p" | head -n 1)
    expect 0 'spills 0 bytes' "$tune" show "$key"
}
arch_default sm_75 d128 'bm=128,bn=32'
arch_default sm_75 d96,causal,seqlens,lse 'bm=128,bn=64'
arch_default sm_89 d96,causal 'bm=64,bn=64'
arch_default sm_120 d88,align=4 'bm=64,bn=64'
expect 0 'because  heuristic' "$tune" why attn:f16,d64,kernel=mma --arch sm_75
expect 0 'because  heuristic' "$tune" why attn:f16,q16,k4096,d128,kernel=mma --arch sm_75

# For machines: an object per line as soon as a problem is done; one document of all other commands.
json() { # command..
    "$@" >"$dir/out" 2>"$dir/err" </dev/null || bad "$*: $(cat "$dir/err")"
    python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$dir/out" || bad "$*: no JSON: $(cat "$dir/out")"
}
"$tune" tune $problem attn:f32,b1,h1,q32,k40,d32,kernel=simt --device emu --candidates 2 --json >"$dir/lines" 2>/dev/null
[ "$(wc -l <"$dir/lines")" = 2 ] || bad "not one line per problem: $(cat "$dir/lines")"
while read -r line; do
    json echo "$line"
    grep -q '"median_us":[0-9.]*,.*"finished":true' "$dir/out" || bad "an incomplete result: $line"
done <"$dir/lines"
json "$tune" why $problem --device emu --json
json "$tune" warm attn:f32,d32,kernel=simt --arch sm_80 --json
json "$tune" list --json
json "$tune" stats --json
FAJIT_CACHE_DIR="$dir/unused" expect 0 '^records    0 of tuning, and [1-9]' "$tune" stats

# On a terminal: what is running, the best so far, the time left. Elsewhere: plain lines.
expect 0 'attn_fwd_simt bm=' "$tune" tune attn:f32,b1,h1,q32,k48,d32,kernel=simt --device emu --candidates 2
grep -q 'screen: 0 of 2 timed' "$dir/out" || bad "no plain lines of progress: $(cat "$dir/out")"
! grep -q "$(printf '\r')" "$dir/out" || bad 'a bar was drawn where nobody watches'
if command -v script >/dev/null; then
    command="$tune tune attn:f32,b1,h1,q32,k64,d32,kernel=simt --device emu --candidates 2"
    script -qec "$command" "$dir/screen" >/dev/null 2>&1 </dev/null || bad "on a terminal: $(cat "$dir/screen")"
    for word in '\[[#.]*\] 0/1, .* left: ' 'best [0-9.]* us, now simt/'; do
        grep -q -- "$word" "$dir/screen" || bad "no '$word' on a terminal: $(cat -v "$dir/screen")"
    done
fi

# Two tuners on one directory.
"$tune" tune attn:f32,b1,h1,q16,k32,d32,kernel=simt --device emu --candidates 2 >"$dir/a" 2>&1 &
first=$!
expect 0 'bm=' "$tune" tune attn:f32,b1,h1,q32,k16,d32,kernel=simt --device emu --candidates 2
wait $first || bad "the other tuner failed: $(cat "$dir/a")"

# Records: damage is named by line, the rest is used.
cp "$FAJIT_CACHE_DIR/tuning.txt" "$dir/one.txt"
sed '2s/attn/attm/' "$dir/one.txt" >"$dir/two.txt"
expect 1 'two.txt:2: the checksum' "$tune" merge "$dir/one.txt" "$dir/two.txt" -o "$dir/all.txt"
expect 0 'voted' "$tune" merge "$dir/all.txt" "$dir/one.txt" --vote -o "$dir/all.txt"
cmp -s "$dir/all.txt" "$dir/two.txt" && bad 'merge copied a damaged file'
echo nonsense >"$dir/foreign.txt"
expect 1 'foreign.txt:1: not a tuning record' "$tune" merge "$dir/foreign.txt" -o "$dir/none.txt"
[ ! -e "$dir/none.txt" ] || bad 'merge of nothing wrote a file'

# Traces and problem files.
printf '# a comment\nattn:f32,d32,kernel=simt\nattn:f32,d33\n' >"$dir/list"
expect 1 'list:3: ' "$tune" warm "@$dir/list" --arch sm_80
printf '%3000s\nattn:f32,d33\n' '' | tr ' ' x >"$dir/list"
expect 1 'list:2: ' "$tune" warm "@$dir/list" --arch sm_80
FAJIT_RECORD="$dir/trace" "$tune" warm attn:f32,d40,kernel=simt --arch sm_80 >/dev/null
expect 0 'disk cache' "$tune" warm "@$dir/trace" --arch sm_80

# Packs: a cold directory with a pack compiles nothing.
expect 0 'entries' "$tune" pack "$dir/all.fjpack"
expect 0 'entries' "$tune" verify "$dir/all.fjpack"
FAJIT_CACHE_DIR="$dir/cold" FAJIT_PACK_PATH="$dir" FAJIT_NO_COMPILE=1 \
    expect 0 '^pack ' "$tune" warm attn:f32,d40,kernel=simt --arch sm_80
FAJIT_CACHE_DIR="$dir/new" expect 0 'entries' "$tune" unpack "$dir/all.fjpack"
FAJIT_CACHE_DIR="$dir/new" expect 0 'attn_fwd_simt' "$tune" list
head -c 3000 "$dir/all.fjpack" >"$dir/cut.fjpack"
expect 1 'not as long as it says' "$tune" verify "$dir/cut.fjpack"

# Entries.
key=$("$tune" list | sed -n '1s/ .*//p')
other=$("$tune" list | sed -n '2s/ .*//p')
expect 0 'registers' "$tune" show "$key"
expect 0 '^config  *bm' "$tune" show "$key" --config
expect 0 '^config  *bm' "$tune" show --config "$key"
ptx=$("$tune" list | sed -n '/ compute_/s/ .*//p' | head -n 1)
expect 0 '^\.version' "$tune" show "$ptx" --ptx
expect 1 'holds PTX' "$tune" show "$ptx" --sass
expect 0 'registers' "$tune" show "$("$tune" list | sed -n '/ sm_80 /s/ .*//p' | head -n 1)" --log
expect 0 '__global__' "$tune" show "$key" --source
expect 0 'source     line' "$tune" why-key "$key" "$other"
expect 1 'no entry begins' "$tune" show 0123456789

# PTX of an entry that holds a cubin: that which is shown of its problem, to the byte.
same_ptx() { # what to warm and inspect, options of both..
    what=$1
    shift
    expect 0 '__\|compiled' "$tune" warm "$what" "$@"
    name=$(sed -n 's/.* ms  \([^ ]*\) .*/\1/p' "$dir/out")
    key=$("$tune" list | sed -n "s/^\([^ ]*\) .* $name\$/\1/p" | head -n 1)
    "$tune" show "$key" --ptx >"$dir/shown" || bad "no PTX of $what"
    "$build/tools/fajit-inspect" ptx "$what" "$@" >"$dir/inspected"
    cmp "$dir/shown" "$dir/inspected" || bad "the PTX of $what is another than fajit-inspect's"
    grep -q '^\.version' "$dir/shown" || bad "no PTX of $what"
}
same_ptx attn:f16,d64,causal --arch sm_90
same_ptx attn:f16,d72,kernel=mma --arch sm_120
same_ptx kernel:rmsnorm,dtype=bf16,hidden=4096 --templates "$1/tests/example" --arch sm_80
expect 1 'libnvrtc' env FAJIT_NVRTC=/nowhere "$tune" show "$key" --ptx
damaged=$(find "$FAJIT_CACHE_DIR" -name '*.fjc' | head -n 1)
printf 'x' | dd of="$damaged" bs=1 seek=5000 conv=notrunc 2>/dev/null
expect 1 'is damaged' "$tune" show "$(basename "$damaged" .fjc)" --source
expect 0 'freed' "$tune" gc --max-size 1K
for command in list stats gc clear doctor; do
    expect 2 "$command takes no argument: $key" "$tune" $command "$key"
done
expect 2 'not a whole number' "$tune" warm $problem --jobs 0.5 --arch sm_80
expect 2 'not a number above 0' "$tune" tune $problem --silence 0 --device emu
expect 0 'recorded before' "$tune" tune $problem --silence 99999999 --device emu

# What is wrong with the machine is said once.
for nvrtc in "" /nowhere; do
    expect 0 '^NVRTC' env FAJIT_NVRTC=$nvrtc CUDA_VISIBLE_DEVICES= "$tune" doctor
    sort "$dir/out" | uniq -d >"$dir/twice"
    [ ! -s "$dir/twice" ] || bad "doctor says twice: $(cat "$dir/twice")"
    [ "$(grep -c 'driver was not found\|sees no GPU' "$dir/out")" -le 1 ] || bad "doctor says twice: $(cat "$dir/out")"
done
expect 0 'freed' "$tune" clear
expect 0 'empty' "$tune" list
exit $status
