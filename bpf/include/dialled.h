/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The original destination on its way from the app's socket to the proxy's accepted one:
 * dialled_sk (connect) -> dialled (CONNECT event, removed at PASSIVE_ESTABLISHED or close) -> original_sk (getsockopt).
 */
#ifndef WEFT_DIALLED_H
#define WEFT_DIALLED_H
#include "layout.h"

STORAGE(dialled_sk, struct addr);	/* on the app's socket: what it dialled */
STORAGE(original_sk, struct addr);	/* on the proxy's accepted socket: what the app dialled */
MAP(dialled, BPF_MAP_TYPE_HASH, MAX_DIALLED, struct source, struct addr);

#endif
