#!/usr/bin/env bats
# A running line: scans on stdin, all bays at once, a process a device.
load factory
load line

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
    printf '{"device_id":"D-3"}\0{"device_id":"D-4","bay":"7"}\n'
    printf '\xef\xbb\xbf{"device_id":"D-3"}\n'
    printf '%040d\n' 7
    echo D-2
  } >scans

  run --separate-stderr -65 "${two_bays[@]}" --json <scans
  printf '%s\n' "$output" >events.jsonl

  [[ $(result_of D-1) == pass && $(result_of D-2) == pass ]]
  [[ $(jq -s -c 'map(select(.line and .result == "fail") | [.line, .error.code])' events.jsonl) == \
    '[[2,"invalid_device_id"],[3,"usage"],[4,"usage"],[5,"usage"],[6,"usage"],[7,"usage"],[8,"usage"],[9,"usage"],[10,"usage"],[11,"usage"],[12,"usage"],[13,"invalid_device_id"],[14,"usage"],[15,"invalid_device_id"]]' ]]
  [[ $(jq -s 'all(.[] | select(.error); (.error.message | length > 0) and (.error.hint | length > 0))' events.jsonl) == true ]]
  [[ $(jq -r 'select(.line == 9).error.hint' events.jsonl) == "the bays are: 1, 2" ]]
  # a good ID that is no token label: it has 40 characters
  [[ $(result_of "$(printf '%040d' 7)") == fail ]]
  [[ $(count failed) == 15 && $(count retry) == 0 ]]

  run --separate-stderr -64 "${two_bays[@]}" <<<'{"device_id":"D-1","bay":"nowhere"}'
  [[ ${lines[0]} == "FAIL D-1  line 1  "*"there is no bay nowhere; hint: "* ]]
  run --separate-stderr -64 "${two_bays[@]}" \
    <<<"{\"device_id\":\"D-1\",\"token\":\"pkcs11:token=x?module-path=$softhsm&pin-source=env:USER_PIN\"}"
  [[ ${lines[0]} == "FAIL D-1  line 1  "*"the scanned token has its PIN in the environment, "*"; hint: "* ]]
  run --separate-stderr -64 "${two_bays[@]}" <<<'{"device_id":"D-1","bay":"nowhere"}'
  [[ $stderr == *": error: 1 of 1 devices failed"*": hint: "* ]]
}

@test "a byte order mark before the first scan, and lines of nothing, are passed over" {
  make_line D-1 D-2
  printf '\xef\xbb\xbfD-1\r\n  \n\t \r\n\n{"device_id":"D-2"}\n\xef\xbb\xbfD-1\n D-1\n' >scans

  run --separate-stderr -65 "${two_bays[@]}" --json <scans
  printf '%s\n' "$output" >events.jsonl

  [[ $(result_of D-1) == pass && $(result_of D-2) == pass ]]
  [[ $(jq -s -c 'map(select(.line and .result == "fail") | [.line, .error.code])' events.jsonl) == \
    '[[6,"invalid_device_id"],[7,"invalid_device_id"]]' ]]
  run --separate-stderr -0 "${two_bays[@]}" < <(printf '\xef\xbb\xbf\n')
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
  stranger_in tokens other --read-object --type cert --id 01 --output-file other.der
  [[ $(openssl x509 -inform DER -in other.der -noout -subject -nameopt RFC2253) == "subject=CN=E-1" ]]
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

@test "a station.toml with another name than the certificate's ends the line before the first scan: 78" {
  make_line D-1
  make_token dev-1
  sed -i 's/^name = .*/name = "st-02"/' st/station.toml
  {
    refused 78 "name is st-02, and the station's certificate is for CN=st-01" "${two_bays[@]}"
    [[ $(cat) == D-1 ]]
  } <<<D-1
  refused 78 'name is st-02' fleetroot-station config check --home st
  refused 78 'name is st-02' provision dev-1 D-1
  [[ $output == *"hold the line"* ]]
  # as the hint says
  sed -i 's/^name = .*/name = "st-01"/' st/station.toml
  run -0 provision dev-1 D-1
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
  run --separate-stderr -78 fleetroot-station line --home st --order PO-1 --json
  [[ $(jq -c '[.schema, .event, .result, .error.code, .failed]' <<<"$output") == \
    '["fleetroot/1","line","fail","configuration",null]' ]]
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
  printf '[[bay]]\nname = "1"\ntoken = "%s"\n' "$any_token" >bay
  sed 's/pin-source=[^"&]*/pin-source=env:STPIN/' kept | cat - bay >st/station.toml
  STPIN=$(<st/station.pin) refused 78 "station's own token has its PIN in the environment" \
    fleetroot-station config check --home st
  [[ $(STPIN=$(<st/station.pin) fleetroot-station config check --home st --json | jq -r .error.code) == configuration ]]
  cp kept st/station.toml
  rm st/station.pem
  refused_unread 78 'not enrolled' --order PO-1 --bay "1=$any_token"
}

@test "scans that cannot be read are no line that has passed: 74, and JSON says it" {
  make_line D-1
  unreadable() {
    run --separate-stderr -74 "$@"
    [[ $stderr == *": error: cannot read the scans"*": hint: "* ]]
    printf '%s\n' "$output" >events.jsonl
    [[ $(jq -c '[.event, .result, .error.code, .passed, .failed]' events.jsonl) == '["line","fail","io",0,0]' ]]
  }
  unreadable "${two_bays[@]}" --json <.
  unreadable bash -c 'exec "$@" <&-' bash "${two_bays[@]}" --json
  run --separate-stderr -74 "${two_bays[@]}" <.
  [[ $output == "0 passed, "* ]]
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

# SoftHSM's assertions end a process that finds the files of two tokens half-written by their logins.
@test "processes that use SoftHSM take turns before they load it" {
  make_line D-1 D-2
  mkdir trace

  strace -ff -e trace=execve,openat,flock -o trace/p "${two_bays[@]}" < <(printf '%s\n' D-1 D-2)

  devices=$(grep -l 'execve("/proc/self/exe"' trace/*)
  [[ $(wc -l <<<"$devices") == 2 ]]
  for trace in $devices; do
    awk '/openat.*"st\/locks\/softhsm"/ { turn = 1 } turn && /flock\(.*LOCK_EX.* = 0/ { its = 1 }
      /openat.*libsofthsm2.so/ { loaded = its; exit } END { exit !loaded }' "$trace"
  done
}

@test "waiting for another bay's turn with SoftHSM is no silence of the own token, and has an end: 75" {
  make_line D-1
  sed -i 's/^timeout_seconds = .*/timeout_seconds = 1/' st/station.toml
  exec {turn}>st/locks/softhsm
  flock "$turn" # as one that was stopped there

  run --separate-stderr -75 timeout --signal KILL 30 "${one_bay[@]}" --json <<<D-1 3>&-
  printf '%s\n' "$output" >events.jsonl
  [[ $(result_of D-1) == fail ]]
  [[ $(jq -r 'select(.device_id == "D-1" and .event == "device").error | .code, .retry' events.jsonl | xargs) == 'busy true' ]]
  exec {turn}>&-
  "${one_bay[@]}" <<<D-1
  judged D-1
}

@test "what a CA says, and a module's chatter, go to stderr with bay and device, and disturb nothing" {
  make_line D-1
  cat >talking-ca <<'END'
#!/usr/bin/env bash
echo 'fleetroot-ca: warning: the disk is nearly full' >&2
exec fleetroot-ca respond --home ca
END
  chmod +x talking-ca
  # a module that writes to stdout what is done to it
  export WITNESS_MODULE=$softhsm WITNESS_LOG=/dev/stdout

  run --separate-stderr -0 fleetroot-station line --home st --order PO-1 --json --ca "exec:$PWD/talking-ca" \
    --bay "1=${any_token/$softhsm/$FLEETROOT_WITNESS}" <<<D-1
  printf '%s\n' "$output" >events.jsonl

  [[ $stderr == *"bay 1, D-1: fleetroot-ca: warning: the disk is nearly full"* ]]
  [[ $stderr == *"bay 1, D-1: C_Login "* ]]
  [[ $(jq -s 'all(.[]; .schema == "fleetroot/1")' events.jsonl) == true ]]
  [[ $(count passed) == 1 ]]
}
