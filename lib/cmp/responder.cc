#include "lib/cmp/responder.h"
