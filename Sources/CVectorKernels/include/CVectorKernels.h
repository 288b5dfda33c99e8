#pragma once
#include "SAEFitting.h"
