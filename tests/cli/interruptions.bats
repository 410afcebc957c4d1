#!/usr/bin/env bats
# Whatever stops a run, one re-run finishes.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
  make_token dev-1
}

finishes_in_one_run() {
  run --separate-stderr -0 provision dev-1 DEV-1
  [[ $(objects_on dev-1 "Private Key") == 1 ]]
  [[ $(objects_on dev-1 "Public Key") == 1 ]]
  [[ $(objects_on dev-1 "Certificate") == 1 ]]
  [[ $(objects_on dev-1) == 3 ]]
  [[ $(certificates_in_ledger) == 1 ]]
}

# A CA that takes a request and never answers; the station is interrupted as soon as the request is there.
silent_ca() {
  mkfifo request-is-there
  cat >silent-ca <<'EOF'
#!/usr/bin/env bash
head -c 1 >/dev/null
echo arrived >request-is-there
cat >/dev/null # not by exec: the answer's pipe stays open
EOF
  chmod +x silent-ca
}

interrupt_with() {
  silent_ca
  SOFTHSM2_CONF=$PWD/dev-1/softhsm2.conf setsid fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)" --ca "exec:$PWD/silent-ca" 3>&- &
  local station=$!
  read -r _ <request-is-there
  kill "-$1" "$station"
  wait "$station" || status=$?
  ((status != 0))
}

@test "Ctrl-C while the CA is silent" {
  # A shell makes background jobs ignore SIGINT; a terminal does not.
  silent_ca
  python3 - "$(token_uri dev-1)" <<'EOF'
import os, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
station = subprocess.Popen(['fleetroot-station', 'provision', '--home', 'st', '--order', 'PO-1', '--device-id', 'DEV-1',
                            '--token', sys.argv[1], '--ca', f'exec:{os.getcwd()}/silent-ca'],
                           env={**os.environ, 'SOFTHSM2_CONF': os.getcwd() + '/dev-1/softhsm2.conf'}, process_group=0
                           ) if sys.version_info >= (3, 11) else None
open('request-is-there').readline()
os.killpg(station.pid, signal.SIGINT)
sys.exit(0 if station.wait() != 0 else 1)
EOF
  finishes_in_one_run
}

@test "SIGTERM while the CA is silent" {
  interrupt_with TERM
  finishes_in_one_run
}

@test "kill -9 while the CA is silent" {
  interrupt_with KILL
  finishes_in_one_run
}

@test "a terminal that goes away" {
  interrupt_with HUP
  finishes_in_one_run
}

@test "a CA that dies in the middle of its answer" {
  cat >broken-ca <<'EOF'
#!/usr/bin/env bash
fleetroot-ca respond --home ca | head -c 100
EOF
  chmod +x broken-ca
  sed -i 's/^ca_timeout_seconds = .*/ca_timeout_seconds = 2/' st/station.toml

  run --separate-stderr provision dev-1 DEV-1 --ca "exec:$PWD/broken-ca"
  [[ $status == 69 || $status == 76 ]]
  [[ $stderr == *": error: "*": hint: "* ]]

  finishes_in_one_run
}

@test "a CA whose certificate arrives and whose confirmation does not" {
  half_confirm

  run --separate-stderr -69 provision dev-1 DEV-1 --ca "$half"
  [[ $stderr == *": error: "*": hint: "* ]]

  finishes_in_one_run
}

@test "a CA that talks nonsense: 76" {
  refused 76 '.' provision dev-1 DEV-1 --ca 'exec:/bin/echo hello'
  refused 76 '.' provision dev-1 DEV-1 --ca 'exec:/bin/cat'
  finishes_in_one_run
}

@test "a CA that is not ours, with the same name" {
  mkdir elsewhere
  (cd elsewhere && make_ca && make_order PO-1 DEV-1 &&
    fleetroot-ca station enroll --home ca --name st-01 --request ../st/station.csr --out st-01.pem)

  run --separate-stderr ! provision dev-1 DEV-1 --ca "exec:fleetroot-ca respond --home elsewhere/ca"
  [[ $stderr == *": error: "*": hint: "* ]]

  finishes_in_one_run
}

@test "files that may not grow, as on a full disk: an error, and the next run finishes" {
  for blocks in 0 1 4 16 48; do
    # through a pipe, because the file that bats keeps stderr in may not grow either
    run --separate-stderr bash -o pipefail -c '{ ulimit -f '$blocks'; cd "$0" &&
      SOFTHSM2_CONF=$PWD/dev-1/softhsm2.conf fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --token "$1"; } 2>&1 >/dev/null |
      cat >&2' "$PWD" "$(token_uri dev-1)"
    ((status == 0)) || [[ $stderr == *": error: "*": hint: "* ]] || { echo "$blocks: $status $stderr"; return 1; }
    ((status != 70))
  done
  finishes_in_one_run
}
