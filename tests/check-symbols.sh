#!/bin/sh
# Global names: fajit_* in the shared library, fj_* or fajit_* in the static ones.
set -eu
build=$2
status=0

check() { # file, nm options, pattern of allowed names
    bad=$(nm $2 --defined-only "$1" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -vE "$3" |
        sort -u || true)
    [ -z "$bad" ] || {
        echo "$1 defines names that are not ours:"
        echo "$bad"
        status=1
    }
}

found=0
for library in "$build"/src/libfajit.so "$build"/src/*/libfj_*.a "$build"/src/libfj_*.a \
    "$build"/autotune/libfj_*.a; do
    [ -e "$library" ] || continue
    found=$((found + 1))
    case $library in
    # _init and _fini: some linkers export their own marks.
    *.so) check "$library" -D '^(fajit_|_init$|_fini$|_edata$|_end$|__bss_start$)' ;;
    *) check "$library" -g '^(fj_|fajit_|\.?L?ASAN|__odr_asan|__asan|__ubsan|__gcov|__sanitizer)' ;;
    esac
done
[ $found -ge 2 ] || {
    echo "no libraries in $build"
    exit 1
}
exit $status
