#!/usr/bin/env bats
# Tokens behind other modules than SoftHSM: NSS softokn, and a remote token through p11-kit.
load ../cli/factory

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
    --module-args "configdir='sql:$PWD/nss' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
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

nss_device_with() {
  make_nss_token
  run --separate-stderr -0 on_nss provision --home st --order PO-1 --device-id DEV-1 --algorithm "$1"
  run --separate-stderr -0 on_nss provision --home st --order PO-1 --device-id DEV-1 --algorithm "$1"
  [[ $output == *"already provisioned"* ]]
  run -0 on_nss verify --home st --device-id DEV-1
}

@test "P-256 on NSS softokn" {
  nss_device_with p256
  nss_agrees
}

@test "RSA-2048 on NSS softokn" {
  nss_device_with rsa2048
  nss_agrees
}

# A token that is far away

# start_server: the token's end of the wire; ends with the test
start_server() {
  SOFTHSM2_CONF=$PWD/dev-1/softhsm2.conf p11-kit server --foreground --provider "$softhsm" --name "$PWD/socket" \
    'pkcs11:token=dev-1' >server.log 2>&1 3>&- &
  echo $! >server.pid
  until [[ -S socket ]]; do kill -0 "$(<server.pid)"; done
}

far_token() {
  echo "pkcs11:token=dev-1?module-path=$(find /usr/lib -name p11-kit-client.so -print -quit)&pin-source=file:dev-1/pin"
}

far() {
  P11_KIT_SERVER_ADDRESS=unix:path=$PWD/socket timeout 60 fleetroot-station "$1" --home st --device-id DEV-1 \
    --token "$(far_token)" "${@:2}"
}

one_of_each() {
  [[ $(stranger dev-1 --list-objects | sed -n 's/ Object;.*//p' | sort) == $'Certificate\nPrivate Key\nPublic Key' ]]
}

@test "P-256 on a remote token, through p11-kit" {
  make_token dev-1
  start_server

  run --separate-stderr -0 far provision --order PO-1
  run --separate-stderr -0 far provision --order PO-1
  [[ $output == *"already provisioned"* ]]
  run -0 far verify

  one_of_each
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
  one_of_each
  [[ $(certificates_in_ledger) == 1 ]]
}
