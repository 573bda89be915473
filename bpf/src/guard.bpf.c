// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What leaves a pod's veth without having passed the hooks on sockets (tc or tcx ingress on its host side): forged
// sources and SYNs of raw sockets, nested namespaces and user-space stacks are dropped. UDP and ICMP pass.
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include "address.h"
#include "permitted.h"
#include "stats.h"

MAP(guards, BPF_MAP_TYPE_HASH, MAX_PODS, __u32, struct guarded);	// host-side ifindex -> pod
MAP(pod_drops, BPF_MAP_TYPE_HASH, MAX_PODS, __u64, struct drops);	// netns cookie -> what was dropped

enum { PASS_EARLY = -1 };
struct packet { struct tuple t; __u32 l4; __u32 protocol; };

static __always_inline int drop(struct guarded *g, __u32 why)
{
	struct drops *d = bpf_map_lookup_elem(&pod_drops, &g->netns);
	if (d)
		__sync_fetch_and_add(why == STAT_GUARD_SOURCE ? &d->source : why == STAT_GUARD_SYN ? &d->syn : &d->other, 1);
	count(why);
	return TC_ACT_SHOT;
}

// Each returns 0 with the packet read, PASS_EARLY, or the reason for a drop.
static __always_inline int read4(struct __sk_buff *skb, struct packet *p)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return STAT_GUARD_OTHER;
	if (ip.protocol == IPPROTO_TCP && (ip.frag_off & bpf_htons(0x3fff)))
		return STAT_GUARD_OTHER;	// a SYN could hide in fragments
	mapped(p->t.from.ip, ip.saddr);
	mapped(p->t.to.ip, ip.daddr);
	p->protocol = ip.protocol;
	p->l4 = ETH_HLEN + ip.ihl * 4;
	return 0;
}

static __always_inline int read6(struct __sk_buff *skb, struct packet *p)
{
	__u32 zero[4] = {};
	struct ipv6hdr ip;
	__u8 next;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return STAT_GUARD_OTHER;
	__builtin_memcpy(p->t.from.ip, &ip.saddr, 16);
	__builtin_memcpy(p->t.to.ip, &ip.daddr, 16);
	p->protocol = ip.nexthdr;
	p->l4 = ETH_HLEN + sizeof(ip);
	if (p->protocol == IPPROTO_HOPOPTS) {	// only ICMPv6 (MLD) may carry an extension header
		if (bpf_skb_load_bytes(skb, p->l4, &next, 1) || next != IPPROTO_ICMPV6)
			return STAT_GUARD_OTHER;
		p->protocol = IPPROTO_ICMPV6;
	}
	if (p->protocol == IPPROTO_ICMPV6 && same(p->t.from.ip, zero))
		return PASS_EARLY;	// duplicate address detection
	if (is_link_local(p->t.from.ip) && (p->protocol == IPPROTO_ICMPV6 || is_link_local(p->t.to.ip)))
		return PASS_EARLY;	// neighbour discovery, and what never left the link
	return 0;
}

static __always_inline int is_permitted(struct tuple *t)
{
	__u64 *until;

	if (bpf_map_lookup_elem(&permitted, t))
		return 1;
	until = bpf_map_lookup_elem(&in_flight, t);
	return until && bpf_ktime_get_ns() < *until;
}

SEC("tc") int guard(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct guarded *g = bpf_map_lookup_elem(&guards, &ifindex);
	struct packet p = {};
	struct tcphdr tcp;
	int fault;

	if (!g || skb->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_OK;
	p.t.netns = g->netns;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		fault = read4(skb, &p);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		fault = read6(skb, &p);
	else
		fault = STAT_GUARD_OTHER;
	if (fault == PASS_EARLY)
		return TC_ACT_OK;
	if (fault)
		return drop(g, fault);
	if (!is_own(&g->pod, p.t.from.ip))
		return drop(g, STAT_GUARD_SOURCE);
	if (p.protocol == IPPROTO_UDP || p.protocol == IPPROTO_ICMP || p.protocol == IPPROTO_ICMPV6)
		return TC_ACT_OK;
	if (p.protocol != IPPROTO_TCP || bpf_skb_load_bytes(skb, p.l4, &tcp, sizeof(tcp)))
		return drop(g, STAT_GUARD_OTHER);	// tunnels, SCTP, IPv6 fragments and options
	p.t.from.port = bpf_ntohs(tcp.source);
	p.t.to.port = bpf_ntohs(tcp.dest);
	if (tcp.syn && !tcp.ack && !is_link_local(p.t.to.ip) && !is_permitted(&p.t))
		return drop(g, STAT_GUARD_SYN);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
