#!/usr/bin/env bats
# What the second run for a device may touch and what it must not: time has passed since the first.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1 DEV-2
  make_token dev-1
}

# faulty ANSWER COMMAND…: with the token behind a module that answers one call with an error
faulty() {
  WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls WITNESS_ANSWER=$1 "${@:2}"
}
witnessed() { # DEVICE-ID [OPTION…]
  on_token dev-1 fleetroot-station provision --home st --order PO-1 --device-id "$1" \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin" "${@:2}"
}

@test "what another program put on the token meanwhile stays there: on media, and when the CA refuses" {
  run -0 provision dev-1 DEV-1 --ca media:queue
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 09 --label wifi
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=wifi -outform DER -out wifi.der
  stranger dev-1 --write-object wifi.der --type cert --id 09 --label wifi
  [[ $(objects_on dev-1) == 5 ]]

  run -0 provision dev-1 DEV-1 --ca media:queue
  [[ $(objects_on dev-1) == 5 ]]
  run -0 provision dev-1 DEV-1
  [[ $(objects_on dev-1) == 6 ]]

  make_token dev-9
  run -69 provision dev-9 DEV-9 --ca exec:false
  stranger dev-9 --keypairgen --key-type EC:prime256v1 --id 09 --label wifi
  refused 65 'not on order' provision dev-9 DEV-9
  [[ $(objects_on dev-9) == 2 && $(stranger dev-9 --list-objects | grep -c wifi) == 2 ]]
}

@test "a key that may be certified is not given up because the token failed once" {
  run -75 faulty 'C_CreateObject 1 0x30' witnessed DEV-1
  key=$(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r .public_key)
  for number in 1 2 3; do
    run -75 faulty "C_Sign $number 0x30" witnessed DEV-1
    [[ $(objects_on dev-1 'Private Key') == 1 ]]
  done

  run -0 faulty none witnessed DEV-1
  [[ $(certificates_in_ledger) == 1 && $(objects_on dev-1) == 3 ]]
  [[ $(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r .public_key) == "$key" ]]
  # nor is a device that is done to be held for it
  refused 75 'failed to sign' faulty 'C_Sign 1 0x30' witnessed DEV-1
  run -0 faulty none witnessed DEV-1
}

@test "a wrong scan while the CA is away: the token is free again once the CA has refused it" {
  run -69 provision dev-1 WRONG-1 --ca exec:false
  refused 65 'belongs to device WRONG-1, which is begun and not finished' provision dev-1 DEV-1
  [[ $stderr == *'hint: scan that device once more: it is finished, or refused and the token free again'* ]]

  refused 65 'WRONG-1 is not on order' provision dev-1 WRONG-1

  [[ $(objects_on dev-1) == 0 ]]
  run -0 provision dev-1 DEV-1
}

@test "a wrong scan while the CA is away, and a token that was emptied since" {
  run -69 provision dev-1 WRONG-1 --ca exec:false
  stranger dev-1 --delete-object --type privkey --id 01
  stranger dev-1 --delete-object --type pubkey --id 01

  run -0 provision dev-1 DEV-1
}

@test "a rework that was begun goes on with the same command" {
  provision dev-1 DEV-1
  for type in privkey pubkey cert; do stranger dev-1 --delete-object --type $type --id 01; done
  fleetroot-ca rework authorize --home ca --device-id DEV-1

  run -69 provision dev-1 DEV-1 --rework --ca exec:false
  run -0 provision dev-1 DEV-1 --rework --ca media:queue
  run -0 provision dev-1 DEV-1 --rework --ca media:queue
  run -0 provision dev-1 DEV-1 --rework

  [[ $(objects_on dev-1) == 3 ]]
  [[ $(fleetroot-ca cert list --home ca --json | jq -r .state | sort | xargs) == 'issued revoked' ]]
}

@test "a journal that was lost: the device is recorded with the key that it has" {
  run -0 provision dev-1 DEV-1 --algorithm p384
  rm st/journal.db*
  refused 64 'with the preset fleetroot and the algorithm p384' provision dev-1 DEV-1 --algorithm rsa2048

  run -0 provision dev-1 DEV-1
  run -0 provision dev-1 DEV-1
  refused 64 'with the preset fleetroot and the algorithm p384' provision dev-1 DEV-1 --algorithm rsa2048
  rm st/journal.db*
  refused 75 'failed to sign' faulty 'C_Sign 1 0x32' witnessed DEV-1
}

@test "a journal that another program holds: 75, and nothing of the device is touched" {
  run -69 provision dev-1 DEV-1 --ca exec:false
  coproc sqlite3 st/journal.db
  echo "BEGIN IMMEDIATE; SELECT 'held';" >&"${COPROC[1]}"
  read -r <&"${COPROC[0]}"

  refused 75 'the database is in use by another process' provision dev-1 DEV-1

  echo .quit >&"${COPROC[1]}"
  run -0 provision dev-1 DEV-1
}
