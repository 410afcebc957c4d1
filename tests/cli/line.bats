#!/usr/bin/env bats
# A running line: scans on stdin, all bays at once, a process a device.
load factory

# make_line DEVICE-ID…: all devices are on order PO-1, and the token of each is in the directory tokens
make_line() {
  make_factory "$@"
  make_token_directory tokens
  export SOFTHSM2_CONF=$PWD/tokens/softhsm2.conf
  add_tokens "$@"
}
add_tokens() {
  local label slot
  for label in "$@"; do
    slot=$(find tokens/tokens -mindepth 1 -type d | wc -l)
    add_token tokens "$label" "$slot"
  done
}

any_token="pkcs11:token={device_id}?module-path=$softhsm&pin-source=file:tokens/pin"
fixed() {
  echo "pkcs11:token=$1?module-path=$softhsm&pin-source=file:tokens/pin"
}

# Scans come in on stdin. In an array, so that $! of a job in the background is the station itself.
one_bay=(fleetroot-station line --home st --order PO-1 --bay "1=$any_token")
two_bays=("${one_bay[@]}" --bay "2=$any_token")
fixed_bays=(fleetroot-station line --home st --order PO-1 --bay "1=$(fixed D-1)" --bay "2=$(fixed D-2)")

# judged DEVICE-ID…: OpenSC reads each token, and OpenSSL believes what lies on it, which is what the CA issued
judged() {
  local device subject
  for device in "$@"; do
    USER_PIN=$(<tokens/pin) pkcs11-tool --module "$softhsm" --token-label "$device" --login \
      --pin env:USER_PIN --read-object --type cert --id 01 --output-file "$device.der"
    openssl x509 -inform DER -in "$device.der" -out "$device.pem"
    subject=$(openssl x509 -in "$device.pem" -noout -subject -nameopt RFC2253)
    [[ ${subject//\\/} == "subject=CN=$device" ]]
    openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem "$device.pem"
    cmp "$device.pem" <(fleetroot-ca cert show --home ca --device-id "$device" --pem | openssl x509)
  done
}

# result_of DEVICE-ID: what events.jsonl says of it
result_of() {
  jq -r --arg device "$1" 'select(.event == "device" and .device_id == $device).result' events.jsonl
}
# count NAME: of the closing event
count() {
  tail -n 1 events.jsonl | jq -r --arg name "$1" 'if .event == "line" then .[$name] else error("no line event") end'
}

# A CA that says on the fifo `arrived` that a request has come, and answers it when the fifo `gate` has a line for it.
slow_ca() {
  mkfifo arrived gate
  cat >slow-ca <<'END'
#!/usr/bin/env bash
echo here >arrived
read -r _ <gate
exec fleetroot-ca respond --home ca
END
  chmod +x slow-ca
  exec 8<>arrived 9<>gate
}
wait_for_requests() {
  local i
  for ((i = 0; i < $1; i++)); do read -r _ <&8; done
}
let_requests_go() {
  local i
  for ((i = 0; i < $1; i++)); do echo go >&9; done
}

@test "two bays work through a list, and a stranger believes each certificate" {
  make_line D-1 D-2 D-3 D-4 D-5

  run --separate-stderr -0 "${two_bays[@]}" < <(printf '%s\n' D-1 D-2 D-3 '' D-4 && printf 'D-5\r\n')

  [[ $(grep -c '^PASS D-[1-5]  bay [12]  [0-9.]* s$' <<<"$output") == 5 ]]
  [[ ${lines[-1]} == "5 passed, 0 already, 0 queued, 0 failed (0 to try again); "*" devices an hour" ]]
  [[ ${#lines[@]} == 6 && -z $stderr ]]
  judged D-1 D-2 D-3 D-4 D-5
  [[ $(certificates_in_ledger) == 5 ]]

  run --separate-stderr -0 "${two_bays[@]}" < <(printf '%s\n' D-3 D-4)
  [[ $(grep -c '^PASS D-[34] .*already provisioned$' <<<"$output") == 2 ]]
  [[ ${lines[-1]} == "0 passed, 2 already, "* ]]
}

@test "both bays work at the same time, and the last line without its end counts" {
  make_line D-1 D-2
  slow_ca

  "${two_bays[@]}" --ca "exec:$PWD/slow-ca" >printed < <(printf 'D-1\nD-2') 3>&- &
  wait_for_requests 2 # neither has an answer yet
  let_requests_go 2
  wait $!

  [[ $(grep -c ^PASS printed) == 2 ]]
  grep -q 'bay 1' printed && grep -q 'bay 2' printed
}

@test "a line begins at once, while stdin stays open" {
  make_line D-1
  mkfifo scanner events

  "${two_bays[@]}" --json <scanner >events 3>&- &
  exec 7>scanner 5<events
  echo D-1 >&7
  until [[ $event == *'"event":"device"'*'"result":"pass"'* ]]; do read -r event <&5; done
  exec 7>&-
  cat <&5 >events.jsonl
  wait $!

  [[ $(count passed) == 1 ]]
}

@test "--json: the events of all devices, whole, each with its bay, and the line's own at the end" {
  make_line D-1 D-2 D-3

  run --separate-stderr -75 "${two_bays[@]}" --json < <(printf '%s\n' D-1 D-2 D-9 D-3)
  printf '%s\n' "$output" >events.jsonl

  [[ $(jq -s 'all(.[]; .schema == "fleetroot/1")' events.jsonl) == true ]]
  [[ $(jq -s 'all(.[] | select(.event != "line"); .bay == "1" or .bay == "2")' events.jsonl) == true ]]
  [[ $(jq -s -c 'map(select(.device_id == "D-1" and .event == "step").step)' events.jsonl) == "[1,2,3,4,5,6,7,8,9,10]" ]]
  [[ $(jq -s -c 'map(select(.event == "device").device_id) | sort' events.jsonl) == '["D-1","D-2","D-3","D-9"]' ]]
  [[ $(tail -n 1 events.jsonl | jq -c 'del(.millis, .devices_per_hour)') == '{"schema":"fleetroot/1","event":"line",'$(
  )'"result":"fail","passed":3,"already":0,"queued":0,"failed":1,"retry":1,"not_begun":0}' ]]
  (($(count millis | cut -d . -f 1) > 0 && $(count devices_per_hour) > 0))
}

@test "wrong lines among good ones fail alone, and are named" {
  make_line D-1 D-2
  {
    echo D-1
    echo 'D 3'
    echo '{"device_id":"D-3","colour":"red"}'
    echo '{"device_id":"D-3","device_id":"D-4"}'
    echo '{"device_id":7}'
    echo '{"device_id":"D-3"'
    echo '{"bay":"1"}'
    echo '{"device_id":"D-3","order":"PO/1"}'
    echo '{"device_id":"D-3","bay":"9"}'
    echo "{\"device_id\":\"D-3\",\"token\":\"pkcs11:token=x?pin-value=1234\"}"
    echo "{\"device_id\":\"D-3\",\"token\":\"pkcs11:token=x?module-path=$softhsm\"}"
    printf '%05000d\n' 0
    printf 'D-\0003\n'
    printf '%040d\n' 7
    echo D-2
  } >scans

  run --separate-stderr -65 "${two_bays[@]}" --json <scans
  printf '%s\n' "$output" >events.jsonl

  [[ $(result_of D-1) == pass && $(result_of D-2) == pass ]]
  [[ $(jq -s -c 'map(select(.line and .result == "fail") | [.line, .error.code])' events.jsonl) == \
    '[[2,"invalid_device_id"],[3,"usage"],[4,"usage"],[5,"usage"],[6,"usage"],[7,"usage"],[8,"usage"],[9,"usage"],[10,"usage"],[11,"usage"],[12,"usage"],[13,"invalid_device_id"]]' ]]
  [[ $(jq -s 'all(.[] | select(.error); (.error.message | length > 0) and (.error.hint | length > 0))' events.jsonl) == true ]]
  [[ $(jq -r 'select(.line == 9).error.hint' events.jsonl) == "the bays are: 1, 2" ]]
  # a good ID that is no token label: it has 40 characters
  [[ $(result_of "$(printf '%040d' 7)") == fail ]]
  [[ $(count failed) == 13 && $(count retry) == 0 ]]

  run --separate-stderr -64 "${two_bays[@]}" <<<'{"device_id":"D-1","bay":"nowhere"}'
  [[ ${lines[0]} == "FAIL D-1  line 1  "*"there is no bay nowhere; hint: "* ]]
  [[ $stderr == *": error: 1 of 1 devices failed"*": hint: "* ]]
}

@test "a device that is on no order: FAIL with its reason, 65, whatever else is to be tried again" {
  make_line D-1
  add_tokens E-1

  run --separate-stderr -65 "${two_bays[@]}" < <(printf '%s\n' D-1 absent E-1)

  grep -q '^PASS D-1 ' <<<"$output"
  grep -Eq '^FAIL E-1  bay [12]  .*E-1 is not on order PO-1.*; hint: .' <<<"$output"
  [[ ${lines[-1]} == "1 passed, 0 already, 0 queued, 2 failed (1 to try again); "* ]]
}

@test "a token that is not there: 75, and the others pass" {
  make_line D-1

  run --separate-stderr -75 "${two_bays[@]}" --json < <(printf '%s\n' D-2 D-1)
  printf '%s\n' "$output" >events.jsonl

  [[ $(result_of D-1) == pass && $(result_of D-2) == fail ]]
  [[ $(jq -r 'select(.device_id == "D-2" and .event == "device").error.code' events.jsonl) == token_absent ]]
  [[ $(count retry) == 1 ]]
}

@test "where bays have fixed tokens a line names its bay, and nothing is guessed" {
  make_line D-1 D-2
  remember

  run --separate-stderr -64 "${fixed_bays[@]}" <<<D-1
  [[ ${lines[0]} == "FAIL D-1  line 1  "*'in which bay'*'{"device_id":"D-1","bay":"…"}'*"1, 2"* ]]
  nothing_changed

  run --separate-stderr -0 "${fixed_bays[@]}" --json < <(printf '{"device_id":"D-%s","bay":"%s"}\n' 2 2 1 1)
  printf '%s\n' "$output" >events.jsonl
  [[ $(jq -r 'select(.event == "device") | .device_id + " " + .bay' events.jsonl | sort | xargs) == "D-1 1 D-2 2" ]]
  judged D-1 D-2
}

@test "one bay with a fixed token needs no name" {
  make_line D-1
  run -0 fleetroot-station line --home st --order PO-1 --bay "1=$(fixed D-1)" <<<D-1
  judged D-1
}

@test "a JSON line brings its own token and order" {
  make_line D-1 D-2
  make_order PO-2 E-1
  add_tokens other

  run -0 "${fixed_bays[@]}" < <(jq -c -n --arg token "$(fixed other)" '{device_id: "E-1", order: "PO-2", token: $token}')

  [[ $(fleetroot-ca order show --home ca --id PO-2 --json | jq .used) == 1 ]]
  [[ $(fleetroot-ca cert show --home ca --device-id E-1 --json | jq -r '.claim | (fromjson? // .) | .order') == PO-2 ]]
}

@test "an ID with signs finds the token whose label it is" {
  make_line 'A+b:1@x'
  run -0 "${two_bays[@]}" <<<'A+b:1@x'
  judged 'A+b:1@x'
}

@test "the same ID twice at once: the second waits for the first, and finds it done" {
  make_line D-1
  slow_ca

  "${two_bays[@]}" --json --ca "exec:$PWD/slow-ca" < <(printf '%s\n' D-1 D-1) >events.jsonl 3>&- &
  wait_for_requests 1
  let_requests_go 2
  wait $!

  [[ $(result_of D-1 | xargs) == "pass already" ]]
  # not one event of the second before the first is done
  [[ $(jq -c 'select(.step == 1 or .event == "device") | [.event, .result]' events.jsonl | xargs) == \
    '[step,ok] [device,pass] [step,ok] [device,already]' ]]
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "no more than three lines a bay are read ahead, and what was not read stays for the next" {
  make_line D-1 D-2 D-3 D-4 D-5 D-6 D-7 D-8 D-9 D-10
  slow_ca
  printf '%s\n' D-{1..10} >scans
  exec 7<scans

  "${two_bays[@]}" --json --ca "exec:$PWD/slow-ca" <&7 >events.jsonl 3>&- &
  wait_for_requests 2
  kill -TERM $!
  let_requests_go 2
  wait $!

  cat <&7 >left
  [[ $(count passed) == 2 ]]
  read=$((10 - $(wc -l <left)))
  [[ $(count not_begun) == $((read - 2)) ]]
  ((read <= 2 + 6))
  [[ $(tail -n 1 left) == D-10 ]]
}

@test "SIGTERM and Ctrl-C: what has begun finishes, nothing else begins" {
  make_line D-1 D-2 D-3
  for signal in TERM INT; do
    rm -f arrived gate
    slow_ca
    mkfifo "scanner-$signal"
    # as a terminal starts it: a shell makes background jobs ignore SIGINT
    python3 -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' "${one_bay[@]}" --json --ca "exec:$PWD/slow-ca" <"scanner-$signal" >events.jsonl 3>&- &
    exec 7>"scanner-$signal"
    [[ $signal == TERM ]] && first=D-1 || first=D-2
    printf '%s\n' "$first" D-3 >&7
    wait_for_requests 1
    kill "-$signal" $!
    let_requests_go 1
    wait $!
    exec 7>&-

    [[ $(result_of "$first") == pass && -z $(result_of D-3) ]]
    [[ $(count result) == pass && $(count not_begun) == 1 ]]
  done
  judged D-1 D-2
}

@test "a second signal ends the devices too; the same scans again finish them" {
  make_line D-1 D-2
  slow_ca

  "${two_bays[@]}" --json --ca "exec:$PWD/slow-ca" < <(printf '%s\n' D-1 D-2) >events.jsonl 3>&- &
  station=$!
  wait_for_requests 2
  kill -TERM "$station"
  # the first has been taken when no second may be lost in it
  while grep -qE '^(Sig|Shd)Pnd:\s0*[1-9a-f]' "/proc/$station/status"; do :; done
  kill -TERM "$station"
  status=0
  wait "$station" || status=$?

  ((status == 75))
  [[ $(count failed) == 2 && $(count retry) == 2 ]]
  "${two_bays[@]}" < <(printf '%s\n' D-1 D-2)
  judged D-1 D-2
  [[ $(certificates_in_ledger) == 2 ]]
}

@test "kill -9 of the line; the same scans again end with one certificate a device" {
  make_line D-1 D-2 D-3
  slow_ca
  mkfifo alive

  "${two_bays[@]}" --ca "exec:$PWD/slow-ca" < <(printf '%s\n' D-1 D-2 D-3) >/dev/null 2>&1 6>alive 3>&- &
  station=$!
  exec 5<alive
  wait_for_requests 2
  kill -KILL "$station"
  let_requests_go 2
  cat <&5 # until the last of the devices' processes has gone

  run -0 "${two_bays[@]}" < <(printf '%s\n' D-1 D-2 D-3)
  [[ ${lines[-1]} == *" 0 failed "* ]]
  judged D-1 D-2 D-3
  [[ $(certificates_in_ledger) == 3 ]]
  for device in D-1 D-2 D-3; do
    [[ $(USER_PIN=$(<tokens/pin) pkcs11-tool --module "$softhsm" --token-label "$device" --login \
      --pin env:USER_PIN --list-objects 2>/dev/null | grep -c ' Object;\|Certificate Object') == 3 ]]
  done
}

@test "nobody reads stdout any more: the line stops, what has begun finishes" {
  make_line D-1 D-2
  slow_ca
  mkfifo scanner events

  "${two_bays[@]}" --json --ca "exec:$PWD/slow-ca" <scanner >events 3>&- &
  exec 7>scanner 5<events
  echo D-1 >&7
  wait_for_requests 1
  exec 5<&-
  let_requests_go 1
  status=0
  wait $! || status=$? # although stdin is open

  ((status == 74))
  judged D-1
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "a device whose process is killed fails alone, to be tried again" {
  make_line D-1 D-2
  slow_ca

  "${two_bays[@]}" --json --ca "exec:$PWD/slow-ca" < <(printf '%s\n' D-1 D-2) >events.jsonl 2>messages 3>&- &
  wait_for_requests 2
  pkill -KILL -P $! -f -- '--device-id=D-1'
  let_requests_go 2
  status=0
  wait $! || status=$?

  ((status == 75))
  [[ $(result_of D-1) == fail && $(result_of D-2) == pass ]]
  [[ $(jq -r 'select(.device_id == "D-1" and .event == "device").error.retry' events.jsonl) == true ]]
  run -0 "${two_bays[@]}" <<<D-1
  judged D-1 D-2
}

@test "by removable media: QUEUED, carried, and the same scans again pass" {
  make_line D-1 D-2

  run --separate-stderr -0 "${two_bays[@]}" --ca media:queue < <(printf '%s\n' D-1 D-2)
  [[ $(grep -c '^QUEUED D-[12]  bay [12]' <<<"$output") == 2 ]]
  [[ ${lines[-1]} == "0 passed, 0 already, 2 queued, 0 failed "* ]]
  [[ $(certificates_in_ledger) == 0 ]]

  fleetroot-station media export --home st --queue queue --out stick
  fleetroot-ca media process --home ca stick
  fleetroot-station media import --home st --queue queue stick

  run -0 "${two_bays[@]}" --json --ca media:queue < <(printf '%s\n' D-1 D-2)
  printf '%s\n' "$output" >events.jsonl
  [[ $(count passed) == 2 && $(count queued) == 0 ]]
  judged D-1 D-2
}

@test "bays of station.toml; PIN files are looked for in the home" {
  make_line D-1 D-2
  mkdir st/pins
  for device in D-1 D-2; do (umask 077 && cp tokens/pin "st/pins/$device"); done
  cat >>st/station.toml <<END
[[bay]]
name = "left"
token = "pkcs11:token={device_id}?module-path=$softhsm&pin-source=file:pins/{device_id}"
[[bay]]
name = "right"
token = "pkcs11:token={device_id}?module-path=$softhsm&pin-source=pins/{device_id}"
END

  run -0 fleetroot-station config check --home st
  [[ $output == *"bay left"*"bay right"* ]]
  run -0 fleetroot-station line --home st --order PO-1 < \
    <(printf '{"device_id":"%s","bay":"%s"}\n' D-1 left D-2 right)
  [[ $output == *"PASS D-1  bay left"* && $output == *"PASS D-2  bay right"* ]]
  [[ ${lines[-1]} == "2 passed, "* ]]
  # --bay replaces them all
  run -64 "${two_bays[@]}" <<<'{"device_id":"D-1","bay":"left"}'
}

@test "what is wrong for every device is refused before the first scan is read" {
  make_line D-1
  echo D-1 >scans
  cp st/station.toml kept
  # refused_unread EXIT-CODE PATTERN OPTION…
  refused_unread() {
    {
      refused "$1" "$2" fleetroot-station line --home st "${@:3}"
      [[ $(cat) == D-1 && -z $output ]]
    } <scans
  }
  local no_pin="1=pkcs11:token=D-1?module-path=$softhsm"

  refused_unread 78 'no bays' --order PO-1
  refused_unread 64 'no pin-source' --order PO-1 --bay "$no_pin"
  refused_unread 64 'environment' --order PO-1 --bay "$no_pin&pin-source=env:USER_PIN"
  refused_unread 64 'pin-value' --order PO-1 --bay "$no_pin&pin-value=1234"
  refused_unread 64 'two bays' --order PO-1 --bay "1=$any_token" --bay "1=$any_token"
  refused_unread 64 'is no bay' --order PO-1 --bay "$any_token"
  refused_unread 64 'token URI' --order PO-1 --bay '1=pkcs11:token={device}?pin-source=file:x'
  refused_unread 64 'the order' --order 'PO/1' --bay "1=$any_token"
  refused_unread 64 'names no CA' --order PO-1 --bay "1=$any_token" --ca nonsense
  for bay in "name = \"1\"" "name = \"1\"
token = \"${no_pin#1=}\"" "name = \"a b\"
token = \"$any_token\"" "name = \"1\"
token = \"$any_token\"
colour = \"red\"" "name = \"1\"
token = \"$any_token\"
[[bay]]
name = \"1\"
token = \"$any_token\""; do
    printf '[[bay]]\n%s\n' "$bay" | cat kept - >st/station.toml
    refused_unread 78 'bay' --order PO-1
    refused 78 'bay' fleetroot-station config check --home st
  done
  printf '[bay]\nname = "1"\n' | cat kept - >st/station.toml
  refused_unread 78 'bay must be tables' --order PO-1
  sed 's/&pin-source=[^"]*//; s/?pin-source=[^"&]*&/?/' kept >st/station.toml
  refused_unread 78 "station's own token has no pin-source" --order PO-1 --bay "1=$any_token"
  cp kept st/station.toml
  rm st/station.pem
  refused_unread 78 'not enrolled' --order PO-1 --bay "1=$any_token"
}

@test "no PIN in the arguments or the environment of any process, and no terminal" {
  make_line D-1 D-2
  mkdir trace

  strace -ff -v -s 100000 -e trace=execve,setsid -o trace/p "${two_bays[@]}" \
    --json < <(printf '%s\n' D-1 D-2) >printed 2>&1
  cat trace/* >all

  [[ $(grep -c 'execve("/proc/self/exe", \["fleetroot-station", "provision".* = 0$' all) == 2 ]]
  [[ $(grep -c '^setsid()' all) == 2 ]]
  for pin_file in tokens/pin $(find ca st -name '*pin*' -type f); do
    pin=$(<"$pin_file")
    ((${#pin} >= 4))
    run ! grep -qF -- "$pin" all
    run ! grep -qF -- "$pin" printed
  done
}

@test "what a CA says goes to stderr with the device's name; a module's chatter disturbs nothing" {
  make_line D-1
  cat >talking-ca <<'END'
#!/usr/bin/env bash
echo 'fleetroot-ca: warning: the disk is nearly full' >&2
exec fleetroot-ca respond --home ca
END
  chmod +x talking-ca

  run --separate-stderr -0 "${two_bays[@]}" --json --ca "exec:$PWD/talking-ca" <<<D-1

  [[ $stderr == *"bay 1, D-1: fleetroot-ca: warning: the disk is nearly full"* ]]
  jq -s . <<<"$output" >/dev/null
}

@test "--stop-after: so many failures in a row, and the line stops" {
  make_line D-1

  run --separate-stderr -75 "${one_bay[@]}" --stop-after 2 --json < <(printf '%s\n' X-1 D-1 X-2 X-3 X-4 X-5)
  printf '%s\n' "$output" >events.jsonl

  [[ $(count passed) == 1 && $(count failed) == 3 ]]
}
