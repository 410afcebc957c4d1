#!/usr/bin/env bats
# Ctrl-C and SIGTERM at random moments; cli/interruptions has them at the moment that hurts most.
load ../cli/factory
load crash

interrupt_at_random_moments() {
  make_factory_of "$1" 6
  start_random
  measure provision_on_order_0 "$1-0"

  for device in "${devices[@]}"; do
    draw_delay
    provision_under -s "$1" "$delay" -- "$device" "$device"
    [[ $ended == 0 || $ended == 124 ]] || { cat runs && false; }
    finishes "$device"
  done

  ledger_holds 6
}

@test "Ctrl-C at random moments" {
  interrupt_at_random_moments INT
}

@test "SIGTERM at random moments" {
  interrupt_at_random_moments TERM
}
