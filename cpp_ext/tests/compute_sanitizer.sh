#!/bin/sh
# One of the GPU's test programs under one of compute-sanitizer's tools: memcheck (every access to memory) or racecheck
# (shared memory, which threads of a block share).
#   sh compute_sanitizer.sh memcheck|racecheck PROGRAM ARGUMENTS...
# COMPUTE_SANITIZER names compute-sanitizer, else it is the PATH's, or the one of CUDA's usual folder. Exit status 77, which
# ctest takes for skipped, with the reason, where it is absent or does not accept the device, and where there is no GPU.
set -u
tool=$1
shift
sanitizer=
for candidate in ${COMPUTE_SANITIZER:-compute-sanitizer /usr/local/cuda/bin/compute-sanitizer}; do
  if sanitizer=$(command -v "$candidate"); then break; fi
done
if [ -z "$sanitizer" ]; then
  echo "skipped: $tool: compute-sanitizer is not installed; CUDA's toolkit has it (the wheels of make cuda do not)"
  exit 77
fi
output=$("$sanitizer" --tool "$tool" --error-exitcode 99 "$@" 2>&1)
status=$?
echo "$output"
[ $status != 77 ] || exit 77
if echo "$output" | grep -qi -e 'device not supported' -e 'device is not supported'; then
  echo "skipped: $tool: compute-sanitizer does not accept this device"
  exit 77
fi
[ $status = 0 ] || exit $status
# A tool that does not fit the driver may end well without having run anything.
echo "$output" | grep -q ' checks, 0 failed$' || { echo "error: $tool: the program did not come to its end: $1." >&2; exit 1; }
echo "$tool: nothing found"
