#!/usr/bin/env bats
# One device ID, one live certificate. One public key, one device, for ever.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1 DEV-2
  make_token dev-1
}

@test "a provisioned token under another ID" {
  provision dev-1 DEV-1
  remember dev-1

  refused 65 'DEV-1|token' provision dev-1 DEV-2

  nothing_changed
}

@test "a provisioned token at another station" {
  provision dev-1 DEV-1
  make_station st2 st-02
  remember dev-1

  run --separate-stderr on_token dev-1 fleetroot-station provision --home st2 --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)"

  [[ $status == 0 || $status == 65 ]]
  nothing_changed
}

@test "a second token for a device that has a certificate: the token stays empty" {
  make_token dev-2
  provision dev-1 DEV-1
  remember dev-1 dev-2

  refused 65 'DEV-1' provision dev-2 DEV-1

  nothing_changed
}

@test "the same at a station that never saw the first: the CA knows" {
  make_token dev-2
  make_station st2 st-02
  provision dev-1 DEV-1
  remember dev-1 dev-2
  again() {
    on_token dev-2 fleetroot-station provision --home st2 --order PO-1 --device-id DEV-1 --token "$(token_uri dev-2)" "$@"
  }

  refused 65 'DEV-1' again

  [[ $(error_code again) == device_has_certificate ]]
  nothing_changed
}

@test "a copy of a token's files is the same token" {
  provision dev-1 DEV-1
  make_token_directory clone
  cp -r dev-1/tokens/. clone/tokens/
  cp dev-1/pin clone/pin
  files=$(objects_in clone)

  refused 65 'DEV-1|token' on_token clone fleetroot-station provision --home st --order PO-1 --device-id DEV-2 \
    --token "pkcs11:token=dev-1?module-path=$softhsm&pin-source=file:clone/pin"

  [[ $(objects_in clone) == "$files" ]]
  [[ $(certificates_in_ledger) == 1 ]]
}
