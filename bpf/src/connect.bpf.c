// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// What a process dials, and what it is told about its peer. On the node's cgroup: connect4|6 (TCP, connected UDP),
// sendmsg4|6 (UDP), recvmsg4|6 and getpeername4|6. An enrolled pod's TCP and DNS go to the proxy's listeners at the
// pod's own address; what is not captured may be a virtual address and is turned into one of its backends.
#include "address.h"
#include "dialled.h"
#include "features.h"
#include "pods.h"
#include "proxy.h"
#include "services.h"
#include "stats.h"

enum { REFUSE = 0, ALLOW = 1, NOT_CAPTURED = 2 };

static __always_inline int refuse(__u32 why, int error)
{
	count(why);
	if (FEATURES & FEATURE_SET_RETVAL)
		bpf_set_retval(-error);	// else EPERM
	return REFUSE;
}

static __always_inline void read_addr(struct bpf_sock_addr *ctx, int v6, struct addr *a)
{
	a->port = bpf_ntohs(ctx->user_port);
	if (v6)
		COPY6(a->ip, ctx->user_ip6);
	else
		mapped(a->ip, ctx->user_ip4);
}

static __always_inline void write_addr(struct bpf_sock_addr *ctx, int v6, const __u32 *ip, __u32 port)
{
	CTX(ctx->user_port) = bpf_htons(port);
	if (v6)
		COPY6(ctx->user_ip6, ip);
	else
		CTX(ctx->user_ip4) = ip[3];
}

static __always_inline struct pod *pod_of(struct bpf_sock_addr *ctx)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	return bpf_map_lookup_elem(&pods, &netns);
}

struct mptcp_sock;

// MPTCP: connect runs here with the subflow, getpeername with the socket that the app holds.
static __always_inline struct mptcp_sock *owner_of(struct bpf_sock_addr *ctx)
{
	return FEATURES & FEATURE_MPTCP && ctx->sk ? bpf_skc_to_mptcp_sock(ctx->sk) : 0;
}

static __always_inline int capture(struct bpf_sock_addr *ctx, int v6, int connecting, struct pod *pod, struct addr *to)
{
	int tcp = ctx->type == SOCK_STREAM, udp = ctx->protocol == IPPROTO_UDP;
	int dns = to->port == PORT_RESOLVER && (pod->flags & POD_DNS);	// else a proxy serves no DNS: queries go their way
	struct mptcp_sock *owner;
	struct addr *kept, *shown;
	__u32 ip[4];

	// A v4-mapped socket connected to a resolver: every send() runs sendmsg4 with the rewritten address.
	if (udp && to->port == PORT_DNS && is_own(pod, to->ip))
		return ALLOW;
	if (is_loopback(to->ip) || is_link_local(to->ip) || is_own(pod, to->ip) ||
	    (!tcp && !(udp && dns))) {
		if (connecting)
			bpf_sk_storage_delete(&dialled_sk, ctx->sk);	// the socket may have been diverted before
		return NOT_CAPTURED;
	}
	if (is_mapped(to->ip)) {	// also ::ffff:a.b.c.d (Java's default), which runs connect6 only
		if (!pod->ip4)
			return refuse(STAT_NO_ADDRESS, ENETUNREACH);
		mapped(ip, pod->ip4);
	} else {
		if (!(pod->ip6[0] | pod->ip6[3]))
			return refuse(STAT_NO_ADDRESS, ENETUNREACH);
		COPY6(ip, pod->ip6);
	}
	kept = bpf_sk_storage_get(&dialled_sk, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!kept)
		return refuse(STAT_STORAGE_REFUSED, ECONNREFUSED);
	*kept = *to;
	owner = tcp ? owner_of(ctx) : 0;
	shown = owner ? bpf_sk_storage_get(&dialled_sk, owner, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
	if (shown)
		*shown = *to;
	count(STAT_CAPTURED);
	write_addr(ctx, v6, ip, dns ? PORT_DNS : PORT_OUTBOUND);
	return ALLOW;
}

// A random backend, or the one that this socket used last while that set of backends is in force: datagrams of one
// conversation stay together.
static __always_inline struct translation *choose(struct service_key *key, struct addr *to, struct translations *kept)
{
	struct translation *entry;
	struct backend_key backend;
	struct service *service;
	struct addr *chosen;
	int i;

#pragma unroll
	for (i = 0; i < 2; i++) {
		service = bpf_map_lookup_elem(&services, key);
		if (!service || !service->count)
			return 0;
		backend.id = service->id;
		for (int k = 0; k < TRANSLATIONS; k++)
			if (kept->entry[k].id == backend.id && same_addr(&kept->entry[k].vip, to))
				return &kept->entry[k];
		backend.index = bpf_get_prandom_u32() % service->count;
		chosen = bpf_map_lookup_elem(&backends, &backend);
		if (!chosen)
			continue;	// the set was replaced between the two look-ups
		entry = &kept->entry[kept->next++ & (TRANSLATIONS - 1)];
		entry->id = backend.id;
		entry->vip = *to;
		entry->backend = *chosen;
		return entry;
	}
	return 0;
}

static __always_inline int translate(struct bpf_sock_addr *ctx, int v6, int connecting, struct addr *to)
{
	struct service_key key = { .port = to->port, .protocol = ctx->type == SOCK_STREAM ? IPPROTO_TCP : ctx->protocol };
	struct translations *kept, *shown;
	struct translation *chosen;
	struct mptcp_sock *owner;

	COPY6(key.ip, to->ip);
	if (connecting)
		bpf_sk_storage_delete(&translated_sk, ctx->sk);
	if (!bpf_map_lookup_elem(&services, &key))
		return ALLOW;
	kept = bpf_sk_storage_get(&translated_sk, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!kept)
		return refuse(STAT_STORAGE_REFUSED, ECONNREFUSED);
	chosen = choose(&key, to, kept);
	if (!chosen)
		return refuse(STAT_NO_BACKEND, ECONNREFUSED);
	owner = ctx->type == SOCK_STREAM ? owner_of(ctx) : 0;
	shown = owner ? bpf_sk_storage_get(&translated_sk, owner, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;
	if (shown)
		shown->entry[0] = *chosen;
	count(STAT_TRANSLATED);
	write_addr(ctx, v6, chosen->backend.ip, chosen->backend.port);
	return ALLOW;
}

static __always_inline int outbound(struct bpf_sock_addr *ctx, int v6, int connecting)
{
	struct pod *pod = pod_of(ctx);
	struct addr to;
	int verdict;

	read_addr(ctx, v6, &to);
	if (pod && (pod->flags & POD_OUTBOUND) && !is_exempt(ctx->sk)) {
		verdict = capture(ctx, v6, connecting, pod, &to);
		if (verdict != NOT_CAPTURED)
			return verdict;
	}
	return translate(ctx, v6, connecting, &to);
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx) { return outbound(ctx, 0, 1); }
SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx) { return outbound(ctx, 1, 1); }
SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx) { return outbound(ctx, 0, 0); }
SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx) { return outbound(ctx, 1, 0); }

// The app sees the address that it dialled: as its peer (getpeername) and as the source of answers (recvmsg).
static __always_inline int shown(struct bpf_sock_addr *ctx, int v6)
{
	struct translations *list;
	struct addr at, *kept;
	struct pod *pod;
	int i;

	read_addr(ctx, v6, &at);
	if (at.port == PORT_OUTBOUND || at.port == PORT_DNS) {
		kept = bpf_sk_storage_get(&dialled_sk, ctx->sk, 0, 0);
		pod = kept ? pod_of(ctx) : 0;
		if (pod && is_own(pod, at.ip)) {
			write_addr(ctx, v6, kept->ip, kept->port);
			return ALLOW;
		}
	}
	list = bpf_sk_storage_get(&translated_sk, ctx->sk, 0, 0);
	if (!list)
		return ALLOW;
#pragma unroll
	for (i = 0; i < TRANSLATIONS; i++) {
		if (same_addr(&list->entry[i].backend, &at)) {
			write_addr(ctx, v6, list->entry[i].vip.ip, list->entry[i].vip.port);
			return ALLOW;
		}
	}
	return ALLOW;
}

SEC("cgroup/getpeername4") int getpeername4(struct bpf_sock_addr *ctx) { return shown(ctx, 0); }
SEC("cgroup/getpeername6") int getpeername6(struct bpf_sock_addr *ctx) { return shown(ctx, 1); }
SEC("cgroup/recvmsg4") int recvmsg4(struct bpf_sock_addr *ctx) { return shown(ctx, 0); }
SEC("cgroup/recvmsg6") int recvmsg6(struct bpf_sock_addr *ctx) { return shown(ctx, 1); }

char LICENSE[] SEC("license") = "Dual BSD/GPL";
