// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// SO_ORIGINAL_DST without netfilter (cgroup/getsockopt on the node's cgroup): level SOL_IP 80 gives struct sockaddr_in
// (also on an AF_INET6 socket that carries IPv4), SOL_IPV6 80 struct sockaddr_in6.
#include "address.h"
#include "dialled.h"

enum { SO_ORIGINAL_DST = 80, LARGEST_BUFFER = 4096 };

SEC("cgroup/getsockopt") int getsockopt(struct bpf_sockopt *ctx)
{
	void *value = ctx->optval, *end = ctx->optval_end;
	__u32 *word = value;
	struct addr *to;

	if (ctx->optname != SO_ORIGINAL_DST || !ctx->sk) {
		if (CTX(ctx->optlen) > LARGEST_BUFFER)
			CTX(ctx->optlen) = 0;	// "use the kernel's answer": older kernels fail what is longer than a page
		return 1;
	}
	to = bpf_sk_storage_get(&original_sk, ctx->sk, 0, 0);
	if (!to || is_mapped(to->ip) != (ctx->level == SOL_IP))
		return 1;
	// The kernel has run first (and failed): optlen is what the caller gave.
	if (ctx->level == SOL_IP && value + 16 <= end) {
		word[0] = AF_INET | bpf_htons(to->port) << 16;
		word[1] = to->ip[3];
		word[2] = word[3] = 0;
		CTX(ctx->optlen) = 16;
	} else if (ctx->level == SOL_IPV6 && value + 28 <= end) {
		word[0] = AF_INET6 | bpf_htons(to->port) << 16;
		word[1] = word[6] = 0;
		COPY6(word + 2, to->ip);
		CTX(ctx->optlen) = 28;
	} else {
		return 1;
	}
	CTX(ctx->retval) = 0;
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
