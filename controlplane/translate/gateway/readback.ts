// What proxies would say to the rules of one route. A listener that they cannot read is not published at all, with the routes of
// everybody in it: so each route is read back by itself first, and is kept out alone.
import { messageOf } from '../../../kit/error.ts'
import type { Route } from '../../../model/route.ts'
import { decodeListener, encodeListener } from '../../../xds/resource/listener.ts'

/** @returns why no proxy could read the routes; undefined = they can */
export function readbackFault(routes: readonly Route[]): string | undefined {
  try {
    const read = decodeListener(
      encodeListener({
        name: 'a/a/a/a/1',
        gateway: 'a/a',
        service: 'a/a',
        port: 1,
        protocol: 'HTTP',
        routes,
        consumerRoutes: new Map(),
        authorization: [],
        rateLimits: [],
        isGrpcOnly: false,
      }),
    )
    return read.ok ? undefined : read.errors.join('; ')
  } catch (error) {
    return messageOf(error) // a number beyond its wire type
  }
}
