#include "lib/store/database.h"
