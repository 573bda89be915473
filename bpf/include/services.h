/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Virtual addresses for whatever the proxy does not take: pods that are not enrolled, the node, UDP.
 * A change writes its backends under a new id, then turns the service's record to it, then removes the old ones: a
 * reader between these steps finds the old set or, at the worst, looks twice.
 */
#ifndef WEFT_SERVICES_H
#define WEFT_SERVICES_H
#include "layout.h"

MAP(services, BPF_MAP_TYPE_HASH, MAX_SERVICES, struct service_key, struct service);
MAP(backends, BPF_MAP_TYPE_HASH, MAX_BACKENDS, struct backend_key, struct addr);
STORAGE(translated_sk, struct translations);	/* which backend stands for which virtual address, per socket */

#endif
