// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Life of the node's TCP connections (sockops on its cgroup): registers the proxy's listeners, permits the connects of
// exempt sockets and of the node's probes, and hands the original destination to the proxy's accepted socket.
#include "address.h"
#include "dialled.h"
#include "features.h"
#include "listeners.h"
#include "permitted.h"
#include "pods.h"
#include "proxy.h"
#include "stats.h"

enum { SOL_SOCKET = 1, SO_MARK = 36, MARK_SOURCE_KEPT = 0x111 };	// the mark is Istio's for the same purpose

STORAGE(probe_sk, __u64);	// on a probe's socket: the namespace of the pod that it asks

struct mptcp_sock;

// A subflow of MPTCP is another socket than the one that the app connected.
static __always_inline struct addr *dialled_by(struct bpf_sock *sk)
{
	struct addr *kept = bpf_sk_storage_get(&dialled_sk, sk, 0, 0);
	struct mptcp_sock *owner;

	if (kept || !(FEATURES & FEATURE_MPTCP))
		return kept;
	owner = bpf_skc_to_mptcp_sock(sk);
	return owner ? bpf_sk_storage_get(&dialled_sk, owner, 0, 0) : 0;
}

static __always_inline int permit(struct tuple *t)
{
	__u32 one = 1;
	if (!bpf_map_update_elem(&permitted, t, &one, BPF_ANY))
		return 1;
	count(STAT_PERMITTED_FULL);	// steered and guarded like anything else: never passes
	return 0;
}

// A proxy that connects to the app with its client's address: the app's answers must come back to it instead of leaving
// the pod. The app's socket takes over the SYN's mark (tcp_fwmark_accept), and that mark is routed to lo. Set here, and
// not by the proxy, because Istio's ztunnel has one mark for everything that it sends.
static __always_inline void keep_answers(struct bpf_sock_ops *ctx)
{
	__u32 mark = MARK_SOURCE_KEPT;
	bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

// The source port is chosen, the SYN not yet sent; the caller is the connecting task.
static __always_inline void connecting(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct tuple *t)
{
	struct source s = { .netns = t->netns, .from = t->from };
	struct pod *pod = bpf_map_lookup_elem(&pods, &t->netns);
	struct addr *kept;
	__u64 *to, *noted;

	if (pod) {
		if (is_exempt(sk)) {
			permit(t);
			if (!is_own(pod, t->from.ip))
				keep_answers(ctx);
		} else {
			kept = dialled_by(sk);
			if (!kept)
				return;
			if (bpf_map_update_elem(&dialled, &s, kept, BPF_ANY))
				count(STAT_DIALLED_FULL);	// the proxy finds no original destination and refuses
		}
	} else {
		if (!is_probe())
			return;
		to = bpf_map_lookup_elem(&pod_ips, &t->to.ip);
		noted = to ? bpf_sk_storage_get(&probe_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
		if (!noted)
			return;
		*noted = t->netns = *to;
		if (permit(t))
			count(STAT_PROBES);
	}
	bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

// Runs before accept() can return the socket.
static __always_inline void accepted(struct bpf_sock *sk, struct tuple *t)
{
	struct source s = { .netns = t->netns, .from = t->to };
	struct addr *kept, *moved;

	if (t->from.port != PORT_OUTBOUND && t->from.port != PORT_DNS)
		return;
	kept = bpf_map_lookup_elem(&dialled, &s);
	moved = kept ? bpf_sk_storage_get(&original_sk, sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
	if (!moved)
		return;
	*moved = *kept;
	bpf_map_delete_elem(&dialled, &s);
}

// A connect that was refused has left its entry behind.
static __always_inline void closed(struct bpf_sock *sk, struct tuple *t)
{
	struct source s = { .netns = t->netns, .from = t->from };
	__u64 *noted = bpf_sk_storage_get(&probe_sk, sk, 0, 0);

	bpf_map_delete_elem(&dialled, &s);
	if (noted)
		t->netns = *noted;
	bpf_map_delete_elem(&permitted, t);
}

static __always_inline void listening(struct bpf_sock_ops *ctx, struct tuple *t)
{
	struct listener key = { t->netns, ctx->family, t->from.port, IPPROTO_TCP, 0 };
	__u32 i;	// not the key's field: the verifier cannot bound what a helper can see

	if (!is_reserved(t->from.port) || !is_exempt(0))
		return;
	for (i = 0; i < SLOTS; i++) {
		key.slot = i;
		if (!bpf_sock_hash_update(ctx, &listeners, &key, BPF_NOEXIST))
			return;
	}
	count(STAT_SLOTS_FULL);
}

SEC("sockops") int tcp_events(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tuple t = {};

	if (!sk)
		return 1;
	t.netns = bpf_get_netns_cookie(ctx);
	t.from.port = ctx->local_port;			// host order
	t.to.port = bpf_ntohl(ctx->remote_port);	// network order in the upper half
	if (ctx->family == AF_INET) {
		mapped(t.from.ip, CTX(ctx->local_ip4));
		mapped(t.to.ip, CTX(ctx->remote_ip4));
	} else {
		COPY6(t.from.ip, ctx->local_ip6);
		COPY6(t.to.ip, ctx->remote_ip6);
	}
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		connecting(ctx, sk, &t);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		accepted(sk, &t);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == BPF_TCP_CLOSE)
			closed(sk, &t);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		listening(ctx, &t);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
