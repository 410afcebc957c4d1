// The station's side of removable media: bundles go out, answers come in (docs/formats.md, "Media bundles").
//
//   HOME/media/000001.request    what was sent, to be given out again, byte for byte, until it is answered
//   HOME/media/000001.response   the answer to it
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/files.h"
#include "tool/home.h"
#include "tool/journal_media.h"
#include "tool/media_queue.h"

namespace fleetroot::station {

struct ExportedBundle {
  std::filesystem::path file;
  long long sequence = 0;
  std::string order;
  std::size_t requests = 0;
  std::size_t receipts = 0;
  // It was given out before, and is the same.
  bool is_old = false;
};

// Called for each bundle once it is on the medium: what fails after it does not take it back.
using Written = std::function<void(const ExportedBundle& bundle)>;

// The file of an answer to a bundle that has none yet: its name, or what is in it, says so. Nobody has judged
// it.
struct FoundAnswer {
  std::filesystem::path file;
  SentBundle bundle;
};

struct ImportedBundle {
  std::filesystem::path file;
  long long sequence = 0;
  std::string order;
  std::size_t certificates = 0;
  std::size_t refusals = 0;
};

// One at a time for a home: it holds a lock there. One thread. Refers to all, owns none.
class MediaExchange {
 public:
  MediaExchange(const Home& home, const Settings& settings, MediaJournal& journal, const MediaQueue& queue,
                const Clock& clock);

  // Everything that waits goes into new bundles, one or more an order, good for `days`; these and all that
  // have no answer yet are written to the medium. Returns how many requests wait that do not lie in this
  // queue: they stay where they are. A crash at any moment, or a lost medium: the same again. Error(usage) if
  // requests wait and the queue is not there; Error(cannot_create), before anything is written there, if the
  // medium holds another's bundle under one of the names.
  std::size_t export_to(const std::filesystem::path& medium, int days, const Written& written);

  // The answers to this station's open bundles that a medium has, under whatever names; of one perhaps
  // several copies. Error(io) if bundles are open and there is none to any.
  std::vector<FoundAnswer> answers_on(const std::filesystem::path& medium);
  // Takes one in. Error(bundle_damaged, bundle_foreign, bundle_forked, io) for one that is not what it should
  // be; then nothing has changed, and any other may still be taken.
  ImportedBundle take(const FoundAnswer& answer);

 private:
  // How many requests do not lie in the queue.
  std::size_t write_new_bundles(int days);
  void write_bundle(const media::RequestBundle& bundle, EVP_PKEY* key);
  media::RequestBundle read_bundle(const SentBundle& bundle, std::string& document) const;
  std::filesystem::path kept(long long sequence, const char* suffix) const;
  std::string name_of(long long sequence, const char* suffix) const;
  std::optional<SentBundle> answered_by(const std::filesystem::path& file,
                                        const std::vector<SentBundle>& open) const;
  Error no_answer_on(const std::filesystem::path& medium, const std::vector<SentBundle>& open) const;

  const Home& home_;
  const Settings& settings_;
  MediaJournal& journal_;
  const MediaQueue& queue_;
  const Clock& clock_;
  Certificate station_;
  Certificate ca_;
  FileDescriptor lock_;
};

}  // namespace fleetroot::station
