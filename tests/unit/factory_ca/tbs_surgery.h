// Taking a TBSCertificate apart with OpenSSL's reader and putting it together again with another part in it.
#pragma once

#include <openssl/asn1.h>

#include "lib/x509/der.h"
#include "tests/software_pki.h"

namespace fleetroot::ca {

// Where the parts are (RFC 5280 section 4.1).
enum TbsPart : std::size_t { kVersion, kSerial, kAlgorithm, kIssuer, kValidity, kSubject, kKey, kExtensions };

// The elements inside a constructed element, each with its header.
inline std::vector<Bytes> members_of(BytesView element) {
  auto content_of = [](BytesView from, long& length) {
    const unsigned char* in = from.data();
    int tag = 0;
    int tag_class = 0;
    ASN1_get_object(&in, &length, &tag, &tag_class, static_cast<long>(from.size()));
    return from.subspan(static_cast<std::size_t>(in - from.data()));
  };
  long length = 0;
  BytesView rest = content_of(element, length).first(static_cast<std::size_t>(length));
  std::vector<Bytes> members;
  while (!rest.empty()) {
    BytesView content = content_of(rest, length);
    std::size_t size = rest.size() - content.size() + static_cast<std::size_t>(length);
    members.emplace_back(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(size));
    rest = rest.subspan(size);
  }
  return members;
}

inline Bytes wrapped(std::uint8_t tag, const std::vector<Bytes>& members) {
  Bytes content;
  for (const Bytes& member : members) content.insert(content.end(), member.begin(), member.end());
  return der::tagged(tag, content);
}

inline Bytes with_part(BytesView tbs, TbsPart part, Bytes replacement) {
  std::vector<Bytes> parts = members_of(tbs);
  parts.at(part) = std::move(replacement);
  return wrapped(0x30, parts);
}

inline std::vector<Bytes> extensions_of(BytesView tbs) {
  return members_of(members_of(members_of(tbs).at(kExtensions)).front());
}

inline Bytes with_extensions(BytesView tbs, const std::vector<Bytes>& extensions) {
  return with_part(tbs, kExtensions, der::explicit_tag(3, wrapped(0x30, extensions)));
}

// The extension's object identifier is its first member.
inline bool is_extension(BytesView extension, const char* oid) {
  return members_of(extension).front() == der::object_identifier(oid);
}

inline Bytes extension(const char* oid, bool critical, BytesView value) {
  return der::sequence(
      {der::object_identifier(oid), critical ? der::boolean_true() : Bytes(), der::octet_string(value)});
}

// The extension `oid` replaced by what `edit` makes of it.
template <typename Edit>
Bytes with_extension(BytesView tbs, const char* oid, Edit&& edit) {
  std::vector<Bytes> extensions = extensions_of(tbs);
  bool found = false;
  for (Bytes& extension : extensions) {
    if (!is_extension(extension, oid)) continue;
    extension = edit(extension);
    found = true;
  }
  EXPECT_TRUE(found) << oid;
  return with_extensions(tbs, extensions);
}

// Name ::= one CN, with the string type that `tag` says.
inline Bytes name_of_tag(std::uint8_t tag, std::string_view common_name) {
  return der::sequence({der::set(
      der::sequence({der::object_identifier("2.5.4.3"), der::tagged(tag, as_bytes(common_name))}))});
}

}  // namespace fleetroot::ca
