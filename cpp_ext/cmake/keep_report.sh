#!/bin/sh
# Runs a compiler and keeps what ptxas reports (registers, spills, shared memory) beside the object; the rest is printed.
#   sh keep_report.sh OBJECT COMPILER ARGUMENTS...
set -u
report=$1.ptxas.txt
shift
"$@" 2>"$report.part"
status=$?
grep -v -e '^ptxas info' -e '^    [0-9]* bytes stack frame' "$report.part" >&2
if [ $status = 0 ]; then mv "$report.part" "$report"; else rm -f "$report.part"; fi
exit $status
