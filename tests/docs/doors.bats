#!/usr/bin/env bats
# scripts/check-doors finds what breaks the rules of ARCHITECTURE.md, and nothing else.
bats_require_minimum_version 1.5.0

top=$BATS_TEST_DIRNAME/../..

setup() {
  cd "$BATS_TEST_TMPDIR" || return
}

check_doors() {
  "$top/scripts/check-doors" house
}

# found FILE PATTERN LINE: as the only fault of a house whose FILE is that line, and behind it what is allowed
found() {
  rm -rf house
  mkdir -p "house/$(dirname "$1")"
  printf '%s\n' "$3" '#include "lib/base/error.h"' >"house/$1"
  run -1 check_doors
  [[ ${#lines[@]} == 1 && $output =~ ^$1:1:\ $2 ]] || {
    echo "$1: $3: $output"
    return 1
  }
}

@test "the sources as they are pass" {
  run -0 "$top/scripts/check-doors" "$top"
  [[ -z $output ]]
}

@test "a door that is closed" {
  found lib/base/x.cc 'lib/base may not include lib/x509' '#include "lib/x509/crl.h"'
  found lib/http/x.h 'lib/http may not include pkcs11' '#  include "pkcs11/pin.h"'
  found pkcs11/x.cc 'pkcs11 may not include lib/cmp' '#include "lib/cmp/client.h"'
  for room in factory-ca tool device-gateway; do
    for other in factory-ca tool device-gateway; do
      [[ $room == "$other" ]] || found "$room/x.cc" "$room may not include $other" "#include \"$other/home.h\""
    done
    found "$room/x.cc" "$room may not include tests" '#include "tests/judge.h"'
  done
}

@test "an include from nowhere, a file in no room, and no sources at all" {
  found tool/x.cc '"home.h" is not written from the top' '#include "home.h"'
  found tool/x.cc '"scripts/x.h" is in no room' '#include "scripts/x.h"'
  mkdir -p house/lib/new
  touch house/lib/new/x.cc
  run -1 check_doors
  [[ $output == *"lib/new/x.cc: is in no room"* ]]
  rm -r house
  run -1 check_doors
  [[ $output == "house: no sources" ]]
}

@test "angle brackets open no door" {
  found tool/x.cc '<factory-ca/home.h> is ours' '#include <factory-ca/home.h>'
  found lib/base/x.cc '<lib/x509/crl.h> is ours' '#include <lib/x509/crl.h>'
}

@test "a foreign header outside of its room" {
  found tool/x.cc '<p11-kit/pkcs11.h> belongs to pkcs11' '#include <p11-kit/pkcs11.h>'
  found lib/x509/x.cc '<libp11.h> belongs to pkcs11' '#include <libp11.h>'
  found tool/home.cc '<soci/soci.h> belongs to lib/store' '#include <soci/soci.h>'
  found factory-ca/ledger.cc '<sqlite3.h> belongs to lib/store' '#include <sqlite3.h>'
  found tool/commands.cc '<CLI/CLI.hpp> belongs to lib/cli' '#include <CLI/CLI.hpp>'
  found device-gateway/x.h '<boost/beast.hpp> belongs to lib/http' '#include <boost/beast.hpp>'
  found factory-ca/x.cc '<toml\+\+/toml.h> belongs to lib/base' '#include <toml++/toml.h>'
}

@test "what no source does" {
  found tool/x.cc 'runs a shell' '  std::system("true");'
  found tool/x.cc 'runs a shell' '  FILE* pipe = popen("true", "r");'
  found tool/x.cc 'forks without exec' '  if (fork() == 0) return;'
  found tool/x.cc 'a PIN on a command line' '  arguments.push_back("--pin=" + pin);'
  found tool/x.cc 'pkcs11-spy logs the PIN' '  Module module("/usr/lib/pkcs11-spy.so");'
}
