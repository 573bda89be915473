/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Questions about addresses, all in IPv6 form. */
#ifndef WEFT_ADDRESS_H
#define WEFT_ADDRESS_H
#include "layout.h"

/* memcmp would become a call */
#define same(a, b) ((a)[0] == (b)[0] && (a)[1] == (b)[1] && (a)[2] == (b)[2] && (a)[3] == (b)[3])
#define same_addr(a, b) (same((a)->ip, (b)->ip) && (a)->port == (b)->port)

static __always_inline void mapped(__u32 *ip, __u32 ip4)
{
	ip[0] = ip[1] = 0;
	ip[2] = bpf_htonl(0xffff);
	ip[3] = ip4;
}

static __always_inline int is_mapped(const __u32 *ip)
{
	return !ip[0] && !ip[1] && ip[2] == bpf_htonl(0xffff);
}

/* Also 0.0.0.0 and ::, which mean "this host" in connect(). */
static __always_inline int is_loopback(const __u32 *ip)
{
	if (is_mapped(ip))
		return !ip[3] || (ip[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !ip[0] && !ip[1] && !ip[2] && (!ip[3] || ip[3] == bpf_htonl(1));
}

/* 169.254.0.0/16 (metadata servers of clouds) and fe80::/10: of the node, never of the mesh. */
static __always_inline int is_link_local(const __u32 *ip)
{
	if (is_mapped(ip))
		return (ip[3] & bpf_htonl(0xffff0000)) == bpf_htonl(0xa9fe0000);
	return (ip[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* An address family that the pod does not have is zero in its record: :: and 0.0.0.0 are then nobody's. */
static __always_inline int is_own(const struct pod *pod, const __u32 *ip)
{
	if (is_mapped(ip))
		return ip[3] && ip[3] == pod->ip4;
	return (ip[0] | ip[3]) && same(ip, pod->ip6);
}

static __always_inline int is_reserved(__u32 port)
{
	return port == PORT_OUTBOUND || port == PORT_INBOUND || port == PORT_HBONE || port == PORT_DNS;
}

#endif
