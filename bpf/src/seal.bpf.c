// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The second lock on an enrolled pod (cgroup ingress on its sockets): a SYN that reaches a listener of the app although
// it should have been steered to the proxy is dropped. It only matters when steering was lost behind the agent's back.
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include "address.h"
#include "permitted.h"
#include "pods.h"
#include "proxy.h"
#include "stats.h"

enum { PASS = 1, DROP = 0, ETH_P_IP_BE = bpf_htons(0x0800) };

// Addresses and, for TCP without extension headers, ports. Returns whether the packet may open a connection.
static __always_inline int read_syn(struct __sk_buff *skb, struct tuple *t)
{
	struct tcphdr tcp = {};
	struct ipv6hdr ip6;
	struct iphdr ip4;
	__u32 l4;

	if (skb->protocol == ETH_P_IP_BE) {
		if (bpf_skb_load_bytes(skb, 0, &ip4, sizeof(ip4)))
			return 0;
		mapped(t->from.ip, ip4.saddr);
		mapped(t->to.ip, ip4.daddr);
		l4 = ip4.ihl * 4;
	} else {
		if (bpf_skb_load_bytes(skb, 0, &ip6, sizeof(ip6)))
			return 0;
		__builtin_memcpy(t->from.ip, &ip6.saddr, 16);
		__builtin_memcpy(t->to.ip, &ip6.daddr, 16);
		if (ip6.nexthdr != IPPROTO_TCP)
			return 1;	// nobody asks for extension headers: no port is read, nothing permits it
		l4 = sizeof(ip6);
	}
	if (bpf_skb_load_bytes(skb, l4, &tcp, sizeof(tcp)))
		return 0;
	t->from.port = bpf_ntohs(tcp.source);
	t->to.port = bpf_ntohs(tcp.dest);
	return tcp.syn && !tcp.ack;
}

SEC("cgroup_skb/ingress") int seal(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tuple t = {};
	__u64 cgroup, *netns;
	struct pod *pod;

	if (!sk || sk->state != BPF_TCP_LISTEN)
		return PASS;
	if (!read_syn(skb, &t) || same(t.from.ip, t.to.ip))
		return PASS;
	netns = bpf_map_lookup_elem(&pod_ips, &t.to.ip);
	pod = netns ? bpf_map_lookup_elem(&pods, netns) : 0;
	if (!pod || !(pod->flags & POD_SEALED))
		return PASS;
	t.netns = *netns;
	if (bpf_map_lookup_elem(&permitted, &t) || bpf_sk_storage_get(&exempt_sk, sk, 0, 0))
		return PASS;
	cgroup = bpf_sk_cgroup_id(sk);	// of the listener's creator
	if (bpf_map_lookup_elem(&proxy_cgroups, &cgroup))
		return PASS;
	count(STAT_SEALED);
	return DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
