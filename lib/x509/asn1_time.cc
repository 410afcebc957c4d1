#include "lib/x509/asn1_time.h"

#include <ctime>

namespace fleetroot {

std::string fault_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "cannot be read";
  int wanted = parts.tm_year + 1900 < 2050 ? V_ASN1_UTCTIME : V_ASN1_GENERALIZEDTIME;
  if (ASN1_STRING_type(time) != wanted) return "has the wrong type for its year";
  // With seconds, without fractions of them.
  int size = wanted == V_ASN1_UTCTIME ? 13 : 15;
  bool is_utc = ASN1_STRING_length(time) == size && ASN1_STRING_get0_data(time)[size - 1] == 'Z';
  return is_utc ? "" : "is not in UTC, to the second";
}

}  // namespace fleetroot
