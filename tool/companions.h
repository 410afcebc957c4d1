// The two processes beside a run: the one that holds the station's key, and the CA's, where it is a child.
// Started before all else, they get ready while the station looks at the device's token.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "tool/ca_client.h"
#include "tool/home.h"
#include "tool/key_process.h"

namespace fleetroot::station {

class Companions {
 public:
  // Before any module is loaded and any thread started. Never throws for what cannot be started: a device
  // that is done already needs neither. `home` and `settings` must outlive this.
  Companions(const Home& home, const Settings& settings, const std::string& ca,
             const std::optional<OrderId>& order);

  Companions(const Companions&) = delete;
  Companions& operator=(const Companions&) = delete;

  // Throws what kept one of them from starting. Before this has returned, the others may not be called.
  void refuse_unless_started() const;
  // Nothing where it cannot be read; refuse_unless_started() says why.
  const std::optional<Certificate>& station_certificate() const { return certificate_; }
  // Waits until the key is open. Throws as KeyProcess::wait_until_ready().
  Caller caller();
  // Not where the way to the CA is a medium.
  CaClient& ca() { return *ca_; }
  bool have_ca() const { return ca_ != nullptr; }
  bool go_by_media() const { return goes_by_media_; }
  // After the station's certificate was renewed: with what the home holds now, and another way to the CA. The
  // key process stays, because the key does, and because its PIN may not be there a second time.
  void begin_anew();
  // Both have done their work, and leave while other things happen.
  void finish();

 private:
  void open_way();

  const Home& home_;
  const Settings& settings_;
  std::string url_;
  std::optional<OrderId> order_;
  bool goes_by_media_;
  std::optional<Certificate> certificate_;
  std::unique_ptr<KeyProcess> station_key_;
  std::unique_ptr<CaClient> ca_;
  std::exception_ptr obstacle_;
};

}  // namespace fleetroot::station
