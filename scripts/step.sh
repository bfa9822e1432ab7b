#!/usr/bin/env bash
# Runs one step of the Makefile and says what it is and how long it took: step.sh TITLE COMMAND [ARGUMENT...]
set -u
title=$1
shift
printf '\n==> %s\n' "$title"
start=$(date +%s)
"$@"
code=$?
took=$(($(date +%s) - start))
if [ $code -eq 0 ]; then
  printf '==> %s: done in %s s\n' "$title" "$took"
else
  printf '==> %s: FAILED with exit code %s after %s s\n' "$title" "$code" "$took" >&2
fi
exit $code
