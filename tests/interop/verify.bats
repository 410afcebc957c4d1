#!/usr/bin/env bats
# verify and inspect on tokens that somebody else filled, with OpenSC and OpenSSL.
load ../cli/factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_token dev-1
  make_authority root
}

# make_authority NAME: NAME.pem and NAME.key
make_authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.pem" -days 30 \
    -subj "/CN=Somebody's root" -addext keyUsage=critical,keyCertSign
}

# certify PUBLIC-KEY.pem CN AUTHORITY [OPTION…]: writes certificate.der
certify() {
  printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
    'extendedKeyUsage=clientAuth' 'subjectKeyIdentifier=hash' 'authorityKeyIdentifier=keyid' >extensions
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout any.key -subj "/CN=$2" -out any.csr
  openssl x509 -req -in any.csr -force_pubkey "$1" -CA "$3.pem" -CAkey "$3.key" -extfile extensions \
    -outform DER -out certificate.der "${@:4}"
}

# generate [OPTION…]: OpenSC's keys may decrypt and unwrap as well, which a device's key must not; nothing else is wrong
generate() {
  stranger dev-1 --keypairgen --key-type EC:prime256v1 --id 01 --label theirs --usage-sign "$@"
  read_public_key
}

# The key of a device that another factory has provisioned, without its certificate.
generate_elsewhere() {
  make_factory DEV-9
  provision dev-1 DEV-9
  stranger dev-1 --delete-object --type cert --id 01
  read_public_key
}

read_public_key() {
  stranger dev-1 --read-object --type pubkey --id 01 --output-file key.der
  openssl pkey -pubin -in key.der -inform DER -pubout -out key.pem
}

store() {
  stranger dev-1 --write-object certificate.der --type cert --id 01 --label theirs
}

verify() {
  on_token dev-1 fleetroot-station verify --fleet-root root.pem --device-id DEV-1 --token "$(token_uri dev-1)" "$@"
}

# fails CHECK PATTERN: 65, and the line of that check says why
fails() {
  refused 65 'identity' verify
  grep -E "^FAIL +$1 " <<<"$output" | grep -Eiq -- "$2" || {
    echo "no line of '$1' that matches '$2' in: $output"
    return 1
  }
}

@test "a right one passes" {
  generate_elsewhere
  certify key.pem DEV-1 root -days 10
  store

  run -0 verify
  [[ ${lines[-1]} == "PASS DEV-1" ]]
  run -0 verify --json
  [[ $(jq -r .result <<<"$output") == pass ]]
}

@test "a right one under an issuing CA passes with --ca-certificate only" {
  generate_elsewhere
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout issuing.key -subj /CN=Issuing -out i.csr
  openssl x509 -req -in i.csr -CA root.pem -CAkey root.key -days 20 -out issuing.pem \
    -extfile <(printf '%s\n' basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign subjectKeyIdentifier=hash \
      authorityKeyIdentifier=keyid)
  certify key.pem DEV-1 issuing -days 10
  store

  run -0 verify --ca-certificate issuing.pem
  fails chain 'missing here: CN=Issuing'
}

@test "a key that may do more than sign" {
  generate
  certify key.pem DEV-1 root -days 10
  store
  fails 'key attributes' 'decrypt'
}

@test "a key that can be taken out" {
  generate --extractable
  certify key.pem DEV-1 root -days 10
  store
  fails 'key attributes' 'is extractable'
}

@test "a key that was made outside" {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out outside.pem
  openssl pkey -in outside.pem -outform DER -out outside.der
  openssl pkey -in outside.pem -pubout -out key.pem
  openssl pkey -in outside.pem -pubout -outform DER -out key.der
  stranger dev-1 --write-object outside.der --type privkey --id 01 --label theirs --usage-sign
  stranger dev-1 --write-object key.der --type pubkey --id 01 --label theirs
  certify key.pem DEV-1 root -days 10
  store
  fails 'key attributes' 'not generated on the token'
}

@test "another device's name" {
  generate
  certify key.pem DEV-2 root -days 10
  store
  fails 'device ID' 'DEV-2, not DEV-1'
}

@test "a certificate of another key" {
  generate
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 | openssl pkey -pubout -out other.pem
  certify other.pem DEV-1 root -days 10
  store
  fails "certificate's key" 'another key'
}

@test "an expired certificate" {
  generate
  certify key.pem DEV-1 root -days -1
  store
  fails validity 'expired'
}

@test "a foreign root" {
  generate
  make_authority foreign
  certify key.pem DEV-1 foreign -days 10
  store
  fails chain '.'
}

@test "no certificate, and no key" {
  fails key 'no key'
  generate
  fails certificate '0 certificates'
}

@test "inspect lists what somebody else made, and changes nothing" {
  generate
  certify key.pem DEV-1 root -days 10
  store
  files=$(stranger dev-1 --list-objects)

  run -0 on_token dev-1 fleetroot-station inspect --json --token "$(token_uri dev-1)"

  [[ $(jq -r '.objects | map(.class + " " + .id + " " + .label) | sort | .[]' <<<"$output") == \
    $'certificate 01 theirs\nprivate_key 01 theirs\npublic_key 01 theirs' ]]
  digest=$(sha256sum certificate.der | cut -d ' ' -f 1)
  [[ $(jq -r '.objects[] | select(.class == "certificate") | .sha256' <<<"$output") == "$digest" ]]
  [[ $(stranger dev-1 --list-objects) == "$files" ]]
}
