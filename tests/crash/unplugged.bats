#!/usr/bin/env bats
# A token that goes away while its device is on the bay: 75, try again; and once it is back, one run finishes.
load ../cli/factory
load crash
load ../cli/gateway

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory D-1
  make_token D-1
}

# A CA that does something first, as soon as the request is there.
make_ca_that() {
  cat >"$2" <<EOF2
#!/usr/bin/env python3
import os, subprocess
first = os.read(0, 1)
subprocess.run(['bash', '-c', r'''$1'''], check=True)
ca = subprocess.Popen(['fleetroot-ca', 'respond', '--home', 'ca'], stdin=subprocess.PIPE)
ca.stdin.write(first)
ca.stdin.flush()
while part := os.read(0, 65536):
    ca.stdin.write(part)
    ca.stdin.flush()
ca.stdin.close()
ca.wait()
EOF2
  chmod +x "$2"
}

@test "the token's directory is moved away while the CA works: 75" {
  make_ca_that 'mv D-1/tokens D-1/elsewhere' moving-ca

  refused 75 'token' provision D-1 D-1 --ca "exec:$PWD/moving-ca"
  mv D-1/elsewhere D-1/tokens
  finishes D-1
  ledger_holds 1
}

@test "another token is put in its place while the CA works" {
  make_token other
  make_ca_that 'mv D-1/tokens D-1/elsewhere; cp -r other/tokens D-1/tokens' swapping-ca

  run --separate-stderr ! provision D-1 D-1 --ca "exec:$PWD/swapping-ca"
  [[ $stderr == *": error: "*": hint: "* ]]
  [[ $(find D-1/tokens -name '*.object' | wc -l) == 1 ]]

  rm -r D-1/tokens
  mv D-1/elsewhere D-1/tokens
  finishes D-1
  ledger_holds 1
}

@test "the gateway's token hangs: 75 after half a minute, and where it is started again, devices are let in" {
  make_token gateway
  export SOFTHSM2_CONF=$PWD/gateway/softhsm2.conf WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls WITNESS_HANG=$PWD/hang
  make_world --token "pkcs11:token=gateway?module-path=$FLEETROOT_WITNESS&pin-source=file:$PWD/gateway/pin"
  start_gateway
  touch hang
  run ! as dev production /whoami --max-time 1
  rm hang # what has begun stays as it is
  timeout 60 tail --pid="$gateway" --follow /dev/null
  status=0
  wait "$gateway" || status=$?
  [[ $status == 75 ]]
  [[ $(<gw.err) == 'fleetroot-gateway: error: the token has not answered for 30 seconds'$'\nfleetroot-gateway: hint: '* ]]
  start_gateway
  [[ $(as dev production /whoami | jq -r .standing) == joined ]]
}

@test "an object that a kill left without a single attribute is swept" {
  # SoftHSM makes the file first, with eight bytes that count its changes, and a lock beside it; what it says is written
  # at the end.
  wreck=$(dirname D-1/tokens/*/token.object)/11111111-2222-3333-4444-555555555555.object
  make_ca_that "touch ${wreck%.object}.lock; printf '\0\0\0\0\0\0\0\1' >$wreck; exit 1" wrecking-ca

  run --separate-stderr -69 provision D-1 D-1 --ca "exec:$PWD/wrecking-ca"
  [[ $(stat -c %s "$wreck") == 8 ]]

  finishes D-1
  [[ ! -e $wreck ]]
}
