// The edge of a program: what a person and a script see when something fails.
//
//   fleetroot-ca: error: the order PO-4711 is closed
//   fleetroot-ca: hint: open another order, or ask who closed it
//
// One error, one hint, lower-case, on stderr, in one line each whatever they quote (printable.h); the exit
// code comes from the table in error.h.
#pragma once

#include <functional>
#include <string_view>

#include "lib/base/error.h"

namespace fleetroot {

void print_error(std::string_view program, const Error& error);
// A line on stderr that is about no failure of a command; what it quotes is made printable.
void print_remark(std::string_view program, std::string_view words);

// Runs `body` and turns what it throws into words and an exit code.
int exit_code_of(std::string_view program, const std::function<int()>& body);

// Hardens the process, and ends it with the exit code of `body`.
// Anything that is not an Error is our bug: exit code 70. What `body` owned is closed by then; exit handlers
// are not run, because those of PKCS#11 modules and of OpenSSL pull the ground from under each other.
[[noreturn]] void run_program(std::string_view program, const std::function<int()>& body);

}  // namespace fleetroot
