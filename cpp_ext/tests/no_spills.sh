#!/bin/sh
# Reads ptxas' reports beside the objects: how many kernels, their registers, and whether any spills.
#   sh no_spills.sh OBJECT...
set -eu
for object in "$@"; do
  [ -s "$object.ptxas.txt" ] || { echo "error: no report: $object.ptxas.txt. Compile again." >&2; exit 1; }
  cat "$object.ptxas.txt"
done | awk '
  /Compiling entry function/ { name = $0; sub(/.*function /, "", name); count++ }
  /spill stores/ && !/ 0 bytes spill stores, 0 bytes spill loads/ { spills++; print "spills: " name ": " $0 }
  / registers/ { used = $0; sub(/.*Used /, "", used); if (used + 0 > most) { most = used + 0; worst = name } }
  END {
    print count + 0 " compiled kernels, " spills + 0 " spill, at most " most + 0 " registers: " worst
    exit count == 0 || spills > 0
  }'
