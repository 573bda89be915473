/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who is the node's proxy, and who probes for it. Nothing here can be set by a pod: SO_MARK is not consulted.
 * bpf_get_current_cgroup_id names the caller in connect hooks and in the CONNECT and LISTEN events only.
 */
#ifndef WEFT_PROXY_H
#define WEFT_PROXY_H
#include "layout.h"

MAP(proxy_cgroups, BPF_MAP_TYPE_HASH, MAX_CGROUPS, __u64, __u32);
MAP(probe_cgroups, BPF_MAP_TYPE_HASH, MAX_CGROUPS, __u64, __u32);
STORAGE(exempt_sk, __u32);	/* on the proxy's sockets; written from user space through the socket's fd */

static __always_inline int is_exempt(struct bpf_sock *sk)
{
	__u64 cgroup = bpf_get_current_cgroup_id();
	return (sk && bpf_sk_storage_get(&exempt_sk, sk, 0, 0)) || bpf_map_lookup_elem(&proxy_cgroups, &cgroup);
}

static __always_inline int is_probe(void)
{
	__u64 cgroup = bpf_get_current_cgroup_id();
	return bpf_map_lookup_elem(&probe_cgroups, &cgroup) != 0;
}

#endif
