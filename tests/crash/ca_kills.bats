#!/usr/bin/env bats
# The CA dies, the station lives: it says so with an exit code, and one re-run finishes.
load ../cli/factory
load crash

@test "kill -9 of the CA alone at random moments" {
  make_factory_of C 10
  start_random
  measure provision_on_order_0 C-0

  hits=0
  for device in "${devices[@]}"; do
    draw_delay
    provision_under 60 -- "$device" "$device" --ca "exec:timeout -s KILL $delay fleetroot-ca respond --home ca"
    [[ $ended == 0 || $ended == 69 ]] || { cat runs && false; }
    hits=$((hits + (ended != 0)))
    finishes "$device"
  done

  echo "# $hits of 10 runs lost their CA" >&3
  ((hits >= 2))
  ledger_holds 10
}
