#!/usr/bin/env bats
# Tokens that count wrong PINs and say in their flags how many tries are left. SoftHSM does not: the witness counts for it.
load factory
load line

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
  make_token dev-1
  export WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls WITNESS_PIN_TRIES=$PWD/tries
}

# on_counting COMMAND [OPTION…]: of fleetroot-station, on the token that counts
on_counting() {
  on_token dev-1 fleetroot-station "$1" \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin" "${@:2}"
}
counted() {
  on_counting provision --home st --order PO-1 --device-id DEV-1 "$@"
}

tries_left() { # [NUMBER]: from now on
  if (($# > 0)); then echo "$1" >tries; else cat tries; fi
}
type_pin() { # right|wrong
  if [[ $1 == right ]]; then echo "$default_pin" >dev-1/pin; else echo wrong-pin >dev-1/pin; fi
}
no_login() {
  run ! grep -q C_Login calls
}

@test "the last try is spent by no command, not even with the right PIN and --retry-pin" {
  remember dev-1
  tries_left 1
  for command in 'counted' 'counted --retry-pin' 'on_counting verify --home st' 'on_counting inspect'; do
    # shellcheck disable=SC2086 # words
    refused 77 'has one PIN try left, which is never spent' $command
    [[ $stderr == *": hint: log in once with the right PIN by the token vendor's tool"* ]]
  done
  [[ $(error_code counted) == pin_locked ]]
  no_login
  [[ $(tries_left) == 1 ]]
  nothing_changed
  # as the hint says
  stranger dev-1 --list-objects && tries_left 3
  run -0 counted
}

@test "a locked PIN: 77, the hint says who can help, and no PIN is sent" {
  tries_left 0
  for command in 'counted' 'counted --retry-pin' 'on_counting verify --home st' 'on_counting inspect'; do
    # shellcheck disable=SC2086 # words
    refused 77 'the PIN of the token dev-1 .* is locked' $command
    [[ $stderr == *": hint: the security officer must set a new PIN"* ]]
  done
  [[ $(error_code counted) == pin_locked ]]
  no_login
}

@test "one try is gone: the right PIN gives it back, a wrong one is the last that is spent" {
  tries_left 2
  run -0 counted
  [[ $(tries_left) == 3 ]]

  tries_left 2
  type_pin wrong
  refused 77 'is wrong' counted
  for _ in 1 2 3; do
    refused 77 'try left' counted --retry-pin
  done
  [[ $(tries_left) == 1 && $(grep -c C_Login calls) == 2 ]]
}

@test "--retry-pin sends a PIN that was wrong before, once, and the right one clears the count" {
  type_pin wrong
  refused 77 'is wrong' counted
  tries_left 3 # somebody has logged in elsewhere
  refused 77 'is wrong' counted
  tries_left 3
  refused 77 'was wrong 2 times' counted
  [[ $stderr == *": hint: "*"run provision or verify with --retry-pin"* ]] # line has no such option
  (($(grep -c C_Login calls) == 2))

  refused 77 'is wrong' counted --retry-pin
  (($(grep -c C_Login calls) == 3))
  type_pin right
  refused 77 'was wrong 3 times' counted
  run -0 counted --retry-pin
  run -0 counted
}

@test "a run that is cut off as it logs in may have spent a try" {
  unset WITNESS_PIN_TRIES
  type_pin wrong
  for _ in 1 2 3 4; do
    WITNESS_KILL='C_Login 1' run counted
  done
  (($(grep -c C_Login calls) == 2))
  refused 77 'was wrong 2 times \(a login that was cut off counts\)' counted
  type_pin right
  run -0 counted --retry-pin
  # one that was right all the while needs nobody's word
  for _ in 1 2 3; do
    WITNESS_KILL='C_Login 1' run -137 counted
    run -0 counted
  done
}

# Known by the file's name, as everywhere.
@test "a token in SoftHSM, which locks none: who is cut off as he logs in again and again is still let in" {
  unset WITNESS_PIN_TRIES
  type_pin right
  ln -s "$FLEETROOT_WITNESS" libsofthsm2.so
  for _ in 1 2 3 4; do
    FLEETROOT_WITNESS=$PWD/libsofthsm2.so WITNESS_KILL='C_Login 1' run -137 counted
  done
  FLEETROOT_WITNESS=$PWD/libsofthsm2.so run -0 counted
}

@test "a login that the token does not answer, as one that is pulled out, may have spent a try" {
  unset WITNESS_PIN_TRIES
  type_pin wrong
  for answer in 0x32 0x6; do
    WITNESS_ANSWER="C_Login 1 $answer" run -75 counted
  done
  refused 77 'was wrong 2 times \(a login that was cut off counts\)' counted
  (($(grep -c C_Login calls) == 2))
  type_pin right
  run -0 counted --retry-pin
  # one that was right all the while needs nobody's word
  for _ in 1 2 3; do
    WITNESS_ANSWER='C_Login 1 0x32' run -75 counted
    run -0 counted
  done
  # and before a PIN is sent nothing is spent
  for _ in 1 2 3; do
    WITNESS_ANSWER='C_OpenSession 1 0x32' run -75 counted
  done
  run -0 counted
}

@test "the CA's and the station's own tokens: their last try is not spent either" {
  tries_left 1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -subj /CN=DEV-1 -out csr
  for home in ca/ca.toml st/station.toml; do
    cp $home kept
    sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" $home
    case $home in
      ca/*) refused 77 'one PIN try left' fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request csr \
        --out DEV-1.pem ;;
    esac
    run --separate-stderr ! provision dev-1 DEV-1
    [[ $stderr == *"one PIN try left"* ]]
    cp kept $home
  done
  no_login
  [[ $(certificates_in_ledger) == 0 ]]
  run -0 provision dev-1 DEV-1
}

@test "the CA's and the station's own tokens: a PIN file that was wrong is tried once, until it is changed" {
  unset WITNESS_PIN_TRIES
  sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" ca/ca.toml st/station.toml
  while read -r program home pin; do
    check=("fleetroot-$program" config check --home "$home")
    : >calls
    cp "$pin" right
    echo wrong-pin >"$pin"
    refused 77 'the PIN for the token .* is wrong' "${check[@]}"
    for path in "$home" "$PWD/$home" "./$home"; do
      refused 77 "the PIN in .*$pin was wrong, and the file has not changed" "${check[@]::4}" "$path"
    done
    (($(grep -c C_Login calls) == 1))
    cat right >"$pin"
    run -0 "${check[@]}"
    echo wrong-pin >"$pin"
    refused 77 'the PIN for the token .* is wrong' "${check[@]}"
    touch "$pin"
    refused 77 'the PIN for the token .* is wrong' "${check[@]}"
    (($(grep -c C_Login calls) == 4))
    # however often it is changed
    for _ in 1 2 3; do
      touch "$pin"
      refused 77 "the PIN in .*$pin was wrong 2 times .*last try is never spent" "${check[@]}"
      [[ $stderr == *": hint: log in once with the right PIN"*"then remove $home/wrong-pin" ]]
    done
    [[ $(error_code "${check[@]}" --json) == pin_locked ]]
    (($(grep -c C_Login calls) == 4))
    cat right >"$pin"
    rm "$home/wrong-pin"
    run -0 "${check[@]}"
  done <<<"ca ca ca/issuing-ca.pin
station st st/station.pin"
  run -0 provision dev-1 DEV-1
  [[ ! -e ca/wrong-pin && ! -e st/wrong-pin ]]
}

@test "the CA's and the station's own tokens: who is cut off as it logs in may have spent a try" {
  unset WITNESS_PIN_TRIES
  sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" ca/ca.toml
  check=(fleetroot-ca config check --home ca)
  # one that was right all the while needs nobody's word
  for _ in 1 2 3; do
    WITNESS_KILL='C_Login 1' run -137 "${check[@]}"
    run -0 "${check[@]}"
  done
  [[ ! -e ca/wrong-pin ]]
  : >calls
  cp ca/issuing-ca.pin right
  echo wrong-pin >ca/issuing-ca.pin
  for _ in 1 2 3 4; do
    WITNESS_KILL='C_Login 1' run "${check[@]}"
  done
  (($(grep -c C_Login calls) == 2))
  refused 77 'the PIN in .*issuing-ca.pin was wrong 2 times \(a login that was cut off counts\)' "${check[@]}"
  cat right >ca/issuing-ca.pin
  rm ca/wrong-pin
  run -0 "${check[@]}"
}

@test "the CA's and the station's own tokens: a login that the token does not answer may have spent a try" {
  unset WITNESS_PIN_TRIES
  sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" ca/ca.toml
  check=(fleetroot-ca config check --home ca)
  for _ in 1 2 3; do
    WITNESS_ANSWER='C_Login 1 0x32' run -75 "${check[@]}"
    run -0 "${check[@]}"
  done
  : >calls
  for _ in 1 2; do
    WITNESS_ANSWER='C_Login 1 0x32' run -75 "${check[@]}"
  done
  refused 77 'the PIN in .*issuing-ca.pin was wrong 2 times' "${check[@]}"
  (($(grep -c C_Login calls) == 2))
}

@test "a token of the factory's own: of all who come at the same moment, one tries a wrong PIN" {
  unset WITNESS_PIN_TRIES
  make_token own
  export SOFTHSM2_CONF=$PWD/own/softhsm2.conf
  fleetroot-station init --home st-2 --name st-02 \
    --token "pkcs11:token=own?module-path=$FLEETROOT_WITNESS&pin-source=file:$PWD/own/pin"
  fleetroot-ca station enroll --home ca --name st-02 --request st-2/station.csr --out st-02.pem
  fleetroot-station enroll --home st-2 --certificate st-02.pem --ca-certificate ca/issuing-ca.pem \
    --fleet-root ca/fleet-root.pem --ca 'exec:fleetroot-ca respond --home ca'
  for _ in 1 2 3; do
    : >calls
    rm -f st-2/wrong-pin
    echo wrong-pin >own/pin
    for _ in {1..8}; do
      fleetroot-station config check --home st-2 &>/dev/null 3>&- &
    done
    wait
    (($(grep -c C_Login calls) == 1))
  done
}

@test "a credential that was wrong is tried once, until it is another" {
  unset WITNESS_PIN_TRIES
  export CREDENTIALS_DIRECTORY=$PWD/credentials
  mkdir -m 700 credentials
  sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|; s/file:station.pin/credential:station/" st/station.toml
  (umask 077 && echo wrong-pin >credentials/station)
  refused 77 'the PIN for the token .* is wrong' fleetroot-station config check --home st
  refused 77 'the PIN in .*/credentials/station was wrong, and .* has not changed' fleetroot-station config check --home st
  [[ $stderr == *": hint: "*"a credential is another one"* ]]
  refused 77 "the station's own key: the PIN in .* was wrong" counted
  (($(grep -c C_Login calls) == 2)) # the device's own is right
  mv st/station.pin credentials/station
  run -0 fleetroot-station config check --home st
}

@test "a PIN file as editors of Windows write it spends no try" {
  printf '%s\r\n' "$default_pin" >dev-1/pin
  refused 77 'control character' counted
  printf '\xef\xbb\xbf%s\n' "$default_pin" >dev-1/pin
  refused 77 'byte order mark' counted
  no_login
}

@test "verify counts with provision where the token does not" {
  unset WITNESS_PIN_TRIES
  type_pin wrong
  refused 77 'is wrong' counted
  refused 77 'is wrong' on_counting verify --home st
  for _ in 1 2; do
    refused 77 'was wrong 2 times' on_counting verify --home st
    refused 77 'was wrong 2 times' counted
  done
  (($(grep -c C_Login calls) == 2))
  type_pin right
  run ! on_counting verify --home st --retry-pin # nothing is on it yet
  run -0 counted
}

# without_numbers: what counts nothing, and has no serial number
without_numbers() {
  unset WITNESS_PIN_TRIES
  export WITNESS_UNNUMBERED=1
}
# as_device DEVICE-ID [OPTION…]: whatever device somebody says that the token is in
as_device() {
  on_counting provision --home st --order PO-1 --device-id "$@"
}

@test "a token without a serial number: its tries count together, whatever device it is said to be in" {
  without_numbers
  type_pin wrong
  refused 77 'is wrong' as_device DEV-1
  refused 77 'is wrong' on_counting verify --home st
  refused 77 'dev-1 .*, or for one that cannot be told from it, was wrong 2 times' as_device DEV-1
  refused 77 'was wrong 2 times' as_device DEV-2
  refused 77 'was wrong 2 times' on_counting verify --home st
  refused 77 'was wrong 2 times' on_counting verify --home st --device-id DEV-3
  (($(grep -c C_Login calls) == 2))
  # another label is another token
  make_token dev-2
  run -0 on_token dev-2 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "pkcs11:token=dev-2?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-2/pin"
}

@test "tokens that cannot be told apart log in one after the other, and hear what became of it" {
  without_numbers
  type_pin wrong
  refused 77 'is wrong' as_device DEV-1
  lock=st/locks/$(sqlite3 st/journal.db 'SELECT token FROM wrong_pins' | tr -d '\n' | sha256sum | cut --characters=-32)
  exec {turn}>"$lock"
  flock "$turn" # its neighbour is at it
  as_device DEV-1 2>said &
  until grep -q -- "-> FLOCK .*:$(stat -c %i "$lock") " /proc/locks; do kill -0 $!; done
  sqlite3 st/journal.db 'UPDATE wrong_pins SET count = 2' # and its PIN is wrong
  flock -u "$turn"
  code=0
  wait $! || code=$?
  [[ $code == 77 && $(<said) == *"was wrong 2 times"* ]]
  (($(grep -c C_Login calls) == 1))
}

@test "tokens without serial numbers and with one label: the right PIN of one gives another no try back" {
  without_numbers
  type_pin wrong
  refused 77 'is wrong' counted
  # the next device of the line, with a token that looks the same
  mv dev-1 first && make_token dev-1
  run --separate-stderr ! as_device DEV-2
  [[ $stderr == *'DEV-2'* && $stderr != *PIN* ]] # not on the order
  rm -r dev-1 && mv first dev-1
  refused 77 'is wrong' as_device DEV-3
  refused 77 'was wrong 2 times' as_device DEV-4
  type_pin right
  run -0 counted --retry-pin
  run -0 counted
  type_pin wrong
  refused 77 'is wrong' counted
}

@test "what was counted before, by the device or without one, counts still" {
  without_numbers
  type_pin wrong
  refused 77 'is wrong' counted
  sqlite3 st/journal.db "UPDATE wrong_pins SET token = replace(token, '//dev-1', '/DEV-1');
    INSERT INTO wrong_pins SELECT replace(token, '/DEV-1', ''), count FROM wrong_pins"
  refused 77 'was wrong 2 times' counted
  type_pin right
  run -0 counted --retry-pin
  [[ $(sqlite3 st/journal.db 'SELECT count(*) FROM wrong_pins') == 0 ]]
}

@test "verify waits for nobody who works on the token: 75, and no try is spent" {
  unset WITNESS_PIN_TRIES
  slow_ca
  counted --ca 'exec:./slow-ca' 3>&- &
  wait_for_requests 1
  type_pin wrong
  : >calls
  refused 75 'another station process works on the token' on_counting verify --home st
  no_login
  let_requests_go 1
  wait $!
  refused 77 'is wrong' on_counting verify --home st
}
