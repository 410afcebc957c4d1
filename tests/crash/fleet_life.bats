#!/usr/bin/env bats
# A fleet's life in random order, with the real CA and the real gateway: connecting, rework, scrapping, imports, restarts,
# kill -9 of the gateway and of imports. Whatever comes first, registry and ledger never disagree.
load ../cli/factory
load ../cli/gateway

declare -gA keys scrapped owner_of

# certify ID: one more key for this device, and the CA's certificate for it, in ID.N.pem and ID.N.key
certify() {
  local name=$1.$((++keys[$1]))
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$name.key" -out "$name.csr" 2>/dev/null
  fleetroot-ca cert issue --home ca --order PO-1 --device-id "$1" --request "$name.csr" --out "$name.pem" >>ca.log
  owner_of[$(fingerprint "$name")]=$1
  cat ca/issuing-ca.pem >>"$name.pem"
}
fingerprint() {
  openssl x509 -in "$1.pem" -outform DER | sha256sum | cut -d ' ' -f 1
}

make_news() {
  fleetroot-ca crl publish --home ca >>ca.log
  fleetroot-ca ledger export --home ca --order PO-1 --out order.manifest >>ca.log
}
import() {
  fleetroot-gateway "$1" import --home gw --environment production --ca-certificate ca/issuing-ca.pem "$2"
}

# Who is registered is so with a certificate that the CA made for this very device.
agree() {
  local id certificate
  while read -r id certificate; do
    [[ ${owner_of[$certificate]:-nobody} == "$id" ]] || { echo "$id is registered with $certificate"; return 1; }
  done < <(devices_in production | jq -r '.device_id + " " + .certificate')
}

step() {
  local id=FLEET-$((RANDOM % 4 + 1))
  case $((RANDOM % 10)) in
    [0-4])
      # Let in or not; the gateway must live.
      as "$id.$((RANDOM % keys[$id] + 1))" production /whoami >/dev/null 2>&1 || kill -0 "$gateway"
      ;;
    5)
      [[ -n ${scrapped[$id]:-} ]] && return
      fleetroot-ca rework authorize --home ca --device-id "$id" --reason "token broken" >>ca.log
      certify "$id"
      ;;
    6)
      ((RANDOM % 4 == 0)) && [[ -z ${scrapped[$id]:-} ]] || return 0
      fleetroot-ca scrap --home ca --device-id "$id" --cause damaged >>ca.log
      scrapped[$id]=yes
      ;;
    7)
      make_news
      import crl ca/crl.pem
      import manifest order.manifest
      ;;
    8)
      kill -9 "$gateway"
      start_gateway
      ;;
    9)
      make_news
      import manifest order.manifest 3>&- &
      local importer=$!
      read -rt "0.00$((RANDOM % 9))" <> <(:) || true
      kill -9 "$importer" 2>/dev/null || wait "$importer" # if it was done before, it has done well
      ;;
  esac
}

@test "connect, rework, scrap, import, restart and kill -9 in random order: registry and ledger never disagree" {
  RANDOM=${FLEETROOT_CRASH_SEED:=$$}
  echo "again: FLEETROOT_CRASH_SEED=$FLEETROOT_CRASH_SEED"
  make_ca
  fleetroot-ca order create --home ca --id PO-1 --profile device --pattern 'FLEET-[0-9]+' --quantity 100
  make_gateway
  fleetroot-gateway fleet-root add --home gw --environment production ca/fleet-root.pem
  for i in 1 2 3 4; do certify "FLEET-$i"; done
  start_gateway

  for _ in {1..60}; do
    step
    agree
  done

  make_news
  import crl ca/crl.pem
  import manifest order.manifest
  stop_gateway
  start_gateway
  for i in 1 2 3 4; do
    id=FLEET-$i
    for ((n = 1; n < keys[$id]; ++n)); do run ! as "$id.$n" production /whoami; done
    if [[ -n ${scrapped[$id]:-} ]]; then
      run ! as "$id.${keys[$id]}" production /whoami
    else
      [[ $(as "$id.${keys[$id]}" production /whoami | jq -r .device_id) == "$id" ]]
      [[ $(devices_in production | jq -r "select(.device_id == \"$id\").certificate") == "$(fingerprint "$id.${keys[$id]}")" ]]
    fi
  done
  agree
  fleetroot-ca ledger verify --home ca
  [[ $(sqlite3 gw/registry.db 'PRAGMA integrity_check') == ok ]]
}
