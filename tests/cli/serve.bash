# A served CA for one test; what a test leaves running is ended by its own process ID.
under=()

# begin_serving [OPTION…]: sets `url`, `address` (host:port) and `server` (process ID); `under` may hold a command to run
# it by (env, with faketime)
begin_serving() {
  rm -f serve.out # of one before
  "${under[@]}" fleetroot-ca serve --home ca --listen 127.0.0.1:0 "$@" >serve.out 2>serve.err 3>&- &
  server=$!
  wait_for_line serve.out || {
    cat serve.err
    return 1
  }
  local line
  IFS= read -r line <serve.out
  [[ $line == 'listening on https://127.0.0.1:'* ]]
  url=${line#listening on }
  address=${url#https://}
}

# wait_until COMMAND…: succeeds, or the server has gone
wait_until() {
  until "$@"; do
    kill -0 "$server" 2>/dev/null || return 1
    read -r -t 0.05 <> <(:) || true
  done
}

# wait_for_line FILE [PATTERN]: until there is one, or the server has gone
wait_for_line() {
  wait_until grep -qs -- "${2:-.}" "$1"
}

# end_serving: as a service manager would; fails unless it ends well
end_serving() {
  kill -TERM "$server"
  wait "$server"
}

# For teardown(), bats' own hook, where a file has one of its own.
end_what_is_left() {
  if [[ -n ${server:-} ]] && kill -0 "$server" 2>/dev/null; then
    kill -TERM "$server"
    wait "$server" || true
  fi
}
teardown() {
  end_what_is_left
}

# child front|signer: its process ID
child() {
  pgrep -P "$server" -x "ca-$1"
}

# connections_to_server: those that are open at its end, also where nobody has accepted them yet
connections_to_server() {
  awk -v port="$(printf ':%04X' "${address##*:}")" '$2 ~ port "$" && $4 == "01" { n++ } END { print n + 0 }' /proc/net/tcp
}
