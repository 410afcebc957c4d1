#!/usr/bin/env bats
# Front, signer and station die at every call by which an exchange over HTTPS goes on, by CMP and by EST: whoever is left
# goes on, the retry gets the same certificate, and the order's count is exact.
load ../cli/factory
load ../cli/serve
load crash
load fault

teardown() {
  tell_moment
  end_what_is_left
}

# What an exchange is made of: talk, and what becomes durable.
exchange=read,recv,recvmsg,write,send,sendmsg,pwrite64,fdatasync

# serve_devices [est]: to a station that speaks CMP, which confirms what it has got, or EST, which cannot
serve_devices() {
  : >runs
  make_factory C-{1..99}
  used=0
  under=(env "LD_PRELOAD=$fault_module" "FLEETROOT_FAULT_PLAN=$PWD/plan")
  begin_serving "${@/#/--}"
  ca=$url confirmation=accepted
  [[ $* != est ]] || ca=est+$url confirmation=none
  next_device
  provision_it
}

next_device() {
  device=C-$((used += 1))
  make_token "$device" >>runs
}

provision_it() {
  provision "$device" "$device" --ca "$ca" >>runs 2>&1
}
# The station alone under its plan; the server has its own.
provision_under_plan() {
  case $1 in
    fleetroot-stati) under_fault provision_it ;;
    *) provision_it ;;
  esac
}

# count_moments PROCESS CALLS [WHERE]: in `calls`, those of them that it makes while a device is provisioned undisturbed
count_moments() {
  local pid
  next_device
  plan_fault "$1" "$2" kill 0 "${@:3}"
  provision_under_plan "$1"
  # The station's key process is another one of its name.
  pid=$(awk 'NR == 1 || /socket:/ { pid = $2 } /socket:/ { exit } END { print pid }' plan.calls)
  mapfile -t calls < <(awk -v pid="$pid" '$2 == pid { print $4, $5 }' plan.calls)
}

# One line a certificate, of any device.
certificates() {
  sqlite3 -readonly ca/ledger.db "SELECT certificate FROM certificates WHERE certificate <> '' ORDER BY 1"
}

# The device holds the only certificate that the ledger has for it, confirmed if it can be, and verify believes it; and the
# order counts every device once.
same_certificate() {
  local json confirmed=$used
  [[ $confirmation == accepted ]] || confirmed=0
  json=$(fleetroot-ca cert show --home ca --device-id "$device" --json)
  [[ $(jq -r .confirmation <<<"$json") == "$confirmation" ]]
  stranger "$device" --read-object --type cert --id 01 --output-file on-token.der 2>>runs
  jq -r .pem <<<"$json" | openssl x509 -outform DER | cmp - on-token.der
  [[ $(sqlite3 -readonly ca/ledger.db "SELECT count(*) FROM certificates WHERE subject = '$device'") == 1 ]]
  run -0 on_token "$device" fleetroot-station verify --home st --device-id "$device" --token "$(token_uri "$device")"
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq -c '[.used, .issued, .confirmed]') == \
    "[$used,$used,$confirmed]" ]]
}

# kill_at NUMBER PROCESS CALLS [WHERE]: while one more device is provisioned; notes in `hits` after how many of which calls
# it died, and in which
kill_at() {
  local status=0 told
  next_device
  moment="$device, $2 killed at call $1 of ${#calls[@]}"
  echo "== $moment" >>runs
  plan_fault "$2" "$3" kill "$1" "${@:4}"
  # The shell reports a killed child on stderr.
  { provision_under_plan "$2" || status=$?; } 2>>runs
  if [[ -e plan.fired ]]; then
    died_at "$1" >>hits
    case $2 in
      fleetroot-stati) ((status == 137)) ;;
      *) [[ $status == 0 || $status == 69 ]] ;;
    esac
  else
    ((status == 0))
    ((++missed))
    rm plan
  fi
  told=$(certificates)
  if ((status == 0)); then ((++unnoticed)); else provision_it; fi
  [[ -z $(comm -23 <(echo "$told") <(certificates)) ]]
  same_certificate
}

died_at() {
  awk -v number="$1" '
    $3 <= number { pid[++lines] = $2; call[lines] = $4; where[lines] = $5 }
    $3 == number { last = lines }
    END {
      for (i = 1; i < last; ++i) {
        if (pid[i] != pid[last]) continue
        synced += call[i] == "fdatasync"
        written += call[i] == "write" && where[i] ~ /^socket/
      }
      print synced + 0, written + 0, call[last], where[last] ~ /^socket/ ? where[last] : ""
    }' plan.calls | sed 's/ $//'
}

# kill_everywhere STEP PROCESS CALLS [WHERE]: at its first, and each STEP after it
kill_everywhere() {
  local number unnoticed=0
  missed=0
  : >hits
  count_moments "${@:2}"
  for ((number = 1; number <= ${#calls[@]}; number += $1)); do
    [[ $2 != fleetroot-stati || ${calls[*]:0:number} == *socket:* ]] || continue # the exchange has not begun
    kill_at "$number" "${@:2}"
  done
  echo "# $2, $3 ${4:-}: $(wc -l <hits) kills, $unnoticed devices passed in one run" >&3
  killed=$((${killed:-0} + $(wc -l <hits)))
  (($(wc -l <hits) > 0))
}

# has_died LINE…: at each of these moments
has_died() {
  local line
  for line in "$@"; do
    grep -qx "$line" hits || {
      echo "not killed at '$line', but at" && sort hits | uniq -c
      return 1
    }
  done
}

# started_again front|signer: as often as it was killed
started_again() {
  (($(grep -c "$1 ended .* is started again" serve.err) == killed))
}

# What is asked, answered and made durable is counted exactly. How many pages SQLite writes depends on how full they are,
# and how often a socket to the network is read and finds nothing yet on timing: there a number may come too late.

@test "the signer is killed: before it has reserved, before it has committed, before its answer has left" {
  serve_devices
  kill_everywhere 1 ca-signer read,write,fdatasync
  ((missed == 0))
  # Durable is first the reservation, then the certificate, then its confirmation. Written is who the station is, then
  # the certificate, then that it is confirmed.
  has_died '0 0 read socket:unix' '0 0 write socket:unix' '0 1 read socket:unix' '0 1 fdatasync' '1 1 fdatasync' \
    '2 1 write socket:unix' '2 2 read socket:unix' '2 2 fdatasync' '3 2 write socket:unix'
  kill_everywhere 5 ca-signer pwrite64,fdatasync
  has_died '0 0 pwrite64' '1 0 pwrite64'
  started_again signer
  end_serving
}

@test "the front is killed: before it has asked, with the signer's answer, before the client has it" {
  serve_devices
  kill_everywhere 1 ca-front "$exchange" socket:unix
  ((missed == 0))
  has_died '0 0 write socket:unix' '0 1 read socket:unix' '0 1 write socket:unix' '0 2 read socket:unix' \
    '0 2 write socket:unix' '0 3 read socket:unix'
  kill_everywhere 1 ca-front write socket:network
  ((missed == 0))
  # the handshake, the certificate, that it is confirmed
  has_died '0 0 write socket:network' '0 1 write socket:network' '0 2 write socket:network'
  kill_everywhere 3 ca-front read socket:network
  started_again front
  end_serving
}

@test "the station is killed at every call of its exchange" {
  serve_devices
  kill_everywhere 1 fleetroot-stati write,fdatasync
  ((missed == 0))
  # the handshake, the request, the confirmation, and what it remembers
  has_died '3 0 write socket:network' '3 1 write socket:network' '3 3 write socket:network' '3 4 fdatasync'
  kill_everywhere 3 fleetroot-stati read socket:network
  end_serving
}

# EST ends with the certificate. SQLite syncs a directory too when a new signer writes first, which without a confirmation
# may be for the device after: so what is asked and what becomes durable are counted one by one.

@test "the signer is killed, by EST" {
  serve_devices est
  kill_everywhere 1 ca-signer read,write socket:unix
  ((missed == 0))
  has_died '0 0 read socket:unix' '0 0 write socket:unix' '0 1 read socket:unix' '0 1 write socket:unix'
  kill_everywhere 1 ca-signer fdatasync ledger.db-wal
  ((missed == 0))
  has_died '0 0 fdatasync' '1 0 fdatasync'
  kill_everywhere 5 ca-signer pwrite64 ledger.db-wal
  started_again signer
  end_serving
}

@test "the front is killed, by EST" {
  serve_devices est
  kill_everywhere 1 ca-front "$exchange" socket:unix
  ((missed == 0))
  has_died '0 0 write socket:unix' '0 1 read socket:unix' '0 1 write socket:unix' '0 2 read socket:unix'
  kill_everywhere 1 ca-front write socket:network
  ((missed == 0))
  has_died '0 0 write socket:network' '0 1 write socket:network'
  kill_everywhere 3 ca-front read socket:network
  started_again front
  end_serving
}

@test "the station is killed, by EST" {
  serve_devices est
  kill_everywhere 1 fleetroot-stati write,fdatasync
  ((missed == 0))
  # the handshake, the request, and what it remembers
  has_died '3 0 write socket:network' '3 1 write socket:network' '3 2 write socket:network' '3 3 fdatasync'
  kill_everywhere 3 fleetroot-stati read socket:network
  end_serving
}

@test "the front killed alone comes back, without a PIN and on the same port" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  mv ca/issuing-ca.pin elsewhere
  front=$(child front) signer=$(child signer)
  kill -KILL "$front"
  provision DEV-2 DEV-2 --ca "$url"
  [[ $(child front) != "$front" && $(child signer) == "$signer" ]]
  end_serving
}

@test "the signer killed alone comes back" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving
  kill -KILL "$(child signer)"
  provision DEV-1 DEV-1 --ca "$url"
  ledger_holds 1
  end_serving
}

@test "nobody outlives the server" {
  make_factory DEV-1
  begin_serving
  front=$(child front) signer=$(child signer)
  kill -KILL "$server"
  wait "$server" || true
  timeout 60 tail --pid="$front" -f /dev/null
  timeout 60 tail --pid="$signer" -f /dev/null
  # and what it has left is no obstacle
  begin_serving
  end_serving
}
