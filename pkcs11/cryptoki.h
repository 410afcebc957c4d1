// Cryptoki (PKCS#11 2.40) for the files of this folder: no other folder includes this header.
#pragma once

#include <p11-kit/pkcs11.h>

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.h"
#include "lib/base/error.h"

// PKCS#11 3.0's names for what 2.40's header lacks.
#ifndef CKK_EC_EDWARDS
#define CKK_EC_EDWARDS (0x40UL)
#endif
#ifndef CKM_EC_EDWARDS_KEY_PAIR_GEN
#define CKM_EC_EDWARDS_KEY_PAIR_GEN (0x1055UL)
#endif
#ifndef CKM_EDDSA
#define CKM_EDDSA (0x1057UL)
#endif

namespace fleetroot::pkcs11 {

// CK_UNAVAILABLE_INFORMATION, without its C cast.
inline constexpr CK_ULONG kUnavailable = ~CK_ULONG{0};

// "CKR_PIN_INCORRECT"; "CKR 0x80000001" for a vendor's own.
std::string ckr_name(CK_RV rv);

// The Error for a call that answered `rv`: unplugged, busy, PIN, or token_failed for all else; never
// token_untrusted, which is said of what a token shows. `doing` completes "the token failed to …".
Error cryptoki_error(CK_RV rv, std::string_view doing);
inline void check(CK_RV rv, std::string_view doing) {
  if (rv != CKR_OK) throw cryptoki_error(rv, doing);
}

// A blank-padded field of CK_INFO or CK_TOKEN_INFO, without its padding.
std::string padded_text(const unsigned char* field, std::size_t size);

// An attribute template that owns its values.
class Template {
 public:
  Template& add(CK_ATTRIBUTE_TYPE type, BytesView value);
  Template& add(CK_ATTRIBUTE_TYPE type, std::string_view text) { return add(type, as_bytes(text)); }
  // A literal would otherwise prefer to be a bool.
  Template& add(CK_ATTRIBUTE_TYPE type, const char* text) { return add(type, std::string_view(text)); }
  Template& add(CK_ATTRIBUTE_TYPE type, bool value);
  Template& add_number(CK_ATTRIBUTE_TYPE type, CK_ULONG value);

  CK_ATTRIBUTE* data() { return attributes_.data(); }
  CK_ULONG size() const { return attributes_.size(); }

 private:
  std::deque<Bytes> values_;  // a deque, because attributes point at its elements
  std::vector<CK_ATTRIBUTE> attributes_;
};

}  // namespace fleetroot::pkcs11
