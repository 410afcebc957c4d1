#!/usr/bin/env bats
# A TPM, simulated by swtpm, behind tpm2-pkcs11: for devices, stations and CAs.
load ../cli/factory
load strangers

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  # what the module and its libraries have to say is not ours to test
  export TPM2_PKCS11_STORE=$PWD/tpm/store TPM2_PKCS11_TCTI=swtpm:path=tpm/socket TPM2_PKCS11_BACKEND=esysdb \
    TPM2_PKCS11_LOG_LEVEL=0 TSS2_LOG=all+none
  tpm_module=$(find /usr/lib -name libtpm2_pkcs11.so -print -quit)
  make_tpm
}

teardown() {
  if [[ -n ${server-} ]] && kill -0 "$server"; then kill "$server"; fi
  switch_tpm_off
}

switch_tpm_on() {
  # relative, because a Unix socket's name has 107 bytes
  swtpm socket --tpm2 --tpmstate dir=tpm/state --server type=unixio,path=tpm/socket,disconnect \
    --ctrl type=unixio,path=tpm/socket.ctrl --flags not-need-init,startup-clear >tpm/log 2>&1 3>&- &
  echo $! >tpm/process
  until [[ -S tpm/socket && -S tpm/socket.ctrl ]]; do kill -0 "$(<tpm/process)"; done
}

# As a power cut does.
switch_tpm_off() {
  local process
  process=$(<tpm/process)
  if kill -0 "$process"; then kill -9 "$process"; fi
  wait "$process" || [[ $? == 137 ]]
  rm -f tpm/socket tpm/socket.ctrl
}

# make_tpm: with one token on it, dev-1; its PIN is in tpm/pin
make_tpm() {
  mkdir -p tpm/state tpm/store
  (umask 077 && printf '%s\n' "$default_pin" >tpm/pin)
  switch_tpm_on
  SO_PIN=so-87654321 pkcs11-tool --module "$tpm_module" --init-token --slot-index 0 --label dev-1 --so-pin env:SO_PIN
  SO_PIN=so-87654321 USER_PIN=$default_pin pkcs11-tool --module "$tpm_module" --token-label dev-1 --login \
    --login-type so --so-pin env:SO_PIN --init-pin --pin env:USER_PIN
}

tpm_uri() {
  echo "pkcs11:token=dev-1?module-path=$tpm_module&pin-source=file:$PWD/${pin_file:-tpm/pin}"
}

# on_tpm COMMAND DEVICE-ID [OPTION…]
on_tpm() {
  fleetroot-station "$1" --home st --device-id "$2" --token "$(tpm_uri)" "${@:3}"
}

# The module says of every key that it decrypts, and of every public one that it encrypts.
strangers_see_tpm() {
  strangers_see "$tpm_module" dev-1 tpm/pin 'sensitive, always sensitive, never extractable, local' 'decrypt, sign'
}

tpm_device_with() {
  make_factory DEV-1
  run --separate-stderr -0 on_tpm provision DEV-1 --order PO-1 --algorithm "$1"
  run --separate-stderr -0 on_tpm provision DEV-1 --order PO-1 --algorithm "$1"
  [[ $output == *"already provisioned"* ]]
  run -0 on_tpm verify DEV-1
  [[ $output == *'sensitive, never extractable, made in the token'* && $output != *'sign only'* ]]
  strangers_see_tpm
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "P-256 on a TPM" {
  tpm_device_with p256
  run --separate-stderr -0 fleetroot-station inspect --token "$(tpm_uri)"
  [[ $output == *'module profile tpm2-pkcs11'* ]]
}

@test "RSA-2048 on a TPM" {
  tpm_device_with rsa2048
}

@test "Ed25519, which a TPM cannot: 65, and nothing is on it" {
  make_factory DEV-1
  refused 65 'cannot generate ed25519 keys' on_tpm provision DEV-1 --order PO-1 --algorithm ed25519
  run --separate-stderr -0 fleetroot-station inspect --token "$(tpm_uri)"
  [[ $output == *'0 objects'* ]]
}

@test "the power goes while the CA works: with the TPM back, the next run finishes" {
  make_factory DEV-1
  cat >killing-ca <<'EOF2'
#!/usr/bin/env bash
# once the request is there: the CA is started before the token is opened
head -c 1 >first
kill -9 $PPID "$(<tpm/process)"
EOF2
  chmod +x killing-ca
  run on_tpm provision DEV-1 --order PO-1 --ca "exec:$PWD/killing-ca"
  [[ $status == 137 && -s first ]]
  switch_tpm_off
  switch_tpm_on
  run --separate-stderr -0 on_tpm provision DEV-1 --order PO-1
  strangers_see_tpm
  [[ $(certificates_in_ledger) == 1 ]]
}

# It shows no flag before it locks, at the third.
@test "wrong PINs: the TPM's last try is never spent" {
  make_factory DEV-1
  (umask 077 && echo wrong >wrong-pin)
  for _ in 1 2; do
    pin_file=wrong-pin refused 77 'is wrong' on_tpm provision DEV-1 --order PO-1
  done
  pin_file=wrong-pin refused 77 'last try is never spent' on_tpm provision DEV-1 --order PO-1
  run --separate-stderr -0 on_tpm provision DEV-1 --order PO-1 --retry-pin
}

@test "P-256 on a TPM far away, through p11-kit" {
  make_factory DEV-1
  p11-kit server --foreground --provider "$tpm_module" --name "$PWD/far" 'pkcs11:token=dev-1' >far.log 2>&1 3>&- &
  server=$!
  until [[ -S far ]]; do kill -0 "$server"; done
  export P11_KIT_SERVER_ADDRESS=unix:path=$PWD/far
  far_uri="pkcs11:token=dev-1?module-path=$(find /usr/lib -name p11-kit-client.so)&pin-source=file:$PWD/tpm/pin"
  on_far_tpm() {
    fleetroot-station "$1" --home st --device-id DEV-1 --token "$far_uri" "${@:2}"
  }
  run --separate-stderr -0 on_far_tpm provision --order PO-1 --remote-module tpm2-pkcs11
  run -0 on_far_tpm verify --remote-module tpm2-pkcs11
  run on_far_tpm verify
  [[ $status == 65 && $output == *'it can decrypt'* ]]

  printf '[[bay]]\nname = "1"\ntoken = "%s"\nremote_module = "tpm2-pkcs11"\n' "$far_uri" >>st/station.toml
  run --separate-stderr -0 fleetroot-station line --home st --order PO-1 --json <<<DEV-1
  [[ $(jq -r 'select(.event == "device").result' <<<"$output") == already ]]
  sed -i 's/"tpm2-pkcs11"/"tpm3"/' st/station.toml
  refused 78 'remote_module' fleetroot-station config check --home st
  kill "$server"
  strangers_see_tpm
}

@test "a CA's issuing key in a TPM" {
  make_ca --issuing-token "$(tpm_uri)"
  make_order PO-1 DEV-1
  make_station
  make_token dev-1
  run --separate-stderr -0 provision dev-1 DEV-1
  fleetroot-ca cert show --home ca --device-id DEV-1 --pem >device.pem
  openssl verify -x509_strict -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem device.pem
}

@test "a station's own key in a TPM" {
  make_ca
  make_order PO-1 DEV-1
  fleetroot-station init --home st --name st-01 --token "$(tpm_uri)"
  enroll_station
  make_token dev-1
  run --separate-stderr -0 provision dev-1 DEV-1
}
