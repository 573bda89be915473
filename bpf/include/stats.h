/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counters of the node, never reset; names in bpf/layout.ts. */
#ifndef WEFT_STATS_H
#define WEFT_STATS_H
#include "layout.h"

enum stat {
	STAT_CAPTURED,		/* outbound connects and DNS questions turned to the proxy */
	STAT_NO_ADDRESS,	/* refused: the pod has no address of that family */
	STAT_STORAGE_REFUSED,	/* refused: no memory for a socket's entry */
	STAT_DIALLED_FULL,	/* the proxy will find no original destination and refuse */
	STAT_PERMITTED_FULL,	/* steered and guarded like anything else */
	STAT_NO_LISTENER,	/* inbound refused: no live listener of the proxy */
	STAT_SLOTS_FULL,	/* a listener that will never be chosen */
	STAT_PROBES,		/* connects of the node's probes that passed steering */
	STAT_TRANSLATED,	/* virtual addresses turned into a backend's */
	STAT_NO_BACKEND,	/* refused: a virtual address without backends */
	STAT_GUARD_SOURCE,	/* dropped: not the pod's address */
	STAT_GUARD_SYN,		/* dropped: no registered socket sent this SYN */
	STAT_GUARD_OTHER,	/* dropped: fragments of TCP, tunnels, other protocols */
	STAT_SEALED,		/* dropped: a SYN at a listener of an app that steering should have taken */
	STATS
};

MAP(stats, BPF_MAP_TYPE_PERCPU_ARRAY, STATS, __u32, __u64);

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&stats, &what);
	if (n)
		*n += 1;
}

#endif
