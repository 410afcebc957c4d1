#!/usr/bin/env bats
# scripts/demo: 25 devices, judged by programs that are not Fleetroot's.
bats_require_minimum_version 1.5.0

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  export SOFTHSM2_CONF=/nonexistent/softhsm2.conf
}

demo() {
  "$BATS_TEST_DIRNAME/../../scripts/demo" --programs "$(dirname "$(command -v fleetroot-ca)")" "$@"
}

# all_is_well DIRECTORY: what the demo has printed says so, and names where it was
all_is_well() {
  [[ $(grep -cE '^1FLEET[0-9]{10}  pass  [0-9]+ ms$' <<<"$output") == 25 ]]
  grep -qE '^provisioned +25 devices in ' <<<"$output"
  [[ $(grep -cE '^  step [0-9]+ .* ms \(median\)$' <<<"$output") == 10 ]]
  grep -qE '^judged +153 times by .*: 0 complaints$' <<<"$output"
  grep -qx "All of it is in $1. To look further:" <<<"$output"
  [[ $(find "$1/certificates" -name '*.pem' | wc -l) == 25 ]]
}

@test "25 devices and 0 complaints; again in the same directory; and what it suggests works" {
  run -0 demo "a place"
  all_is_well "$PWD/a place"
  find "a place" -type f -exec sha256sum {} + >before

  run -0 demo "a place"

  all_is_well "$PWD/a place-2"
  sha256sum --quiet --check before
  sed '1,/To look further:$/d' <<<"$output" >suggested
  run -0 bash -euo pipefail suggested
  [[ $output == *1FLEET0000000001*PASS\ 1FLEET0000000001* ]]
}

@test "a judge's complaint fails it, and is named" {
  mkdir judges
  printf '%s\n' '#!/bin/sh' 'exec /usr/bin/p11tool --version' >judges/p11tool
  chmod +x judges/p11tool

  PATH=$PWD/judges:$PATH run -1 demo place

  [[ $output == *"153 times by "*": 25 complaints"*"  GnuTLS: the private key of 1FLEET0000000025"* ]]
  [[ $output == *"demo: error: 25 of 153 judgements went against Fleetroot"*"demo: hint: "* ]]
}

@test "what cannot be understood: 64 and a hint" {
  for wrong in --nonsense 'one two' '--programs nowhere'; do
    # shellcheck disable=SC2086 # words
    run -64 demo $wrong
    [[ $output == *"demo: error: "*"demo: hint: "* ]]
  done
}
