#include "lib/cmp/message.h"
