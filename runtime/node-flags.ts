// How Node runs a waypoint: the same on the local runtime, in the chart (a test compares) and in bench/.

/**
 * - Young generation: 16 MiB at most, grown under load only. A collection takes 0.2 to 0.4 ms whatever its size, for next to nothing
 *   survives; at 35,000 requests/s there are 25 of them a second, so they hit less than one request in a hundred.
 * - One thread collects it. With helpers the loop hands out work of microseconds and waits until each of them has had its turn of the core:
 *   1,500 wake-ups a second instead of 170, and a p99 half as long again where a waypoint has one core (bench/README.md).
 * - Old generation: no full collection below 128 MiB until the first one. V8 would lower that to 24 MiB; a waypoint that starts meets all
 *   its clients at once, and it marked four times in 0.7 s, with helpers that took the core from the handshakes.
 */
export const WAYPOINT_NODE_FLAGS: readonly string[] = ['--max-semi-space-size=16', '--no-parallel-scavenge', '--initial-old-space-size=128']
