#!/usr/bin/env bats
# A running line whose CA is on the factory LAN.
load factory
load line
load serve

# by_lan URL CODE: two bays work through D-1 to D-4, of which D-4 is on no order, and is refused with that error code
by_lan() {
  run --separate-stderr -65 "${two_bays[@]}" --json --ca "$1" < <(printf '%s\n' D-1 D-2 D-3 D-4)
  printf '%s\n' "$output" >events.jsonl
  [[ $(count passed) == 3 && $(count failed) == 1 && $(result_of D-4) == fail ]]
  [[ $(jq -r 'select(.event == "device" and .device_id == "D-4").error.code' events.jsonl) == "$2" ]]
  judged D-1 D-2 D-3
  [[ $(certificates_in_ledger) == 3 ]]
}

@test "by CMP over HTTPS: confirmed, one refused, the rest pass" {
  make_line D-1 D-2 D-3
  add_tokens D-4
  begin_serving
  by_lan "$url" not_on_order
  [[ $(fleetroot-ca cert list --home ca --json | jq -r .confirmation | sort -u) == accepted ]]
  end_serving
}

@test "by EST: one refused, the rest pass" {
  make_line D-1 D-2 D-3
  add_tokens D-4
  begin_serving --est
  by_lan "est+$url" refused_by_ca
  end_serving
}

@test "a CA that goes and comes back while the line runs: the same scans again, one certificate a device" {
  make_line D-1 D-2
  begin_serving
  at=$address
  end_serving
  sed -i 's/^ca_timeout_seconds = .*/ca_timeout_seconds = 1/' st/station.toml
  run --separate-stderr -69 "${two_bays[@]}" --json --ca "$url" < <(printf '%s\n' D-1 D-2)
  printf '%s\n' "$output" >events.jsonl
  [[ $(count passed) == 0 && $(count failed) == 2 && $(certificates_in_ledger) == 0 ]]

  rm serve.out
  sed -i 's/^ca_timeout_seconds = .*/ca_timeout_seconds = 60/' st/station.toml
  fleetroot-ca serve --home ca --listen "$at" >serve.out 2>serve.err 3>&- &
  server=$!
  wait_for_line serve.out
  run --separate-stderr -0 "${two_bays[@]}" --json --ca "$url" < <(printf '%s\n' D-1 D-2)
  printf '%s\n' "$output" >events.jsonl
  [[ $(count passed) == 2 && $(certificates_in_ledger) == 2 ]]
  judged D-1 D-2
}
