// The device IDs that a work order without a list admits: a POSIX extended regular expression that must match
// the whole ID.
#pragma once

#include <regex.h>

#include <memory>
#include <string>

#include "lib/x509/device_id.h"

namespace fleetroot::ca {

// Immutable; copies share the expression.
class DevicePattern {
 public:
  // At most 200 characters. Error(usage) if it does not compile, counts beyond 64, holds a backslash before a
  // letter or digit, which a POSIX expression would take for the letter or a back-reference, or would take
  // long to match: then it repeats what may be nothing, or has more than 1000 characters once what it repeats
  // is written out.
  static DevicePattern parse(const std::string& text);
  // One that an order was opened with; an older program may have taken more.
  static DevicePattern recorded(const std::string& text);
  bool matches(const DeviceId& id) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::shared_ptr<const regex_t> expression_;
};

}  // namespace fleetroot::ca
