#!/bin/sh
# Every test that docs/security.md names (`file: test`) exists. 
set -eu
cd "$(dirname "$0")/../.."
missing=0
named=$(grep -oE '`[a-z_]+\.(c|py): [a-z0-9_]+`' docs/security.md | tr -d '`' | sort -u)
[ -n "$named" ] || { echo "docs/security.md names no test"; exit 1; }
while IFS= read -r line; do
  file=${line%%: *}
  name=${line#*: }
  if ! find test -name "$file" -exec grep -lE "(def |void |static void )?\b$name\b" {} + | grep -q .; then
    echo "docs/security.md: no test \"$name\" in $file"
    missing=1
  fi
done <<EOF
$named
EOF
exit "$missing"
