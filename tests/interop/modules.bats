#!/usr/bin/env bats
# Tokens behind other modules than SoftHSM: NSS softokn, and a remote token through p11-kit.
load ../cli/factory
load strangers

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
}

teardown() {
  if [[ -e server.pid ]] && kill -0 "$(<server.pid)"; then kill "$(<server.pid)"; fi
}

# NSS

make_nss_token() {
  mkdir nss
  (umask 077 && printf '%s\n' "$default_pin" >nss/pin)
  certutil -N -d sql:nss -f nss/pin
}

on_nss() {
  fleetroot-station "$1" "${@:2}" \
    --token 'pkcs11:token=NSS%20Certificate%20DB?module-path='"$(nss_module)"'&pin-source=file:nss/pin' \
    --module-args "$(nss_arguments)"
}

nss_arguments() {
  echo "configdir='sql:$PWD/nss' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
}

nss_module() {
  ldconfig -p | sed -n 's/.*libsoftokn3.so .*=> //p' | head -n 1 | grep . ||
    find /usr/lib -name libsoftokn3.so -print -quit
}

nss_agrees() {
  certutil -A -d sql:nss -f nss/pin -n fleet-root -t CT,C,C -i ca/fleet-root.pem
  certutil -A -d sql:nss -f nss/pin -n issuing-ca -t ,, -i ca/issuing-ca.pem
  # u: there is a private key that belongs to this certificate
  certutil -L -d sql:nss | grep -E '^fleetroot +u,u,u *$'
  certutil -V -d sql:nss -f nss/pin -n fleetroot -u C -e
  certutil -K -d sql:nss -f nss/pin | grep -q fleetroot
}

strangers_see_nss() {
  # Strangers cannot tell softokn where its database is: the witness does. It never says that a key is local.
  WITNESS_MODULE=$(nss_module)
  WITNESS_MODULE_ARGS=$(nss_arguments)
  export WITNESS_MODULE WITNESS_MODULE_ARGS WITNESS_LOG=$PWD/calls
  strangers_see "$FLEETROOT_WITNESS" 'NSS Certificate DB' nss/pin 'sensitive, always sensitive, never extractable'
}

nss_device_with() {
  make_nss_token
  run --separate-stderr -0 on_nss provision --home st --order PO-1 --device-id DEV-1 --algorithm "$1"
  run --separate-stderr -0 on_nss provision --home st --order PO-1 --device-id DEV-1 --algorithm "$1"
  [[ $output == *"already provisioned"* ]]
  run -0 on_nss verify --home st --device-id DEV-1
  strangers_see_nss
}

@test "P-256 on NSS softokn" {
  nss_device_with p256
  nss_agrees
}

@test "RSA-2048 on NSS softokn" {
  nss_device_with rsa2048
  nss_agrees
}

# Both have the serial number 0000000000000000.
@test "two devices, each with a token of NSS softokn, at one station" {
  fleetroot-ca order create --home ca --id PO-2 --pattern 'NSS-[0-9]' --quantity 2
  for device in NSS-1 NSS-2 NSS-1; do
    [[ -d $device ]] || { make_nss_token && mv nss $device; }
    mv $device nss
    run --separate-stderr -0 on_nss provision --home st --order PO-2 --device-id $device
    run -0 on_nss verify --home st --device-id $device
    mv nss $device
  done
  [[ $(fleetroot-ca cert list --home ca --order PO-2 --json | wc -l) == 2 ]]
  mv NSS-1 nss
  refused 65 'object' on_nss provision --home st --order PO-2 --device-id NSS-3
}

@test "a device on NSS softokn stays done where the station makes keys by now that NSS cannot" {
  make_nss_token
  run --separate-stderr -0 on_nss provision --home st --order PO-1 --device-id DEV-1
  sed -i 's/^algorithm = "p256"/algorithm = "ed25519"/' st/station.toml
  grep -q '"ed25519"' st/station.toml
  run --separate-stderr -0 on_nss provision --home st --order PO-1 --device-id DEV-1
  [[ $output == *"already provisioned"* ]]
}

# A token that is far away

# start_server: the token's end of the wire; ends with the test
start_server() {
  SOFTHSM2_CONF=$PWD/dev-1/softhsm2.conf p11-kit server --foreground --provider "$softhsm" --name "$PWD/socket" \
    'pkcs11:token=dev-1' >server.log 2>&1 3>&- &
  echo $! >server.pid
  until [[ -S socket ]]; do kill -0 "$(<server.pid)"; done
}

far_module() {
  find /usr/lib -name p11-kit-client.so -print -quit
}
far_token() {
  echo "pkcs11:token=dev-1?module-path=$(far_module)&pin-source=file:dev-1/pin"
}

far() {
  P11_KIT_SERVER_ADDRESS=unix:path=$PWD/socket timeout 60 fleetroot-station "$1" --home st --device-id DEV-1 \
    --token "$(far_token)" "${@:2}"
}

strangers_see_it_far_away() {
  P11_KIT_SERVER_ADDRESS=unix:path=$PWD/socket strangers_see "$(far_module)" dev-1 dev-1/pin \
    'sensitive, always sensitive, never extractable, local'
}

@test "P-256 on a remote token, through p11-kit" {
  make_token dev-1
  start_server

  run --separate-stderr -0 far provision --order PO-1
  run --separate-stderr -0 far provision --order PO-1
  [[ $output == *"already provisioned"* ]]
  run -0 far verify

  strangers_see_it_far_away
}

@test "the remote dies while the CA works: 75 and no hang; with a new one, the next run finishes" {
  make_token dev-1
  start_server
  cat >killing-ca <<EOF2
#!/usr/bin/env bash
# once the request is there: the CA is started before the token is opened
head -c 1 >first
for process in \$(pgrep -P $(<server.pid)) $(<server.pid); do kill -9 \$process; done
cat first - | fleetroot-ca respond --home ca
EOF2
  chmod +x killing-ca

  refused 75 'token' far provision --order PO-1 --ca "exec:$PWD/killing-ca"
  run -137 wait "$(<server.pid)"
  rm socket server.pid

  start_server
  run --separate-stderr -0 far provision --order PO-1
  strangers_see_it_far_away
  [[ $(certificates_in_ledger) == 1 ]]
}
