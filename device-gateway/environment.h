// An environment: a world of its own, with its own name in TLS, Fleet Roots, devices and rules.
#pragma once

#include "lib/base/names.h"

namespace fleetroot::gateway {

struct EnvironmentKind {
  static constexpr std::string_view kWord = "environment";
};
using EnvironmentName = Name<EnvironmentKind>;

struct ByText {
  bool operator()(const EnvironmentName& a, const EnvironmentName& b) const { return a.text() < b.text(); }
};

struct CredentialKind {
  static constexpr std::string_view kWord = "provisioning key";
};
// Of the shared credentials that devices without hardware begin with.
using CredentialName = Name<CredentialKind>;

}  // namespace fleetroot::gateway
