#!/bin/sh
# Every file of templates/ is listed in templates/meson.build, or it would not be embedded.
set -eu
cd "$1/templates"
status=0
for file in $(find . -name '*.cu' -o -name '*.cuh' | sed 's|^\./||' | LC_ALL=C sort); do
    grep -qF "'$file'," meson.build || {
        echo "templates/$file is not listed in templates/meson.build"
        status=1
    }
done
exit $status
