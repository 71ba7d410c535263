#!/usr/bin/env bash
# Run alone, once more, the tests that failed beside others; fails if any of them fails again.
#
#   again.sh STATUS PYTHON    the status that pytest ended with, and the Python that has it
set -euo pipefail

most=10 # that may be a busy machine's doing; more are not

[ "$1" -eq 1 ] || exit "$1" # interrupted, or pytest itself failed
failed="$("$2" -m pytest --collect-only --quiet --last-failed --last-failed-no-failures none 2>/dev/null |
  grep -c '::')" || exit 1
if [ "$failed" -gt "$most" ]; then
  echo "$failed tests failed, which is too many to be the machine's doing." >&2
  exit 1
fi
echo "What failed beside others ($failed, named above) runs again alone." >&2
"$2" -m pytest --last-failed --last-failed-no-failures none
