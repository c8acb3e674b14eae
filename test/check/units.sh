#!/bin/sh
# units.sh: how exposed the system units leave the programs, by systemd's own measure: 2.0 or less of 10. Exit 77 where systemd cannot tell.
# The user's unit is not among them: the measure is of a unit of the system, and takes the user's manager for root's.
cd "$(dirname "$0")/../.." || exit 1
command -v systemd-analyze >/dev/null 2>&1 || exit 77
systemd-analyze security --help 2>/dev/null | grep -q -- --threshold || exit 77
for unit in packaging/systemd/mdm-tunnel-server.service packaging/systemd/mdm-tunnel-client@.service; do
  if said=$(systemd-analyze security --offline=yes --threshold=20 --no-pager "$unit" 2>&1); then
    echo "$said" | tail -n 1
  else
    echo "$said" | grep -v '✓'
    exit 1
  fi
done
