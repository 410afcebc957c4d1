# One fault at one chosen call, by fault.cc, which is preloaded. Loaded after cli/factory.

fault_module=${FLEETROOT_FAULT:-$BATS_TEST_DIRNAME/../../build/tests/crash/fault.so}
# What a file or a directory can notice.
changes=write,pwrite64,fsync,fdatasync,ftruncate,rename,mkdir

# plan_fault PROCESS CALLS FAULT NUMBER [WHERE]: the next one, counted from here
plan_fault() {
  rm -f plan.fired plan.calls
  echo "$*" >plan.new
  mv plan.new plan
}

# under_fault COMMAND…: as it is planned
under_fault() {
  LD_PRELOAD=$fault_module FLEETROOT_FAULT_PLAN=$PWD/plan "$@"
}

# What a test that fails was at: $moment, and what was said until then in `runs`.
tell_moment() {
  [[ -n ${BATS_TEST_COMPLETED:-} ]] || {
    echo "at ${moment:-no moment yet}"
    tail -n 60 runs || true # a test may have no such file
  }
}
