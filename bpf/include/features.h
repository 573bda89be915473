/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What this kernel can do, set before loading (bpf/feature.ts): the verifier never sees a branch that is off. */
#ifndef WEFT_FEATURES_H
#define WEFT_FEATURES_H
#include "layout.h"

enum feature { FEATURE_SET_RETVAL = 1, FEATURE_MPTCP = 2 };
const volatile __u64 FEATURES = 0;

#endif
