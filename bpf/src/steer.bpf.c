// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Who gets a SYN or a DNS question that found no established socket (sk_lookup on the pod's namespace): TCP goes to the
// proxy's 15006; the reserved ports belong to the proxy's registered listeners or to nobody.
#include "address.h"
#include "listeners.h"
#include "permitted.h"
#include "stats.h"

// sk_lookup has no helper that names its namespace: loaded once per pod with this constant set.
const volatile __u64 NETNS = 0;

static __always_inline int assign(struct bpf_sk_lookup *ctx, __u16 family, __u16 port)
{
	struct listener key = { NETNS, family, port, ctx->protocol, 0 };
	__u32 hash = (ctx->remote_port * 0x9e3779b1u) >> 24;	// mixed: ephemeral ports of one client keep their parity
	struct bpf_sock *sk;
	long i, err;

	// Slots fill from 0: modulo 16, 8, 4, 2 spreads evenly, then any that lives.
	for (i = 0; i < 4 + SLOTS; i++) {
		key.slot = i < 4 ? hash & ((SLOTS >> i) - 1) : i - 4;
		sk = bpf_map_lookup_elem(&listeners, &key);
		if (!sk)
			continue;
		// Without this flag the kernel chooses within the SO_REUSEPORT group, which an app of the same uid can join.
		err = bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_NO_REUSEPORT);
		bpf_sk_release(sk);
		return err ? SK_DROP : SK_PASS;
	}
	return -1;
}

SEC("sk_lookup") int steer(struct bpf_sk_lookup *ctx)
{
	struct tuple t = { .netns = NETNS };
	__u32 port = ctx->local_port;
	int self, verdict, reserved = is_reserved(port);

	if (ctx->protocol != IPPROTO_TCP && port != PORT_DNS)
		return SK_PASS;
	t.from.port = bpf_ntohs(ctx->remote_port);
	t.to.port = port;
	if (ctx->family == AF_INET) {
		mapped(t.from.ip, CTX(ctx->remote_ip4));
		mapped(t.to.ip, CTX(ctx->local_ip4));
	} else {
		COPY6(t.from.ip, ctx->remote_ip6);
		COPY6(t.to.ip, ctx->local_ip6);
	}
	self = is_loopback(t.to.ip) || same(t.from.ip, t.to.ip);
	if ((port == PORT_OUTBOUND || port == PORT_DNS) && !self)
		return SK_DROP;	// nobody outside the pod dials these
	if (!reserved && (self || bpf_map_lookup_elem(&permitted, &t)))
		return SK_PASS;
	verdict = assign(ctx, ctx->family, reserved ? port : PORT_INBOUND);
	if (verdict < 0 && ctx->family == AF_INET)	// a dual-stack listener serves IPv4 too
		verdict = assign(ctx, AF_INET6, reserved ? port : PORT_INBOUND);
	if (verdict >= 0)
		return verdict;
	count(STAT_NO_LISTENER);
	return SK_DROP;	// TCP answers with RST, UDP with ICMP unreachable
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
