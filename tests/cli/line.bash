# A line with two bays for one test: every device's token is in the directory tokens. Loaded after factory.bash.

# make_line DEVICE-ID…: all devices are on order PO-1, and the token of each is in the directory tokens
make_line() {
  make_factory "$@"
  make_token_directory tokens
  export SOFTHSM2_CONF=$PWD/tokens/softhsm2.conf
  add_tokens "$@"
}
add_tokens() {
  local label slot
  for label in "$@"; do
    slot=$(find tokens/tokens -mindepth 1 -type d | wc -l)
    add_token tokens "$label" "$slot"
  done
}

any_token="pkcs11:token={device_id}?module-path=$softhsm&pin-source=file:tokens/pin"
fixed() {
  echo "pkcs11:token=$1?module-path=$softhsm&pin-source=file:tokens/pin"
}

# Scans come in on stdin. In an array, so that $! of a job in the background is the station itself.
one_bay=(fleetroot-station line --home st --order PO-1 --bay "1=$any_token")
two_bays=("${one_bay[@]}" --bay "2=$any_token")
fixed_bays=(fleetroot-station line --home st --order PO-1 --bay "1=$(fixed D-1)" --bay "2=$(fixed D-2)")

# judged DEVICE-ID…: OpenSC reads each token, and OpenSSL believes what lies on it, which is what the CA issued
judged() {
  local device subject
  for device in "$@"; do
    stranger_in tokens "$device" --read-object --type cert --id 01 --output-file "$device.der"
    openssl x509 -inform DER -in "$device.der" -out "$device.pem"
    subject=$(openssl x509 -in "$device.pem" -noout -subject -nameopt RFC2253)
    [[ ${subject//\\/} == "subject=CN=$device" ]]
    openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem "$device.pem"
    cmp "$device.pem" <(fleetroot-ca cert show --home ca --device-id "$device" --pem | openssl x509)
  done
}

# result_of DEVICE-ID: what events.jsonl says of it
result_of() {
  jq -r --arg device "$1" 'select(.event == "device" and .device_id == $device).result' events.jsonl
}
# count NAME: of the closing event
count() {
  tail -n 1 events.jsonl | jq -r --arg name "$1" 'if .event == "line" then .[$name] else error("no line event") end'
}

# A CA that says on the fifo `arrived` that a request is there, and answers it when the fifo `gate` has a line for it.
slow_ca() {
  mkfifo arrived gate
  cat >slow-ca <<'END'
#!/usr/bin/env python3
import os, select
select.select([0], [], [])
with open('arrived', 'w') as arrived:
    arrived.write('here\n')
with open('gate', 'rb', 0) as gate:
    while gate.read(1) not in b'\n':
        pass
os.execvp('fleetroot-ca', ['fleetroot-ca', 'respond', '--home', 'ca'])
END
  chmod +x slow-ca
  exec 8<>arrived 9<>gate
}
wait_for_requests() {
  local i
  for ((i = 0; i < $1; i++)); do read -r _ <&8; done
}
let_requests_go() {
  local i
  for ((i = 0; i < $1; i++)); do echo go >&9; done
}
