#!/usr/bin/env bats
# verify and inspect: what they ask of a token, and what they say where nobody can know.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1 DEV-2
  make_token dev-1
}

verify() {
  on_token dev-1 fleetroot-station verify --home st --token "$(token_uri dev-1)" "$@"
}

# by_witness COMMAND [OPTION…]: of fleetroot-station, on the token behind the witness
by_witness() {
  WITNESS_MODULE=$softhsm WITNESS_LOG=${log:-$PWD/calls} on_token dev-1 fleetroot-station "$1" \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin" "${@:2}"
}

# failed_checks COMMAND…: their names
failed_checks() {
  "$@" --json 2>/dev/null | jq -r '.checks[] | select(.result == "fail").check'
}

@test "every key pair of the policy must be there, and of its kind" {
  provision dev-1 DEV-1 --preset aktualizr
  run -0 verify --device-id DEV-1
  run -0 verify # the journal knows the token
  run -0 on_token dev-1 fleetroot-station verify --fleet-root ca/fleet-root.pem --ca-certificate ca/issuing-ca.pem \
    --preset aktualizr --token "$(token_uri dev-1)"

  for type in privkey pubkey; do stranger dev-1 --delete-object --type $type --id 03; done
  for command in 'verify' 'verify --device-id DEV-1' 'verify --preset aktualizr'; do
    # shellcheck disable=SC2086 # words
    refused 65 'does not have the identity' $command
    # shellcheck disable=SC2086
    [[ $(failed_checks $command) == 'key 03' ]]
  done
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 03 --label uptane --usage-sign
  refused 65 'does not have the identity' verify
  [[ $output == *"FAIL  key 03"*"is p256, not rsa2048"* ]]
}

@test "a key of another kind than the journal says is not the device's" {
  provision dev-1 DEV-1 --algorithm p384
  run -0 verify --device-id DEV-1
  sqlite3 st/journal.db "UPDATE devices SET algorithm = 'p256'"
  [[ $(failed_checks verify --device-id DEV-1) == key ]]
  rm st/journal.db*
  run -0 verify --device-id DEV-1 # nobody knows
}

@test "a token that fails has not the wrong identity: 75, and JSON says it too" {
  provision dev-1 DEV-1
  for error in 0x30 0x32 0x5; do # DEVICE_ERROR, DEVICE_REMOVED, GENERAL_ERROR
    for call in 'C_Sign 1' 'CKA_VALUE 1' 'CKA_EC_POINT 1'; do
      WITNESS_ANSWER="$call $error" refused 75 'the token failed to' by_witness verify --home st --device-id DEV-1
    done
  done
  [[ $(WITNESS_ANSWER='C_Sign 1 0x32' by_witness verify --home st --json | jq -r '.event, .result, .error.code' | xargs) == \
    'verify fail token_unplugged' ]]
  WITNESS_WRONG_SIGNATURE=1 refused 65 'does not have the identity' by_witness verify --home st
  mv dev-1/tokens/* . && make_token_directory dev-1 && add_token dev-1 other
  [[ $(verify --json | jq -r .error.code) == token_absent ]]
  [[ $(on_token dev-1 fleetroot-station inspect --token "$(token_uri dev-1)" --json | jq -r '.event, .error.code' | xargs) == \
    'inspect token_absent' ]]
}

@test "a module that hangs: 75 when the station's patience is over" {
  provision dev-1 DEV-1
  sed -i 's/^timeout_seconds = .*/timeout_seconds = 1/' st/station.toml
  mkfifo nobody-reads # the witness waits to write into it
  log=$PWD/nobody-reads refused 75 'has not answered for 1 seconds' by_witness verify --home st
  [[ $(log=$PWD/nobody-reads by_witness verify --home st --json | jq -r .error.code) == token_unplugged ]]
}

@test "a clock that is behind is no word about the device: 78" {
  provision dev-1 DEV-1
  behind() {
    on_token dev-1 env FAKETIME=-2d LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 \
      fleetroot-station verify --home st --token "$(token_uri dev-1)" "$@"
  }
  refused 78 'valid only from .*, and here it is' behind
  [[ $(behind --json | jq -r .error.code) == clock ]]
}

@test "a token that this station has replaced is the device's no more, until there is another key on it" {
  make_token dev-2 dev-3 dev-4
  provision dev-1 DEV-1
  fleetroot-ca rework authorize --home ca --device-id DEV-1
  provision dev-2 DEV-1

  for command in 'verify' 'verify --device-id DEV-1'; do
    # shellcheck disable=SC2086 # words
    refused 65 'does not have the identity' $command
    [[ $output == *"FAIL  station's journal"*"DEV-1 has another token by now, with another key"* ]]
    # shellcheck disable=SC2086
    [[ $(failed_checks $command) == "station's journal" ]]
  done
  run -0 on_token dev-2 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri dev-2)"

  # whose certificate came, and was never confirmed
  half_confirm
  run -69 provision dev-3 DEV-2 --ca "$half"
  fleetroot-ca rework authorize --home ca --device-id DEV-2
  provision dev-4 DEV-2
  refused 65 'does not have the identity' on_token dev-3 fleetroot-station verify --home st --token "$(token_uri dev-3)"
  [[ $output == *"FAIL  station's journal"* ]]

  # another station has emptied it, and gone on with it
  make_station st2 st-02
  for type in privkey pubkey cert; do stranger dev-1 --delete-object --type $type --id 01; done
  fleetroot-ca rework authorize --home ca --device-id DEV-1
  on_token dev-1 fleetroot-station provision --home st2 --order PO-1 --device-id DEV-1 --token "$(token_uri dev-1)"
  run -0 verify --device-id DEV-1
}

@test "another root beside the home: the home's issuing CA still counts" {
  provision dev-1 DEV-1
  run -0 verify --fleet-root ca/fleet-root.pem
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj '/CN=Test Factory Fleet Root' -out other.pem
  refused 65 'does not have the identity' verify --fleet-root other.pem
  refused 64 'retry-pin requires --home' on_token dev-1 fleetroot-station verify --fleet-root ca/fleet-root.pem --retry-pin \
    --token "$(token_uri dev-1)"
}

@test "a device of the issuing CA before this one: what is missing is said, and enrolled beside it" {
  fleetroot-ca init --home ca-2 --name "Second Factory" --external-root
  fleetroot-ca root issue --home ca --request ca-2/issuing-ca.csr --out ca-2.pem
  fleetroot-ca root accept --home ca-2 --fleet-root ca/fleet-root.pem --issuing-certificate ca-2.pem
  provision dev-1 DEV-1
  fleetroot-ca station enroll --home ca-2 --name st-01 --request st/station.csr --out st-01-2.pem
  enroll() {
    fleetroot-station enroll --home st --certificate st-01-2.pem --fleet-root ca/fleet-root.pem \
      --ca 'exec:fleetroot-ca respond --home ca-2' "$@"
  }

  enroll --ca-certificate ca-2.pem
  run -0 provision dev-1 DEV-1
  refused 65 'does not have the identity' verify --device-id DEV-1
  [[ $(failed_checks verify --device-id DEV-1) == chain ]]
  key_identifier=$(openssl x509 -in ca/issuing-ca.pem -noout -ext subjectKeyIdentifier | tail -n 1 | tr -d ' :')
  [[ $output == *"FAIL  chain "*"CN=Test Factory Issuing CA"*"key identifier ${key_identifier,,}"* ]]
  [[ $stderr == *": hint: hold this device; if that is a CA of this fleet, "*"--ca-certificate"* ]]

  # the first is the one whose answers count
  refused 65 'message|certificate|signature' enroll --ca-certificate ca/issuing-ca.pem
  enroll --ca-certificate ca-2.pem --ca-certificate ca/issuing-ca.pem
  run -0 verify --device-id DEV-1
  make_token dev-2
  printf 'device_id\nDEV-3\n' >PO-3.csv
  fleetroot-ca order create --home ca-2 --id PO-3 --profile device --devices PO-3.csv
  of_second() {
    on_token dev-2 fleetroot-station "$1" --home st --device-id DEV-3 --token "$(token_uri dev-2)" "${@:2}"
  }
  run -0 of_second provision --order PO-3
  run -0 of_second verify
}

# judged_foreign PATTERN: whether verify and provision both say so of the token
judged_foreign() {
  refused 65 'does not have the identity' verify --device-id DEV-1
  refused 65 "$1" provision dev-1 DEV-1
  [[ $(error_code provision dev-1 DEV-1) == token_foreign_object ]]
}

@test "a key that wants the PIN for each signature is wrong, whatever it says when it is to sign" {
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 01 --label vendor --always-auth
  judged_foreign 'already holds an object \((private|public)_key\)'
  [[ $(failed_checks verify --device-id DEV-1 | xargs) == "key attributes certificate" ]]
}

@test "a stranger's certificate that is not valid yet is a stranger's, and no word about the clock" {
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 01 --label vendor --usage-sign
  days_later 60 openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=vendor \
    -outform DER -out vendor.der
  stranger dev-1 --write-object vendor.der --type cert --id 01 --label vendor
  judged_foreign 'already holds an object'
  failed=$(failed_checks verify --device-id DEV-1)
  for check in "certificate's key" 'device ID' chain validity; do grep -qx -- "$check" <<<"$failed"; done
}

@test "a placeholder has no key usage, and no issuer that would be looked for" {
  run -69 provision dev-1 DEV-1 --placeholder --ca 'exec:false'
  refused 65 'does not have the identity' verify --device-id DEV-1
  [[ $output == *"FAIL  usage "*"it has no key usage"* ]]
  [[ $stderr == *": hint: hold this device; the lines that say FAIL tell why"* ]]
}

@test "a device that is known to be wrong is, whether or not the gateway can be reached" {
  provision dev-1 DEV-1
  at_gateway() {
    verify --gateway https://127.0.0.1:1 --gateway-ca ca/fleet-root.pem "$@"
  }
  refused 69 'gateway|connect|reach' at_gateway --device-id DEV-1
  refused 65 'does not have the identity' at_gateway --device-id DEV-2
  [[ $(failed_checks at_gateway --device-id DEV-2 | xargs) == "device ID gateway" ]]
}
