// What has been made of some text or bytes, so that it is not made again: a parsed certificate, a compiled
// pattern.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace fleetroot {

// Any thread. Values are copied out, so they should be cheap to copy. Forgets everything when it holds
// kMaximum.
template <typename Value>
class Memo {
 public:
  static constexpr std::size_t kMaximum = 1000;

  // What `make` has made of this source; what it throws is not remembered.
  Value get(std::string_view source, const std::function<Value()>& make) {
    {
      std::lock_guard lock(mutex_);
      if (auto known = values_.find(source); known != values_.end()) return known->second;
    }
    Value value = make();
    std::lock_guard lock(mutex_);
    if (values_.size() >= kMaximum) values_.clear();
    values_.emplace(source, value);
    return value;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Value, std::less<>> values_;
};

}  // namespace fleetroot
