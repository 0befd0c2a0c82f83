#!/bin/sh
# Who may include whom. Every #include "folder/.." of a layer must be in its list.
set -eu
cd "$1"

# folder: the folders whose headers its files may include
rules='
src/base: base
src/codegen: base codegen
src/cuda: base cuda
src/emu: base emu cuda/abi.h cuda/loader.h cuda/symbols.def
src/ref: base ref
src/cache: base cache
src/kernels: base codegen kernels
src/jit*: base codegen cuda cache kernels jit
autotune: base codegen cuda emu ref cache kernels jit autotune
tools:
'

check_file() { # file, allowed..
    file=$1
    shift
    sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file" | while read -r header; do
        case $(dirname "$file"):$header in
        *:*/* | src:*) ;; # in src/ itself lie the upper layers: their headers are named below
        *) [ -e "$(dirname "$file")/$header" ] && continue ;;
        esac
        for allowed in "$@"; do
            case $header in
            "$allowed" | "$allowed"/* | "$allowed".h | "$allowed"_*.h) continue 2 ;;
            esac
        done
        echo "$file: includes $header, which its layer must not know"
    done
}

bad=$(echo "$rules" | while IFS=: read -r folder allowed; do
    [ -n "$folder" ] || continue
    if [ -d "$folder" ]; then
        files=$(find "$folder" -name '*.[ch]' -o -name '*.def')
    else
        # shellcheck disable=SC2086 # a pattern
        files=$(ls $folder.[ch])
    fi
    for file in $files; do
        # shellcheck disable=SC2086 # a list of words
        check_file "$file" $allowed
    done
done)

# A port to another system is the work of one folder.
system='fcntl|unistd|sys/[a-z]*|dirent|dlfcn|pthread|glob|time|signal|spawn|poll|sched|link|elf'
calls=$(grep -nE "^#include <($system)\.h>" -r src autotune include | grep -v '^src/base/' || true)
[ -z "$calls" ] || bad="$bad
$calls
(headers of the operating system belong in src/base)"

[ -z "$bad" ] || {
    echo "$bad"
    exit 1
}
