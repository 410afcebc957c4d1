# A gateway for one test, in gw/, with the environments production and test; and what devices do with curl. Loads after
# factory.bash.

# make_gateway [OPTION…]
make_gateway() {
  fleetroot-gateway init --home gw --name gw.example.test --name 127.0.0.1 --environment production --environment test "$@"
}

pki=$(dirname "${BASH_SOURCE[0]}")/software-pki

# make_world [OPTION…]: a gateway that trusts the files of factory/ in production, and a device of them in dev.pem,
# dev.key.
make_world() {
  make_gateway "$@"
  mkdir factory
  "$pki" root factory "Fleet Root"
  "$pki" device factory 1FLEET-1 dev
  fleetroot-gateway fleet-root add --home gw --environment production factory/root.pem
}

# start_gateway [OPTION…]: its addresses in $production and $test, its metrics in $metrics, its log in gw.log
start_gateway() {
  rm -f gw.log # of one before
  fleetroot-gateway serve --home gw --listen production=127.0.0.1:0 --listen test=127.0.0.1:0 --metrics 127.0.0.1:0 \
    "$@" >gw.log 2>gw.err 3>&- &
  gateway=$!
  wait_for grep -qs '(metrics)' gw.log
  production=$(sed -n 's|^listening on \(https://.*\) (production)$|\1|p' gw.log)
  test=$(sed -n 's|^listening on \(https://.*\) (test)$|\1|p' gw.log)
  metrics=$(sed -n 's|^listening on \(http://.*\) (metrics)$|\1|p' gw.log)
}

stop_gateway() {
  kill "$gateway"
  wait "$gateway"
}

teardown() {
  [[ -z ${gateway:-} ]] || kill -9 "$gateway" 2>/dev/null || true
}

# wait_for COMMAND…: until it succeeds, for a minute at most
wait_for() {
  local end=$((SECONDS + 60))
  until "$@"; do
    ((SECONDS < end)) || { echo "waited in vain for: $*"; return 1; }
    [[ -z ${gateway:-} ]] || kill -0 "$gateway" || { cat gw.err; return 1; }
    read -rt 0.05 <> <(:) || true
  done
}

# ask ENVIRONMENT PATH [CURL-OPTION…]
ask() {
  curl --silent --show-error --max-time 60 --cacert "gw/environments/$1/gateway-root.pem" "${!1}$2" "${@:3}"
}

# as NAME ENVIRONMENT PATH [CURL-OPTION…]: a device whose certificate and key are in NAME.pem and NAME.key
as() {
  ask "$2" "$3" --cert "$1.pem" --key "$1.key" "${@:4}"
}

# logged FILTER: how many lines of the log it selects
logged() {
  grep '^{' gw.log | jq -s "map(select($1)) | length"
}
has_logged() {
  (($(logged "$1") > 0))
}

devices_in() {
  fleetroot-gateway device list --home gw --environment "$1" --json
}

# start_upstream: runs the Python program on stdin, which says its port first, as the service behind production
start_upstream() {
  cat >upstream.py
  python3 upstream.py >port 2>seen 3>&- &
  upstream=$!
  wait_for grep -q . port
  sed -i "/^\[environment.production\]/a upstream = \"http://127.0.0.1:$(<port)\"" gw/gateway.toml
}
# start_http_upstream: the same, of an HTTP server whose Handler is on stdin
start_http_upstream() {
  start_upstream < <(
    echo 'import http.server'
    cat
    cat <<'PYTHON'
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
  )
}
