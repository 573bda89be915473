/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every program and user space (bpf/layout.ts) agree on: ports, structs, map sizes.
 * Addresses are kept in IPv6 form everywhere (IPv4 as ::ffff:a.b.c.d), so that a v4-mapped socket and the v4 packet
 * that it sends have one key. Ports in maps are in host order. Padding in keys is compared: it is explicit and zero.
 */
#ifndef WEFT_LAYOUT_H
#define WEFT_LAYOUT_H
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { AF_INET = 2, AF_INET6 = 10, SOCK_STREAM = 1, SOL_IP = 0, SOL_IPV6 = 41 };
enum { ENETUNREACH = 101, ECONNREFUSED = 111 };
enum ports { PORT_OUTBOUND = 15001, PORT_INBOUND = 15006, PORT_HBONE = 15008, PORT_DNS = 15053, PORT_RESOLVER = 53 };

/* Entries. A full map refuses what it cannot hold, never lets it pass. */
enum sizes {
	MAX_PODS = 4096,		/* of one node */
	MAX_POD_IPS = 2 * MAX_PODS,
	MAX_CGROUPS = 16,
	MAX_LISTENERS = 65536,
	MAX_DIALLED = 65536,		/* half-open captured connects */
	MAX_PERMITTED = 65536,		/* connects of exempt and probing sockets */
	MAX_IN_FLIGHT = 4096,		/* SYNs under way when a guard went on */
	MAX_SERVICES = 16384,		/* (virtual address, port, protocol) */
	MAX_BACKENDS = 65536,
	SLOTS = 16,			/* listeners of one port: threads of the proxy, two proxies during a rollout */
	TRANSLATIONS = 4,		/* virtual addresses that one unconnected UDP socket may talk to at a time */
};

enum pod_flags { POD_INBOUND = 1, POD_OUTBOUND = 2, POD_DNS = 4, POD_SEALED = 8 };

struct addr { __u32 ip[4]; __u32 port; };
struct pod { __u32 ip4; __u32 ip6[4]; __u32 flags; };
struct guarded { __u64 netns; struct pod pod; };
struct drops { __u64 source, syn, other; };
struct source { __u64 netns; struct addr from; __u32 pad; };
struct tuple { __u64 netns; struct addr from, to; };
struct listener { __u64 netns; __u16 family, port, protocol, slot; };
struct service_key { __u32 ip[4]; __u32 port; __u32 protocol; };
struct service { __u32 id; __u32 count; };
struct backend_key { __u32 id; __u32 index; };
struct translation { struct addr vip, backend; __u32 id; };	/* id of the set of backends; 0 = unused */
struct translations { struct translation entry[TRANSLATIONS]; __u32 next; };

/*
 * Reads and writes of context fields must stay one instruction at a constant offset. Without volatile clang merges
 * those of two branches into one through a computed pointer: "dereference of modified ctx ptr disallowed".
 */
#define CTX(field) (*(volatile __u32 *)&(field))
#define COPY6(to, from) ({ CTX((to)[0]) = CTX((from)[0]); CTX((to)[1]) = CTX((from)[1]); \
			   CTX((to)[2]) = CTX((from)[2]); CTX((to)[3]) = CTX((from)[3]); })

#define MAP(name, kind, size, K, V) \
	struct { __uint(type, kind); __uint(max_entries, size); __type(key, K); __type(value, V); } name SEC(".maps")
#define STORAGE(name, V) \
	struct { __uint(type, BPF_MAP_TYPE_SK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC); \
		 __type(key, int); __type(value, V); } name SEC(".maps")

#endif
