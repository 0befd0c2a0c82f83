#!/bin/sh
# What every tool does alike: --help and --version to stdout with code 0; a mistake in the command
# line to stderr with code 2, and a hint of what is right.
set -eu
build=$2
version=$(sed -n "s/^ *version: '\([0-9.]*\)',/\1/p" "$1/meson.build" | head -n 1)
status=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset FAJIT_DEVICE FAJIT_CACHE FAJIT_CACHE_DIR FAJIT_LOG FAJIT_EMU

bad() {
    echo "$*"
    status=1
}

# wanted exit code, pattern in stdout, pattern in stderr ('' for silence), command..
expect() {
    want=$1 out=$2 err=$3
    shift 3
    code=0
    "$@" >"$dir/out" 2>"$dir/err" </dev/null || code=$?
    what="$(basename "$1") $(shift && echo "$*")"
    [ $code = "$want" ] || bad "$what: exit code $code, not $want"
    expect_text "$what" stdout "$out" "$dir/out"
    expect_text "$what" stderr "$err" "$dir/err"
}

expect_text() { # command, stream, pattern, file
    if [ -z "$3" ]; then
        [ ! -s "$4" ] || bad "$1: unexpected $2: $(head -n 1 "$4")"
    else
        grep -q -- "$3" "$4" || bad "$1: no '$3' in $2: $(head -n 1 "$4")"
    fi
}

for name in fajit-inspect fajit-tune fajit-bench; do
    tool=$build/tools/$name
    expect 0 "usage: $name" '' "$tool" --help
    expect 0 "usage: $name" '' "$tool" -h
    expect 0 "^$name $version\$" '' "$tool" --version
    expect 2 '' "usage: $name" "$tool"
    expect 2 '' "usage: $name" "$tool" --no-such-option
    expect 2 '' "unknown command 'nonsense'" "$tool" nonsense attn:f32,d64
    expect 2 '' "unknown command 'nonsense'" "$tool" nonsense
    case $name in
    fajit-inspect) without=render ;;
    fajit-tune) without=doctor ;;
    *) without=tour ;;
    esac
    expect 2 '' "$without has no --json" "$tool" $without attn:f32,d64 --json
done

inspect=$build/tools/fajit-inspect
expect 0 '__global__' '' "$inspect" render attn:f32,d64,kernel=simt --arch sm_80
expect 1 '' '"causl".*"causal"' "$inspect" render attn:f32,d64,causl --arch sm_80
expect 1 '' 'sm_1' "$inspect" render attn:f32,d64 --arch sm_1
expect 1 '' 'bq' "$inspect" render attn:f32,d64 --arch sm_80 --config bq=3
expect 1 '' 'neither an ordinal' "$inspect" info attn:f32,d64 --device emulator
expect 2 '' 'usage: fajit-inspect' "$inspect" render
expect 2 '' 'usage: fajit-inspect' "$inspect" render attn:f32,d64 attn:f16,d64 --arch sm_80
expect 1 '' "leaves 'b' open" "$inspect" trace attn:f32,d64
expect 2 '' 'no --json' "$inspect" trace attn:f32,b1,h1,q64,k64,d64 --json
expect 2 '' '--warp x is no number' "$inspect" trace attn:f32,b1,h1,q64,k64,d64 --warp x
expect 2 '' '--cta 1,2,3,4 is not' "$inspect" trace attn:f32,b1,h1,q64,k64,d64 --cta 1,2,3,4
expect 2 '' 'NAME.row,column' "$inspect" trace attn:f32,b1,h1,q64,k64,d64 --print 'S[3'

tune=$build/tools/fajit-tune
expect 0 'empty' '' "$tune" list --cache-dir "$dir/cache"
expect 0 "$dir/cache" '' "$tune" stats --cache-dir "$dir/cache"
expect 0 'fajit' '' "$tune" doctor --cache-dir "$dir/cache"
[ "$(grep -c 'the CUDA driver was not found' "$dir/out")" -le 1 ] || bad "doctor repeats itself"
expect 0 '^no context: .*nonsense' '' env FAJIT_DEVICE=nonsense "$tune" doctor --cache-dir "$dir/cache"
expect 0 '^device: none, compiling for compute capability 8.0' '' \
    "$tune" doctor --cache-dir "$dir/cache" --arch sm_80
expect 2 '' 'no problem given' "$tune" warm --arch sm_80

bench=$build/tools/fajit-bench
expect 1 '' "leaves 'b' open" "$bench" verify attn:f32,d64 --device emu
if "$tune" doctor | grep -q '^  in use: /'; then # executing a kernel takes NVRTC
    expect 0 'us .* of the CPU' '' "$bench" run attn:f32,b1,h1,q16,k16,d8 --device emu --repeats 2 \
        --cache-dir "$dir/cache"
    expect 0 '"ok":true' '' "$bench" verify attn:f32,b1,h1,q16,k16,d8 --device emu --json \
        --cache-dir "$dir/cache"
    expect 0 '^{"kernel":.*"registers":[1-9]' '' "$inspect" info attn:f32,d8 --arch sm_80 --json \
        --cache-dir "$dir/cache"
    expect 0 '"emulated":true' '' "$bench" run attn:f32,b1,h1,q16,k16,d8 --device emu --repeats 2 \
        --cache-dir "$dir/cache" --json
    ! grep -q tflops "$dir/out" || bad "the emulated device has TFLOP/s"
fi
expect 2 '' '--seed x is no number' "$bench" verify attn:f32,d64 --seed x
expect 2 '' '--repeats 0 is no number' "$bench" run attn:f32,d64 --repeats 0
expect 2 '' 'storage nowhere' "$bench" verify attn:f32,d64 --storage nowhere
expect 1 '' 'storage packed is for' "$bench" verify attn:f32,b1,h1,q16,k17,d8 --device emu \
    --storage packed
expect 2 '' 'usage: fajit-bench' "$bench" verify
exit $status
