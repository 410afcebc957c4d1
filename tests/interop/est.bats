#!/usr/bin/env bats
# EST on the CA's port: curl with openssl, and strongSwan's pki.
load ../cli/factory
load ../cli/serve

make_request() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
}

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_ca
  make_order PO-1 DEV-1 DEV-2
  make_request st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st-01.csr --out st-01.pem
  make_request DEV-1
}

# est PATH [CURL-OPTION…]: the answer in `answer`, its status on stdout
est() {
  curl --silent --show-error --cacert ca/fleet-root.pem --output answer --write-out '%{http_code}' "${@:2}" \
    "$url/.well-known/est/$1"
}
station=(--cert st-01.pem --key st-01.key)

# enroll_by_curl DEVICE PATH [CURL-OPTION…]
enroll_by_curl() {
  openssl req -in "$1.csr" -outform DER | openssl base64 >request
  est "$2" --header 'Content-Type: application/pkcs10' --header 'Content-Transfer-Encoding: base64' \
    --data-binary @request "${@:3}"
}

certificates_in_answer() {
  openssl base64 -d -A -in answer | openssl pkcs7 -inform DER -print_certs
}

@test "cacerts for anybody: the chain that stations pin" {
  begin_serving --est
  [[ $(est cacerts) == 200 ]]
  certificates_in_answer >chain.pem
  openssl verify -x509_strict -CAfile ca/fleet-root.pem -untrusted chain.pem ca/issuing-ca.pem
  [[ $(grep -c BEGIN chain.pem) == 2 ]]
  end_serving
}

@test "simpleenroll by curl and openssl, for the order of the path; the same again" {
  begin_serving --est
  [[ $(enroll_by_curl DEV-1 PO-1/simpleenroll "${station[@]}") == 200 ]]
  certificates_in_answer >DEV-1.pem
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem DEV-1.pem
  [[ $(openssl x509 -in DEV-1.pem -noout -pubkey) == "$(openssl pkey -in DEV-1.key -pubout)" ]]
  [[ $(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r .station) == st-01 ]]
  cp answer first
  [[ $(enroll_by_curl DEV-1 PO-1/simplereenroll "${station[@]}") == 200 ]]
  cmp answer first
  [[ $(certificates_in_ledger) == 1 ]]
  end_serving
}

@test "who is no station asks in vain, and so does who asks for what no order has" {
  begin_serving --est
  [[ $(enroll_by_curl DEV-1 PO-1/simpleenroll) == 403 ]]
  [[ $(est csrattrs) == 403 ]]
  [[ $(curl --silent --cacert ca/fleet-root.pem --output answer --write-out '%{http_code}' --data x \
    --header 'Content-Type: application/pkixcmp' "$url/.well-known/cmp") == 403 ]]
  [[ $(enroll_by_curl DEV-1 simpleenroll "${station[@]}") == 400 ]]
  grep 'names no order' answer
  make_request DEV-9
  [[ $(enroll_by_curl DEV-9 PO-1/simpleenroll "${station[@]}") != 200 ]]
  grep 'not on order PO-1' answer
  [[ $(est simpleenroll --header 'Content-Type: application/pkcs10' --data '!' "${station[@]}") == 400 ]]
  fleetroot-ca station revoke --home ca --name st-01
  run ! enroll_by_curl DEV-1 PO-1/simpleenroll "${station[@]}"
  [[ $(certificates_in_ledger) == 0 ]]
}

@test "without --est there is none" {
  begin_serving
  [[ $(est cacerts "${station[@]}") == 404 ]]
  run ! est cacerts
}

@test "csrattrs is what openssl can read" {
  begin_serving --est
  [[ $(est csrattrs "${station[@]}") == 200 ]]
  openssl base64 -d -A -in answer | openssl asn1parse -inform DER | grep prime256v1
}

@test "strongSwan's pki gets the CA's certificates, and a device its own" {
  begin_serving --est --order PO-1
  pki --estca --url "$url" --cacert ca/fleet-root.pem --caout theirs.pem --outform pem 2>pki.err || { cat pki.err && false; }
  openssl verify -x509_strict -CAfile ca/fleet-root.pem theirs*.pem
  openssl req -in DEV-1.csr -outform DER -out DEV-1.der
  pki --est --url "$url" --in DEV-1.der --cacert ca/fleet-root.pem --cacert ca/issuing-ca.pem --cert st-01.pem \
    --key st-01.key --outform pem >DEV-1.pem 2>pki.err || { cat pki.err serve.err && false; }
  openssl verify -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem DEV-1.pem
  [[ $(openssl x509 -in DEV-1.pem -noout -pubkey) == "$(openssl pkey -in DEV-1.key -pubout)" ]]
}
