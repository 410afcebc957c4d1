#!/usr/bin/env bats
# Key policies of programs that live on devices.
load ../cli/factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
  make_token dev-1
}

# there_is CLASS ID LABEL KIND
there_is() {
  # OpenSC does not choose private keys by ID when it lists them
  stranger dev-1 --list-objects --type "$1" |
    awk -v id="$2" '/ Object;/ { object = ""; is_it = 0 } { object = object $0 "\n" } $1 == "ID:" && $2 == id { is_it = 1 }
      is_it { wanted = object } END { printf "%s", wanted }' >object
  [[ $(grep -c ' Object;' object) == 1 ]]
  grep -qx "  label: *$3" object
  grep -q "$4" object
}

# never_leaves ID: that key of the token was made there, signs, and does nothing else
never_leaves() {
  grep -qx '  Access: *sensitive, always sensitive, never extractable, local' object
  grep -qx '  Usage: *sign' object
  run stranger dev-1 --read-object --type privkey --id "$1" --output-file private-key
  [[ ! -s private-key ]]
}

@test "aktualizr: certificate 01, TLS key 02, Uptane key 03" {
  provision dev-1 DEV-1 --preset aktualizr

  there_is cert 01 tls 'CN=DEV-1'
  there_is privkey 02 tls 'EC'
  never_leaves 02
  there_is pubkey 02 tls 'EC_POINT 256 bits'
  there_is privkey 03 uptane 'RSA'
  never_leaves 03
  there_is pubkey 03 uptane 'RSA 2048 bits'
  [[ $(objects_on dev-1) == 5 ]]
  # the certificate belongs to the TLS key
  stranger dev-1 --read-object --type cert --id 01 --output-file certificate.der
  stranger dev-1 --read-object --type pubkey --id 02 --output-file key.der
  cmp <(openssl x509 -in certificate.der -noout -pubkey) <(openssl pkey -pubin -in key.der -inform DER -pubout)
  # and the Uptane key signs, for its own public key
  stranger dev-1 --read-object --type pubkey --id 03 --output-file uptane.der
  echo metadata >metadata
  stranger dev-1 --sign --id 03 --mechanism SHA256-RSA-PKCS --input-file metadata --output-file signature
  openssl dgst -sha256 -verify uptane.der -keyform DER -signature signature metadata
  on_token dev-1 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri dev-1)"
}

@test "LMP: key tls 01, certificate client 03" {
  provision dev-1 DEV-1 --preset lmp

  there_is privkey 01 tls 'EC'
  never_leaves 01
  there_is pubkey 01 tls 'EC_POINT 256 bits'
  there_is cert 03 client 'CN=DEV-1'
  [[ $(objects_on dev-1) == 3 ]]
  on_token dev-1 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri dev-1)"
}

@test "a placeholder lies on the token until the CA answers, and not after" {
  cat >slow-ca <<'EOF2'
#!/usr/bin/env bash
head -c 1 >first # the request is there, and so is the placeholder
USER_PIN=$(<dev-1/pin) pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label dev-1 --login \
  --pin env:USER_PIN --read-object --type cert --id 01 --output-file placeholder.der >&2
cat first - | fleetroot-ca respond --home ca
EOF2
  chmod +x slow-ca

  provision dev-1 DEV-1 --placeholder --ca "exec:$PWD/slow-ca"

  openssl x509 -in placeholder.der -noout -subject -issuer | grep -c 'CN = DEV-1' | grep -qx 2
  [[ $(objects_on dev-1) == 3 ]]
  stranger dev-1 --read-object --type cert --id 01 --output-file certificate.der
  openssl verify -x509_strict -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem certificate.der
}

@test "a placeholder from a broken run is replaced too" {
  run ! provision dev-1 DEV-1 --placeholder --ca 'exec:/bin/true'

  provision dev-1 DEV-1

  [[ $(objects_on dev-1) == 3 ]]
  stranger dev-1 --read-object --type cert --id 01 --output-file certificate.der
  openssl verify -x509_strict -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem certificate.der
}
