/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The proxy's listening sockets. An entry dies with its socket, not with its SO_REUSEPORT group: hence one slot per
 * socket, filled from 0; steering chooses among them.
 */
#ifndef WEFT_LISTENERS_H
#define WEFT_LISTENERS_H
#include "layout.h"

MAP(listeners, BPF_MAP_TYPE_SOCKHASH, MAX_LISTENERS, struct listener, __u64);

#endif
