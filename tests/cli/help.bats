#!/usr/bin/env bats
# Every command explains itself, by examples first, and refuses what it does not know.
load factory

# The commands that a program's (or a command group's) --help lists.
commands_in() {
  "$@" --help | awk '/^Subcommands:/ { listing = 1; next } /^[^ ]/ { listing = 0 } listing && /^  [a-z]/ { print $1 }'
}

# Every runnable command line of a program: "order create", "provision", …
leaf_commands() {
  local program=$1 command group
  for command in $(commands_in "$program"); do
    group=$(commands_in "$program" "$command")
    if [[ -z $group ]]; then
      echo "$command"
    else
      awk -v command="$command" '{ print command, $0 }' <<<"$group"
    fi
  done
}

@test "a command line that cannot be read: with --json a machine hears it on stdout" {
  said_as_json() {
    run --separate-stderr -64 "$@"
    [[ $(jq -c '[.schema, .event, .result, .error.code, .error.message]' <<<"$output") == \
      "$(jq -c -n --arg why "$why" '["fleetroot/1", "command", "fail", "usage", $why]')" ]]
    [[ $stderr == *": error: $why"*": hint: "* ]]
  }
  why='--order is required' said_as_json fleetroot-station line --home st --json
  why='--stop-after: the value is no whole number from 1 to 1000000, in decimal digits' \
    said_as_json fleetroot-station line --home st --order PO-1 --stop-after 0 --json
  why='The following argument was not expected: --colour' said_as_json fleetroot-station provision --json --colour
  why='fleetroot-ca order knows no command "delete"' said_as_json fleetroot-ca order delete --json
  why='--home is required' said_as_json fleetroot-gateway device list --json
  run --separate-stderr -64 fleetroot-station line --home st
  [[ -z $output ]]
}

@test "the commands of the contract are there" {
  for command in init respond "root issue" "station enroll" "station renew" "station revoke" "station list" "order create" "order show" "order list" \
    "order close" "cert issue" "cert list" "cert show" "cert revoke" "rework authorize" scrap "crl publish" \
    "ledger verify" "ledger export" "media process" "media inspect" "config check"; do
    leaf_commands fleetroot-ca | grep -qx "$command" || { echo "fleetroot-ca $command"; return 1; }
  done
  for command in init serve "fleet-root add" "fleet-root list" "fleet-root remove" "device list" "device show" \
    "device block" "credentials create" "credentials revoke" "crl import" "manifest import" "config check"; do
    leaf_commands fleetroot-gateway | grep -qx "$command" || { echo "fleetroot-gateway $command"; return 1; }
  done
  for command in init enroll provision line verify inspect "media export" "media import" "config check"; do
    leaf_commands fleetroot-station | grep -qx "$command" || { echo "fleetroot-station $command"; return 1; }
  done
}

@test "--help of every command opens with examples, on stdout, and exits 0" {
  for program in fleetroot-ca fleetroot-station fleetroot-gateway; do
    while read -r -a command; do
      run --separate-stderr -0 "$program" "${command[@]}" --help
      [[ ${lines[0]} == Examples* && ${lines[1]} == *"$program ${command[*]}"* && -z $stderr ]] ||
        { echo "$program ${command[*]}: $output"; return 1; }
    done < <(leaf_commands "$program")
  done
}

@test "--version and --help of the programs" {
  for program in fleetroot-ca fleetroot-station fleetroot-gateway; do
    run -0 "$program" --version
    [[ $output == "$program "[0-9]* ]]
    run -0 "$program" --help
  done
}

@test "what cannot be understood: 64, an error and a hint" {
  for program in fleetroot-ca fleetroot-station fleetroot-gateway; do
    refused 64 '.' "$program"
    refused 64 'frobnicate' "$program" frobnicate
    refused 64 '.' "$program" init --home x --name y --frobnicate
    refused 64 '.' "$program" init
  done
  refused 64 '.' fleetroot-station provision --home st --order PO-1 --token pkcs11:token=x
  refused 64 '.' fleetroot-ca order create --home ca --id 'PO/1' --profile device --pattern x --quantity 1
  refused 64 '.' fleetroot-ca order create --home ca --id PO-1 --profile device --pattern x --quantity -1
}

# The options of a command that take a value, by name; then its positionals, as empty lines.
with_a_value() {
  "$@" --help | awk '/^[A-Z][a-z]+:/ { section = $1 }
    section == "Positionals:" && /^  [^ ]/ { print "" }
    section == "Options:" && /^  --[a-z-]+ [A-Z][A-Z]/ { print $1 }'
}

@test "an option with an empty value is refused, whatever it is: an unset variable turns no check off" {
  checked=0
  for program in fleetroot-ca fleetroot-station fleetroot-gateway; do
    while read -r -a command; do
      while read -r option; do
        [[ "${command[*]} $option" == "provision --device-id" ]] && continue # a scan: device_ids.bats
        refused 64 "error: ${option:-[a-zA-Z]+}: (the value is empty|.*( not in | is no ))" \
          "$program" "${command[@]}" ${option:+"$option"} ""
        checked=$((checked + 1))
      done < <(with_a_value "$program" "${command[@]}")
    done < <(leaf_commands "$program")
  done
  ((checked > 100))
}

@test "an empty value stops a command that would have done without the option" {
  make_factory DEV-1
  refused 64 '--checkpoint' fleetroot-ca ledger verify --home ca --checkpoint ""
  refused 64 '--order' fleetroot-ca respond --home ca --order "" </dev/null
  refused 64 '--order' fleetroot-ca station bind --home ca --name st-01 --order PO-1 --order ""
  refused 64 '--out' fleetroot-ca crl publish --home ca --out=""
  [[ ! -e ca/crl.der ]]
  # and takes nothing else for the value
  refused 64 'error: --reason: the value is empty' fleetroot-ca rework authorize --home ca --device-id DEV-1 --reason= --dry-run
  refused 64 'error: --name: the value is empty' fleetroot-ca init --home ca-2 --name= --single-tier
  refused 64 'error: --out: the value is empty' fleetroot-station media export --home st --out= --json
  [[ ! -e ca-2 && ! -e --json ]]
  run ! --separate-stderr fleetroot-gateway device list --home= --json
  [[ $status == 64 && $(jq --raw-output .error.code <<<"$output") == usage ]]
  FLEETROOT_CA_HOME='' refused 64 '--home is required' fleetroot-ca ledger verify
}
