#!/bin/sh
# What `meson install` leaves is what a user needs: header, libraries, pkg-config file, templates,
# tools. The example builds against it and, where there is an NVRTC, gives the right result.
# Exit code 77 where meson or pkg-config are missing.
set -eu
root=$1 build=$2
command -v meson >/dev/null && command -v pkg-config >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0

meson install -C "$build" --no-rebuild --destdir "$dir/stage" >"$dir/log" 2>&1 || {
    cat "$dir/log"
    exit 1
}
prefix=$dir/stage$(meson introspect "$build" --buildoptions | tr '{' '\n' |
    sed -n 's/.*"name": "prefix", "value": "\([^"]*\)".*/\1/p')
pc=$(find "$prefix" -name fajit.pc)
lib=$(dirname "$(find "$prefix" -name libfajit.so)")

for file in "$prefix/include/fajit/fajit.h" "$lib/libfajit.so.0" "$lib/libfajit.a" "$pc" \
    "$prefix/bin/fajit-inspect" "$prefix/bin/fajit-tune" "$prefix/bin/fajit-bench" \
    "$prefix/share/fajit/templates/README.md"; do
    [ -e "$file" ] || {
        echo "not installed: $file"
        status=1
    }
done
(cd "$root/templates" && find . -name '*.cu' -o -name '*.cuh') | while read -r file; do
    cmp "$root/templates/$file" "$prefix/share/fajit/templates/$file" || exit 1
done || status=1
if find "$prefix" -name 'libfj_*' | grep .; then
    echo "internal libraries are installed"
    status=1
fi
[ $status = 0 ] || exit $status

# Who links libfajit.so needs no development package of what is inside it.
if grep '^Requires' "$pc"; then
    echo "fajit.pc wants other packages"
    exit 1
fi

export LD_LIBRARY_PATH="$lib"
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$dir/stage"
[ "$(pkg-config --modversion fajit)" = "$("$prefix/bin/fajit-inspect" --version | cut -d' ' -f2)" ]
# shellcheck disable=SC2046 # flags
${CC:-cc} -std=c11 -Wall -Wextra -Werror "$root/tests/example/attention.c" -o "$dir/attention" \
    $(pkg-config --cflags --libs fajit) -lm
# shellcheck disable=SC2046
${CC:-cc} -std=c11 "$root/tests/example/attention.c" -o "$dir/attention-static" \
    $(pkg-config --cflags fajit) "$lib/libfajit.a" \
    $(pkg-config --static --libs-only-l fajit | sed 's/-lfajit\b//') -lm

export FAJIT_DEVICE=emu FAJIT_CACHE_DIR="$dir/cache"
for program in attention attention-static; do
    code=0
    "$dir/$program" >"$dir/out" 2>&1 || code=$?
    cat "$dir/out"
    # Code 1 with this sentence: compiling is not possible here, all else was.
    if [ $code != 0 ] && ! grep -q 'libnvrtc not found' "$dir/out"; then exit 1; fi
done
