# A station, a CA and a stick between them, for one test. Loaded after factory.

# queue TOKEN DEVICE-ID [OPTION…]: provision over media
queue() {
  provision "$@" --ca media:queue
}
export_to() {
  fleetroot-station media export --home "${2:-st}" --queue queue --out "$1"
}
process() {
  fleetroot-ca media process --home ca "$1"
}
import_from() {
  fleetroot-station media import --home st --queue queue "$1"
}
# one_device: D-1 is queued, and its bundle is on the stick
one_device() {
  make_factory D-1 D-2 D-3
  make_token D-1
  queue D-1 D-1
  export_to stick
}
confirmation() {
  fleetroot-ca cert show --home ca --device-id "$1" --json | jq -r .confirmation
}

# two_orders: D-1 on PO-1 and E-1 on PO-2 are queued
two_orders() {
  make_factory D-1
  make_order PO-2 E-1
  make_token D-1 E-1
  queue D-1 D-1
  on_token E-1 fleetroot-station provision --home st --order PO-2 --device-id E-1 --token "$(token_uri E-1)" \
    --ca media:queue
}

station_state() {
  sqlite3 st/journal.db .dump
  find st/media queue -type f -exec sha256sum {} + | sort
}

# fails_in_json CODE ERROR COMMAND…: the last line on stdout is the failure of the whole command
fails_in_json() {
  run --separate-stderr "-$1" "${@:3}" --json
  [[ $(tail -n 1 <<<"$output" | jq -c '[.schema, .event, .result, .error.code, .file]') == \
    "[\"fleetroot/1\",\"bundle\",\"fail\",\"$2\",null]" ]]
  [[ $stderr == *": error: $(tail -n 1 <<<"$output" | jq -r .error.message)"* ]]
}
