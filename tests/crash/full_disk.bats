#!/usr/bin/env bats
# A disk with no room left, for the token, the journal or the ledger: an exit code that says which end to look at, and
# once there is room again, one re-run finishes. Room ends by a limit on file sizes, so that nobody needs to be root.
load ../cli/factory
load crash
load fault

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory D-1
  make_token D-1
  export WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls
  # Without this the kernel kills who writes too much; a full disk only fails the write. Programs inherit it.
  trap '' XFSZ
}

# A CA that passes on every message and ends the station's room when the message NUMBER has come.
make_filling_ca() {
  cat >filling-ca <<EOF2
#!/usr/bin/env python3
import os, resource, subprocess, sys
def message(stream):
    head = stream.read(4)
    if not head:
        return head
    assert head[:2] == b'\x30\x82'
    return head + stream.read(head[2] << 8 | head[3])
ca = subprocess.Popen(['fleetroot-ca', 'respond', '--home', 'ca'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
number = 0
while request := message(sys.stdin.buffer):
    number += 1
    if number == $1:
        resource.prlimit(os.getppid(), resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    ca.stdin.write(request)
    ca.stdin.flush()
    sys.stdout.buffer.write(message(ca.stdout))
    sys.stdout.buffer.flush()
ca.stdin.close()
ca.wait()
EOF2
  chmod +x filling-ca
}

# without_room COMMAND…: pipes stay open, files stay as they are
without_room() (
  ulimit -S -f 0
  "$@"
)

# refused_without_room EXIT-CODE PATTERN COMMAND…: like refused, which keeps stderr in a file
refused_without_room() {
  local status=0
  "${@:3}" 2> >(cat >said) >/dev/null || status=$?
  wait $!
  [[ $status == "$1" ]] && grep ': error: ' said | grep -Eiq -- "$2" && grep -q ': hint: .' said && return
  echo "expected $1 and an error that matches '$2', got $status: $(<said)"
  return 1
}

finishes_with_room() {
  finishes D-1
  ledger_holds 1
}

@test "no room for the journal: 74, and the token is not touched" {
  refused_without_room 74 'journal|database' without_room provision D-1 D-1

  [[ $(objects_on D-1) == 0 ]]
  [[ $(certificates_in_ledger) == 0 ]]
  finishes_with_room
}

@test "no room to count a try of the PIN: 74, and no PIN is sent" {
  echo wrong-pin >D-1/pin
  witnessed=(fleetroot-station provision --home st --order PO-1 --device-id D-1
    --token "pkcs11:token=D-1?module-path=$FLEETROOT_WITNESS&pin-source=file:D-1/pin")
  run -77 on_token D-1 "${witnessed[@]}"
  for _ in 1 2 3 4; do
    plan_fault any pwrite64 half-full 1 journal.db-wal
    refused 74 'journal|database' on_token D-1 under_fault "${witnessed[@]}"
    [[ -e plan.fired ]]
  done
  (($(grep -c C_Login calls) == 1))
}

@test "no room to note that the PIN of an own token is tried: 74, and it is not sent" {
  sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" ca/ca.toml
  echo wrong-pin >ca/issuing-ca.pin
  for _ in 1 2 3 4; do
    plan_fault any write half-full 1 wrong-pin
    refused 74 'ca/wrong-pin' under_fault fleetroot-ca config check --home ca
    [[ -e plan.fired ]]
  done
  run ! grep C_Login calls
}

@test "no room for the certificate on the token: 73" {
  make_filling_ca 1

  refused_without_room 73 'token' provision D-1 D-1 --ca "exec:$PWD/filling-ca"

  finishes_with_room
}

@test "no room for the journal's last line: 74" {
  make_filling_ca 2

  refused_without_room 74 'journal|database' provision D-1 D-1 --ca "exec:$PWD/filling-ca"

  finishes_with_room
}

@test "no room for the ledger: the CA says 74, the station 69 or 74, and there is no certificate" {
  for blocks in 0 1 4 8 16 32 48 64 96; do
    run --separate-stderr provision D-1 D-1 \
      --ca "exec:bash -c 'ulimit -S -f $blocks; exec fleetroot-ca respond --home ca'"
    [[ $status == 0 || $status == 74 || ($status == 69 && $stderr == *"exit code 74"*) ]] || {
      echo "$blocks: $status $stderr"
      return 1
    }
    ((status == 0)) || [[ $stderr == *": error: "*": hint: "* ]]
    ((blocks > 0)) || [[ $(certificates_in_ledger) == 0 ]]
    fleetroot-ca ledger verify --home ca
  done
  finishes_with_room
}
