#!/usr/bin/env bats
load factory

@test "a device that is not on the order is refused, and its token stays empty" {
  make_factory DEV-1
  make_token dev-9
  remember dev-9

  refused 65 'DEV-9.*not on' provision dev-9 DEV-9

  [[ $(error_code provision dev-9 DEV-9) == not_on_order ]]
  nothing_changed
  [[ $(objects_on dev-9) == 0 ]]
}

@test "an order for two devices takes two" {
  make_ca
  fleetroot-ca order create --home ca --id PO-1 --profile device --pattern 'DEV-[0-9]+' --quantity 2
  make_station
  make_token dev-1 dev-2 dev-3
  provision dev-1 DEV-1
  provision dev-2 DEV-2
  remember dev-1 dev-2 dev-3

  refused 65 'order PO-1 .*(full|quantity|used up)' provision dev-3 DEV-3

  [[ $(error_code provision dev-3 DEV-3) == order_full ]]
  nothing_changed
  # a device that is done stays done
  run -0 provision dev-1 DEV-1
}

@test "a quantity is decimal digits, whatever an ERP system pads it with" {
  make_ca
  open_order() {
    fleetroot-ca order create --home ca --id "$1" --pattern 'DEV-[0-9]+' --quantity "$2"
  }
  i=0
  for digits in 0100 08 0000000000000000000000000100000000 7; do
    open_order "PO-$((++i))" "$digits"
  done
  [[ $(fleetroot-ca order list --home ca --json | jq -s -c 'map(.quantity)') == '[100,8,100000000,7]' ]]

  for other in 0x10 +5 -5 1e3 5.0 ' 5' '5 ' 5k 0b1 "1'000" 1_000 ٥ 0 00 100000001 18446744073709551617; do
    refused 64 '--quantity: .*whole number from 1 to 100000000' open_order PO-X "$other"
  done
  refused 65 'PO-X' fleetroot-ca order show --home ca --id PO-X
}

@test "a device ID that does not fit the order's pattern is refused" {
  make_ca
  fleetroot-ca order create --home ca --id PO-1 --profile device --pattern 'DEV-[0-9]+' --quantity 2
  make_station
  make_token dev-1
  remember dev-1

  refused 65 'not on|pattern' provision dev-1 DEV-1x

  nothing_changed
}

@test "a pattern is plain text" {
  make_ca
  for pattern in $'DEV\xff' $'DEV\e[31m' $'DEV\nFAKE LINE'; do
    refused 64 'pattern is no plain text' fleetroot-ca order create --home ca --id PO-1 --pattern "$pattern" --quantity 2
  done
  [[ -z $(fleetroot-ca order list --home ca --json) ]]
}

@test "a closed order takes no more" {
  make_factory DEV-1 DEV-2
  make_token dev-1 dev-2
  provision dev-1 DEV-1
  run -0 fleetroot-ca order close --home ca --id PO-1 --dry-run
  [[ $output == "dry run, nothing has changed: order PO-1 is closed"* ]]
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json | jq -r .state) == open ]]
  fleetroot-ca order close --home ca --id PO-1
  remember dev-1 dev-2

  refused 65 'order PO-1 is closed' provision dev-2 DEV-2

  [[ $(error_code provision dev-2 DEV-2) == order_closed ]]
  nothing_changed
  run -0 provision dev-1 DEV-1
}

@test "an order that nobody opened is refused" {
  make_factory DEV-1
  make_token dev-1
  remember dev-1

  refused 65 'order PO-7' on_token dev-1 fleetroot-station provision --home st --order PO-7 --device-id DEV-1 \
    --token "$(token_uri dev-1)"

  nothing_changed
}

@test "an order cannot be opened twice" {
  make_ca
  make_order PO-1 DEV-1
  before=$(fleetroot-ca order show --home ca --id PO-1 --json)

  run --separate-stderr ! make_order PO-1 DEV-1 DEV-2

  [[ $stderr == *": error: "*": hint: "* ]]
  [[ $(fleetroot-ca order show --home ca --id PO-1 --json) == "$before" ]]
}

@test "an order counts what it has used" {
  make_factory DEV-1 DEV-2
  make_token dev-1
  before=$(fleetroot-ca order show --home ca --id PO-1 --json)
  provision dev-1 DEV-1

  run -0 fleetroot-ca order show --home ca --id PO-1 --json

  jq -e . <<<"$output"
  [[ $output != "$before" ]]
  fleetroot-ca order list --home ca | grep -q PO-1
}

@test "an order's list of devices must have a device_id column, and each device once" {
  make_ca
  printf 'serial\nDEV-1\n' >no-column.csv
  printf 'device_id\nDEV-1\nDEV-1\n' >twice.csv
  : >empty.csv

  for list in no-column twice empty; do
    refused 65 '.' fleetroot-ca order create --home ca --id "PO-$list" --profile device --devices $list.csv
  done

  run -0 fleetroot-ca order list --home ca --json
  [[ $(jq -s 'map(if type == "array" then .[] else . end) | length' <<<"$output") == 0 ]]
}

@test "a profile that needs a column takes no order with a pattern" {
  make_ca
  sed 's/"idevid"/"numbered"/; /^serial_number/s/device_id/column:hw_serial/' ca/profiles/idevid.toml \
    >ca/profiles/numbered.toml
  sed 's/"idevid"/"module"/; /^serial =/s/device_id/column:hw_serial/' ca/profiles/idevid.toml >ca/profiles/module.toml

  for profile in numbered module; do
    refused 65 'needs the column hw_serial, and an order with a pattern has none' \
      fleetroot-ca order create --home ca --id PO-1 --profile $profile --pattern 'D-[0-9]+' --quantity 9
  done
  fleetroot-ca order create --home ca --id PO-1 --profile idevid --pattern 'D-[0-9]+' --quantity 9
}

@test "config check misses the profile of an open order, and of no closed one" {
  make_ca
  fleetroot-ca order create --home ca --id PO-1 --profile idevid --pattern 'D-[0-9]+' --quantity 9
  rm ca/profiles/idevid.toml
  refused 78 'no profile idevid' fleetroot-ca config check --home ca
  fleetroot-ca order close --home ca --id PO-1
  fleetroot-ca config check --home ca
}

@test "a station that nobody enrolled gets nothing" {
  make_factory DEV-1
  make_token dev-1
  # another factory's station, which pins this factory's CA
  mkdir elsewhere
  (cd elsewhere && make_ca && make_station ../stranger st-99)
  cp ca/issuing-ca.pem ca/fleet-root.pem stranger/
  remember dev-1

  run --separate-stderr ! on_token dev-1 fleetroot-station provision --home stranger --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)"

  [[ $stderr == *": error: "*": hint: "* ]]
  nothing_changed
}

@test "the CA out of reach: 69, and the next run finishes with one key and one certificate" {
  make_factory DEV-1
  make_token dev-1

  refused 69 'CA' provision dev-1 DEV-1 --ca 'exec:/bin/false'
  refused 78 'cannot start|nonexistent' provision dev-1 DEV-1 --ca 'exec:/nonexistent/ca'

  run -0 provision dev-1 DEV-1
  [[ $(objects_on dev-1) == 3 ]]
}

@test "order show names twenty of the missing devices to a person, and all to a machine" {
  make_ca
  # shellcheck disable=SC2046 # words
  make_order PO-1 $(seq -f DEV-%02g 25)

  run -0 --separate-stderr fleetroot-ca order show --home ca --id PO-1
  [[ $output == *'missing    25'* && $(grep -c '^  DEV-' <<<"$output") == 20 ]]
  [[ ${lines[-1]} == '  and 5 more: --json names them all' ]]
  fleetroot-ca order show --home ca --id PO-1 --json | jq -e '.missing | length == 25'
}
