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
# when two thirds of a station's certificate are over
later=(env FAKETIME=+900d LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1)

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
  [[ $(est cacerts --header 'Content-Type: text/plain') == 200 ]]
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
  grep 'names no order.*/est/ORDER' answer
  make_request DEV-9
  [[ $(enroll_by_curl DEV-9 PO-1/simpleenroll "${station[@]}") != 200 ]]
  grep 'not on order PO-1' answer
  [[ $(est simpleenroll --header 'Content-Type: application/pkcs10' --data '!' "${station[@]}") == 400 ]]
  fleetroot-ca station revoke --home ca --name st-01
  [[ $(enroll_by_curl DEV-1 PO-1/simpleenroll "${station[@]}") == 403 ]]
  grep 'station st-01 is revoked' answer
  [[ $(est csrattrs "${station[@]}") == 403 ]]
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

@test "simplereenroll in the station's own name is its renewal" {
  under=("${later[@]}")
  curl() { "${later[@]}" curl "$@"; }
  begin_serving --est
  [[ $(enroll_by_curl st-01 simpleenroll "${station[@]}") == 400 ]] # as a device, it is on no order
  [[ $(enroll_by_curl st-01 simplereenroll "${station[@]}") == 200 ]]
  certificates_in_answer >next.pem
  "${later[@]}" openssl verify -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem next.pem
  [[ $(openssl x509 -in next.pem -noout -pubkey -subject) == "$(openssl x509 -in st-01.pem -noout -pubkey -subject)" ]]
  run ! cmp -s next.pem st-01.pem
  # with another key: neither its own renewal nor a device
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout other.key -subj /CN=st-01 -out st-01.csr 2>/dev/null
  [[ $(enroll_by_curl st-01 simplereenroll "${station[@]}") == 403 ]]
  grep 'no certificate for this key' answer
}

# The station as a client of EST.

@test "our station provisions by EST; again, and after a refusal" {
  rm -rf ca st-01.*
  make_factory DEV-1
  make_token DEV-1 DEV-2
  begin_serving --est
  provision DEV-1 DEV-1 --ca "est+$url"
  provision DEV-1 DEV-1 --ca "est+$url"
  fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri DEV-1)" || on_token DEV-1 \
    fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri DEV-1)"
  [[ $(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r '.station + " " + .confirmation') == 'st-01 none' ]]
  [[ $(certificates_in_ledger) == 1 ]]
  refused 65 'not on order PO-1' provision DEV-2 DEV-2 --ca "est+$url"
  [[ -z $(stranger DEV-2 --list-objects) ]]
  fleetroot-ca station revoke --home ca --name st-01
  fleetroot-ca order create --home ca --id PO-2 --pattern 'DEV-[0-9]+' --quantity 5
  refused 77 'st-01 is revoked' provision DEV-2 DEV-2 --ca "est+$url"
  refused 64 'EST without TLS' provision DEV-2 DEV-2 --ca est+http://127.0.0.1:1
  end_serving
}

@test "a rework by EST, whose request says when it was made" {
  rm -rf ca st-01.*
  make_factory DEV-1
  make_token DEV-1 DEV-2
  begin_serving --est
  provision DEV-1 DEV-1 --ca "est+$url"
  fleetroot-ca rework authorize --home ca --device-id DEV-1
  provision DEV-2 DEV-1 --ca "est+$url"
  [[ $(fleetroot-ca rework list --home ca --json | jq -r .state) == used ]]
  end_serving
}

@test "our station is renewed by EST before it ends" {
  rm -rf ca st-01.*
  make_factory DEV-1
  make_token DEV-1
  cp st/station.pem first.pem
  under=("${later[@]}")
  begin_serving --est
  run -0 --separate-stderr on_token DEV-1 "${later[@]}" fleetroot-station provision --home st --order PO-1 --device-id DEV-1 \
    --token "$(token_uri DEV-1)" --ca "est+$url"
  [[ $stderr == *"certificate is renewed"* ]]
  run ! cmp -s first.pem st/station.pem
  [[ $(openssl x509 -in first.pem -noout -pubkey) == "$(openssl x509 -in st/station.pem -noout -pubkey)" ]]
  "${later[@]}" openssl verify -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem st/station.pem
}

# Somebody else's CA: a few lines of Python that know nothing of ours, and openssl ca's own idea of a certificate.
begin_their_server() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout their.key -subj '/CN=Their CA' -days 30 \
    -addext 'keyUsage=critical,keyCertSign,digitalSignature' -out their.pem 2>/dev/null
  openssl req -x509 -newkey ed448 -nodes -keyout above.key -subj '/CN=Above their CA' -days 30 -out above.pem 2>/dev/null
  make_request server
  printf 'subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n' >server.ext
  openssl x509 -req -in server.csr -CA their.pem -CAkey their.key -days 20 -extfile server.ext -out server.pem 2>/dev/null
  printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' 'extendedKeyUsage=clientAuth' \
    'subjectKeyIdentifier=hash' 'authorityKeyIdentifier=keyid' >device.ext
  cat >their-est <<'EOF2'
import base64, http.server, ssl, subprocess, sys
def openssl(*arguments, **options):
    return subprocess.run(['openssl', *arguments], check=True, stdout=subprocess.PIPE, **options).stdout
class Est(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.headers['Content-Type'] == 'application/pkcs10'
        body = base64.b64decode(self.rfile.read(int(self.headers['Content-Length'])))
        status, answer = 404, b'nothing\n'
        print(self.path, self.connection.getpeercert()['subject'], file=sys.stderr)
        if self.path == '/est/simpleenroll':
            pem = openssl('x509', '-req', '-inform', 'DER', '-CA', 'their.pem', '-CAkey', 'their.key', '-days', '9',
                          '-extfile', 'device.ext', '-set_serial', '0x1234567890abcdef1234', input=body)
            der = openssl('crl2pkcs7', '-nocrl', '-certfile', '/dev/stdin', '-outform', 'DER', 
                          input=b''.join([open('above.pem', 'rb').read(), pem, open('their.pem', 'rb').read()]))
            status, answer = 200, base64.encodebytes(der)  # with line ends
        if self.path in ('/strict/simpleenroll', '/wordy/simpleenroll'):
            status, answer = 400, b'we do not know this device\n'
        if self.path == '/proxy/simpleenroll':
            status, answer = 400, b'<html>Bad Request</html>\n'
        if self.path == '/slow/simpleenroll':
            status, answer = 202, b''
        if self.path == '/odd/simpleenroll':
            status, answer = 200, b'PGh0bWw+'
        self.send_response(status)
        types = {'/strict': 'text/plain; charset=us-ascii', '/wordy': None, '/proxy': 'text/html'}
        kind = types.get(self.path.removesuffix('/simpleenroll'), 'application/pkcs7-mime; smime-type=certs-only')
        if kind:
            self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
server = http.server.HTTPServer(('127.0.0.1', 0), Est)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.pem', 'server.key')
context.load_verify_locations('their.pem')
context.verify_mode = ssl.CERT_REQUIRED
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
EOF2
  python3 their-est >their.out 2>their.err 3>&- &
  server=$!
  wait_for_line their.out || { cat their.err && false; }
  theirs=est+https://127.0.0.1:$(<their.out)
}

@test "our station gets its certificate from somebody else's EST server" {
  make_token DEV-1 DEV-2
  begin_their_server
  fleetroot-station init --home st --name st-77
  openssl x509 -req -in st/station.csr -CA their.pem -CAkey their.key -days 20 -out st-77.pem 2>/dev/null
  fleetroot-station enroll --home st --certificate st-77.pem --ca-certificate their.pem --fleet-root their.pem \
    --ca "$theirs/est"
  provision DEV-1 DEV-1
  grep -F "/est/simpleenroll ((('commonName', 'st-77'),),)" their.err
  stranger DEV-1 --read-object --type cert --id 01 --output-file DEV-1.der
  openssl verify -CAfile their.pem -purpose sslclient DEV-1.der

  refused 65 'we do not know this device' provision DEV-2 DEV-2 --ca "$theirs/strict"
  [[ -z $(stranger DEV-2 --list-objects) ]]
  refused 65 'we do not know this device' provision DEV-2 DEV-2 --ca "$theirs/wordy"
  refused 76 'HTTP status 400' provision DEV-2 DEV-2 --ca "$theirs/proxy"
  refused 75 'asks to wait' provision DEV-2 DEV-2 --ca "$theirs/slow"
  refused 76 'no list of certificates' provision DEV-2 DEV-2 --ca "$theirs/odd"
  refused 76 'HTTP status 404' provision DEV-2 DEV-2 --ca "$theirs"
  provision DEV-2 DEV-2 --ca "$theirs/est/"
  end_their_server
}

end_their_server() {
  kill "$server"
  wait "$server" || [[ $? == 143 ]]
}
