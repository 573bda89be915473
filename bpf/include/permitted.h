/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Connections that steering and the guard let pass: 4-tuple and the namespace where the question is asked. */
#ifndef WEFT_PERMITTED_H
#define WEFT_PERMITTED_H
#include "layout.h"

MAP(permitted, BPF_MAP_TYPE_HASH, MAX_PERMITTED, struct tuple, __u32);	/* while the connecting socket lives */
MAP(in_flight, BPF_MAP_TYPE_HASH, MAX_IN_FLIGHT, struct tuple, __u64);	/* until this time (ns of the monotonic clock) */

#endif
