#!/bin/sh
# check_includes.sh [DIRECTORY]: client/ and mux/ include system headers only in platform* files, so that they can be built elsewhere.
# Allowed everywhere: headers of ISO C, of libuv, cJSON and libsodium, and the project's own (in quotes, found in the tree).
set -eu
root=${1:-$(dirname "$0")/..}
cd "$root"
iso='assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype'
allowed=' uv.h sodium.h cjson/cJSON.h '
for header in $iso; do allowed="$allowed$header.h "; done
bad=$(
  find client mux -name '*.[ch]' ! -name 'platform*' | sort | while read -r file; do
    sed -n 's/^[ \t]*#[ \t]*include[ \t]*<\([^>]*\)>.*/\1/p' "$file" | while read -r header; do
      case $allowed in
        *" $header "*) ;;
        *) echo "$file: <$header>" ;;
      esac
    done
    sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$file" | while read -r header; do
      found=$(find client mux net -path "*/$header" | head -1)
      [ -n "$found" ] || echo "$file: \"$header\" is not a header of client/, mux/ or net/"
    done
  done
)
if [ -n "$bad" ]; then
  echo "system headers belong in platform* files:" >&2
  echo "$bad" >&2
  exit 1
fi
