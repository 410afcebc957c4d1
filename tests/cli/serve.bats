#!/usr/bin/env bats
# The factory LAN: `fleetroot-ca serve` and stations that reach it by https.
load factory
load serve

# post PATH [CURL-OPTION…]: the status of a POST by curl, from whoever it is
post() {
  curl --silent --show-error --cacert ca/fleet-root.pem --output body --write-out '%{http_code}' "${@:2}" "$url$1"
}

make_request() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "/CN=$1" -out "$1.csr" 2>/dev/null
}

@test "a station gets its certificate over https, and confirms it" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  [[ $(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r .confirmation) == accepted ]]
  run -0 provision DEV-1 DEV-1 --ca "$url"
  end_serving
}

@test "an enrolled station needs no --ca" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving
  fleetroot-station enroll --home st --certificate st-01.pem --ca-certificate ca/issuing-ca.pem \
    --fleet-root ca/fleet-root.pem --ca "$url"
  provision DEV-1 DEV-1
}

@test "a CA whose own certificate is revoked while it serves" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  serial=$(openssl x509 -in ca/issuing-ca.pem -noout -serial)
  fleetroot-ca cert revoke --home ca --serial "${serial#serial=}" --reason cACompromise
  refused 78 'the CA cannot issue.*was revoked' provision DEV-2 DEV-2 --ca "$url"
  [[ $(certificates_in_ledger) == 1 ]]
  end_serving
}

@test "who has no station's certificate does not get past the handshake" {
  make_factory DEV-1
  make_request DEV-1
  fleetroot-ca cert issue --home ca --order PO-1 --device-id DEV-1 --request DEV-1.csr --out DEV-1.pem
  make_request stranger
  openssl x509 -req -in stranger.csr -signkey stranger.key -out stranger.pem 2>/dev/null
  begin_serving
  run ! post /.well-known/cmp
  wait_for_line serve.err 'refused 127.0.0.1: it shows no certificate'
  run ! post /.well-known/cmp --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0
  wait_for_line serve.err 'refused 127.0.0.1: it speaks neither TLS 1.3 nor 1.2'
  run ! curl --silent --max-time 60 "http://$address/.well-known/cmp"
  wait_for_line serve.err 'refused 127.0.0.1: the TLS connection failed'
  run ! post /.well-known/cmp --cert DEV-1.pem --key DEV-1.key
  run ! post /.well-known/cmp --cert stranger.pem --key stranger.key
  grep 'refused 127.0.0.1: .*is no certificate of a station' serve.err
  # the same with one that is
  make_request st-02
  fleetroot-ca station enroll --home ca --name st-02 --request st-02.csr --out st-02.pem
  [[ $(post /.well-known/cmp --cert st-02.pem --key st-02.key --header 'Content-Type: application/pkixcmp' \
    --data-binary nonsense) == 400 ]]
}

@test "who is refused over and over does not fill the server's log, and is counted" {
  make_ca
  begin_serving
  tries=0
  until grep -q 'like it were left out' serve.err || ((++tries > 500)); do
    run ! post /.well-known/cmp
  done
  told=$(grep -c 'it shows no certificate' serve.err)
  left_out=$(sed -n 's/.*; \([0-9]*\) like it were left out before$/\1/p' serve.err)
  # the last may be in the log before the one before it has ended
  ((told == 2 && left_out > 0 && told + left_out <= tries))
  end_serving
}

@test "with EST, where anybody may connect, a station that shows no certificate is told of too" {
  make_ca
  begin_serving --est
  [[ $(post /.well-known/cmp --header 'Content-Type: application/pkixcmp' --data x) == 403 ]]
  wait_for_line serve.err 'refused 127.0.0.1: it shows no certificate'
  [[ $(curl --silent --cacert ca/fleet-root.pem "$url/.well-known/est/csrattrs" --output body --write-out '%{http_code}') == 403 ]]
  end_serving
}

@test "a station renews over the LAN, and again where the answer was lost" {
  make_factory DEV-1
  make_token DEV-1
  export FAKETIME=+730d LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
  begin_serving
  fleetroot-station renew --home st --ca "$url"
  run ! cmp -s st-01.pem st/station.pem
  cp st/station.pem renewed.pem

  # It comes with the old certificate, whose key is still the station's.
  cp st-01.pem st/station.pem
  fleetroot-station renew --home st --ca "$url"

  cmp st/station.pem renewed.pem
  provision DEV-1 DEV-1 --ca "$url"
  unset FAKETIME LD_PRELOAD
}

@test "a station's revocation is there at once" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  fleetroot-ca station revoke --home ca --name st-01
  refused 77 'st-01 is revoked' provision DEV-2 DEV-2 --ca "$url"
  grep 'station st-01 is revoked' serve.err
  end_serving
  # and where TLS does not ask, the message itself is refused
  begin_serving --no-client-certificate
  refused 77 'st-01 is revoked' provision DEV-2 DEV-2 --ca "$url"
  [[ $(certificates_in_ledger) == 1 ]]
}

@test "a station's message that another one has got hold of is not answered" {
  make_factory DEV-1
  make_token DEV-2
  on_order_2() { # CA
    on_token DEV-2 fleetroot-station provision --home st --order PO-2 --device-id DEV-2 --token "$(token_uri DEV-2)" --ca "$1"
  }
  printf '#!/bin/sh\ntee captured | fleetroot-ca respond --home ca\n' >capturing-ca
  chmod +x capturing-ca
  refused 65 'no order PO-2' on_order_2 exec:./capturing-ca
  make_order PO-2 DEV-2
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout st-03.key -subj /CN=st-03 -out st-03.csr
  fleetroot-ca station enroll --home ca --name st-03 --request st-03.csr --out st-03.pem --order PO-1

  begin_serving
  curl --silent --cacert ca/fleet-root.pem --cert st-03.pem --key st-03.key --header 'Content-Type: application/pkixcmp' \
    --data-binary @captured --output answer "$url/.well-known/cmp/p/PO-2"

  grep --text --quiet "is st-01's, which did not open the connection.*\[not_authorised\]" answer
  [[ $(certificates_in_ledger) == 0 ]]
  on_order_2 "$url"
}

@test "while the signer does not answer, who needs no answer of its gets one" {
  make_ca
  make_request st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st-01.csr --out st-01.pem
  begin_serving --est
  signer=$(child signer)
  kill -STOP "$signer"
  local asks=()
  for n in 1 2 3; do
    post /.well-known/cmp --cert st-01.pem --key st-01.key --header 'Content-Type: application/pkixcmp' \
      --data-binary nonsense >"asked.$n" 3>&- &
    asks+=($!)
  done
  three_connections() { (($(connections_to_server) == 3)); }
  wait_until three_connections
  [[ $(curl --silent --max-time 20 --cacert ca/fleet-root.pem --output cacerts --write-out '%{http_code}' \
    "$url/.well-known/est/cacerts") == 200 ]]
  kill -CONT "$signer"
  wait "${asks[@]}"
  [[ $(cat asked.*) == 400400400 ]]
  end_serving
}

@test "a signer that hangs is killed and started again, and a stop does not wait for one" {
  make_ca
  make_request st-01
  fleetroot-ca station enroll --home ca --name st-01 --request st-01.csr --out st-01.pem
  begin_serving # its certificate, by the right clock
  end_serving
  # Five of its seconds are one.
  under=(env FAKETIME='+0 x5' LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1)
  begin_serving
  ask_nonsense() {
    post /.well-known/cmp --cert st-01.pem --key st-01.key --header 'Content-Type: application/pkixcmp' --data-binary nonsense
  }
  before_it=$(child signer)
  kill -STOP "$before_it"
  [[ $(ask_nonsense) == 400 ]]
  grep 'the signer has answered nobody for 30 s' serve.err
  [[ $(child signer) != "$before_it" ]]

  kill -STOP "$(child signer)"
  ask_nonsense >/dev/null 2>&1 3>&- &
  local client=$!
  one_connection() { (($(connections_to_server) == 1)); }
  wait_until one_connection
  SECONDS=0
  end_serving
  ((SECONDS <= 12)) # eighty of its seconds are sixteen
  wait "$client" || [[ $? == 5[26] ]] # its connection was closed
}

@test "a server whose errors nobody can write down goes on" {
  make_factory DEV-1
  make_token DEV-1
  fleetroot-ca serve --home ca --listen 127.0.0.1:0 >serve.out 2>/dev/full 3>&- &
  server=$!
  wait_for_line serve.out
  before_it=$(child signer)
  kill -KILL "$before_it"
  another_signer() { [[ $(child signer) =~ ^[0-9]+$ && $(child signer) != "$before_it" ]]; }
  wait_until another_signer
  provision DEV-1 DEV-1 --ca "$(cut -d ' ' -f 3 serve.out)"
  end_serving
}

@test "what the disk holds in the server's way is no bug of ours" {
  make_ca
  echo x >ca/front
  refused 74 'ca/front' fleetroot-ca serve --home ca --listen 127.0.0.1:0
}

@test "the path's order must be the request's" {
  make_factory DEV-1
  make_order PO-2 DEV-1
  make_token DEV-1
  begin_serving
  refused 65 'for order PO-1, and came in for PO-2' provision DEV-1 DEV-1 --ca "$url/.well-known/cmp/p/PO-2"
  provision DEV-1 DEV-1 --ca "$url/.well-known/cmp"
}

@test "a server that is for one order refuses others as a CA does" {
  make_factory DEV-1
  make_order PO-3 DEV-3
  make_token DEV-1
  begin_serving --order PO-3
  refused 65 'issues for order PO-3 only' provision DEV-1 DEV-1 --ca "$url"
  # where the path does not name it, the request does
  refused 65 'is for order PO-1, and came in for PO-3' provision DEV-1 DEV-1 --ca "$url/.well-known/cmp"
  [[ $(certificates_in_ledger) == 0 ]]
}

@test "what is no CMP is refused in HTTP's words" {
  make_factory DEV-1
  begin_serving --no-client-certificate
  cmp=(--header 'Content-Type: application/pkixcmp')
  [[ $(post / "${cmp[@]}" --data x) == 404 ]]
  [[ $(<body) == 'nothing is here; CMP is at /.well-known/cmp' ]]
  [[ $(post /.well-known/cmp/p/a/b "${cmp[@]}" --data x) == 404 ]]
  [[ $(post /.well-known/cmp/p/..%2f "${cmp[@]}" --data x) == 404 ]]
  [[ $(post /.well-known/cmp --request GET) == 405 ]]
  [[ $(post /.well-known/cmp --data x) == 415 ]]
  [[ $(post /.well-known/cmp/p/PO-1/p10 "${cmp[@]}" --data x) == 400 ]]
  head -c 100000 /dev/zero >big
  [[ $(post /.well-known/cmp "${cmp[@]}" --data-binary @big) == 413 ]]
  [[ $(post /.well-known/cmp --header "X: $(head -c 9000 /dev/zero | tr '\0' x)" --data x) == 431 ]]
  end_serving
}

@test "where there is EST too, a wrong path hears of both" {
  make_ca
  begin_serving --est
  for path in / /.well-known/est/PO-1/nowhere /.well-known/cmp/nowhere; do
    [[ $(post "$path" --data x) == 404 ]]
    [[ $(<body) == 'nothing is here; CMP is at /.well-known/cmp, EST at /.well-known/est' ]]
  done
  end_serving
}

@test "requests beyond the rate are refused, and the station comes again" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving --max-requests-per-second 1
  provision DEV-1 DEV-1 --ca "$url"
}

# A CA behind a server that is not up to it yet: overloaded twice, then it hangs up, then it wants to be left alone for a day;
# after that it hands everything on.
begin_troubled_server() {
  cat >troubled.py <<'EOF'
import http.server, json, subprocess, time
ca = subprocess.Popen(['fleetroot-ca', 'respond', '--home', 'ca'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def ask(message):
    ca.stdin.write(message)
    ca.stdin.flush()
    head = ca.stdout.read(4)  # of a DER sequence
    assert head[0] == 0x30 and head[1] in (0x81, 0x82), head
    size = head[2] + 3 if head[1] == 0x81 else int.from_bytes(head[2:4], 'big') + 4
    return head + ca.stdout.read(size - 4)
requests = []
class Troubled(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        requests.append({'at': time.monotonic(), 'path': self.path, 'body': body.hex()})
        with open('requests.json', 'w') as file:
            json.dump(requests, file)
        if len(requests) == 3:
            self.close_connection = True
            return
        status = {1: 503, 2: 429, 4: 408}.get(len(requests), 200)
        wish = {2: 1, 4: 86400}.get(len(requests))
        answer = b'not now\n'
        if status == 200:
            answer = ask(body)
        self.send_response(status)
        if wish:
            self.send_header('Retry-After', str(wish))
        self.send_header('Content-Type', 'application/pkixcmp' if status == 200 else 'text/plain')
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Troubled)
print(server.server_port, flush=True)
server.serve_forever()
EOF
  python3 troubled.py >serve.out 2>serve.err 3>&- &
  server=$!
  wait_for_line serve.out
}

@test "a server that is overloaded, or hangs up, is asked again: the same bytes, after pauses that grow, or as it wishes" {
  make_factory DEV-1
  make_token DEV-1
  begin_troubled_server
  provision DEV-1 DEV-1 --ca "cmp+http://127.0.0.1:$(<serve.out)/pkix/"
  # five times the request, and once the confirmation
  jq -e '[.[].body] | length == 6 and (.[0:5] | unique | length) == 1 and .[5] != .[0]' requests.json
  # a day is longer than any device waits: five seconds
  jq -e '[.[].at] | .[1] - .[0] >= 0.1 and .[2] - .[1] >= 1 and .[3] - .[2] >= 0.4 and .[4] - .[3] >= 5' requests.json
  [[ $(certificates_in_ledger) == 1 ]]
  [[ $(fleetroot-ca cert show --home ca --device-id DEV-1 --json | jq -r .confirmation) == accepted ]]
  on_token DEV-1 fleetroot-station verify --home st --device-id DEV-1 --token "$(token_uri DEV-1)"
}

@test "several addresses are tried in turn; none is 69" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving
  provision DEV-1 DEV-1 --ca "https://127.0.0.1:1,$url"
  end_serving
  sed -i 's/^ca_timeout_seconds.*//' st/station.toml
  sed -i '1i ca_timeout_seconds = 1' st/station.toml
  make_token DEV-2
  refused 69 'cannot be reached' provision DEV-2 DEV-2 --ca "$url"
}

# begin_moody_server MOOD…: does one after the other with what it is sent: `certify` it or `drop` it, and hang up; `ask` the
# CA; or answer `403`
begin_moody_server() {
  cat >moody.py <<'EOF'
import http.server, subprocess, sys
moods = sys.argv[1:]
class Moody(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        mood = moods.pop(0)
        answer = b''
        if mood in ('certify', 'ask'):
            answer = subprocess.run(['fleetroot-ca', 'respond', '--home', 'ca'], input=body, stdout=subprocess.PIPE).stdout
        if mood in ('certify', 'drop'):
            self.close_connection = True
            return
        self.send_response(200 if mood == 'ask' else int(mood))
        self.send_header('Content-Type', 'application/pkixcmp')
        self.send_header('Content-Length', str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Moody)
print(server.server_port, flush=True)
server.serve_forever()
EOF
  python3 moody.py "$@" >serve.out 2>serve.err 3>&- &
  server=$!
  wait_for_line serve.out
  url=cmp+http://127.0.0.1:$(<serve.out)/
}

@test "a request that is refused at its second try: the key of the first stays, unless the CA says that it has no certificate" {
  make_factory D-1 D-2
  make_token D-1 D-2 D-9
  begin_moody_server certify 403 drop ask 403
  refused 77 'HTTP status 403' provision D-1 D-1 --ca "$url"
  [[ $(objects_on D-1) == 2 ]]
  refused 65 'not on order' provision D-9 D-9 --ca "$url"
  [[ $(objects_on D-9) == 0 ]]
  # what no server has heard is refused once
  refused 77 'HTTP status 403' provision D-2 D-2 --ca "cmp+http://127.0.0.1:1/,$url"
  [[ $(objects_on D-2) == 0 ]]

  run -0 provision D-1 D-1
  [[ $(objects_on D-1) == 3 && $(certificates_in_ledger) == 1 ]]
}

@test "a name that no certificate may hold, and bounds that let nobody in, are refused before anything is made" {
  make_ca
  label=$(printf '%064d' 0 | tr 0 a)
  find ca | sort >before
  serve_with() {
    timeout 10 fleetroot-ca serve --home ca --listen 127.0.0.1:0 "$@"
  }
  for name in 'a b' $'a\nb' 'x,DNS:evil' ä.example "$label.example" "$(printf 'a.%.0s' {1..127})" . .a a. a..b \
    -a a-.b a_b '*.example' 192.0.2.256 1.2 host:8443 a/b; do
    refused 64 'is no host name or address' serve_with "--name=$name"
  done
  refused 64 'is no host name or address' serve_with --name ca.factory.example --name 'a b'
  for name in 0.0.0.0 :: 0:0::0; do
    refused 64 'stands for every address' serve_with --name "$name"
  done
  refused 65 'no order PO-7' serve_with --order PO-7
  for bound in connections connections-per-address requests-per-second; do
    refused 64 "max-$bound" serve_with "--max-$bound" 0
    refused 64 "max-$bound" serve_with "--max-$bound" -1
  done
  refused 64 "EST takes a station's certificate" serve_with --est --no-client-certificate
  diff before <(find ca | sort)
  for listen in 127.0.0.1 '[::1]' ::1 '[2001:db8::5]' ::1:8443; do
    refused 64 'is no address to listen on' fleetroot-ca serve --home ca --listen "$listen"
  done

  begin_serving --name ca.factory.example --name 192.0.2.1 --name 2001:db8::1 --name CA-1 --name "${label:1}.1a"
  run -0 openssl x509 -in ca/front/front.pem -noout -ext subjectAltName
  [[ $output == *"DNS:ca.factory.example, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1, DNS:CA-1, "* ]]
}

@test "a server that is not the pinned root's is not believed" {
  make_factory DEV-1
  make_token DEV-1
  mv ca own-ca
  make_ca
  begin_serving --no-client-certificate
  refused 76 'not one to believe' provision DEV-1 DEV-1 --ca "$url"
  end_serving
}

@test "a station whose clock is behind the server's waits, and says so where that is more than a moment" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  under=(env FAKETIME=+8s LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1)
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  end_serving
  rm -r ca/front
  under[1]=FAKETIME=+600s
  begin_serving
  refused 78 "the server's certificate is valid from" provision DEV-2 DEV-2 --ca "$url"
  [[ $stderr == *"set this machine's clock right, or the server's"* ]]
}

@test "plain http is no way to a CA, unless one says so" {
  make_factory DEV-1
  make_token DEV-1
  refused 64 'is no way to a CA' provision DEV-1 DEV-1 --ca http://127.0.0.1:1
  refused 64 'no URL' provision DEV-1 DEV-1 --ca https://
  refused 64 'does not go with' provision DEV-1 DEV-1 --ca cmp+http://127.0.0.1:1/,https://127.0.0.1:1
  [[ $stderr == *'write cmp+http://host:port/path for each'* ]]
}

@test "the front's certificate stays, and is another one for another name" {
  make_factory DEV-1
  begin_serving
  end_serving
  cp ca/front/front.pem first.pem
  begin_serving
  end_serving
  cmp ca/front/front.pem first.pem
  begin_serving --name ca.factory.example
  end_serving
  openssl x509 -in ca/front/front.pem -noout -ext subjectAltName | grep 'DNS:ca.factory.example, IP Address:127.0.0.1'
  openssl verify -purpose sslserver -x509_strict -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem ca/front/front.pem
}

@test "the front's certificate is renewed while it serves" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  echo +0d >clock
  later=(env FAKETIME_TIMESTAMP_FILE="$PWD/clock" FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
    LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1)
  under=("${later[@]}")
  begin_serving
  cp ca/front/front.pem first.pem
  provision DEV-1 DEV-1 --ca "$url"
  signer=$(child signer)
  echo +750d >clock
  is_another() { ! cmp -s ca/front/front.pem first.pem; }
  wait_until is_another
  is_shown() {
    [[ $("${later[@]}" openssl s_client -connect "$address" -CAfile ca/fleet-root.pem -verify_return_error -verify_ip 127.0.0.1 \
      </dev/null 2>/dev/null | openssl x509 -noout -serial) == "$(openssl x509 -in ca/front/front.pem -noout -serial)" ]]
  }
  wait_until is_shown
  on_token DEV-2 "${later[@]}" fleetroot-station provision --home st --order PO-1 --device-id DEV-2 --ca "$url" \
    --token "$(token_uri DEV-2)"
  [[ $(child signer) == "$signer" ]] # nobody is asked for a PIN
  run ! grep 'started again' serve.err
  openssl verify -purpose sslserver -x509_strict -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem \
    -attime "$(date -d '+4 years' +%s)" ca/front/front.pem
  end_serving
  # and the next time it is still that one
  cp ca/front/front.pem second.pem
  begin_serving
  cmp ca/front/front.pem second.pem
  end_serving
}

@test "a front's certificate that is due and cannot be renewed goes on" {
  make_factory DEV-1
  begin_serving
  end_serving
  cp ca/front/front.pem first.pem
  fleetroot-station init --home st2 --name st-02
  # nothing is issued before this
  days_later 900 fleetroot-ca station enroll --home ca --name st-02 --request st2/station.csr --out st-02.pem
  under=(env FAKETIME=+800d LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1)
  begin_serving
  grep "error: this machine's clock says" serve.err
  end_serving
  cmp ca/front/front.pem first.pem
}

@test "the CA's token is away for a while, and the front's: what was asked for meanwhile is answered" {
  make_factory DEV-1 DEV-2
  make_token DEV-1 DEV-2
  begin_serving
  away_for_a_while() { # DIRECTORY PROCESS DEVICE
    mv "$1/tokens" "$1/away"
    provision "$3" "$3" --ca "$url" >"$3.out" 2>&1 3>&- &
    local station=$!
    wait_for_line serve.err "the $2 does not start"
    mv "$1/away" "$1/tokens"
    wait "$station"
  }
  away_for_a_while ca/softhsm signer DEV-1
  away_for_a_while ca/front/1/softhsm front DEV-2
  [[ $(fleetroot-ca cert list --home ca --json | jq -r '.confirmation' | xargs) == 'accepted accepted' ]]
  end_serving
}

# put_in_place FILE: as the ledger, and nothing of the one before
put_in_place() {
  rm -f ca/ledger.db*
  mv "$1" ca/ledger.db
}

@test "another ledger in the place of the one that is served: what is issued it has, and what it revokes is heard" {
  make_factory DEV-1 DEV-2 DEV-3
  make_token DEV-1 DEV-2 DEV-3
  sqlite3 ca/ledger.db ".backup back-up"
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  put_in_place back-up
  provision DEV-2 DEV-2 --ca "$url"
  grep 'ledger.db was moved away or replaced' serve.err
  grep 'the signer ended (exit code 74) and is started again' serve.err
  [[ $(fleetroot-ca cert list --home ca --json | jq -r .device_id) == DEV-2 ]]

  cp -a ca elsewhere
  fleetroot-ca station revoke --home elsewhere --name st-01
  sqlite3 elsewhere/ledger.db ".backup revoked"
  put_in_place revoked
  refused 77 'st-01 is revoked' provision DEV-3 DEV-3 --ca "$url"
  end_serving
}

@test "a ledger that is gone while it is served: nothing is issued, and once it is back it goes on" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving
  mkdir away
  mv ca/ledger.db* away
  provision DEV-1 DEV-1 --ca "$url" >station.out 2>&1 3>&- &
  local station=$!
  wait_for_line serve.err 'the signer does not start (exit code 74)'
  grep 'error: the ledger ca/ledger.db is gone' serve.err
  [[ ! -e ca/ledger.db ]]
  mv away/ledger.db* ca
  wait "$station"
  [[ $(certificates_in_ledger) == 1 ]]
  end_serving
}

@test "the CA's certificate is away for a while: the server waits for it" {
  make_factory DEV-1
  make_token DEV-1
  begin_serving
  mv ca/issuing-ca.pem away.pem
  kill -KILL "$(child front)"
  wait_for_line serve.err 'the front does not start'
  mv away.pem ca/issuing-ca.pem
  provision DEV-1 DEV-1 --ca "$url"
  end_serving
}

@test "a front's certificate that does not read is made anew" {
  make_factory DEV-1
  begin_serving
  end_serving
  for file in front.pem 1/front.csr; do
    : >"ca/front/$file"
    begin_serving
    end_serving
  done
  openssl verify -purpose sslserver -CAfile ca/fleet-root.pem -untrusted ca/issuing-ca.pem ca/front/front.pem
}

@test "a home is served once, on an address that is free" {
  make_factory DEV-1
  begin_serving
  refused 75 'is being served already' fleetroot-ca serve --home ca --listen 127.0.0.1:0
  fleetroot-ca init --home other --name Other
  refused 78 'cannot listen on' fleetroot-ca serve --home other --listen "$address"
  refused 64 'no name is known' fleetroot-ca serve --home other --listen 0.0.0.0:0
}

@test "a signer that cannot start says why, and nothing is served" {
  make_factory DEV-1
  mv ca/issuing-ca.pin elsewhere
  refused 77 'PIN' fleetroot-ca serve --home ca --listen 127.0.0.1:0
}

@test "the front has no PIN and no file of the CA's token; the signer has no network" {
  make_factory DEV-1
  make_token DEV-1
  CA_PIN=$(<ca/issuing-ca.pin)
  sed -i '/^\[issuing\]/,/^\[/ s/pin-source=file:[^"&?]*/pin-source=env:CA_PIN/' ca/ca.toml
  grep env:CA_PIN ca/ca.toml
  export CA_PIN
  begin_serving
  provision DEV-1 DEV-1 --ca "$url"
  run ! grep --text --quiet -- "$CA_PIN" "/proc/$(child front)/environ"
  run ! grep -- 'ca/softhsm\|ledger' <(ls -l "/proc/$(child front)/fd")
  find "/proc/$(child signer)/fd" -lname 'socket:*' -printf '%l\n' | tr -dc '0-9\n' >sockets
  network=$(awk 'FNR > 1 { print $10 }' /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 | grep -F -x -f sockets || true)
  [[ -s sockets ]]
  [[ -z $network ]]
}

@test "what was accepted is finished when the server is asked to stop" {
  make_factory DEV-1
  begin_serving --no-client-certificate
  cat >half.py <<'EOF'
import os, signal, socket, ssl, sys
context = ssl.create_default_context(cafile='ca/fleet-root.pem')
host, port = sys.argv[1].split(':')
client = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=host)
client.sendall(b'POST /.well-known/cmp HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n'
               b'Content-Type: application/pkixcmp\r\nContent-Length: 8\r\n\r\n')
assert client.recv(100).startswith(b'HTTP/1.1 100')
os.kill(int(sys.argv[2]), signal.SIGTERM)
while True:  # until nobody is let in any more
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionResetError:
        pass  # it waited to be accepted when the door closed
    except ConnectionRefusedError:
        break
client.sendall(b'nonsense')
answer = client.recv(1000)
assert answer.startswith(b'HTTP/1.1 400'), answer
assert b'Connection: close' in answer, answer
EOF
  python3 half.py "$address" "$server"
  wait "$server"
  [[ ! -e ca/signer.sock ]]
}

@test "a signer whose PIN is wrong when it is started again ends the server, after one try: 77" {
  make_ca
  export WITNESS_MODULE=$softhsm WITNESS_LOG=$PWD/calls
  sed -i "s|module-path=$softhsm|module-path=$FLEETROOT_WITNESS|" ca/ca.toml
  begin_serving
  echo wrong-pin >ca/issuing-ca.pin
  before=$(grep -c C_Login calls)

  kill -KILL "$(child signer)"
  tried_again() { (($(grep -c C_Login calls) > before + 1)); }
  run ! wait_until tried_again

  run -77 wait "$server"
  (($(grep -c C_Login calls) == before + 1))
  grep -q 'error: the PIN for the token .* is wrong' serve.err
}
