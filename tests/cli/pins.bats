#!/usr/bin/env bats
# A PIN's last try is never spent, and no PIN is anywhere that it need not be.
load factory
load line

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
  make_token dev-1
}

# As `provision dev-1 DEV-1`, with each call on the token written down in calls.
witnessed() {
  export WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls
  on_token dev-1 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin" "$@"
}

logins() {
  awk '/C_Login/ { n++ } END { print n + 0 }' calls
}

without_pin_source="pkcs11:token=dev-1?module-path=$softhsm"
with_pin_from() {
  on_token dev-1 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 "$@"
}

@test "a wrong PIN: 77, one try spent, nothing changed" {
  remember dev-1
  echo wrong-pin >dev-1/pin

  refused 77 'PIN' witnessed

  [[ $output == 'FAIL DEV-1  hold this device' ]]
  [[ $(logins) == 1 ]]
  echo "$default_pin" >dev-1/pin
  nothing_changed
}

@test "a wrong PIN of the station's own token: not this device's fault" {
  echo wrong-pin >st/station.pin
  run --separate-stderr -77 provision dev-1 DEV-1
  [[ $output == "FAIL DEV-1  hold the line: it is not this device's fault" ]]
  [[ $stderr == *": error: the station's own key: the PIN for the token "*" is wrong"* ]]
}

@test "a station whose own SoftHSM directory is gone: no plugging in brings it back" {
  mv st/softhsm away
  run --separate-stderr -78 provision dev-1 DEV-1
  [[ $output == "FAIL DEV-1  hold the line: it is not this device's fault" ]]
  [[ $stderr == *": error: the station's own key: the embedded token is gone"* ]]
  [[ $(error_code provision dev-1 DEV-1) == configuration ]]
}

@test "a station's own token that fails: not this device's fault" {
  sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" st/station.toml
  export WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls
  WITNESS_ANSWER='C_Login 1 0x80000001' run --separate-stderr -78 provision dev-1 DEV-1
  [[ $output == "FAIL DEV-1  hold the line: it is not this device's fault" ]]
  [[ $stderr == *": error: the station's own key: the token failed to "* ]]
  provision dev-1 DEV-1
}

@test "a wrong PIN again and again never spends the last try" {
  echo wrong-pin >dev-1/pin

  for _ in 1 2 3 4 5; do
    run --separate-stderr -77 witnessed
  done

  [[ $stderr == *": hint: "*--retry-pin* ]]
  (($(logins) <= 2))
  [[ $(error_code witnessed) == pin_locked ]]
  # the right PIN and a person's word that it is right
  echo "$default_pin" >dev-1/pin
  run -0 witnessed --retry-pin
}

@test "the right PIN after one wrong one clears the count" {
  for _ in 1 2 3; do
    echo wrong-pin >dev-1/pin
    run --separate-stderr -77 witnessed
    echo "$default_pin" >dev-1/pin
    run -0 witnessed
  done
}

@test "PINs come from a file, the environment, a descriptor, with or without a last newline" {
  printf %s "$default_pin" >dev-1/pin
  run -0 provision dev-1 DEV-1
  run -0 env USER_PIN="$default_pin" SOFTHSM2_CONF="$PWD/dev-1/softhsm2.conf" fleetroot-station provision --home st \
    --order PO-1 --device-id DEV-1 --token "$without_pin_source&pin-source=env:USER_PIN"
  with_pin_from --token "$without_pin_source" --pin-fd 5 5< <(echo "$default_pin")
}

@test "PINs come from systemd's credentials: the device's, the station's and the CA's" {
  mkdir -m 700 credentials # as LoadCredential= makes it: files that nobody may write
  install -m 400 dev-1/pin credentials/device
  install -m 400 st/station.pin credentials/station
  install -m 400 ca/issuing-ca.pin credentials/issuing-ca
  rm dev-1/pin st/station.pin ca/issuing-ca.pin
  sed -i 's/file:station.pin/credential:station/' st/station.toml
  sed -i 's/file:issuing-ca.pin/credential:issuing-ca/' ca/ca.toml
  by_credential() {
    with_pin_from --token "$without_pin_source&pin-source=credential:$1"
  }

  refused 77 'no credentials directory' by_credential device
  export CREDENTIALS_DIRECTORY=$PWD/credentials
  refused 77 'cannot open the PIN file .*/credentials/nonesuch' by_credential nonesuch
  refused 77 "credential's name" by_credential ../credentials/device
  run -0 by_credential device
  [[ $output == *PASS* && $(certificates_in_ledger) == 1 ]]
}

@test "no PIN at all, an empty one, an unreadable one: 77, and no try is spent" {
  refused 77 'PIN' with_pin_from --token "$without_pin_source" </dev/null
  refused 77 'PIN' with_pin_from --token "$without_pin_source&pin-source=file:not-there"
  refused 77 'PIN' with_pin_from --token "$without_pin_source&pin-source=env:NOT_SET"
  : >dev-1/pin
  refused 77 'PIN' witnessed
  [[ ! -e calls || $(logins) == 0 ]]
  (($(stat -c %a dev-1/pin) == 600))
}

@test "a PIN file that would have to be in the home that an init is to make: 64, and nothing is made" {
  for source in pin file:pin file:./a/../pin; do
    uri="pkcs11:token=dev-1?module-path=$softhsm&pin-source=$source"
    for init in 'fleetroot-station init --name x --token' 'fleetroot-ca init --name x --root-token' \
      'fleetroot-gateway init --name gw.example.test --environment production --token'; do
      # shellcheck disable=SC2086 # words
      refused 64 "PIN file .*pin would be in the home, which is yet to be made" on_token dev-1 $init "$uri" --home new
      [[ $stderr == *': hint: '*absolute* && ! -e new ]]
    done
  done
  # beside it there may be one
  run -0 on_token dev-1 fleetroot-station init --name x --home new \
    --token "pkcs11:token=dev-1?module-path=$softhsm&pin-source=file:../dev-1/pin"
}

@test "a PIN that would be read as the device's ID: 64, and nobody sees it" {
  wrong_way() { # FILE DESCRIPTOR
    refused 64 'error: --device-id-file: the PIN comes from there' on_token dev-1 fleetroot-station provision --home st \
      --order PO-1 --token "$without_pin_source" --device-id-file "$1" --pin-fd "$2" --json
    [[ $output$stderr != *"$default_pin"* ]]
  }
  for file in - /dev/stdin /dev/fd/0 /proc/self/fd/0 dev-1/pin; do
    wrong_way "$file" 0 <dev-1/pin
  done
  wrong_way - 0 < <(cat dev-1/pin)
  wrong_way /dev/fd/5 5 5< <(cat dev-1/pin)
  echo DEV-1 >scan
  on_token dev-1 fleetroot-station provision --home st --order PO-1 --token "$without_pin_source" --device-id-file - \
    --pin-fd 5 5<dev-1/pin <scan
}

@test "the CA's command has no descriptor from which it could read the device's PIN" {
  cat >spying-ca <<'END'
#!/bin/bash
ls -l /proc/self/fd >seen
exec fleetroot-ca respond --home ca
END
  chmod +x spying-ca
  with_pin_from --token "$without_pin_source" --pin-fd 7 --ca 'exec:./spying-ca' 7<dev-1/pin
  grep -q ' 0 -> ' seen
  run ! grep dev-1/pin seen
}

@test "--pin-fd takes a descriptor that is open for reading, and nothing else" {
  for fd in -1 7 8 abc 5x 99999999999999999999 ''; do # 7 is closed, 8 is for writing
    refused 64 "^fleetroot-station: error: --pin-fd: $fd is no descriptor that is open for reading" \
      with_pin_from --token "$(token_uri dev-1)" --pin-fd "$fd" 7<&- 8>written
  done
  [[ $(certificates_in_ledger) == 0 ]]
}

@test "a PIN file that everybody can change is refused, one that everybody can read is remarked upon" {
  chmod 666 dev-1/pin
  refused 77 'PIN file' provision dev-1 DEV-1
  chmod 644 dev-1/pin
  run --separate-stderr -0 provision dev-1 DEV-1
  [[ $stderr == *warning*chmod\ 600* ]]
}

@test "no PIN in the arguments or the environment of any process, nor in what is printed or kept" {
  mkdir trace
  USER_PIN=$default_pin SOFTHSM2_CONF=$PWD/dev-1/softhsm2.conf strace -ff -v -s 100000 -e trace=execve -o trace/p \
    fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "$without_pin_source&pin-source=env:USER_PIN" --json >printed 2>&1
  cat trace/* >all

  # the station itself was given the PIN in its environment; it is the one program that may have been
  (($(grep -c '^execve(.* = 0$' all) >= 2))
  [[ $(grep -c -- "$default_pin" all) == 1 ]]
  grep -- "$default_pin" all | grep -q '^execve(.*/fleetroot-station", \["fleetroot-station", "provision"'
  # the CA's and the station's own PINs, too
  for pin_file in dev-1/pin $(find ca st -name '*pin*' -type f); do
    pin=$(<"$pin_file")
    ((${#pin} >= 4))
    [[ $pin_file == dev-1/pin ]] || run ! grep -q -- "$pin" all
    run ! grep -q -- "$pin" printed
    run ! grep -rlF --exclude="$(basename "$pin_file")" -- "$pin" ca st
  done
}

@test "the station's PIN is in no process's environment either, once it was read" {
  slow_ca
  pin=$(<st/station.pin)
  rm st/station.pin
  sed -i 's/file:station.pin/env:STATION_PIN/' st/station.toml
  STATION_PIN=$pin SOFTHSM2_CONF=$PWD/dev-1/softhsm2.conf fleetroot-station provision --home st --order PO-1 \
    --device-id DEV-1 --token "$(token_uri dev-1)" --ca 'exec:./slow-ca' 3>&- &
  wait_for_requests 1
  processes=$(echo $!; pgrep -P $!)
  (($(wc -w <<<"$processes") == 3)) # the CA, and who has the key
  for process in $processes; do
    grep -qz '^SOFTHSM2_CONF=' "/proc/$process/environ"
    run ! grep -qaF -- "$pin" "/proc/$process/environ"
  done
  let_requests_go 1
  wait $!
}

@test "a PIN that is refused is not repeated" {
  echo wrong-but-precious >dev-1/pin

  run -77 witnessed
  [[ $output != *precious* ]]
  run -77 witnessed --json
  [[ $output != *precious* ]]
  run ! grep -rl precious st ca
}

@test "the CA's wrong PIN: 77, from the CA, and nothing on the device" {
  pin_file=$(find ca -name '*pin*' -type f | grep -v root | head -n 1)
  [[ -n $pin_file ]]
  cp "$pin_file" kept
  echo 0000-wrong >"$pin_file"

  run --separate-stderr ! provision dev-1 DEV-1
  [[ $stderr == *": error: "*": hint: "* ]]

  cat kept >"$pin_file"
  run -0 provision dev-1 DEV-1
  [[ $(objects_on dev-1) == 3 ]]
}
