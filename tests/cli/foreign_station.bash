# A station of somebody else's making: openssl and jq, by docs/formats.md alone. Loaded after factory.

make_foreign_station() {
  openssl ecparam -name prime256v1 -genkey -noout -out st-x.key
  openssl req -new -key st-x.key -subj /CN=st-x -out st-x.csr
  fleetroot-ca station enroll --home ca --name st-x --request st-x.csr --out st-x.pem
}

# request_of DEVICE-ID KEY: the p10cr that openssl's client would send, in DEVICE-ID.der
request_of() {
  openssl req -new -key "$2" -subj "/CN=$1" -out "$1.csr"
  message_of "$1.csr" "$1.der"
}
# message_of CSR FILE: nobody answers it
message_of() {
  openssl cmp -cmd p10cr -csr "$1" -cert st-x.pem -key st-x.key -srvcert ca/issuing-ca.pem -reqout "$2" \
    -rspin /dev/null 2>/dev/null || true
  [[ -s $2 ]]
}
# p10cr_over_the_lan CSR FILE: from the CA that serve.bash has begun
p10cr_over_the_lan() {
  openssl cmp -cmd p10cr -server "$address" -path .well-known/cmp/p/PO-1 -no_proxy 127.0.0.1 -tls_used \
    -tls_trusted ca/fleet-root.pem -tls_host 127.0.0.1 -tls_cert st-x.pem -tls_key st-x.key -cert st-x.pem -key st-x.key \
    -recipient "/CN=Test Factory Issuing CA" -trusted ca/fleet-root.pem -untrusted ca/issuing-ca.pem -csr "$1" \
    -certout "$2"
}

# bundle_of DEVICE-ID: the first one, of DEVICE-ID.der alone
bundle_of() {
  jq -n --arg ca "$(openssl x509 -in ca/issuing-ca.pem -outform DER | sha256sum | cut -d ' ' -f 1)" \
    --arg sha "$(sha256sum <"$1.der" | cut -d ' ' -f 1)" --arg message "$(base64 -w 0 "$1.der")" --arg device "$1" '{
      format: "fleetroot-request-bundle/1", ca: $ca, station: "st-x", sequence: 1, previous: ("0" * 64),
      order: "PO-1", created: (now | todate), expires: (now + 86400 | todate),
      requests: [{device_id: $device, sha256: $sha, pkimessage: $message}], receipts: []}'
}
# sign_bundle FILE <JSON
sign_bundle() {
  openssl cms -sign -binary -nodetach -nosmimecap -keyid -md sha256 -signer st-x.pem -inkey st-x.key -outform DER \
    -out "$1"
}

# content BUNDLE: what openssl finds in it. A station's bundle does not carry the certificate of the CA above it.
content() {
  cat ca/fleet-root.pem ca/issuing-ca.pem >trust.pem
  openssl cms -verify -binary -inform DER -in "$1" -CAfile trust.pem -purpose any 2>/dev/null
}
