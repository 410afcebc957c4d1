#!/usr/bin/env bats
# What README.md and then docs/ tell people to type is typed here, in that order and in one directory: every ```sh block
# but those behind a line <!-- not by tests/docs/readme.bats: … -->, which says who runs them instead.
bats_require_minimum_version 1.5.0

top=$BATS_TEST_DIRNAME/../..
readme=$top/README.md

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  export SOFTHSM2_CONF=/nonexistent/softhsm2.conf
}

commands() {
  awk '
    /^<!-- not by tests\/docs\/readme.bats: ./ { passed_over = NR + 1 }
    /^```sh$/ { inside = NR != passed_over; if (inside) blocks++; next }
    /^```/ { inside = 0 }
    inside
    END { if (blocks < 12) exit 1 }' "$readme" "$top"/docs/*.md
}

@test "every command of README.md and docs/" {
  commands >commands.sh

  run -0 bash -euo pipefail -x commands.sh

  [[ $output == *"PASS 1FLEET0000000001"* ]]
  [[ $output == *"WAIT 1FLEET0000000002"*"PASS 1FLEET0000000002"* ]]
  [[ $output == *$'\nalready\n'* ]]
  [[ $output == *"device.pem: OK"* ]]
  [[ $output == *"commonName"*"1FLEET0000000001"* ]]
  [[ $output != *"broken at"* ]]
  openssl verify -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem some.pem
  [[ ! -e ca/root && -d safe ]]
}

@test "only scripts/demo and scripts/test are left to others" {
  others=$(awk '/^<!-- not by tests\/docs\/readme.bats: ./ { start = NR + 1 } NR == start { inside = 1; next }
    /^```/ { inside = 0 } inside { print $1 }' "$readme")

  [[ $others == $'scripts/demo\nscripts/test' ]]
}

@test "files that documents point to are there" {
  cd "$top"
  for document in *.md docs/*.md; do
    while read -r target; do
      [[ -e $(dirname "$document")/$target ]] || { echo "$document points to $target"; return 1; }
    done < <(grep -oE '\]\([^)#:]+' "$document" | cut -c3-)
  done
}

# What factory-ca writes down: ca.created, and {}.revoked where the kind of certificate is filled in.
logged_events() {
  sed -nE 's/, [A-Za-z_]*([Cc]lock|now)\b.*//; /log_?\.append\(/ s/.*\.append\(//p' "$top"/factory-ca/*.cc |
    grep -oE '"[a-z_{}.]+"' | tr -d '"{}' | grep '[a-z]'
}

@test "every event of the audit log is in docs/formats.md" {
  (($(logged_events | wc -l) > 18))
  while read -r event; do
    grep -q -- "\`[a-z.]*$event\`" <(sed -n '/^### Audit log/,/^## /p' "$top/docs/formats.md") || {
      echo "not there: $event"
      return 1
    }
  done < <(logged_events)
}
