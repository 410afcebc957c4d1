#!/usr/bin/env bats
load factory

@test "a device gets its key and certificate, and a person reads PASS" {
  make_factory DEV-1
  make_token dev-1

  run --separate-stderr -0 provision dev-1 DEV-1

  [[ ${lines[-1]} == "PASS DEV-1 "* ]]
  [[ $(objects_on dev-1 "Private Key") == 1 ]]
  [[ $(objects_on dev-1 "Public Key") == 1 ]]
  [[ $(objects_on dev-1 "Certificate") == 1 ]]
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "a machine reads ten steps and a verdict, one JSON object a line" {
  make_factory DEV-1
  make_token dev-1

  provision dev-1 DEV-1 --json >events.jsonl

  [[ $(jq -s 'map(.schema) | unique | .[]' events.jsonl) == '"fleetroot/1"' ]]
  [[ $(jq -s -c 'map(select(.event == "step").step)' events.jsonl) == "[1,2,3,4,5,6,7,8,9,10]" ]]
  [[ $(jq -s 'all(.[]; .device_id == "DEV-1" and (.millis | type) == "number")' events.jsonl) == true ]]
  [[ $(tail -n 1 events.jsonl | jq -r '.event + " " + .result') == "device pass" ]]
}

@test "what fails before the first step names the device all the same, and no step" {
  make_factory DEV-1
  make_token dev-1
  fleetroot-station init --home new --name st-02
  fails() { # fails HOME CA ORDER TOKEN-URI
    local command=(fleetroot-station provision --home "$1" --ca "$2" --order "$3" --token "$4" --device-id DEV-1)
    run --separate-stderr ! on_token dev-1 "${command[@]}"
    [[ $output == "FAIL DEV-1  hold the line"* ]]
    run --separate-stderr ! on_token dev-1 "${command[@]}" --json
    jq -e '.device_id == "DEV-1" and .result == "fail" and (has("step") or has("name") | not)' <<<"$output"
  }
  respond='exec:fleetroot-ca respond --home ca'
  fails nowhere "$respond" PO-1 "$(token_uri dev-1)"
  fails new "$respond" PO-1 "$(token_uri dev-1)"
  fails st bogus:x PO-1 "$(token_uri dev-1)"
  fails st "$respond" PO/1 "$(token_uri dev-1)"
  fails st "$respond" PO-1 'pkcs11:token=dev-1?pin-value=1234'
  [[ $(objects_on dev-1) == 0 ]]
}

@test "a bay has a name, as on a line" {
  make_factory DEV-1
  make_token dev-1
  for bay in $'1\n' $'\xff' 'a b' "$(head -c 70000 /dev/zero | tr '\0' 1)"; do
    refused 64 'the bay name is not valid' provision dev-1 DEV-1 --bay "$bay"
  done
  [[ $(objects_on dev-1) == 0 ]]
}

@test "the same command again says that all is done, and writes nothing" {
  make_factory DEV-1
  make_token dev-1
  provision dev-1 DEV-1
  remember dev-1
  files=$(objects_in dev-1)

  run --separate-stderr -0 provision dev-1 DEV-1
  [[ ${lines[-1]} == "PASS DEV-1 "*"already provisioned"* ]]
  run --separate-stderr -0 provision dev-1 DEV-1 --json
  [[ $(tail -n 1 <<<"$output" | jq -r .result) == already ]]

  nothing_changed
  [[ $(objects_in dev-1) == "$files" ]]
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "the same command again makes no call that changes the token" {
  make_factory DEV-1
  make_token dev-1
  provision dev-1 DEV-1
  export WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls

  on_token dev-1 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "pkcs11:token=dev-1?module-path=$FLEETROOT_WITNESS&pin-source=file:dev-1/pin"

  grep -q C_Login calls
  run -1 grep -E 'C_GenerateKeyPair|C_CreateObject|C_DestroyObject|C_SetAttributeValue' calls
}

@test "the certificate is the profile's, whatever the request said" {
  make_factory DEV-1
  make_token dev-1
  provision dev-1 DEV-1

  fleetroot-ca cert show --home ca --device-id DEV-1 --pem >certificate.pem

  openssl x509 -in certificate.pem -noout -subject -nameopt RFC2253 | grep -x 'subject=CN=DEV-1'
  extensions=$(openssl x509 -in certificate.pem -noout -text -certopt ext_dump)
  grep -A1 'X509v3 Key Usage: critical' <<<"$extensions" | grep -qx ' *Digital Signature'
  grep -A1 'X509v3 Extended Key Usage' <<<"$extensions" | grep -qx ' *TLS Web Client Authentication'
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem certificate.pem
  # what lies on the token is what the ledger holds
  stranger dev-1 --read-object --type cert --id 01 --output-file token.der
  cmp token.der <(openssl x509 -in certificate.pem -outform DER)
}

@test "verify believes a token that the station filled, and says why it does not believe another" {
  make_factory DEV-1
  make_token dev-1 stray
  provision dev-1 DEV-1

  run -0 on_token dev-1 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri dev-1)"
  run ! on_token dev-1 fleetroot-station verify --home st --device-id DEV-2 --token "$(token_uri dev-1)"
  run ! on_token stray fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri stray)"
}

@test "verify does not believe a certificate over somebody else's key" {
  make_factory DEV-1
  make_token dev-1 other
  provision dev-1 DEV-1
  stranger dev-1 --read-object --type cert --id 01 --output-file certificate.der
  stranger other --keypairgen --key-type EC:prime256v1 --id 01 --label fleetroot --usage-sign
  stranger other --write-object certificate.der --type cert --id 01 --label fleetroot

  run ! on_token other fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri other)"
}

@test "inspect shows what is on a token, and changes nothing" {
  make_factory DEV-1
  make_token dev-1
  provision dev-1 DEV-1
  remember dev-1

  run -0 on_token dev-1 fleetroot-station inspect --token "$(token_uri dev-1)"

  [[ $output == *fleetroot* ]]
  nothing_changed
}

@test "a self-signed placeholder makes way for the real certificate" {
  make_factory DEV-1
  make_token dev-1

  run --separate-stderr -0 provision dev-1 DEV-1 --placeholder

  [[ $(objects_on dev-1 "Certificate") == 1 ]]
  stranger dev-1 --read-object --type cert --id 01 --output-file certificate.der
  openssl verify -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem certificate.der
}

@test "two stations, two orders and two devices do not get in each other's way" {
  make_factory DEV-1
  make_order PO-2 DEV-2
  make_station st2 st-02
  make_token dev-1 dev-2

  provision dev-1 DEV-1 >first.log 2>&1 &
  on_token dev-2 fleetroot-station provision --home st2 --order PO-2 --device-id DEV-2 --token "$(token_uri dev-2)"
  wait $!

  [[ $(certificates_in_ledger) == 2 ]]
}

@test "a device that was begun or done with one key policy is not passed with another" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  provision DEV-1 DEV-1
  remember DEV-1
  refused 64 'DEV-1 was provisioned with the preset fleetroot and the algorithm p256' provision DEV-1 DEV-1 --preset aktualizr
  refused 64 'p256' provision DEV-1 DEV-1 --algorithm rsa3072
  nothing_changed
  provision DEV-1 DEV-1 --preset fleetroot --algorithm p256
  # what new devices get from now on is nothing to the old ones
  sed -i 's/^preset = .*/preset = "lmp"/' st/station.toml
  provision DEV-1 DEV-1
  sed -i 's/^preset = .*/preset = "fleetroot"/' st/station.toml

  provision DEV-2 DEV-2 --ca media:queue
  refused 64 'DEV-2 was begun with the preset fleetroot' provision DEV-2 DEV-2 --preset lmp
  provision DEV-2 DEV-2
}

@test "a device that is queued with a key that the CA refuses: what is said of another policy holds" {
  make_factory DEV-1
  make_token DEV-1
  sed -i 's/^key_algorithms = .*/key_algorithms = ["p384"]/' ca/profiles/device.toml
  provision DEV-1 DEV-1 --ca media:queue
  fleetroot-station media export --home st --queue queue --out stick
  fleetroot-ca media process --home ca stick
  [[ $(fleetroot-station media import --home st --queue queue stick) == *': 0 certificates, 1 refused' ]]

  refused 64 'was begun with the preset fleetroot and the algorithm p256' \
    provision DEV-1 DEV-1 --ca media:queue --algorithm p384
  [[ $stderr == *"leave --preset and --algorithm out "*"where the CA refuses them, that frees the token for others"* ]]
  refused 65 'does not allow p256' provision DEV-1 DEV-1 --ca media:queue
  run -0 provision DEV-1 DEV-1 --ca media:queue --algorithm p384
}

@test "a CA whose clock is a little ahead is waited for; one that is far ahead is no fault of the device: 78" {
  make_factory DEV-1 DEV-2
  make_token dev-1 dev-2
  ahead() { # TIME TOKEN DEVICE-ID
    provision "$2" "$3" --ca "exec:env FAKETIME=+$1 LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 \
      fleetroot-ca respond --home ca"
  }
  run -0 ahead 4s dev-1 DEV-1
  refused 78 'valid only from .*, and here it is' ahead 2h dev-2 DEV-2
  [[ $(objects_on dev-2 "Private Key") == 1 && $(objects_on dev-2 Certificate) == 0 ]]
  run -0 ahead 1s dev-1 DEV-1
  on_token dev-2 days_later 1 fleetroot-station provision --home st --order PO-1 --device-id DEV-2 --token "$(token_uri dev-2)"
  [[ $(certificates_in_ledger) == 2 ]]
}

@test "a device whose certificate has expired is not passed; a clock that is behind is no fault of the device: 78" {
  make_ca
  sed -i 's/^validity = .*/validity = "1 days"/' ca/profiles/device.toml
  make_order PO-1 DEV-1
  make_station
  make_token dev-1
  provision dev-1 DEV-1
  two_days_later() {
    on_token dev-1 days_later 2 fleetroot-station provision --home st --order PO-1 --device-id DEV-1 --token "$(token_uri dev-1)" "$@"
  }

  refused 65 'DEV-1 was provisioned, and its certificate expired at' two_days_later
  [[ $(error_code two_days_later) == certificate_rejected ]]
  refused 78 'valid only from .*, and here it is' on_token dev-1 env FAKETIME=-1d \
    LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 fleetroot-station provision --home st --order PO-1 \
    --device-id DEV-1 --token "$(token_uri dev-1)"
  run -0 provision dev-1 DEV-1

  # as the hint says
  days_later 2 fleetroot-ca rework authorize --home ca --device-id DEV-1
  for type in privkey pubkey cert; do stranger dev-1 --delete-object --type $type --id 01; done
  run -0 two_days_later --rework
}
