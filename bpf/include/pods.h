/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The node's enrolled pods, by network namespace and by address. */
#ifndef WEFT_PODS_H
#define WEFT_PODS_H
#include "address.h"

struct pod_ip { __u32 ip[4]; };

MAP(pods, BPF_MAP_TYPE_HASH, MAX_PODS, __u64, struct pod);		/* netns cookie -> its addresses and what is on */
MAP(pod_ips, BPF_MAP_TYPE_HASH, MAX_POD_IPS, struct pod_ip, __u64);	/* address -> netns cookie, while inbound is steered */

#endif
