#!/usr/bin/env bats
# One order, and every way to its CA at the same moment: CMP and EST on the LAN, exec:, and removable media.
load factory
load line
load serve

teardown() {
  [[ -z ${signer:-} ]] || kill -CONT "$signer" || true # where the server has ended, it has too
  jobs -p | xargs --no-run-if-empty kill
  wait
}

# make_order_for QUANTITY DEVICE-ID…: PO-1 takes so many of them; the token of each is in the directory tokens
make_order_for() {
  make_ca
  fleetroot-ca order create --home ca --id PO-1 --profile device --pattern 'D-[0-9]+' --quantity "$1"
  make_station
  make_token_directory tokens
  export SOFTHSM2_CONF=$PWD/tokens/softhsm2.conf
  add_tokens "${@:2}"
}

# by WAY DEVICE-ID [HOME]: what the station says, as JSON
by() {
  local -A ways=([cmp]=$url [est]=est+$url [exec]="exec:$PWD/slow-ca" [media]=media:queue)
  fleetroot-station provision --home "${3:-st}" --order PO-1 --device-id "$2" --token "$(fixed "$2")" \
    --ca "${ways[$1]}" --json
}

# begin WAY DEVICE-ID: in the background, into DEVICE-ID.events; ended says how it ended
declare -gA begun=() # a test file is read within a function
begin() {
  by "$1" "$2" >"$2.events" 2>"$2.err" 3>&- 7>&- &
  begun[$2]=$!
}
ended() {
  wait "${begun[$1]}"
}

# close_doors: the CA lets everybody come as far as its ledger, and decides nothing
close_doors() {
  slow_ca
  signer=$(child signer)
  kill -STOP "$signer"
  mkdir -m 700 ca/media
  exec 7>ca/media/lock
  flock 7
}
# wait_at_doors LAN EXEC: so many connections, so many children of stations, and one `media process`
wait_at_doors() {
  wait_for_requests "$2"
  are_here() { (($(connections_to_server) == $1)); }
  wait_until are_here "$1"
  wait_until grep -q -- "-> FLOCK .*:$(stat -c %i ca/media/lock) " /proc/locks
}
open_doors() {
  let_requests_go "$1"
  flock -u 7
  kill -CONT "$signer"
}

# order_is USED ISSUED CONFIRMED
order_is() {
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq -c '[.used, .issued, .confirmed]') == "[$1,$2,$3]" ]]
}
# with_certificate: the devices, each as often as it has one
with_certificate() {
  fleetroot-ca cert list --home ca --json | jq -r .device_id | sort -V | xargs
}
# is_full WAY FILE: the station was told so. EST has no word for it but the CA's own.
is_full() {
  local code=order_full
  [[ $1 != est ]] || code=refused_by_ca
  tail -n 1 "$2" | jq -e --arg code "$code" '.error.code == $code and (.error.message | test("order PO-1 is full"))'
}
is_empty() {
  [[ -z $(stranger_in tokens "$1" --list-objects) ]]
}

# carry STATION-HOME: its bundle there and back
carry() {
  fleetroot-station media export --home "$1" --queue queue --out stick
  fleetroot-ca media process --home ca stick
  fleetroot-station media import --home "$1" --queue queue stick
}

# full_by_every_way DEVICE-ID: and nothing changes
full_by_every_way() {
  local way
  remember
  for way in cmp est exec; do
    [[ $way != exec ]] || let_requests_go 1
    by "$way" "$1" >events || [[ $? == 65 ]]
    is_full "$way" events
    is_empty "$1"
  done
  by media "$1" >events
  carry st
  by media "$1" >events || [[ $? == 65 ]]
  is_full media events
  is_empty "$1"
  nothing_changed
}

@test "CMP, EST, exec: and a station that is offline all the time: the order's count is exact" {
  devices=(D-1 D-2 D-3 D-4 D-5 D-6 D-7 D-8)
  make_order_for 8 "${devices[@]}" D-9
  make_station off st-02
  fleetroot-station enroll --home off --certificate st-02.pem --ca-certificate ca/issuing-ca.pem \
    --fleet-root ca/fleet-root.pem --ca media:queue
  by media D-7 off
  by media D-8 off
  fleetroot-station media export --home off --queue queue --out stick
  begin_serving --est

  close_doors
  fleetroot-ca media process --home ca stick >processed 2>&1 3>&- 7>&- &
  process=$!
  begin cmp D-1
  begin cmp D-2
  begin est D-3
  begin est D-4
  begin exec D-5
  begin exec D-6
  wait_at_doors 4 2
  order_is 0 0 0
  open_doors 2
  for device in D-1 D-2 D-3 D-4 D-5 D-6; do ended "$device"; done
  wait "$process"

  grep '2 certificates, 0 refused' processed
  [[ $(with_certificate) == "${devices[*]}" ]]
  order_is 8 8 4 # EST has no confirmation
  fleetroot-station media import --home off --queue queue stick
  by media D-7 off
  by media D-8 off
  carry off
  order_is 8 8 6
  judged "${devices[@]}"

  full_by_every_way D-9
  order_is 8 8 6
  [[ $(with_certificate) == "${devices[*]}" ]]
  fleetroot-ca ledger verify --home ca
  end_serving
}

@test "one device too many, by whichever way it comes last; two ways of one device are one place" {
  make_order_for 3 D-1 D-2 D-3 D-4
  begin_serving --est
  by media D-1
  by media D-4
  fleetroot-station media export --home st --queue queue --out stick

  close_doors
  fleetroot-ca media process --home ca stick 3>&- 7>&- &
  process=$!
  begin cmp D-1
  begin est D-2
  begin exec D-3
  wait_at_doors 2 1
  open_doors 1
  wait "$process"
  fleetroot-station media import --home st --queue queue stick
  local -A way=([D-1]=cmp [D-2]=est [D-3]=exec [D-4]=media)
  passed=()
  late=()
  for device in D-1 D-2 D-3 D-4; do
    code=0
    if [[ $device == D-4 ]]; then
      by media D-4 >D-4.events || code=$?
    else
      ended "$device" || code=$?
    fi
    if ((code == 0)); then
      passed+=("$device")
    else
      ((code == 65))
      is_full "${way[$device]}" "$device.events"
      late+=("$device")
    fi
  done

  [[ ${#passed[@]} == 3 && ${#late[@]} == 1 ]]
  [[ $(with_certificate) == "${passed[*]}" ]]
  judged "${passed[@]}"
  is_empty "${late[0]}"
  carry st # its receipts
  full_by_every_way "${late[0]}"
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq -c '[.used, .issued]') == "[3,3]" ]]
  fleetroot-ca ledger verify --home ca
  end_serving
}

# Not for clients, says what a station's certificate is for.
@test "a server that trusts the Fleet Root alone is shown the issuing CA's certificate too, and no other" {
  make_order_for 1 D-1
  fleetroot-ca init --home other --name Other
  cat other/issuing-ca.pem >>st/issuing-ca.pem
  openssl req -x509 -newkey rsa:2048 -nodes -keyout server.key -subj /CN=server -addext subjectAltName=IP:127.0.0.1 -days 9 \
    -out server.pem
  cat server.pem >>st/fleet-root.pem
  openssl s_server -accept 127.0.0.1:0 -cert server.pem -key server.key -CAfile ca/fleet-root.pem -Verify 9 -verify_return_error \
    -purpose any -rev >serve.out 2>&1 3>&- &
  server=$!
  wait_for_line serve.out '^ACCEPT'
  url=https://127.0.0.1:$(sed -n 's/^ACCEPT .*:\([0-9]*\).*/\1/p' serve.out)

  run -76 by cmp D-1 # what it says back is no HTTP

  grep '^depth=2 ' serve.out
  [[ $(grep -c '^depth=.*Other' serve.out) == 0 && $(grep -c '^depth=0 CN = st-01' serve.out) == 1 ]]
}
