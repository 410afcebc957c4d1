#!/usr/bin/env bats
# Tokens and modules that cannot be used, or that belong to somebody else.
load factory
load line

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
}

with_uri() {
  on_token "$1" fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --token "$2" "${@:3}"
}

@test "a foreign key under our ID is not touched" {
  make_token dev-1
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 01 --label "somebody else's"
  remember dev-1

  refused 65 'dev-1|object|key' provision dev-1 DEV-1
  # every key policy has something under this ID
  [[ $stderr == *"use an empty token"* && $stderr != *"--preset"* ]]

  [[ $(error_code provision dev-1 DEV-1) == token_foreign_object ]]
  nothing_changed
}

@test "a certificate that was taken away from a finished token is gone, and said to be" {
  make_token dev-1
  provision dev-1 DEV-1
  stranger dev-1 --delete-object --type cert --id 01
  refused 65 'DEV-1 was provisioned, but CN=DEV-1 is no longer on the token with the ID 01' provision dev-1 DEV-1
}

@test "what lies on a token forges no lines of inspect" {
  make_token dev-1
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 42 --label $'x\e[2J\r  public key   ID 01'

  on_token dev-1 fleetroot-station inspect --token "$(token_uri dev-1)" >out

  run ! env LC_ALL=C grep --quiet $'[\x01-\x09\x0b-\x1f\x7f]' out
  grep --quiet --fixed-strings 'label x\x1b[2J\x0d  public key   ID 01' out
}

@test "a foreign key under our label is not touched" {
  make_token dev-1
  stranger dev-1 --keypairgen --key-type RSA:2048 --id 77 --label fleetroot
  remember dev-1

  refused 65 'dev-1|object|key' provision dev-1 DEV-1

  [[ $(error_code provision dev-1 DEV-1) == token_foreign_object ]]
  nothing_changed
}

@test "a foreign certificate under our ID is not touched" {
  make_token dev-1
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=DEV-1 -outform DER -out foreign.der
  stranger dev-1 --write-object foreign.der --type cert --id 01 --label theirs
  remember dev-1

  refused 65 'dev-1|object|certificate' provision dev-1 DEV-1

  nothing_changed
}

@test "foreign objects under other names stay where they are, beside ours" {
  make_token dev-1
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 42 --label disk-encryption
  foreign=$(objects_in dev-1)

  run -0 provision dev-1 DEV-1

  [[ $(comm -12 <(echo "$foreign") <(objects_in dev-1)) == "$foreign" ]]
  [[ $(objects_on dev-1 "Private Key") == 2 ]]
}

@test "a key that was made outside of the token is no key of ours" {
  make_token dev-1
  provision dev-1 DEV-1
  make_token forged
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -outform DER -out key.der
  stranger forged --write-object key.der --type privkey --id 01 --label fleetroot --usage-sign
  remember forged

  run --separate-stderr ! provision forged DEV-1

  [[ $stderr == *": error: "*": hint: "* ]]
  nothing_changed
}

@test "a token that is not there: 75, try again" {
  make_token dev-1

  refused 75 'token' with_uri dev-1 "pkcs11:token=dev-2?module-path=$softhsm&pin-source=file:dev-1/pin"
  [[ $(error_code with_uri dev-1 "pkcs11:token=dev-2?module-path=$softhsm&pin-source=file:dev-1/pin") == token_absent ]]
  run --separate-stderr -75 with_uri dev-1 "pkcs11:token=dev-2?module-path=$softhsm&pin-source=file:dev-1/pin" --json
  [[ $(tail -n 1 <<<"$output" | jq .error.retry) == true ]]
}

@test "a module that is not there: 78" {
  make_token dev-1
  refused 78 'nothing.so' with_uri dev-1 "pkcs11:token=dev-1?module-path=/usr/lib/nothing.so&pin-source=file:dev-1/pin"
}

@test "a module that is no PKCS#11: 78" {
  make_token dev-1
  printf 'not even a library\n' >text.so
  for module in /lib/x86_64-linux-gnu/libm.so.6 "$PWD/text.so" /etc/passwd /usr/lib; do
    refused 78 'module' with_uri dev-1 "pkcs11:token=dev-1?module-path=$module&pin-source=file:dev-1/pin"
    [[ $(error_code with_uri dev-1 "pkcs11:token=dev-1?module-path=$module&pin-source=file:dev-1/pin") == module_unusable ]]
  done
}

@test "a module that does not initialise: 78, with its own answer and not with what OpenSSL had left over" {
  make_token dev-1 dev-2
  rm -r dev-1/tokens
  rm dev-2/softhsm2.conf
  for token in dev-1 dev-2; do
    uri="pkcs11:token=$token?module-path=$softhsm&pin-source=file:$token/pin"
    refused 78 "the PKCS#11 module $softhsm does not initialise \\(CKR_GENERAL_ERROR\\)$" with_uri "$token" "$uri"
    grep --quiet 'hint: .*SOFTHSM2_CONF.*token directory' <<<"$stderr"
    [[ $(error_code with_uri "$token" "$uri") == module_unusable ]]
  done
}

@test "an uninitialised token: 78, and no hang" {
  make_token_directory dev-1
  (umask 077 && echo "$default_pin" >dev-1/pin)

  refused 78 'no initialised token matches .*one is present that is not initialised' with_uri dev-1 \
    "pkcs11:model=SoftHSM%20v2?module-path=$softhsm&pin-source=file:dev-1/pin"
  # what the exit code says
  [[ $output == "FAIL DEV-1  hold the line"* ]]
  make_token dev-2
  refused 75 'no token matches token=nonesuch \(present: dev-2 .*, and one that is not initialised\)' with_uri dev-2 \
    "pkcs11:token=nonesuch?module-path=$softhsm&pin-source=file:dev-2/pin"
}

@test "two tokens that match: 78, and neither is touched" {
  make_token_directory dev-1
  add_token dev-1 dev-1 0
  add_token dev-1 dev-1 1
  files=$(find dev-1/tokens -type f -exec sha256sum {} + | sort)

  refused 78 'two|2|more than one|ambiguous' provision dev-1 DEV-1

  [[ $(error_code provision dev-1 DEV-1) == token_ambiguous ]]
  [[ $(find dev-1/tokens -type f -exec sha256sum {} + | sort) == "$files" ]]
  # the serial number tells them apart
  serial=$(on_token dev-1 pkcs11-tool --module "$softhsm" --list-token-slots | awk '/serial num/ { print $4; exit }')
  run -0 with_uri dev-1 "pkcs11:token=dev-1;serial=$serial?module-path=$softhsm&pin-source=file:dev-1/pin"
}

# on_witnessed COMMAND…: of fleetroot-station, on dev-1 behind the witness
on_witnessed() {
  WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls on_token dev-1 fleetroot-station "$@" \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin"
}

@test "a neighbour's slot that cannot be read disturbs nobody; nor does a token that is plugged in meanwhile" {
  make_token dev-1
  for answer in 0xe1 0x30 0x5; do # TOKEN_NOT_RECOGNIZED, DEVICE_ERROR, GENERAL_ERROR
    WITNESS_SLOT=$answer run -0 on_witnessed inspect
  done
  WITNESS_ANSWER="C_GetSlotList 2 0x150" run -0 on_witnessed inspect # BUFFER_TOO_SMALL
}

@test "a module that shows more slots than any machine has: 65" {
  make_token dev-1
  for count in 0xffffffffffffffff 0x10000000; do
    WITNESS_SLOTS=$count refused 65 'the module says that it has [0-9]* slots' on_witnessed inspect
  done
}

@test "a flag that is longer than one is not taken for absent: a key that decrypts had passed" {
  make_token dev-1
  WITNESS_LONG_FLAG=yes refused 65 'a flag of 8 bytes' on_witnessed provision --home st --order PO-1 --device-id DEV-1
}

@test "a write-protected token is verified, and nothing else is tried with it" {
  make_token dev-1
  export WITNESS_WRITE_PROTECTED=yes
  refused 65 'the token failed to generate a key pair' on_witnessed provision --home st --order PO-1 --device-id DEV-1
  [[ $stderr == *": hint: the token is write-protected: use another one"* ]]
  provision dev-1 DEV-1
  run -0 on_witnessed verify --home st --device-id DEV-1
  run -0 on_witnessed provision --home st --order PO-1 --device-id DEV-1
}

@test "a token URI that can be read in two ways is refused: 64" {
  make_token dev-1
  query="module-path=$softhsm&pin-source=file:dev-1/pin"

  refused 64 'token URI' with_uri dev-1 "dev-1"
  refused 64 'twice' with_uri dev-1 "pkcs11:token=dev-1;token=dev-2?$query"
  refused 64 'slot' with_uri dev-1 "pkcs11:token=dev-1;slot-description=x?$query"
  refused 64 'character' with_uri dev-1 "pkcs11:token=dev 1?$query"
  refused 64 'pin-value' with_uri dev-1 "pkcs11:token=dev-1?module-path=$softhsm&pin-value=1234"
  refused 64 'command' with_uri dev-1 "pkcs11:token=dev-1?module-path=$softhsm&pin-source=%7Ccat%20dev-1/pin"
}

@test "module-path is understood in both parts of the URI" {
  make_token dev-1

  run -0 with_uri dev-1 "pkcs11:token=dev-1;module-path=$softhsm?pin-source=file:dev-1/pin"
}

@test "a token that another station works on: 75" {
  make_token dev-1
  # the lock that a running station holds, taken by somebody else
  provision dev-1 DEV-1
  lock=$(find st/locks -type f ! -name softhsm)
  [[ -n $lock ]]

  refused 75 'dev-1|token|busy' flock "$lock" bash -c 'SOFTHSM2_CONF=$PWD/dev-1/softhsm2.conf exec fleetroot-station \
    provision --home st --order PO-1 --device-id DEV-1 --token "$0"' "$(token_uri dev-1)"
}

@test "a token that a station of another home works on: 75" {
  make_token dev-1
  make_station other st-02
  slow_ca
  provision dev-1 DEV-1 --ca "exec:$PWD/slow-ca" 3>&- &
  wait_for_requests 1

  run --separate-stderr -75 on_token dev-1 fleetroot-station provision --home other --order PO-1 --device-id DEV-1 \
    --token "$(token_uri dev-1)" --json
  [[ $(tail -n 1 <<<"$output" | jq -r .error.code) == token_busy ]]
  let_requests_go 1
  wait $!
  run -0 on_token dev-1 fleetroot-station provision --home other --order PO-1 --device-id DEV-1 --token "$(token_uri dev-1)"
  [[ $output == *'already provisioned'* ]]
}

# faulty ANSWER DEVICE-ID [OPTION…]: provision dev-1, whose module answers one call with an error
faulty() {
  WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls WITNESS_ANSWER=$1 on_token dev-1 \
    fleetroot-station provision --home st --order PO-1 --device-id "$2" \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin" "${@:3}"
}

@test "a token that goes at any of its signatures: 75, and the same key is finished with" {
  make_token dev-1
  ended=75
  for ((number = 1; ended == 75; ++number)); do
    run --separate-stderr faulty "C_Sign $number 0x32" DEV-1 --placeholder
    echo "$number: $status $stderr"
    ended=$status
    [[ $ended == 0 || $stderr == *"error: the token failed to sign (CKR_DEVICE_REMOVED)"* ]]
    ((number < 2)) || [[ $(stranger dev-1 --list-objects --type pubkey) == "$key" ]]
    key=$(stranger dev-1 --list-objects --type pubkey)
  done
  ((ended == 0 && number > 4))
  [[ $(objects_on dev-1 "Private Key") == 1 && $(objects_on dev-1 Certificate) == 1 ]]
}

@test "an attribute that could not be read is no absent one: 75, and foreign objects stay" {
  make_token dev-1
  openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=vendor -outform DER -out vendor.der
  stranger dev-1 --write-object vendor.der --type cert --id 77 --label vendor
  remember dev-1
  for error in 0x30 0x32 0x5; do # DEVICE_ERROR, DEVICE_REMOVED, GENERAL_ERROR
    refused 75 'the token failed to show an attribute' faulty "CKA_VALUE 1 $error" DEV-1
    # one that the CA refuses, and whose plan is undone
    refused 75 'the token failed to show an attribute' faulty "CKA_VALUE 1 $error" DEV-9
    nothing_changed
  done
  for number in {1..12}; do # wherever it comes
    run faulty "CKA_VALUE $number 0x30" DEV-9
    ((status == 65 || status == 75))
    [[ $(stranger dev-1 --list-objects --type cert) == *vendor* ]]
  done
}

# hanging CALL DEVICE-ID [OPTION…]: provision dev-1, whose module never comes back from one call; killed where the station
# waits for it
hanging() {
  WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls WITNESS_HANG_IN=$1 on_token dev-1 timeout --signal KILL 30 \
    fleetroot-station provision --home st --order PO-1 --device-id "$2" \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin" "${@:3}"
}

@test "a module that hangs when all is done: what came of the device is said all the same" {
  make_token dev-1
  sed -i 's/^timeout_seconds = .*/timeout_seconds = 1/' st/station.toml

  run --separate-stderr -65 hanging 'C_Finalize 1' DEV-9
  [[ $output == 'FAIL DEV-9  hold this device' && $stderr == *"error: device DEV-9 is not "* ]]
  run --separate-stderr -0 hanging 'C_CloseSession 2' DEV-1
  [[ $output == 'PASS DEV-1  certificate '* && $stderr == '' ]]
  run -0 hanging 'C_Finalize 1' DEV-1
  [[ $output == 'PASS DEV-1  already provisioned: '* ]]
}

@test "a module that hangs as a refused device is cleared: the refusal is said, and the next run clears it" {
  make_token dev-1
  sed -i 's/^timeout_seconds = .*/timeout_seconds = 1/' st/station.toml

  run --separate-stderr -65 hanging 'C_DestroyObject 1' DEV-9
  [[ $output == 'FAIL DEV-9  hold this device' && $stderr == *"error: device DEV-9 is not "*$'\n'*": hint: "* ]]
  [[ $(objects_on dev-1 "Private Key") == 1 ]]

  refused 65 'device DEV-9 is not ' provision dev-1 DEV-9
  [[ $(objects_on dev-1) == 0 ]]
  provision dev-1 DEV-1
}

@test "a module that hangs in a step: 75, and a person who reads a file finds it there" {
  make_token dev-1
  sed -i 's/^timeout_seconds = .*/timeout_seconds = 1/' st/station.toml

  run --separate-stderr -75 hanging 'C_CloseSession 1' DEV-1
  [[ $output == 'FAIL DEV-1  try the same device again' && $stderr == *"the token has not answered for 1 seconds"* ]]
  run -0 provision dev-1 DEV-1
}

@test "a token that has room for one session: its login ends with it, and there is another" {
  make_token dev-1
  export WITNESS_SESSIONS=1
  refused 65 'device DEV-9 is not ' faulty none DEV-9
  [[ $(objects_on dev-1) == 0 ]]
  run -0 faulty none DEV-1 --placeholder
  [[ $(objects_on dev-1) == 3 ]]
  run -0 faulty none DEV-1
  [[ $output == *'already provisioned'* ]]
}
