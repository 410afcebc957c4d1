#!/usr/bin/env bats
# Stock `openssl cmp` against fleetroot-ca serve, our station against OpenSSL's own server, and bad company.
load ../cli/factory
load ../cli/serve

make_request() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
}

# A CA, and a station that is nothing but files.
make_strangers() {
  make_ca
  make_order PO-1 "$@"
  make_request st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st-01.csr --out st-01.pem
  local device
  for device in "$@"; do make_request "$device"; done
}

# enroll DEVICE OPTION…: stock p10cr over TLS, as st-01 unless the options say otherwise
enroll() {
  openssl cmp -cmd p10cr -server "$address" -path ".well-known/cmp/p/PO-1" -no_proxy 127.0.0.1 -tls_used \
    -tls_trusted ca/fleet-root.pem -tls_host 127.0.0.1 -csr "$1.csr" -certout "$1.pem" \
    -recipient "/CN=Test Factory Issuing CA" -trusted ca/fleet-root.pem -untrusted ca/issuing-ca.pem "${@:2}"
}

as_station=(-cert st-01.pem -key st-01.key)
tls_as_station=(-tls_cert st-01.pem -tls_key st-01.key)

@test "stock openssl cmp gets a certificate over mutual TLS, and confirms it" {
  make_strangers DEV-1
  begin_serving
  enroll DEV-1 "${as_station[@]}" "${tls_as_station[@]}"
  openssl verify -x509_strict -purpose sslclient -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem DEV-1.pem
  [[ $(openssl x509 -in DEV-1.pem -noout -pubkey) == "$(openssl pkey -in DEV-1.key -pubout)" ]]
  [[ $(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r .confirmation) == accepted ]]
  end_serving
}

@test "stock openssl cmp is refused without a station's certificate, in TLS and in CMP" {
  make_strangers DEV-1
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout st-99.key -subj /CN=st-99 -out st-99.pem \
    2>/dev/null
  begin_serving
  run ! enroll DEV-1 "${as_station[@]}"
  run ! enroll DEV-1 "${as_station[@]}" -tls_cert st-99.pem -tls_key st-99.key
  run ! enroll DEV-1 -cert st-99.pem -key st-99.key "${tls_as_station[@]}"
  [[ $output == *'knows no station with this key'* ]]
  [[ ! -e DEV-1.pem && $(certificates_in_ledger) == 0 ]]
}

@test "without client certificates the messages protect themselves" {
  make_strangers DEV-1
  begin_serving --no-client-certificate
  run ! enroll DEV-1 -secret pass:x -ref 1
  enroll DEV-1 "${as_station[@]}"
}

@test "TLS is 1.2 or 1.3, with forward secrecy, and nothing is resumed" {
  make_strangers DEV-1
  begin_serving --no-client-certificate
  hello=(openssl s_client -connect "$address" -CAfile ca/fleet-root.pem -verify_return_error -verify_ip 127.0.0.1)
  "${hello[@]}" -tls1_3 </dev/null | grep 'TLSv1.3'
  "${hello[@]}" -tls1_2 </dev/null | grep 'ECDHE-ECDSA-'
  run ! "${hello[@]}" -tls1_1 -cipher 'DEFAULT@SECLEVEL=0' </dev/null
  run ! "${hello[@]}" -tls1_2 -cipher 'AES128-SHA:ECDHE-ECDSA-AES128-SHA' </dev/null
  "${hello[@]}" -tls1_2 -sess_out session </dev/null
  [[ ! -s session ]] || "${hello[@]}" -tls1_2 -sess_in session </dev/null | grep '^New, '
  gnutls-cli --x509cafile ca/fleet-root.pem --port "${address#*:}" 127.0.0.1 </dev/null | grep 'Handshake was completed'
}

@test "bad company does not keep a station out" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  begin_serving --max-connections 200
  cat >company.py <<'EOF'
import random, resource, select, socket, ssl, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
host, port = sys.argv[1].split(':')
def connect():
    return socket.create_connection((host, int(port)))
idle = [connect() for _ in range(1000)]
slow = [connect() for _ in range(50)]
garbage = random.Random(7)
stop = threading.Event()
def be_bad():
    while not stop.is_set():
        for client in slow:  # one byte of a hello at a time
            try:
                client.send(b'\x16')
            except OSError:
                pass
        try:
            client = connect()
            client.sendall(garbage.randbytes(3000))
            client.close()
        except OSError:
            pass
bad = [threading.Thread(target=be_bad) for _ in range(2)]
for thread in bad:
    thread.start()
print('here', flush=True)
sys.stdin.read()
stop.set()
for thread in bad:
    thread.join()
EOF
  mkfifo leash here
  python3 company.py "$address" <leash >here 3>&- &
  company=$!
  exec 4>leash
  read -r word <here
  [[ $word == here ]]
  provision DEV-1 DEV-1 --ca "$url" 4>&-
  provision DEV-2 DEV-2 --ca "$url" 4>&-
  exec 4>&-
  wait "$company"
  end_serving
}

# Somebody else's CA: OpenSSL's own server for tests, which answers every request with the one certificate it was given.
@test "our station gets its certificate from OpenSSL's own CMP server" {
  make_factory DEV-1
  make_token DEV-1
  sed -i '1i ca_timeout_seconds = 1' st/station.toml
  sed -i '2,${/^ca_timeout_seconds/d}' st/station.toml
  refused 69 'cannot be reached' provision DEV-1 DEV-1 --ca cmp+http://127.0.0.1:1/pkix/
  sed -i 's/^ca_timeout_seconds.*/ca_timeout_seconds = 60/' st/station.toml

  # their root, their CA, and their certificate for the key that waits in the token
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout their.key -subj '/CN=Their CA' -days 30 \
    -addext 'keyUsage=critical,keyCertSign,digitalSignature' -out their.pem 2>/dev/null
  stranger DEV-1 --read-object --type pubkey --id 01 --output-file key.der
  openssl req -new -key their.key -subj /CN=DEV-1 -out any.csr
  printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' 'extendedKeyUsage=clientAuth' \
    'subjectKeyIdentifier=hash' 'authorityKeyIdentifier=keyid' >extensions
  openssl x509 -req -in any.csr -force_pubkey key.der -keyform DER -CA their.pem -CAkey their.key -days 20 \
    -set_serial 0x1234567890abcdef1234 -extfile extensions -out their-device.pem
  cp their.pem st/issuing-ca.pem
  cp their.pem st/fleet-root.pem
  openssl cmp -port 0 -srv_cert their.pem -srv_key their.key -srv_trusted ca/fleet-root.pem -srv_untrusted ca/issuing-ca.pem \
    -rsp_cert their-device.pem >mock.out 2>mock.err 3>&- &
  server=$!
  wait_for_line mock.out ACCEPT
  provision DEV-1 DEV-1 --ca "cmp+http://127.0.0.1:$(sed -n 's/^ACCEPT .*:\([0-9]*\).*/\1/p' mock.out)/pkix/"
}
