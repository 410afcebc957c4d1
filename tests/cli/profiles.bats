#!/usr/bin/env bats
# What the CA's profiles put into a certificate, judged by openssl, and the CA's own certificates.
load factory

@test "a fleet root and an issuing CA that strangers accept" {
  make_ca

  openssl verify -x509_strict -CAfile ca/fleet-root.pem ca/issuing-ca.pem
  root=$(openssl x509 -in ca/fleet-root.pem -noout -text)
  issuing=$(openssl x509 -in ca/issuing-ca.pem -noout -text)
  grep -A1 'Basic Constraints: critical' <<<"$root" | grep -q 'CA:TRUE'
  grep -A1 'Basic Constraints: critical' <<<"$issuing" | grep -q 'CA:TRUE, pathlen:0'
  grep -A1 'Key Usage: critical' <<<"$issuing" | grep -q 'Certificate Sign'
  # an extended key usage without clientAuth on the root breaks every device's chain
  run ! grep -A1 'Extended Key Usage' <<<"$root"
}

@test "one tier: the fleet root signs devices itself" {
  make_ca --single-tier
  make_order PO-1 DEV-1
  make_station
  make_token dev-1

  run -0 provision dev-1 DEV-1

  fleetroot-ca cert show --home ca --device-id DEV-1 --pem >certificate.pem
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem certificate.pem
}

@test "idevid: no expiry, a serialNumber attribute, a hardware module name" {
  make_ca
  printf 'device_id,hw_model,hw_serial\nDEV-1,FR-TCU-2,T2-00042\n' >order.csv
  fleetroot-ca order create --home ca --id PO-1 --profile idevid --devices order.csv
  make_station
  make_token dev-1

  run -0 provision dev-1 DEV-1

  fleetroot-ca cert show --home ca --device-id DEV-1 --pem >certificate.pem
  openssl x509 -in certificate.pem -noout -enddate | grep -q '^notAfter=Dec 31 23:59:59 9999 GMT$'
  openssl x509 -in certificate.pem -noout -subject -nameopt RFC2253,sep_multiline | grep -q 'serialNumber='
  openssl x509 -in certificate.pem -noout -subject -nameopt RFC2253 | grep -q 'CN=DEV-1'
  # id-on-hardwareModuleName (RFC 4108)
  openssl asn1parse -in certificate.pem -strparse \
    "$(openssl asn1parse -in certificate.pem | awk -F: '/Subject Alternative Name/ { found = 1; next } found { print $1; exit }')" |
    grep -qE '1\.3\.6\.1\.5\.5\.7\.8\.4'
  openssl verify -x509_strict -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem certificate.pem
}

@test "serial numbers are positive, at most 20 octets, and never the same" {
  make_ca
  make_order PO-1 D-{1..9}
  for i in {1..9}; do
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj "/CN=D-$i" -out "$i.csr"
    fleetroot-ca cert issue --home ca --order PO-1 --device-id "D-$i" --request "$i.csr" --out "$i.pem" >&2
    openssl x509 -in "$i.pem" -noout -serial
  done >serials

  [[ $(sort -u serials | wc -l) == 9 ]]
  run ! grep -vE '^serial=[0-7][0-9A-F]{1,39}$' serials
}

@test "an offline root issues an issuing CA from its request" {
  run -0 fleetroot-ca root issue --help
  make_ca
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -subj '/CN=Second Factory' \
    -addext basicConstraints=critical,CA:TRUE -out other.csr

  run -0 fleetroot-ca root issue --home ca --request other.csr --out other.pem

  openssl verify -x509_strict -CAfile ca/fleet-root.pem other.pem
  openssl x509 -in other.pem -noout -text | grep -A1 'Basic Constraints: critical' | grep -q 'CA:TRUE, pathlen:0'
}
