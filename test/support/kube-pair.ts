// A KubeClient on a fake API server, with a clock that runs faster than the world's.
import { Agent } from 'node:http'
import { type Clock, systemClock } from '../../kit/clock.ts'
import type { MeshObject, ObjectEvent } from '../../model/object.ts'
import { objectKey } from '../../model/object.ts'
import type { Informer, InformOptions } from '../../objects/api.ts'
import { KubeClient } from '../../objects/kube/kube-client.ts'
import type { FakeApiServer } from './fake-apiserver.ts'
import { keptLog } from './xds-pair.ts'

/** @param factor seconds that pass per second */
export function fastClock(factor: number): Clock {
  return {
    nowMs: () => systemClock.nowMs(),
    monotonicMs: () => systemClock.monotonicMs() * factor,
    after: (delayMs, run) => systemClock.after(delayMs / factor, run),
  }
}

/** A client over plain HTTP. @param token read for each request; said again after a refusal */
export function clientOf(
  fake: FakeApiServer,
  clock: Clock = fastClock(100),
  token: (isRefused: boolean) => string = () => 'good',
): KubeClient {
  const agent = new Agent({ keepAlive: true })
  const server = fake.url
  const connection = {
    credentials: async (isRefused: boolean) => ({ server, agent, headers: { authorization: `Bearer ${token(isRefused)}` } }),
    [Symbol.dispose]: () => agent.destroy(),
  }
  return new KubeClient({ connection, clock })
}

/** An informer and what it told, replayed into a copy of the test's own. Impossible events are kept in `faults`. */
export interface Follower extends AsyncDisposable {
  readonly informer: Informer
  readonly events: ObjectEvent[]
  readonly states: boolean[]
  readonly lines: ReturnType<typeof keptLog>['lines']
  readonly faults: string[]
  /** Objects by plural-less key `Kind/namespace/name`. */
  readonly replica: Map<string, MeshObject>
  readonly syncs: () => number
}

/** Follows kinds until disposed. */
export function follow(client: KubeClient, kinds: readonly string[], more: Partial<InformOptions> = {}, clock = fastClock(100)): Follower {
  const stop = new AbortController()
  const { log, lines } = keptLog()
  const events: ObjectEvent[] = []
  const states: boolean[] = []
  const faults: string[] = []
  const replica = new Map<string, MeshObject>()
  let syncs = 0
  const informer = client.inform({
    kinds,
    log,
    clock,
    signal: stop.signal,
    onSync(all) {
      syncs++
      for (const objects of all.values()) for (const object of objects) replica.set(idOf(object), object)
    },
    onEvent(event) {
      events.push(event)
      const id = idOf(event.object)
      const old = replica.get(id)
      if ((event.type === 'ADDED') === (old !== undefined))
        faults.push(`${event.type} ${id} while it is ${old === undefined ? 'not ' : ''}known`)
      if (event.type === 'DELETED') replica.delete(id)
      else replica.set(id, event.object)
    },
    onState: (isConnected) => states.push(isConnected),
    ...more,
  })
  const end = async (): Promise<void> => {
    stop.abort()
    await informer.synced
  }
  return { informer, events, states, lines, faults, replica, syncs: () => syncs, [Symbol.asyncDispose]: end }
}

function idOf(object: MeshObject): string {
  return `${object.kind}/${objectKey(object)}`
}
