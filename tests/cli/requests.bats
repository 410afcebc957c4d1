#!/usr/bin/env bats
# Requests get the same nine steps whichever way they come: by hand with `fleetroot-ca cert issue`, and from a station as
# p10cr through `respond`, over the LAN and on a stick, or by EST.
load factory
load serve
load foreign_station

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_ca
  make_order PO-1 DEV-1 DEV-2
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
}

# make_request FILE [OPENSSL OPTION…]: by default a good one for DEV-1
make_request() {
  local options=("${@:2}")
  [[ " ${options[*]} " == *" -subj "* ]] || options+=(-subj /CN=DEV-1)
  [[ " ${options[*]} " == *" -key "* ]] || options+=(-key key.pem)
  openssl req -new -out "$1" "${options[@]}"
}

issue() {
  fleetroot-ca cert issue --home ca --order PO-1 --device-id "$1" --request "$2" --out "$3" "${@:4}"
}

# refused_by_hand FILE PATTERN [DEVICE-ID]: 65, and nothing has changed
refused_by_hand() {
  remember
  refused 65 "$2" issue "${3:-DEV-1}" "$1" out.pem
  [[ ! -e out.pem ]]
  nothing_changed
}

# refused_request FILE PATTERN [DEVICE-ID]: by hand, and in the same words as a station's, whichever way it comes
refused_request() {
  local device=${3:-DEV-1} words way
  refused_by_hand "$@"
  words=$(sed -n 's/^fleetroot-ca: error: //p' <<<"$stderr")
  words=${words#"$1: "} # the file's name is known by hand alone
  [[ -n ${server:-} ]] || begin_station
  message_of "$1" "$device.der"
  for way in through_respond over_the_lan by_est on_a_stick; do
    "$way" "$1" "$device" >said 2>&1
    grep --fixed-strings --quiet -- "$words" said || {
      echo "$way: expected '$words', got: $(<said)"
      return 1
    }
  done
  nothing_changed
}

begin_station() {
  make_foreign_station
  mkdir stick
  sent=0 previous=$(printf '0%.0s' {1..64})
  remember
  begin_serving --est
}

# WAY FILE DEVICE-ID: prints with what words the CA refuses; fails if it does not. The p10cr is in DEVICE-ID.der.
through_respond() {
  fleetroot-ca respond --home ca --order PO-1 <"$2.der" | openssl asn1parse -inform DER | grep 'UTF8STRING.*\[[a-z_]*\]$'
}
over_the_lan() {
  ! p10cr_over_the_lan "$1" out.pem
}
by_est() {
  { openssl req -in "$1" -outform DER 2>/dev/null || cat "$1"; } | base64 >est
  ! curl --silent --fail-with-body --cacert ca/fleet-root.pem --cert st-x.pem --key st-x.key \
    --header 'Content-Type: application/pkcs10' --data-binary @est "$url/.well-known/est/PO-1/simpleenroll"
}
on_a_stick() {
  local bundle=stick/$((sent += 1))
  bundle_of "$2" | jq --argjson sent "$sent" --arg previous "$previous" '.sequence = $sent | .previous = $previous' |
    sign_bundle "$bundle.request"
  previous=$(content "$bundle.request" | sha256sum | cut -d ' ' -f 1)
  fleetroot-ca media process --home ca "$bundle.request" | grep -q '0 certificates, 1 refused'
  content "$bundle.response" | jq -e '.answers[0].error.message'
}

@test "a good request gets a certificate of the profile" {
  make_request good.csr

  run -0 issue DEV-1 good.csr out.pem

  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem out.pem
  [[ $(openssl x509 -in out.pem -noout -pubkey) == "$(openssl pkey -in key.pem -pubout)" ]]
  # and again: the same bytes
  run -0 issue DEV-1 good.csr again.pem
  cmp out.pem again.pem
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "what a request wishes for does not get into the certificate" {
  make_request wishes.csr -addext subjectAltName=DNS:evil.example -addext extendedKeyUsage=serverAuth,codeSigning \
    -addext keyUsage=digitalSignature,keyEncipherment -addext nsComment=hello

  run -0 issue DEV-1 wishes.csr out.pem

  text=$(openssl x509 -in out.pem -noout -text)
  run ! grep -E 'evil|Server Auth|Code Signing|Key Encipherment|hello' <<<"$text"
}

@test "a request for CA rights" {
  make_request ca.csr -addext basicConstraints=critical,CA:TRUE
  refused_request ca.csr 'CA|authority'
}

@test "a request for the right to sign certificates" {
  make_request sign.csr -addext keyUsage=critical,keyCertSign
  refused_request sign.csr 'CA|authority|sign'
}

@test "two common names" {
  make_request two.csr -subj /CN=DEV-1/CN=DEV-2
  refused_request two.csr 'name|CN'
}

@test "two common names in one RDN" {
  make_request two.csr -multivalue-rdn -subj /CN=DEV-1+CN=DEV-2
  refused_request two.csr 'name|CN'
}

@test "no common name" {
  make_request none.csr -subj /O=Somebody
  refused_request none.csr 'name|CN'
}

@test "another device's name" {
  make_request other.csr -subj /CN=DEV-2
  refused_by_hand other.csr 'DEV-2|name|CN|device'
}

@test "a signature that does not verify" {
  make_request bad.csr -outform DER
  python3 - <<'EOF'
data = bytearray(open('bad.csr', 'rb').read())
data[-1] ^= 1
open('bad.csr', 'wb').write(data)
EOF
  refused_request bad.csr 'signature'
}

@test "a public key that was put into somebody else's request" {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem
  make_request mine.csr -outform DER
  python3 - <<'EOF'
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
def spki(path):
    return load_pem_private_key(open(path, 'rb').read(), None).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
data = open('mine.csr', 'rb').read()
assert data.count(spki('key.pem')) == 1
open('swapped.csr', 'wb').write(data.replace(spki('key.pem'), spki('other.pem')))
EOF
  refused_request swapped.csr 'signature'
}

@test "a curve in explicit parameters" {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit -out explicit.pem
  make_request explicit.csr -key explicit.pem
  refused_request explicit.csr 'key|curve'
}

@test "curves that are not on the list" {
  for curve in secp256k1 prime192v1 secp521r1; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$curve -out $curve.pem
    make_request $curve.csr -key $curve.pem
    refused_request $curve.csr 'key|curve'
  done
}

@test "RSA-1024" {
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa.pem
  make_request rsa.csr -key rsa.pem
  refused_request rsa.csr 'key|RSA|bits'
}

@test "RSA with exponent 3, RSA-2047, DSA, X25519's neighbours" {
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3 -out e3.pem
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2047 -out odd.pem
  openssl genpkey -algorithm ED448 -out ed448.pem
  for key in e3 odd ed448; do
    make_request $key.csr -key $key.pem
    refused_request $key.csr 'key'
  done
}

@test "a SHA-1 signature" {
  make_request sha1.csr -sha1
  # and nothing behind it: what the CA's module has left in OpenSSL's queue is no cause of this
  refused_request sha1.csr 'SHA1, which is not accepted$'
}

@test "an unknown critical extension" {
  make_request critical.csr -addext 1.2.3.4.5=critical,ASN1:UTF8String:must-understand
  refused_request critical.csr 'extension'
}

@test "no request at all" {
  make_request good.csr
  : >empty
  head -c 100 good.csr >half
  head -c 1000 /dev/urandom >noise
  openssl x509 -in ca/issuing-ca.pem -out certificate
  { openssl req -in good.csr -outform DER; echo more; } >longer
  for file in empty half noise certificate longer; do
    refused_by_hand $file 'request'
  done
  run --separate-stderr ! issue DEV-1 not-there out.pem
  [[ $stderr == *": error: "*not-there*": hint: "* ]]
}

@test "the same key under another ID is a cloned token" {
  make_request one.csr
  make_request two.csr -subj /CN=DEV-2
  issue DEV-1 one.csr one.pem
  refused_request two.csr 'key' DEV-2
}

@test "the same ID with another key needs a rework" {
  make_request one.csr
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem
  make_request other.csr -key other.pem
  issue DEV-1 one.csr one.pem
  refused_request other.csr 'DEV-1.*certificate'
}

@test "eight people with one key at once: one certificate" {
  make_request one.csr
  for i in 1 2 3 4 5 6 7 8; do
    issue DEV-1 one.csr "out-$i.pem" &
  done
  wait

  [[ $(certificates_in_ledger) == 1 ]]
  [[ $(cat out-*.pem | sha256sum) == "$(for _ in 1 2 3 4 5 6 7 8; do cat out-1.pem; done | sha256sum)" ]]
}

@test "eight people with eight keys for three places: three certificates" {
  fleetroot-ca order create --home ca --id PO-2 --profile device --pattern 'X-[0-9]' --quantity 3
  for i in 1 2 3 4 5 6 7 8; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "x-$i.pem"
    make_request "x-$i.csr" -key "x-$i.pem" -subj "/CN=X-$i"
  done
  for i in 1 2 3 4 5 6 7 8; do
    fleetroot-ca cert issue --home ca --order PO-2 --device-id "X-$i" --request "x-$i.csr" --out "got-$i.pem" 2>"log-$i" &
  done
  wait

  [[ $(certificates_in_ledger) == 3 ]]
  [[ $(find . -name 'got-*.pem' | wc -l) == 3 ]]
}
