# Ends programs at moments that nobody chose. Loaded after cli/factory.

# start_random [NUMBER]: the seed decides every delay. FLEETROOT_CRASH_SEED repeats a run; NUMBER tells apart the files
# that share it.
start_random() {
  local seed=${FLEETROOT_CRASH_SEED:-$((RANDOM % 30000))}
  echo "# FLEETROOT_CRASH_SEED=$seed" >&3
  RANDOM=$((seed + ${1:-0}))
}

# measure COMMAND…: how long it takes undisturbed, for draw_delay
measure() {
  local start=${EPOCHREALTIME/./}
  "$@"
  undisturbed=$((${EPOCHREALTIME/./} - start))
}

# draw_delay: sets $delay, in seconds, somewhere in an undisturbed run. Not by printing it: a subshell draws numbers of
# its own.
draw_delay() {
  local microseconds=$((undisturbed * RANDOM / 32768 + 1))
  printf -v delay '%d.%06d' $((microseconds / 1000000)) $((microseconds % 1000000))
}

# provision_under TIMEOUT-OPTION… -- TOKEN DEVICE-ID [OPTION…]: sets $ended, the exit code; says in `runs` what happened
provision_under() {
  local limits=()
  while [[ $1 != -- ]]; do
    limits+=("$1")
    shift
  done
  ended=0
  # The shell reports a killed child on stderr.
  {
    on_token "$2" timeout "${limits[@]}" fleetroot-station provision --home st --order PO-1 --device-id "$3" \
      --token "$(token_uri "$2")" "${@:4}" 3>&- || ended=$?
  } >>runs 2>&1
  echo "$2: timeout ${limits[*]}: $ended" >>runs
  restore_emptied_token "$2"
}

# SoftHSM empties a token's token.object at every login before it writes it again, unlocked. A process that is killed in
# between, whoever's it is, leaves a token that no program can open any more. No other damage is repaired here.
restore_emptied_token() {
  local file
  for file in "$1"/tokens/*/token.object; do
    [[ -s $file ]] || cp "$1/token.object" "$file"
  done
}

# whole DEVICE-ID: its token, of the same name, holds one of each and nothing else, and verify believes it
whole() {
  local objects
  objects=$(stranger "$1" --list-objects | sed -n 's/ Object;.*//p' | sort)
  [[ $objects == $'Certificate\nPrivate Key\nPublic Key' ]] || {
    echo "on $1: $objects" && cat runs
    return 1
  }
  on_token "$1" fleetroot-station verify --home st --device-id "$1" --token "$(token_uri "$1")"
}

# finishes DEVICE-ID: one more run, and all is well
finishes() {
  provision "$1" "$1" >>runs 2>&1 || {
    echo "the re-run for $1 ended with $?" && cat runs
    return 1
  }
  whole "$1"
}

# ledger_holds N: the order PO-1 is used up by N devices, each with one certificate that its station confirmed
ledger_holds() {
  local order
  order=$(fleetroot-ca order show --home ca --id PO-1 --json | jq -c '[.used, .issued, .confirmed, (.missing | length)]')
  [[ $order == "[$1,$1,$1,0]" ]] || {
    echo "the order says $order"
    return 1
  }
  [[ $(fleetroot-ca cert list --home ca --order PO-1 --json | jq -s 'map(.device_id) | unique | length') == "$1" ]]
  [[ $(fleetroot-ca cert list --home ca --order PO-1 --json | wc -l) == "$1" ]]
  fleetroot-ca ledger verify --home ca
}

# make_factory_of PREFIX N: CA, station, and N devices with tokens on PO-1, listed in $devices; the device PREFIX-0 is on
# PO-0, for measuring
make_factory_of() {
  devices=()
  local i
  for ((i = 1; i <= $2; ++i)); do devices+=("$1-$i"); done
  make_factory "${devices[@]}"
  make_order PO-0 "$1-0"
  make_token "$1-0" "${devices[@]}"
  for i in "${devices[@]}"; do cp "$i"/tokens/*/token.object "$i/token.object"; done
}

provision_on_order_0() {
  on_token "$1" timeout 60 fleetroot-station provision --home st --order PO-0 --device-id "$1" --token "$(token_uri "$1")"
}
