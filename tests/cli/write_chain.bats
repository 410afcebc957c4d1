#!/usr/bin/env bats
# device.write_chain: the issuing CA's certificate goes onto the token beside the device's, once and for good.
load factory

setup() {
  cd "$BATS_TEST_TMPDIR" || return
  make_factory DEV-1
  make_token dev-1
  write_chain true
  chain_id=$(openssl x509 -in ca/issuing-ca.pem -noout -ext subjectKeyIdentifier | sed -n 's/[: ]//g; $p' | tr A-F a-f)
}

write_chain() {
  sed -i "s/^write_chain = .*/write_chain = $1/" st/station.toml
}

# chain_lies_there_once: OpenSC and GnuTLS see both certificates, and read the issuing CA's under its own ID
chain_lies_there_once() {
  [[ $(objects_on dev-1) == 4 && $(objects_on dev-1 Certificate) == 2 ]]
  stranger dev-1 --list-objects --type cert | grep --after-context=4 "label: *fleetroot-issuing-ca" | grep -q "ID: *$chain_id"
  stranger dev-1 --read-object --type cert --id "$chain_id" --output-file opensc.der
  cmp opensc.der <(openssl x509 -in ca/issuing-ca.pem -outform DER)
  stranger dev-1 --read-object --type cert --id 01 | openssl x509 -inform DER -out device.pem
  on_token dev-1 p11tool --batch --provider "$softhsm" --outfile gnutls.pem --export-chain \
    'pkcs11:token=dev-1;id=%01;type=cert'
  openssl crl2pkcs7 -nocrl -certfile gnutls.pem | openssl pkcs7 -print_certs | openssl x509 -outform DER | cmp - \
    <(openssl x509 -in device.pem -outform DER)
  # what the token holds is all that a verifier with the root needs
  openssl verify -x509_strict -CAfile ca/fleet-root.pem -untrusted <(openssl x509 -inform DER -in opensc.der) device.pem
}

# witnessed: as `provision dev-1 DEV-1`, through the witness
witnessed() {
  WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls on_token dev-1 fleetroot-station provision --home st --order PO-1 \
    --device-id DEV-1 --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin" "$@"
}

# put_certificate PEM: by a stranger, where the chain's goes
put_certificate() {
  openssl x509 -in "$1" -outform DER -out "$1.der"
  stranger dev-1 --write-object "$1.der" --type cert --id "$chain_id" --label "somebody else's"
}

@test "strangers read the chain from the token, and another run changes nothing" {
  run -0 provision dev-1 DEV-1
  chain_lies_there_once
  objects_in dev-1 >before
  run -0 provision dev-1 DEV-1
  objects_in dev-1 | diff before -
  run -0 on_token dev-1 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri dev-1)"
}

@test "a chain that is taken away, or that gets company: verify and another run say so" {
  run -0 provision dev-1 DEV-1
  says_so() {
    refused 65 "CN=Test Factory Issuing CA is no longer $1" provision dev-1 DEV-1
    [[ $stderr == *"run verify"* ]]
    run -65 on_token dev-1 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri dev-1)"
    [[ $output == *"FAIL  written chain"*"is no longer $1"* && $(grep -c ^FAIL <<<"$output") == 2 ]] # and the last line
  }
  stranger dev-1 --delete-object --type cert --id "$chain_id"
  says_so 'on the token'
  put_certificate ca/issuing-ca.pem
  put_certificate ca/fleet-root.pem
  says_so 'alone on the token'
}

@test "without write_chain no chain is there" {
  write_chain false
  run -0 provision dev-1 DEV-1
  [[ $(objects_on dev-1 Certificate) == 1 ]]
}

@test "a run that is killed before the chain is written, or after: the next leaves one" {
  for moment in 'C_CreateObject 1' 'C_CreateObject 2' 'C_Sign 3'; do # the device's, the chain's, the last proof
    WITNESS_KILL=$moment run -137 witnessed
  done
  run -0 provision dev-1 DEV-1
  chain_lies_there_once
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "the very same certificate may be there before" {
  put_certificate ca/issuing-ca.pem
  objects_in dev-1 >before
  run -0 provision dev-1 DEV-1
  [[ $(objects_on dev-1 Certificate) == 2 ]]
  objects_in dev-1 | comm -23 before - | diff /dev/null -
}

@test "anything else under the chain's ID is not overwritten" {
  put_certificate ca/fleet-root.pem
  remember dev-1
  refused 65 'where the issuing CA.s certificate goes' provision dev-1 DEV-1
  [[ $(error_code provision dev-1 DEV-1) == token_foreign_object ]]
  nothing_changed
}

@test "nor when the chain is asked for by a run that resumes" {
  put_certificate ca/fleet-root.pem
  write_chain false
  WITNESS_KILL='C_CreateObject 1' run -137 witnessed
  write_chain true
  remember dev-1
  refused 65 'where the issuing CA.s certificate goes' provision dev-1 DEV-1
  nothing_changed
  write_chain false
  run -0 provision dev-1 DEV-1
}

@test "of two issuing certificates with one key, one is written" {
  fleetroot-ca init --home other-ca --name "Other Factory" --external-root
  for root in first second; do
    fleetroot-ca root init --home $root --name "Fleet $root"
    fleetroot-ca root issue --home $root --request other-ca/issuing-ca.csr --out $root.pem
  done
  fleetroot-ca root accept --home other-ca --fleet-root first/fleet-root.pem --issuing-certificate first.pem
  mv ca kept-ca
  mv other-ca ca
  make_order PO-1 DEV-1
  rm -r st
  fleetroot-station init --home st --name st-01
  write_chain true
  fleetroot-ca station enroll --home ca --name st-01 --request st/station.csr --out st-01.pem
  cat first.pem second.pem >issuing.pem
  cat {first,second}/fleet-root.pem >roots.pem
  fleetroot-station enroll --home st --certificate st-01.pem --ca-certificate issuing.pem --fleet-root roots.pem \
    --ca 'exec:fleetroot-ca respond --home ca'
  run -0 provision dev-1 DEV-1
  [[ $(objects_on dev-1 Certificate) == 2 ]]
  run -0 provision dev-1 DEV-1
  [[ $output == *"already provisioned"* ]]
}
