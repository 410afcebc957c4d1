#!/usr/bin/env bats
# What Fleetroot leaves on a SoftHSM token, judged by strangers: OpenSC, GnuTLS, OpenSSL and python3-cryptography.
load ../cli/factory

# p11tool reads the PIN from its environment.
p11tool_on() {
  GNUTLS_PIN=$(<"$1/pin") on_token "$1" p11tool --provider "$softhsm" --batch "${@:2}"
}

opensc_sees_a_private_key_that_never_leaves() {
  local key
  key=$(stranger dev-1 --list-objects --type privkey)
  [[ $(grep -c 'Private Key Object' <<<"$key") == 1 ]]
  grep -qx '  Access: *sensitive, always sensitive, never extractable, local' <<<"$key"
  grep -qx '  Usage: *sign' <<<"$key"
  grep -qx '  ID: *01' <<<"$key"
  # and it does not come out
  run stranger dev-1 --read-object --type privkey --id 01 --output-file private-key
  [[ ! -s private-key ]]
}

one_id_for_all_three() {
  [[ $(stranger dev-1 --list-objects | grep -c '^  ID: *01$') == 3 ]]
  [[ $(stranger dev-1 --list-objects | grep -c ' Object;') == 3 ]]
}

gnutls_sees_the_same() {
  local objects
  objects=$(p11tool_on dev-1 --login --list-all 'pkcs11:token=dev-1')
  [[ $(grep -c '^Object ' <<<"$objects") == 3 ]]
  [[ $(grep -c 'ID: 01$' <<<"$objects") == 3 ]]
  p11tool_on dev-1 --login --list-privkeys 'pkcs11:token=dev-1' | grep 'Flags:' |
    grep 'CKA_PRIVATE' | grep 'CKA_NEVER_EXTRACTABLE' | grep -q 'CKA_SENSITIVE'
}

# signature_is_good MECHANISM OPENSSL-OPTION…: OpenSC signs with the token's key, OpenSSL verifies with the certificate
# that lies beside it
signature_is_good() {
  head -c 32 /dev/urandom >message
  head -c 32 /dev/urandom >another
  stranger dev-1 --read-object --type cert --id 01 | openssl x509 -inform DER -out on-token.pem
  stranger dev-1 --sign --id 01 --mechanism "$1" --signature-format openssl --input-file message \
    --output-file signature
  openssl pkeyutl -verify -certin -inkey on-token.pem -in message -sigfile signature "${@:2}"
  run ! openssl pkeyutl -verify -certin -inkey on-token.pem -in another -sigfile signature "${@:2}"
}

certificate_is_good() {
  fleetroot-ca cert show --home ca --device-id DEV-1 --pem >device.pem
  cmp <(openssl x509 -in device.pem -outform DER) <(stranger dev-1 --read-object --type cert --id 01)
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem device.pem
  cat device.pem ca/issuing-ca.pem ca/fleet-root.pem >chain.pem
  certtool --verify --load-ca-certificate ca/fleet-root.pem --infile chain.pem | grep -q 'Chain verification output: Verified'
  # Debian's own python, which has the package
  /usr/bin/python3 - "$1" <<'EOF2'
import sys
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
certificate = x509.load_pem_x509_certificate(open('device.pem', 'rb').read())
issuer = x509.load_pem_x509_certificate(open('ca/issuing-ca.pem', 'rb').read())
assert certificate.issuer == issuer.subject
names = [name.value for name in certificate.subject]
assert names == ['DEV-1'], names
usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
assert usage.digital_signature and not usage.key_cert_sign
extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
key = certificate.public_key()
kind = type(key).__name__.lstrip('_').removesuffix('PublicKey').lower() + str(getattr(key, 'key_size', ''))
assert kind == sys.argv[1], kind
EOF2
}

ca_keeps_the_stations_claim() {
  local claim
  claim=$(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -c .claim)
  [[ $(jq -r '[.order, .station] | join(" ")' <<<"$claim") == "PO-1 st-01" ]]
  [[ $claim == *SoftHSM* ]]
}

# device_with ALGORITHM
device_with() {
  make_factory DEV-1
  make_token dev-1
  provision dev-1 DEV-1 --algorithm "$1"
}

strangers_agree() {
  opensc_sees_a_private_key_that_never_leaves
  one_id_for_all_three
  gnutls_sees_the_same
  certificate_is_good "$1"
  ca_keeps_the_stations_claim
}

# p11tool signs and verifies by itself; it knows no Ed25519 key in a token.
gnutls_signs() {
  run -0 p11tool_on dev-1 --login --test-sign 'pkcs11:token=dev-1;object=fleetroot;type=private'
  [[ $(grep -c '\.\.\. ok$' <<<"$output") == 3 ]]
}

# opensc_tests_the_token LINE…: its exit code is 0 whatever it finds, and keys of some kinds it passes over
opensc_tests_the_token() {
  local line
  stranger dev-1 --test >tested 2>&1
  [[ $(tail -n 1 tested) == "No errors" ]]
  run ! grep 'ERR' tested
  for line in "$@"; do grep -Fqx "    $line" tested; done
}

@test "p256" {
  device_with p256
  strangers_agree ellipticcurve256
  signature_is_good ECDSA
  gnutls_signs
  opensc_tests_the_token
}

@test "p384" {
  device_with p384
  strangers_agree ellipticcurve384
  signature_is_good ECDSA
  gnutls_signs
  opensc_tests_the_token
}

@test "rsa2048" {
  device_with rsa2048
  strangers_agree rsa2048
  signature_is_good SHA256-RSA-PKCS -rawin -digest sha256
  gnutls_signs
  opensc_tests_the_token 'RSA-X-509: OK' 'RSA-PKCS: OK'
}

@test "rsa3072" {
  device_with rsa3072
  strangers_agree rsa3072
  signature_is_good SHA256-RSA-PKCS -rawin -digest sha256
  gnutls_signs
  opensc_tests_the_token 'RSA-X-509: OK' 'RSA-PKCS: OK'
}

@test "ed25519" {
  device_with ed25519
  strangers_agree ed25519
  signature_is_good EDDSA -rawin
}
