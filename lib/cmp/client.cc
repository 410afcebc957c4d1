#include "lib/cmp/client.h"
