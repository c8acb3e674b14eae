#!/bin/sh
# includes.sh: client/ and mux/ include headers of the C standard and of the project; headers of the system and POSIX stand
# in platform files only, so that a port to another system touches nothing else. uv.h and the libraries' own are fine in client/.
cd "$(dirname "$0")/../.." || exit 1
standard='assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|tgmath|threads|time|uchar|wchar|wctype'
# strings.h is POSIX, but is where every system of interest keeps strcasecmp.
libraries='uv|sodium|cjson/cJSON|strings'
bad=$(grep -nE '^ *# *include *<' $(git ls-files 'client/*.[ch]' 'mux/*.[ch]' 2>/dev/null || find client mux -name '*.[ch]') |
  grep -vE '^[^:]*/platform[^/:]*:' |
  grep -vE "<($standard)\.h>|<($libraries)\.h>|<mdm/[a-z_]*\.h>|<openssl/[a-z]*\.h>")
if [ -n "$bad" ]; then
  echo "System headers outside platform files:"
  echo "$bad"
  exit 1
fi
grep -lE '^ *# *include *<(uv|sodium|cjson/cJSON|openssl/[a-z]*)\.h>' $(git ls-files 'mux/*.[ch]' 2>/dev/null || find mux -name '*.[ch]') && {
  echo "mux/ uses the C library only"
  exit 1
}
exit 0
