#!/usr/bin/env bats
# Whatever stops a running line, what has begun finishes, and the same scans again finish the rest.
load factory
load line

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
  # the process of D-2 finishes by itself; that of D-1 dies too, while the CA has its request
  first=$(pgrep -P "$station" -f -- '--device-id=D-1')
  kill -KILL "$station" "$first"
  let_requests_go 2
  cat <&5 # until the last of all these processes has gone
  [[ $(certificates_in_ledger) == 2 ]]

  run -0 "${two_bays[@]}" < <(printf '%s\n' D-1 D-2 D-3)
  [[ ${lines[-1]} == "2 passed, 1 already, 0 queued, 0 failed "* ]]
  judged D-1 D-2 D-3
  [[ $(certificates_in_ledger) == 3 ]]
  for device in D-1 D-2 D-3; do
    [[ $(stranger_in tokens "$device" --list-objects 2>/dev/null | grep -c ' Object;\|Certificate Object') == 3 ]]
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

# with_witness LOG: D-1 by a module that writes to LOG what is done to it, D-2 by SoftHSM itself
with_witness() {
  export WITNESS_MODULE=$softhsm WITNESS_LOG=$1
  "${one_bay[@]}" --bay "2=${any_token/$softhsm/$FLEETROOT_WITNESS}" --json \
    < <(printf '{"device_id":"%s","bay":"%s"}\n' D-1 2 D-2 1)
}

@test "a module that crashes, or hangs, takes its own device alone with it" {
  make_line D-1 D-2
  sed -i 's/^timeout_seconds = .*/timeout_seconds = 1/' st/station.toml
  mkfifo nobody-reads

  # it aborts where it cannot write, and waits where nobody reads
  run --separate-stderr -78 with_witness /nonexistent/log
  printf '%s\n' "$output" >events.jsonl
  [[ $(result_of D-1) == fail && $(result_of D-2) == pass ]]
  [[ $(jq -r 'select(.device_id == "D-1" and .event == "device").error.code' events.jsonl) == module_unusable ]]

  run --separate-stderr -75 with_witness "$PWD/nobody-reads"
  printf '%s\n' "$output" >events.jsonl
  [[ $(result_of D-1) == fail && $(result_of D-2) == already ]]
  [[ $(jq -r 'select(.device_id == "D-1" and .event == "device").error.code' events.jsonl) == token_unplugged ]]

  "${one_bay[@]}" <<<D-1
  judged D-1 D-2
}

@test "--stop-after: so many failures in a row, and the line stops" {
  for number in -1 0 x 99999999999999999999999; do
    refused 64 'stop-after' "${one_bay[@]}" --stop-after "$number" </dev/null
  done
  make_line D-1

  run --separate-stderr -75 "${one_bay[@]}" --stop-after 2 --json < <(printf '%s\n' X-1 D-1 X-2 X-3 X-4 X-5)
  printf '%s\n' "$output" >events.jsonl

  [[ $(count passed) == 1 && $(count failed) == 3 ]]
}
