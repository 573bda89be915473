// What the balancer is given and what it answers: endpoints of one service port, a choice per try, a lease per request.
import type { Endpoint } from '../../model/address.ts'
import type { Workload } from '../../model/workload.ts'

/** One endpoint of a service port. */
export interface BalancedEndpoint {
  /** The workload's uid; one endpoint per uid in a cluster. */
  readonly uid: string
  /** Address and port of the app. */
  readonly to: Endpoint
  readonly workload: Workload
  /** Share relative to the others; 0 or less = gets nothing. */
  readonly weight: number
  readonly isReady: boolean
  /** Shutting down; with `isReady` it still serves, and is used when nobody else is there. */
  readonly isTerminating: boolean
}

/** What a choice depends on. */
export interface ChooseContext {
  /** 32 bit, from `Cluster.hashOf`; undefined = the request has none of the keys. */
  readonly hash: number | undefined
  /** Uids that were tried already: avoided as long as there are others. */
  readonly exclude: ReadonlySet<string>
  /** Uid that a session names; it wins when it is usable and was not tried. */
  readonly session: string | undefined
}

/** How a try ended. Neither field = nothing is known about the endpoint (the client went away): no counter moves. */
export interface Outcome {
  /** HTTP status of the response; for gRPC the status that its `grpc-status` maps to. */
  readonly status?: number
  readonly failure?: 'connect' | 'refused' | 'reset' | 'timeout'
}

/** Holds a place among the endpoint's active requests. */
export interface Lease {
  /** Once, when the request has ended; later calls do nothing. */
  done(outcome: Outcome): void
}

/** `NO_ENDPOINT`: nobody is usable. `OVERFLOW`: the limit of active requests is reached. */
export type Choice =
  | { readonly kind: 'endpoint'; readonly endpoint: BalancedEndpoint; readonly lease: Lease }
  | { readonly kind: 'none'; readonly reason: 'NO_ENDPOINT' | 'OVERFLOW' }
