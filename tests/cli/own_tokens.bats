#!/usr/bin/env bats
# Keys of the CA, the root and the station in tokens of the factory's own, and a CA that was there before.
load factory

# make_hsm: one directory of tokens for all of them; a device's token is in it too
make_hsm() {
  make_token_directory hsm
  add_token hsm ca-root
  add_token hsm ca-issuing 1
  add_token hsm station 2
  add_token hsm DEV-1 3
  export SOFTHSM2_CONF=$PWD/hsm/softhsm2.conf WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls
}
in_hsm() {
  echo "pkcs11:token=$1?module-path=$softhsm&pin-source=file:$PWD/hsm/pin"
}
objects_on() {
  stranger_in hsm "$1" --list-objects 2>/dev/null
}
# works: one device gets its identity, and a stranger believes it under root.pem
works() {
  make_order PO-1 DEV-1
  fleetroot-station init --home st --name st-01 --token "$(in_hsm station)"
  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem
  fleetroot-station enroll --home st --certificate st-01.pem --ca-certificate ca/issuing-ca.pem \
    --fleet-root ca/fleet-root.pem --ca 'exec:fleetroot-ca respond --home ca'
  fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --token "$(in_hsm DEV-1)"
  fleetroot-ca cert show --home ca --device-id DEV-1 --pem | openssl x509 -out DEV-1.pem
  openssl verify -x509_strict -purpose sslclient -CAfile "$1" -untrusted ca/issuing-ca.pem DEV-1.pem
  fleetroot-ca config check --home ca
  fleetroot-station config check --home st

  [[ -z $(find ca st -name '*.pin' -o -type d -name softhsm) ]] # all keys are in the factory's own tokens
}

@test "root, issuing CA and station with keys in tokens of the factory's own" {
  make_hsm
  make_ca --root-token "$(in_hsm ca-root)" --issuing-token "$(in_hsm ca-issuing)"
  works ca/fleet-root.pem
  [[ $(objects_on ca-root) == *fleet-root* && $(objects_on ca-issuing) == *fleetroot-issuing-ca* ]]
  [[ $(objects_on station) == *"never extractable"* ]]
}

@test "an offline root, in a home of its own" {
  make_hsm
  digest=$(make_ca --external-root --issuing-token "$(in_hsm ca-issuing)" | grep -oE '[0-9a-f]{64}$')
  refused 78 'no .*issuing-ca.pem|not .*yet' fleetroot-ca config check --home ca
  fleetroot-ca root init --home root --name "Test Fleet" --token "$(in_hsm ca-root)"
  run -0 fleetroot-ca root issue --home root --request ca/issuing-ca.csr --out issuing.pem
  [[ $output == *"the SHA-256 of its public key"*": $digest" ]]
  openssl x509 -in issuing.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum | grep --quiet "^$digest "
  fleetroot-ca root accept --home ca --fleet-root root/fleet-root.pem --issuing-certificate issuing.pem
  works root/fleet-root.pem
}

# certify_again SUBJECT IDENTIFIER: by the root that openssl keeps, for the factory's key, and takes it over
certify_again() {
  printf '%s\n' "subjectKeyIdentifier=$2" basicConstraints=critical,CA:TRUE authorityKeyIdentifier=keyid \
    keyUsage=critical,keyCertSign,cRLSign,digitalSignature >extensions
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj "$1" |
    openssl x509 -req -CA root.pem -CAkey root.key -CAcreateserial -days 19000 -extfile extensions \
      -force_pubkey issuing.pub -out again.pem
  fleetroot-ca root accept --home ca --fleet-root root.pem --issuing-certificate again.pem
}

@test "a later certificate of an issuing CA is the same CA's: what it issued before finds its lists" {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -subj '/CN=Their Root' -days 20000 \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign -out root.pem
  make_ca --external-root
  openssl req -in ca/issuing-ca.csr -noout -pubkey -out issuing.pub
  certify_again '/CN=Test Factory Issuing CA' hash
  make_order PO-1 DEV-1
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout DEV-1.key -subj /CN=DEV-1 -out DEV-1.csr
  fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request DEV-1.csr --out DEV-1.pem
  cp ca/issuing-ca.pem first.pem

  refused 65 'CN=Renamed has another subject than the certificate that this CA has' certify_again /CN=Renamed hash
  # as bytes: not every verifier takes the one for the other
  refused 65 'has another subject than' certify_again '/CN=TEST Factory Issuing CA' hash
  refused 65 'has another subject key identifier' certify_again '/CN=Test Factory Issuing CA' 0102030405
  cmp ca/issuing-ca.pem first.pem

  certify_again '/CN=Test Factory Issuing CA' hash
  run ! cmp ca/issuing-ca.pem first.pem
  fleetroot-ca cert revoke --home ca --device-id DEV-1 --reason keyCompromise
  fleetroot-ca crl publish --home ca
  run ! openssl verify -crl_check -CRLfile ca/crl.pem -CAfile root.pem -untrusted first.pem DEV-1.pem
  [[ $output == *"certificate revoked"* ]]
}

@test "an offline root certifies no issuing CA that the factory must refuse" {
  fleetroot-ca root init --home root --name "Test Fleet"
  openssl req -new -newkey ed25519 -nodes -keyout ed25519.key -subj '/CN=Issuing CA' -out ed25519.csr \
    -addext basicConstraints=critical,CA:TRUE
  refused 64 'cannot have an Ed25519 key' fleetroot-ca root issue --home root --request ed25519.csr --out issuing.pem
  [[ ! -e issuing.pem ]]
}

@test "an offline root makes no CA of a station or a device" {
  fleetroot-ca root init --home root --name "Test Fleet"
  fleetroot-station init --home st --name st-01
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=DEV-1 -out device.csr \
    -addext keyUsage=keyCertSign
  fleetroot-ca ledger verify --home root >checkpoint

  refused 65 'does not ask to be a CA' fleetroot-ca root issue --home root --request st/station.csr --out issuing.pem
  refused 65 'does not ask to be a CA' fleetroot-ca root issue --home root --request device.csr --out issuing.pem

  [[ ! -e issuing.pem ]]
  fleetroot-ca ledger verify --home root | diff checkpoint -
}

# their_ca [OPTION…]: a root of openssl's, and an issuing CA under it whose key a stranger made in our token
their_ca() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -subj '/CN=Their Root' -days 20000 \
    -addext basicConstraints=critical,CA:TRUE -addext "keyUsage=critical,keyCertSign${root_usage-,cRLSign}" -out root.pem
  stranger_in hsm ca-issuing --keypairgen --key-type EC:prime256v1 --id 07 --label their-issuing --usage-sign "$@"
  stranger_in hsm ca-issuing --read-object --type pubkey --id 07 --output-file issuing.pub
}
# their_certificate EXTENSION…: for the key in the token, in issuing.pem
their_certificate() {
  printf '%s\n' subjectKeyIdentifier=hash authorityKeyIdentifier=keyid "$@" >extensions
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj '/CN=Their Issuing CA' |
    openssl x509 -req -CA root.pem -CAkey root.key -CAcreateserial -days 19000 -extfile extensions \
      -force_pubkey "${key:-issuing.pub}" -out issuing.pem
}
take_over() {
  fleetroot-ca init --home ca --name "Their Factory" --issuing-token "$(in_hsm ca-issuing)" --issuing-key-id 07 \
    --fleet-root root.pem --issuing-certificate issuing.pem
}

@test "a CA that is there is taken over, and works" {
  make_hsm
  their_ca
  their_certificate basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  take_over
  works root.pem
  [[ $(fleetroot-ca config check --home ca) != *"may not sign revocation lists"* ]]
}

@test "a key that wants the PIN for each signature is not taken over: 78" {
  make_hsm
  their_ca --always-auth
  their_certificate basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  refused 78 'wants the PIN for each signature' take_over
  [[ ! -e ca ]]
}

@test "of a root that may not sign revocation lists, config check says so" {
  make_hsm
  root_usage='' their_ca
  their_certificate basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  take_over
  [[ $(fleetroot-ca config check --home ca) == *"CN=Their Root may not sign revocation lists: no list can revoke CN=Their Issuing CA"* ]]
}

@test "a CA that cannot do its work is not taken over, each for its reason, and nothing is made" {
  make_hsm
  their_ca
  before=$(objects_on ca-issuing)
  usage=keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  not_taken_over() { # PATTERN EXTENSION…
    their_certificate "${@:2}"
    refused '65' "$1" take_over
    [[ ! -e ca && $(objects_on ca-issuing) == "$before" ]]
  }
  not_taken_over 'CA' basicConstraints=critical,CA:FALSE "$usage"
  not_taken_over 'CA' basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,digitalSignature
  not_taken_over 'may not sign revocation lists' basicConstraints=critical,CA:TRUE,pathlen:0 \
    keyUsage=critical,keyCertSign,digitalSignature
  not_taken_over 'limits the names below it' basicConstraints=critical,CA:TRUE,pathlen:0 "$usage" \
    'nameConstraints=permitted;DNS:example.com'
  their_certificate basicConstraints=critical,CA:TRUE,pathlen:0 "$usage"
  refused 65 'not signed by its own key' fleetroot-ca init --home ca --name "Their Factory" \
    --issuing-token "$(in_hsm ca-issuing)" --issuing-key-id 07 --fleet-root issuing.pem --issuing-certificate issuing.pem
  [[ ! -e ca ]]
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.key
  openssl pkey -in other.key -pubout -out other.pub
  key=other.pub their_certificate basicConstraints=critical,CA:TRUE,pathlen:0 "$usage"
  refused 78 'key' take_over
  [[ ! -e ca && $(objects_on ca-issuing) == "$before" ]]
}

@test "an init that fails leaves no key in anybody's token" {
  make_hsm
  refused 75 'no token matches token=nonesuch' fleetroot-ca init --home ca --name T \
    --issuing-token "$(in_hsm ca-issuing)" --root-token "$(in_hsm nonesuch)"
  [[ ! -e ca && -z $(objects_on ca-issuing) ]]
  # the disk fails under the station's files, after the key was made
  refused 74 'station.csr' strace -qq -o /dev/null -e trace=fsync -e inject=fsync:error=EIO:when=3 \
    fleetroot-station init --home st --name st-01 --token "$(in_hsm station)"
  [[ ! -e st && -z $(objects_on station) ]]
  refused 74 'fleet-root.pem' strace -qq -o /dev/null -e trace=rename -e inject=rename:error=EIO:when=5 \
    fleetroot-gateway init --home gw --name gw --environment production --environment test --token "$(in_hsm station)"
  [[ ! -e gw && -z $(objects_on station) ]]

  make_ca --root-token "$(in_hsm ca-root)" --issuing-token "$(in_hsm ca-issuing)"
  works ca/fleet-root.pem
}

# make_witnessed_factory: the issuing CA's token is behind the witness
make_witnessed_factory() {
  make_hsm
  make_ca --root-token "$(in_hsm ca-root)" --issuing-token "$(witnessed_in_hsm ca-issuing)"
  make_station
  make_order PO-1 DEV-1
}
witnessed_in_hsm() {
  local uri
  uri=$(in_hsm "$1")
  echo "${uri/$softhsm/$FLEETROOT_WITNESS}"
}
provision_it() {
  fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --token "$(in_hsm DEV-1)"
}

@test "a CA whose token failed once says so, and signs on" {
  make_witnessed_factory
  # the operation that the witness answers for stays open in its session
  WITNESS_ANSWER="C_Sign 1 0x30" refused 75 "the CA's token does not sign" provision_it
  WITNESS_ANSWER="C_Sign 1 0x32" refused 75 'the token failed to sign' fleetroot-ca crl publish --home ca
  made=$(objects_on DEV-1 | grep -m1 ID:)
  run -0 provision_it
  [[ $(objects_on DEV-1 | grep -c 'Private Key') == 1 && $(objects_on DEV-1) == *"$made"* ]]
}

@test "a new key that could not be read, or does not sign, is left in nobody's token" {
  make_hsm
  for answer in "CKA_EC_POINT 1 0x30" "C_Sign 1 0x30"; do
    WITNESS_ANSWER=$answer refused 75 'the token failed to' fleetroot-ca init --home ca --name T \
      --issuing-token "$(witnessed_in_hsm ca-issuing)" --root-token "$(in_hsm ca-root)"
    [[ ! -e ca && -z $(objects_on ca-issuing) && $stderr != *"still in its token"* ]]
  done
  make_ca --root-token "$(in_hsm ca-root)" --issuing-token "$(witnessed_in_hsm ca-issuing)"
}

# The device keeps its key: a CA that cannot sign has not refused it.
@test "a CA whose token signs wrongly issues nothing, holds no device, and goes on once it signs" {
  make_witnessed_factory
  declare -A reasons
  for number in 1 2 3; do
    export WITNESS_WRONG_SIGNATURE=$number
    run provision_it
    echo "$number: $status $output"
    ((status == 0 || status == 69 || status == 76 || status == 78))
    reasons[$status]=$output
    [[ -z ${key:-} || $(objects_on DEV-1) == *"$key"* ]]
    key=$(objects_on DEV-1 | grep -m1 ID:)
  done
  unset WITNESS_WRONG_SIGNATURE
  [[ ${reasons[78]} == *"the CA cannot issue: the signature of the CA's token does not verify"* ]]
  run -0 provision_it
  [[ $(objects_on DEV-1 | grep -c 'Private Key') == 1 && $(objects_on DEV-1) == *"$key"* ]]
  [[ $(fleetroot-ca cert list --home ca --order PO-1 --json | wc -l) == 1 ]]
}
